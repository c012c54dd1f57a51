"""A few lines of a user, and where they end up: a server, the ring."""
import pathlib
import signal
import subprocess
import sys
import time

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


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_metrics_are_in_the_server_beside_lines_and_spans(program, managed_process, sonde_server, protocol):
    where = {"http/protobuf": {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": protocol, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": sonde_server.otlp_url + "/v1/metrics"}}
    p = managed_process(program(PROGRAM + METRIC), "user", env={"OTEL_METRICS_EXPORTER": "otlp", **where.get(protocol, {})})
    assert p.process.wait(30) == 0
    sonde_server.assert_span("r-1", "handle_payload", tokens=5)
    sonde_server.assert_log("hello from python")
    found, end = [], time.monotonic() + 30
    while not found and time.monotonic() < end:
        found = sonde_server.get("/api/v1/query", query='{__name__=~".*handled_total"}')["data"]["result"]
    assert [float(series["value"][1]) for series in found] == [3], p.output()
