"""A few lines of a user, and where they end up: a server, the ring."""
import gzip
import http.server
import pathlib
import signal
import subprocess
import sys
import threading

import pytest

PROGRAM = """
import sonde, sonde.logging, sonde.metrics, logging
sonde.logging.configure("worker")
with sonde.request({"x-request-id": "r-1"}), sonde.span("handle_payload", kind="server", tokens=5):
    logging.getLogger("app").info("hello from %s", "python", extra={"ms": 1.5})
"""
METRIC = "sonde.metrics.runtime().metrics.create_intcounter('handled_total', 'Handled').inc_by(3)\n"
AUTO = """
import logging
log = logging.getLogger("app")
log.warning("untouched %s", "code")
"""


@pytest.fixture
def program(tmp_path):
    def write(source):
        (tmp_path / "user.py").write_text(source)
        return [sys.executable, str(tmp_path / "user.py")]
    return write


def test_lines_and_spans_are_in_the_server(program, managed_process, sonde_server):
    p = managed_process(program(PROGRAM), "user")
    assert p.process.wait(30) == 0
    sonde_server.assert_log("hello from python")
    sonde_server.assert_span("r-1", "handle_payload", tokens=5)


def test_auto_reaches_the_server(program, managed_process, sonde_server):
    p = managed_process(program(AUTO), "user", env={"SONDE_AUTO": "1", "OTEL_SERVICE_NAME": "auto"})
    assert p.process.wait(30) == 0
    line = sonde_server.assert_log("untouched code")
    assert "auto" in str(line)


@pytest.mark.parametrize("source,env", [(PROGRAM, {}), (AUTO, {"SONDE_AUTO": "1"})])
def test_the_ring_has_them_after_a_kill(program, tmp_path, monkeypatch, sonde_program, source, env):
    for k, v in {**env, "SONDE_RING_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(k, v)
    p = subprocess.run(program(source + "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"), capture_output=True)
    assert p.returncode == -signal.SIGKILL
    (ring,) = pathlib.Path(tmp_path).glob("*.ring")
    told = subprocess.run([sonde_program, "inspect", "ring", "-v", str(ring)], capture_output=True, text=True).stdout
    assert "hello from" in told or "untouched code" in told


@pytest.fixture
def receiver():
    """An OTLP receiver of metrics, for sonde serve stores none: (URL, bodies)."""
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append((self.path, gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", bodies
    server.shutdown()
    server.server_close()


def test_metrics_are_exported_beside_lines_and_spans(program, managed_process, sonde_server, receiver):
    url, bodies = receiver
    p = managed_process(program(PROGRAM + METRIC), "user", env={"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
                                                                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": url + "/v1/metrics"})
    assert p.process.wait(30) == 0
    sonde_server.assert_span("r-1", "handle_payload", tokens=5)
    assert any(path == "/v1/metrics" and b"handled_total" in body for path, body in bodies), (bodies, p.output())
