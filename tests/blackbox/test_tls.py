"""TLS: `sonde serve` with certificates against other people's clients, our client and libsonde's exporter against other people's
servers. Certificates are made here by the openssl command."""
import gzip
import http.client
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import pytest

from conftest import Server, wait_for

if not shutil.which("openssl"):
    pytest.skip("the openssl command is not installed", allow_module_level=True)

HERE = "IP:127.0.0.1,DNS:localhost"


class Certificates:
    """good, other (of an authority that nobody trusts), wrong (for another name), expired; client, stranger."""

    def __init__(self, path):
        self.path = path
        for ca in ("ca", "ca2"):
            self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj",
                         f"/CN={ca}", "-days", "30")
        for name, ca, names, days in (("good", "ca", HERE, 30), ("next", "ca", HERE, 30), ("other", "ca2", HERE, 30),
                                      ("wrong", "ca", "DNS:elsewhere.example", 30), ("expired", "ca", HERE, -1),
                                      ("client", "ca", "DNS:client", 30), ("stranger", "ca2", "DNS:client", 30)):
            (path / "ext").write_text(f"subjectAltName={names}\n")
            self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                         f"/CN={name}")
            self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                         "-extfile", "ext", "-out", f"{name}.pem", "-days", str(days))

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], cwd=self.path, check=True, capture_output=True)

    def __getitem__(self, name):
        return str(self.path / name)

    def context(self, client=None):
        c = ssl.create_default_context(cafile=self["ca.pem"])
        if client:
            c.load_cert_chain(self[f"{client}.pem"], self[f"{client}.key"])
        return c


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


