"""Fixtures of the black-box tests: a private `sonde serve` on free ports with a temporary store, and small clients."""
import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"


def shared(path):
    """A path of the shared test data; skips the test, saying so, where it is absent."""
    p = SHARED / path
    if not p.exists():
        pytest.skip(f"needs {p}, which is not on this machine")
    return p


class Server:
    """A running `sonde serve`. kill() and start() keep the data directory and the ports."""

    def __init__(self, program, data, *options):
        self.program, self.data, self.options = str(program), str(data), list(options)
        self.ports = {"http": 0, "otlp-grpc": 0, "otlp-http": 0}
        self.process = None
        self.log = open(self.data + ".log", "ab")
        self.start()

    def start(self):
        argv = [self.program, "serve", "--data", self.data, *self.options]
        for name, port in self.ports.items():
            argv += [f"--{name}", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        found = dict(re.findall(r"(http|otlp-grpc|otlp-http) http://127\.0\.0\.1:(\d+)", line))
        assert len(found) == 3, f"unexpected first line: {line!r}, log: {open(self.data + '.log').read()[-2000:]}"
        self.ports = {k: int(v) for k, v in found.items()}

    def url(self, path="", port="http"):
        return f"http://127.0.0.1:{self.ports[port]}{path}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def call(self, path, body=None, headers=None, method=None, port="http", timeout=30):
        """(status, bytes); HTTP errors are answers, not exceptions."""
        r = urllib.request.Request(self.url(path, port), body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(r, timeout=timeout) as a:
                return a.status, a.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def get(self, path, headers=None, **params):
        query = urllib.parse.urlencode([(k, x) for k, v in params.items() for x in (v if isinstance(v, list) else [v])])
        status, body = self.call(path + ("?" + query if query else ""), headers=headers)
        return status, body

    def json(self, path, headers=None, **params):
        status, body = self.get(path, headers, **params)
        assert status == 200, (path, params, status, body[:500])
        return json.loads(body)

    def push(self, labels, values, tenant=None):
        """Loki push of [(ns, line)] or [(ns, line, metadata)]."""
        body = {"streams": [{"stream": labels, "values": [[str(v[0]), *v[1:]] for v in values]}]}
        headers = {"Content-Type": "application/json", **({"X-Scope-OrgID": tenant} if tenant else {})}
        return self.call("/loki/api/v1/push", json.dumps(body).encode(), headers)

    def lines(self, query, start, end, limit=5000, direction="forward", tenant=None):
        """[(ns, line)] over all streams, in time order."""
        headers = {"X-Scope-OrgID": tenant} if tenant else {}
        doc = self.json("/loki/api/v1/query_range", headers, query=query, start=start, end=end, limit=limit, direction=direction)
        return sorted((int(v[0]), v[1]) for s in doc["data"]["result"] for v in s["values"])


def wait_for(what, seconds=60, step=0.05):
    """The first truthy answer of what(); fails after that many seconds."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, f"nothing within {seconds} s"
        time.sleep(step)


@pytest.fixture(scope="session")
def build_dir():
    return pathlib.Path(os.environ.get("SONDE_BUILD", ROOT / "build")).resolve()


@pytest.fixture(scope="session")
def sonde_program(build_dir):
    return build_dir / "sonde"


@pytest.fixture
def server(sonde_program, tmp_path):
    s = Server(sonde_program, tmp_path / "data")
    yield s
    if s.process.poll() is None:
        assert s.stop() == 0, open(s.data + ".log").read()[-3000:]


@pytest.fixture
def cli(sonde_program, server):
    """Runs `sonde ARGS…` against the server: (exit code, stdout, stderr)."""

    def run(*args, timeout=30):
        p = subprocess.run([str(sonde_program), *map(str, args)], capture_output=True, text=True, timeout=timeout,
                           env=dict(os.environ, SONDE_URL=server.url(), NO_COLOR="1"))
        return p.returncode, p.stdout, p.stderr

    return run
