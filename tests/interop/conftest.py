"""Sonde beside programs of others, as they are: receivers and senders of OTLP, Prometheus. What is absent is skipped, and said.

scripts/interop_tools.sh gets Prometheus, telemetrygen and the Rust sender into BUILD/interop. The fixtures of ../blackbox serve here too.
"""
import concurrent.futures
import gzip
import http.server
import importlib.util
import pathlib
import socket
import sys
import threading
import zlib

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "blackbox"))
_spec = importlib.util.spec_from_file_location("blackbox_conftest", HERE.parent / "blackbox" / "conftest.py")
_blackbox = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_blackbox)
globals().update({k: v for k, v in vars(_blackbox).items() if not k.startswith("__")})


def free_port():
    """For programs that cannot be told to take a free port and say which."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="session")
def tool(build_dir):
    """Path of a program of others; skips the test where it is not there."""

    def find(name, how):
        p = build_dir / "interop" / name
        if not p.exists():
            pytest.skip(f"{name} is not in {p.parent}; {how}")
        return p

    return find


# ---- receivers of OTLP, made of opentelemetry-proto and grpcio ------------------------------------------------------------
class Receiver:
    """Keeps every request, decoded: .traces, .logs, .metrics."""

    def __init__(self):
        self.traces, self.logs, self.metrics, self.heads = [], [], [], []

    def spans(self):
        """[(resource attributes, scope name, span)]"""
        return [(attributes(r.resource), s.scope.name, span) for q in list(self.traces) for r in q.resource_spans for s in r.scope_spans
                for span in s.spans]

    def records(self):
        return [(attributes(r.resource), s.scope.name, x) for q in list(self.logs) for r in q.resource_logs for s in r.scope_logs
                for x in s.log_records]


def attributes(has):
    def value(v):
        kind = v.WhichOneof("value")
        return [value(x) for x in v.array_value.values] if kind == "array_value" else getattr(v, kind) if kind else None

    return {a.key: value(a.value) for a in has.attributes}


def _classes():
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as l
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as m
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as t
    return {"traces": (t.ExportTraceServiceRequest, t.ExportTraceServiceResponse), "logs": (l.ExportLogsServiceRequest, l.ExportLogsServiceResponse),
            "metrics": (m.ExportMetricsServiceRequest, m.ExportMetricsServiceResponse)}


class GrpcReceiver(Receiver):
    protocol = "grpc"

    def __init__(self):
        super().__init__()
        import grpc
        from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as l
        from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as m
        from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as t
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        for kind, base, add in (("traces", t.TraceServiceServicer, t.add_TraceServiceServicer_to_server),
                                ("logs", l.LogsServiceServicer, l.add_LogsServiceServicer_to_server),
                                ("metrics", m.MetricsServiceServicer, m.add_MetricsServiceServicer_to_server)):
            add(self._servicer(kind, base), self.server)
        self.url = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def _servicer(self, kind, base):
        keep, heads, answer = getattr(self, kind), self.heads, _classes()[kind][1]

        class Servicer(base):
            def Export(self, request, context):
                heads.append(dict(context.invocation_metadata()))
                keep.append(request)
                return answer()

        return Servicer()

    def stop(self):
        self.server.stop(0).wait()


class HttpReceiver(Receiver):
    protocol = "http/protobuf"

    def __init__(self):
        super().__init__()
        receiver, classes = self, _classes()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                data = self.rfile.read(int(self.headers["content-length"]))
                packing = self.headers.get("content-encoding", "identity")
                data = gzip.decompress(data) if packing == "gzip" else zlib.decompress(data) if packing == "deflate" else data
                kind = self.path.rsplit("/", 1)[1]
                assert self.path == f"/v1/{kind}" and self.headers["content-type"] == "application/x-protobuf"
                receiver.heads.append({k.lower(): v for k, v in self.headers.items()})
                getattr(receiver, kind).append(classes[kind][0].FromString(data))
                answer = classes[kind][1]().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(params=[GrpcReceiver, HttpReceiver], ids=["grpc", "http"])
def receiver(request):
    pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc")
    r = request.param()
    yield r
    r.stop()


# ---- a status server ----------------------------------------------------------------------------------------------------
class Status:
    """Where a worker's status server is: it says so in its second line."""

    def __init__(self, process):
        line = process.process.stdout.readline()
        assert line.startswith("status on http://127.0.0.1:"), line
        self.name, self.port = process.name, int(line.rsplit(":", 1)[1])


# ---- the example ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def trio(build_dir, tmp_path):
    """Starts frontend, prefill and decode worker; all are told to end afterwards."""
    from test_inference import Stack
    made = []

    def make(env=None, **options):
        made.append(Stack(build_dir, tmp_path, env=lambda name: {**(env or {}), "OTEL_SERVICE_NAME": name}, **options))
        return made[-1]

    yield make
    for s in made:
        s.stop()