class TlsServer(Server):
    """Its first line names https addresses."""

    def start(self):
        argv = [self.program, "serve", "--data", self.data, *self.options]
        for name in self.ports:
            argv += [f"--{name}", "127.0.0.1:0"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        for name in self.ports:
            assert f"{name} https://127.0.0.1:" in line, line
            self.ports[name] = int(line.split(f"{name} https://127.0.0.1:")[1].split("/")[0].split(",")[0])


@pytest.fixture
def tls_server(sonde_program, tmp_path, certificates):
    made = []

    def make(certificate="good", *options):
        s = TlsServer(sonde_program, tmp_path / f"data{len(made)}", "--tls-cert", certificates[f"{certificate}.pem"], "--tls-key",
                      certificates[f"{certificate}.key"], *options)
        made.append(s)
        return s

    yield make
    for s in made:
        if s.process.poll() is None:
            assert s.stop() == 0, open(s.data + ".log").read()[-3000:]


def get(server, path, context, port="http"):
    with urllib.request.urlopen(f"https://127.0.0.1:{server.ports[port]}{path}", context=context, timeout=10) as a:
        return a.status, a.read()


# ---- other people's clients --------------------------------------------------------------------------------------------------
def test_python(tls_server, certificates):
    server = tls_server()
    now = time.time_ns()
    body = json.dumps({"streams": [{"stream": {"app": "tls"}, "values": [[str(now), "over tls"]]}]}).encode()
    request = urllib.request.Request(f"https://localhost:{server.ports['http']}/loki/api/v1/push", body,
                                     {"content-type": "application/json"})
    assert urllib.request.urlopen(request, context=certificates.context(), timeout=10).status == 204
    status, text = get(server, f"/loki/api/v1/query_range?query=%7Bapp%3D%22tls%22%7D&start={now - 10**9}&end={now + 10**9}",
                       certificates.context())
    assert status == 200 and b"over tls" in text
    with pytest.raises(urllib.error.URLError):
        get(server, "/ready", ssl.create_default_context())


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl(tls_server, certificates, version):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    server = tls_server()
    url = f"https://localhost:{server.ports['http']}/loki/api/v1/labels"
    out = subprocess.run(["curl", "-sS", version, "--cacert", certificates["ca.pem"], "-w", "%{http_version}", url],
                         capture_output=True, text=True, timeout=20)
    assert out.returncode == 0 and out.stdout.endswith(version[-1] if version == "--http2" else "1.1"), out
    bad = subprocess.run(["curl", "-sS", url], capture_output=True, text=True, timeout=20)
    assert bad.returncode == 60, bad


@pytest.mark.parametrize("version,works", [("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False)])
def test_s_client(tls_server, certificates, version, works):
    server = tls_server()
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{server.ports['otlp-grpc']}", "-CAfile",
                          certificates["ca.pem"], "-alpn", "h2", version, "-cipher", "ALL:@SECLEVEL=0", "-no_ign_eof"],
                         input="", capture_output=True, text=True, timeout=20)
    assert ("Verify return code: 0 (ok)" in out.stdout and "ALPN protocol: h2" in out.stdout) == works, out.stdout + out.stderr


def test_grpc(tls_server, certificates):
    grpc = pytest.importorskip("grpc")
    server = tls_server()
    roots = open(certificates["ca.pem"], "rb").read()
    method = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    with grpc.secure_channel(f"localhost:{server.ports['otlp-grpc']}", grpc.ssl_channel_credentials(roots)) as channel:
        reply = channel.unary_unary(method)(b"", timeout=10)
        assert reply == b""
    with grpc.secure_channel(f"localhost:{server.ports['otlp-grpc']}", grpc.ssl_channel_credentials()) as channel:
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(method)(b"", timeout=5)


def test_client_certificates(tls_server, certificates):
    server = tls_server("good", "--tls-client-ca", certificates["ca.pem"])
    for port in ("http", "otlp-http"):
        try:
            assert get(server, "/ready", certificates.context("client"), port)[0] == 200
        except urllib.error.HTTPError as e:
            assert e.code == 404
        for refused in (None, "stranger"):
            with pytest.raises((urllib.error.URLError, OSError, http.client.HTTPException)):
                get(server, "/ready", certificates.context(refused), port)


def test_plain_client_is_told(tls_server):
    server = tls_server()
    with pytest.raises(urllib.error.HTTPError) as e:
        urllib.request.urlopen(f"http://127.0.0.1:{server.ports['http']}/ready", timeout=10)
    assert e.value.code == 400 and b"use https://" in e.value.read()


def test_silent_and_garbled_peers(tls_server, certificates):
    """Neither a peer that says nothing nor one that sends nonsense keeps others from being served; its connection ends."""
    server = tls_server()
    address = ("127.0.0.1", server.ports["http"])
    silent = [socket.create_connection(address) for _ in range(20)]
    for first in (b"\x16\x03\x01\x00\x05hello", b"\x16" * 5000, b"\x15\x03\x03\x00\x02\x02\x28", b"\x00"):
        with socket.create_connection(address) as s:
            s.sendall(first)
            s.settimeout(5)
            try:
                while s.recv(1000):
                    pass
            except ConnectionResetError:
                pass
    assert get(server, "/ready", certificates.context())[0] == 200
    for s in silent:
        s.settimeout(15)
        assert s.recv(10) == b""  # the handshake has a time limit
        s.close()


def test_certificate_is_read_again(tls_server, certificates, tmp_path):
    cert, key = tmp_path / "now.pem", tmp_path / "now.key"
    shutil.copy(certificates["good.pem"], cert)
    shutil.copy(certificates["good.key"], key)
    server = TlsServer(tls_server().program, tmp_path / "reload", "--tls-cert", str(cert), "--tls-key", str(key))

    def shown():
        with socket.create_connection(("127.0.0.1", server.ports["http"])) as s, \
                certificates.context().wrap_socket(s, server_hostname="localhost") as t:
            return dict(x[0] for x in t.getpeercert()["subject"])["commonName"]

    try:
        assert shown() == "good"
        shutil.copy(certificates["next.key"], key)
        shutil.copy(certificates["next.pem"], cert)
        wait_for(lambda: shown() == "next")
        cert.write_text("broken")
        wait_for(lambda: shown() == "next" and "the ones before stay" in open(server.data + ".log").read())  # a connection looks
        assert "was read again" in open(server.data + ".log").read()
    finally:
        assert server.stop() == 0


@pytest.mark.parametrize("options,words", [(["--tls-cert", "nothing.pem", "--tls-key", "x"], "nothing.pem cannot be read"),
                                           (["--tls-cert", "x"], "--tls-cert and --tls-key together"),
                                           (["--tls-client-ca", "x"], "--tls-cert and --tls-key together")])
def test_bad_settings(sonde_program, tmp_path, options, words):
    out = subprocess.run([str(sonde_program), "serve", "--data", str(tmp_path / "d"), "--http", "127.0.0.1:0", "--otlp-grpc", "off",
                          "--otlp-http", "off", *options], capture_output=True, text=True, timeout=20)
    assert out.returncode == 2 and words in out.stderr, out


# ---- our client ---------------------------------------------------------------------------------------------------------------
def ask(program, url, *options, env=None):
    return subprocess.run([str(program), "logs", '{app="tls"}', "--url", url, *options], capture_output=True, text=True, timeout=20,
                          env={**os.environ, **(env or {})})


def test_command_line(tls_server, certificates, sonde_program):
    server = tls_server("good", "--tls-client-ca", certificates["ca.pem"])
    url = f"https://localhost:{server.ports['http']}"
    mine = ["--cert", certificates["client.pem"], "--key", certificates["client.key"]]
    assert ask(sonde_program, url, "--ca", certificates["ca.pem"], *mine).returncode == 1  # nothing found: it was asked
    env = {"SONDE_CA": certificates["ca.pem"], "SONDE_CERT": mine[1], "SONDE_KEY": mine[3]}
    assert ask(sonde_program, url, env=env).returncode == 1
    for options, words in (([], "authority unknown here"), (["--ca", certificates["ca2.pem"], *mine], "authority unknown here"),
                           (["--ca", certificates["ca.pem"]], "certificate of the client is required"),
                           (["--ca", "/nowhere"], "cannot be read")):
        out = ask(sonde_program, url, *options)
        assert out.returncode not in (0, 1) and words in out.stderr, (options, out)


class Replies(http.server.BaseHTTPRequestHandler):
    """Takes OTLP and answers in gzip."""
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body))
        reply = gzip.compress(b"")
        self.send_response(200)
        self.send_header("content-encoding", "gzip")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def do_GET(self):
        reply = gzip.compress(b'{"status":"success","data":{"resultType":"streams","result":[]}}')
        assert "gzip" in self.headers["accept-encoding"]
        self.send_response(200)
        self.send_header("content-encoding", "gzip")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def python_server(certificates):
    made = []

    def make(certificate, client=False):
        s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replies)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates[f"{certificate}.pem"], certificates[f"{certificate}.key"])
        if client:
            context.load_verify_locations(certificates["ca.pem"])
            context.verify_mode = ssl.CERT_REQUIRED
        s.socket = context.wrap_socket(s.socket, server_side=True)
        s.got = []
        threading.Thread(target=s.serve_forever, daemon=True).start()
        made.append(s)
        return s

    yield make
    for s in made:
        s.shutdown()
        s.server_close()


@pytest.mark.parametrize("certificate,words", [("good", None), ("other", "authority unknown here"), ("wrong", "for another name"),
                                               ("expired", "has expired")])
def test_python_server(python_server, certificates, sonde_program, certificate, words):
    server = python_server(certificate)
    out = ask(sonde_program, f"https://127.0.0.1:{server.server_address[1]}", "--ca", certificates["ca.pem"])
    if words:
        assert out.returncode not in (0, 1) and words in out.stderr, out
    else:
        assert out.returncode == 1 and "nothing matched" in out.stderr, out


def test_without_openssl(server, sonde_program, tmp_path):
    (tmp_path / "libssl.so.3").write_text("not a library")
    env = {"LD_LIBRARY_PATH": str(tmp_path)}
    out = ask(sonde_program, server.url().replace("http:", "https:"), env=env)
    assert out.returncode not in (0, 1) and "OpenSSL 3) is not installed here" in out.stderr, out
    assert ask(sonde_program, server.url(), env=env).returncode == 1  # nothing else needs it


def test_no_tls_there(server, sonde_program):
    out = ask(sonde_program, server.url().replace("http:", "https:"))
    assert out.returncode not in (0, 1) and "no TLS is spoken there" in out.stderr, out
