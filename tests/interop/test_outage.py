"""A collector that is not there, hangs, refuses or talks nonsense: requests are served all the same, and each process ends in time."""
import http.server
import re
import socket
import threading
import time

import pytest
from conftest import Status, free_port, wait_for
from test_inference import body, chat

EXIT_SECONDS = 9  # the library's bound is 2 s, beside what the event loop and a loaded machine take


class Hole:
    """Takes connections and says nothing."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.open = []
        threading.Thread(target=self.take, daemon=True).start()

    def take(self):
        try:
            while True:
                self.open.append(self.socket.accept()[0])
        except OSError:
            pass

    def stop(self):
        self.socket.close()
        for s in self.open:
            s.close()


class Answers:
    """Answers each request so, after some seconds."""

    def __init__(self, status, data=b"", seconds=0.0):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers["content-length"]))
                time.sleep(seconds)
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Absent:
    def __init__(self):
        self.url = f"http://127.0.0.1:{free_port()}"

    def stop(self):
        pass


COLLECTORS = {
    "absent": Absent,
    "silent": Hole,
    "slow": lambda: Answers(200, seconds=8),
    "refuses": lambda: Answers(400, b"no"),
    "overloaded": lambda: Answers(503),
    "nonsense": lambda: Answers(200, b"\xff\xfe{]garbage"),
    "unknown name": lambda: type("Nowhere", (), {"url": "http://no-such-host.invalid:4318", "stop": lambda self: None})(),
}


@pytest.mark.parametrize("kind,protocol", [*[(k, "http/protobuf") for k in COLLECTORS], ("absent", "grpc"), ("silent", "grpc"), ("refuses", "grpc")])
def test_requests_are_served_and_processes_end_in_time(trio, kind, protocol):
    collector = COLLECTORS[kind]()
    try:
        stack = trio({"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
                      "DYN_SYSTEM_PORT": "0"})
        pages = [Status(p) for p in stack.processes()]
        for i in range(20):
            assert chat(stack, body(4), {"x-request-id": f"o-{i}"})[0] == 200
        from test_inference import call
        for page in pages:  # what is lost is counted; nothing is said to have been taken
            text = call(page, "GET", "/metrics")[2].decode()
            sent = int(float(re.search(r"^sonde_export_spans_sent_total (\S+)", text, re.M)[1]))
            assert sent == 0 or kind == "nonsense"
        for p in stack.processes():
            began = time.monotonic()
            assert p.stop() == 0
            assert time.monotonic() - began < EXIT_SECONDS, p.name
        told = [r for _, r in stack.records() if r.get("target", "").startswith(("sonde", "opentelemetry")) and r["level"] in ("WARN", "ERROR")]
        assert len(told) <= 18, told
    finally:
        collector.stop()


def test_what_waited_arrives_when_the_collector_comes(trio, sonde_program, tmp_path):
    from conftest import Server
    server = Server(sonde_program, tmp_path / "data")
    endpoint = server.url(port="otlp-grpc")
    server.stop()
    stack = trio({"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    for i in range(5):
        assert chat(stack, body(4), {"x-request-id": f"late-{i}"})[0] == 200
    server.start()  # on the same ports
    try:
        def whole():
            import json
            got = [server.get(f"/api/sonde/v1/requests/late-{i}") for i in range(5)]
            return all(code == 200 and len(json.loads(doc)["services"]) == 3 for code, doc in got)

        wait_for(whole, 30)
    finally:
        server.stop()
