"""What libsonde exports, taken by receivers made of opentelemetry-proto and grpcio, and what it does when they fail."""
import concurrent.futures
import email.utils
import gzip
import http.server
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import ROOT, wait_for

BUILD = pathlib.Path(os.environ.get("SONDE_BUILD", ROOT / "build"))
HERE = pathlib.Path(__file__).resolve().parent
pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")

from google.protobuf import json_format  # noqa: E402
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs_pb, logs_service_pb2_grpc as logs_grpc  # noqa: E402
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb, metrics_service_pb2_grpc as metrics_grpc  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb, trace_service_pb2_grpc as trace_grpc  # noqa: E402

REQUEST = {"traces": trace_pb.ExportTraceServiceRequest, "logs": logs_pb.ExportLogsServiceRequest, "metrics": metrics_pb.ExportMetricsServiceRequest}
RESPONSE = {"traces": trace_pb.ExportTraceServiceResponse, "logs": logs_pb.ExportLogsServiceResponse, "metrics": metrics_pb.ExportMetricsServiceResponse}
ON = {"OTEL_EXPORT_ENABLED": "1", "OTEL_METRICS_EXPORTER": "otlp"}
HEX = {"traceId", "spanId", "parentSpanId"}


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    out = tmp_path_factory.mktemp("driver") / "driver"
    options = json.loads(subprocess.run(["meson", "introspect", "--buildoptions", str(BUILD)], check=True, capture_output=True).stdout)
    kind = next(o["value"] for o in options if o["name"] == "b_sanitize")
    kind = ",".join(kind) if isinstance(kind, list) else kind
    sanitize = [] if kind in ("none", "") else [f"-fsanitize={kind}"]  # its runtime must come first
    argv = ["gcc", *sanitize, "-std=gnu11", "-Wall", "-Wextra", "-O1", "-g", f"-I{ROOT}/include", str(HERE / "libsonde" / "export.c"), "-o", str(out),
            f"-L{BUILD}", "-lsonde", f"-Wl,-rpath,{BUILD}", "-pthread"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


class Ran:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds
        lines = out.splitlines()
        self.said = [(w[0], w[1] == "1", float(w[2])) for w in (l.split() for l in lines) if w and w[0] in ("flush", "shutdown", "signal_shutdown")]
        counts = [l.split()[1:] for l in lines if l.startswith("counts")]
        self.logs_sent, self.logs_dropped, self.spans_sent, self.spans_dropped = map(int, counts[0]) if counts else (None,) * 4


@pytest.fixture
def run(driver, tmp_path):
    def start(*commands, **env):
        base = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SONDE_", "DYN_"))}
        return subprocess.Popen([str(driver), *commands], env={**base, "SONDE_RING_DIR": str(tmp_path / "ring"), **env}, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")

    def go(*commands, **env):
        begun = time.monotonic()
        p = start(*commands, **env)
        out, err = p.communicate(timeout=60)
        return Ran(p.returncode, out, err, time.monotonic() - begun)

    go.start = start
    return go


def unhex(message):
    """OTLP's JSON has ids in hex, protobuf's mapping wants base64."""
    import base64
    if isinstance(message, dict):
        return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in HEX else unhex(v) for k, v in message.items()}
    return [unhex(x) for x in message] if isinstance(message, list) else message


def from_json(kind, data):
    return json_format.Parse(json.dumps(unhex(json.loads(data))), REQUEST[kind]())


class Http:
    """answers: what to do with the next requests, (status, headers, body); then all is well. decide: says it by the signal."""
    protocol = "http/protobuf"
    decide = None

    def __init__(self, context=None):
        self.got = {"traces": [], "logs": [], "metrics": [], "zipkin": []}
        self.heads, self.answers, self.times = [], [], []
        me = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                data = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    data = gzip.decompress(data)
                kind = "zipkin" if "spans" in self.path else self.path.rsplit("/", 1)[1]
                me.times.append(time.monotonic())
                me.heads.append({k.lower(): v for k, v in self.headers.items()} | {"path": self.path})
                answers = [me.decide(kind)] if me.decide else me.answers
                status, headers, body = answers.pop(0) if answers else (200, {}, None)
                is_json = self.headers["content-type"] == "application/json"
                if status == 200:
                    if kind == "zipkin":
                        me.got[kind] += json.loads(data)
                    else:
                        me.got[kind].append(from_json(kind, data) if is_json else REQUEST[kind].FromString(data))
                if body is None:
                    body = b"{}" if is_json else b""
                self.send_response(status)
                for k, v in ({"content-type": self.headers["content-type"]} | headers).items():
                    self.send_header(k, v)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Grpc:
    protocol = "grpc"

    def __init__(self, port=0):
        import grpc
        self.got, self.heads, self.answers, self.times = {"traces": [], "logs": [], "metrics": []}, [], [], []
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        trace_grpc.add_TraceServiceServicer_to_server(self.servicer("traces", trace_grpc.TraceServiceServicer), self.server)
        logs_grpc.add_LogsServiceServicer_to_server(self.servicer("logs", logs_grpc.LogsServiceServicer), self.server)
        metrics_grpc.add_MetricsServiceServicer_to_server(self.servicer("metrics", metrics_grpc.MetricsServiceServicer), self.server)
        self.port = self.server.add_insecure_port(f"127.0.0.1:{port}")
        self.url = f"http://127.0.0.1:{self.port}"
        self.server.start()

    def servicer(self, kind, base):
        me = self

        class Servicer(base):
            def Export(self, request, context):
                me.times.append(time.monotonic())
                me.heads.append(dict(context.invocation_metadata()))
                answer = me.answers.pop(0) if me.answers else None
                if callable(answer):
                    answer(context)
                elif answer is not None:
                    return answer
                me.got[kind].append(request)
                return RESPONSE[kind]()

        return Servicer()

    def stop(self):
        self.server.stop(0).wait()


@pytest.fixture
def http_server():
    s = Http()
    yield s
    s.stop()


@pytest.fixture
def grpc_server():
    s = Grpc()
    yield s
    s.stop()


def to(server, **more):
    return {**ON, "OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_EXPORTER_OTLP_PROTOCOL": server.protocol, **more}


def value(v):
    kind = v.WhichOneof("value")
    return [value(x) for x in v.array_value.values] if kind == "array_value" else getattr(v, kind) if kind else None


def attrs(has):
    return {a.key: value(a.value) for a in has}


def records(server):
    return [x for q in server.got["logs"] for r in q.resource_logs for s in r.scope_logs for x in s.log_records]


def lines(server):
    return [r for r in records(server) if r.body.string_value == "line"]


def spans(server):
    return [(r, s, x) for q in server.got["traces"] for r in q.resource_spans for s in r.scope_spans for x in s.spans]


# ---- every field ----------------------------------------------------------------------------------------------------------
def check_resource(r):
    a = attrs(r.resource.attributes)
    assert a["service.name"] == "driver" and a["component"] == "decode" and a["rank"] == "0"
    assert a["telemetry.sdk.name"] == "sonde" and a["telemetry.sdk.language"] == "c" and a["telemetry.sdk.version"]
    assert a["process.pid"] > 1 and a["process.executable.name"] == "driver" and a["os.type"] == "linux" and a["host.arch"]
    assert a["service.instance.id"].endswith(f":{a['process.pid']}") and isinstance(a["process.command_args"], list)
    assert r.schema_url.startswith("https://opentelemetry.io/schemas/")


def check_spans(server):
    found = {x.name: (r, s, x) for r, s, x in spans(server)}
    r, scope, s = found["operation"]
    check_resource(r)
    assert (scope.scope.name, scope.scope.version, scope.schema_url) == ("my.tracer", "1.2", "https://example.org/schema/1")
    assert attrs(scope.scope.attributes) == {"scope.attr": "v"}
    assert s.trace_id == b"\xab" * 16 and s.parent_span_id == b"\xcd" * 8 and len(s.span_id) == 8 and s.kind == 2
    assert (s.start_time_unix_nano, s.end_time_unix_nano) == (1700000000000001000, 1700000000000004000)
    assert s.flags & 0x301 == 0x301  # sampled, the parent is remote
    a = attrs(s.attributes)
    assert {k: a[k] for k in ("text", "int", "double", "bool", "ints", "words", "bytes")} == {
        "text": "wört", "int": -5, "double": 1.5, "bool": True, "ints": [1, -2, 3], "words": ["a", "b"], "bytes": b"\0\1\2"}
    event, exception = s.events
    assert (event.name, event.time_unix_nano, attrs(event.attributes)) == ("first token", 1700000000000001500, {"token": "first", "n": 1})
    assert exception.name == "exception" and attrs(exception.attributes) == {
        "exception.type": "OutOfMemory", "exception.message": "no pages", "exception.stacktrace": "at f()"}
    (link,) = s.links
    assert link.trace_id == b"\xab" * 16 and link.span_id == b"\xee" * 8 and attrs(link.attributes) == {"link.n": 4}
    assert link.flags & 0x301 == 0x301
    assert (s.status.code, s.status.message) == (2, "gave up")
    assert (s.dropped_attributes_count, s.dropped_events_count, s.dropped_links_count) == (0, 0, 0)
    assert found["client call"][2].status.code == 1 and found["client call"][2].kind == 3
    return s


def check_records(server, span):
    (r,) = [x for x in records(server) if x.body.string_value == "failed"]
    for q in server.got["logs"]:
        for of in q.resource_logs:
            check_resource(of)
    assert (r.severity_number, r.severity_text) == (17, "ERROR")
    assert r.trace_id == span.trace_id and r.span_id == span.span_id and r.flags & 1
    assert 0 < r.time_unix_nano <= r.observed_time_unix_nano <= time.time_ns()
    assert r.event_name.startswith("event ") and "export.c:" in r.event_name
    a = attrs(r.attributes)
    assert {k: a[k] for k in ("worker", "big", "ms", "b", "list")} == {"worker": "w-1", "big": str(2**64 - 1), "ms": 2.5, "b": False, "list": [1, -2, 3]}
    assert "No such file" in a["cause"] and a["exception.type"] == "errno" and a["exception.message"] == a["cause"]


def check_metrics(server):
    found = {m.name: (r, s, m) for q in server.got["metrics"] for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics}
    r, scope, m = found["requests"]
    check_resource(r)
    assert (scope.scope.name, scope.scope.version, scope.schema_url) == ("my.meter", "3.4", "https://example.org/schema/2")
    assert (m.unit, m.description, m.sum.is_monotonic, m.sum.aggregation_temporality) == ("{request}", "all of them", True, 2)
    (p,) = m.sum.data_points
    assert p.as_int == 7 and attrs(p.attributes) == {"route": "/v1"} and 0 < p.start_time_unix_nano <= p.time_unix_nano
    (h,) = found["ttft"][2].histogram.data_points
    assert h.count == 2 and h.sum == 63 and sum(h.bucket_counts) == 2 and len(h.bucket_counts) == len(h.explicit_bounds) + 1


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_field_arrives(run, http_server, grpc_server, protocol, compression):
    server = grpc_server if protocol == "grpc" else http_server
    ran = run("everything", "shutdown:30000", **to(server, OTEL_EXPORTER_OTLP_PROTOCOL=protocol, OTEL_EXPORTER_OTLP_COMPRESSION=compression,
                                                  OTEL_EXPORTER_OTLP_HEADERS="x-tenant=team%201"))
    assert ran.code == 0 and ran.said == [("shutdown", True, ran.said[0][2])], ran.err
    check_records(server, check_spans(server))
    check_metrics(server)
    for h in server.heads:
        assert h["user-agent"].startswith("OTel-OTLP-Exporter-C/") and h["x-tenant"] == "team 1"
        if protocol != "grpc":
            assert h["content-type"] == ("application/json" if protocol == "http/json" else "application/x-protobuf")
            assert h.get("content-encoding", "none") == compression
    assert (ran.logs_dropped, ran.spans_dropped, ran.spans_sent) == (0, 0, 2)


def test_each_signal_has_settings_of_its_own(run, http_server, grpc_server):
    other = Http()
    ran = run("everything", "shutdown:30000", **ON, OTEL_EXPORTER_OTLP_ENDPOINT=grpc_server.url,
              OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=http_server.url + "/custom/logs", OTEL_EXPORTER_OTLP_LOGS_PROTOCOL="http/json",
              OTEL_EXPORTER_OTLP_LOGS_HEADERS="only=logs", OTEL_EXPORTER_OTLP_HEADERS="generic=1", OTEL_EXPORTER_OTLP_LOGS_COMPRESSION="gzip",
              OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=other.url + "/v1/metrics", OTEL_EXPORTER_OTLP_METRICS_PROTOCOL="http/protobuf")
    other.stop()
    assert ran.said[0][1], ran.err
    check_records(http_server, check_spans(grpc_server))
    check_metrics(other)
    assert {h["path"] for h in http_server.heads} == {"/custom/logs"} and all(h["only"] == "logs" and "generic" not in h for h in http_server.heads)
    assert all(h["generic"] == "1" for h in grpc_server.heads)
    assert not grpc_server.got["logs"] and not http_server.got["traces"]


def test_limits_of_log_records(run, grpc_server):
    run("everything", "shutdown:30000", **to(grpc_server), OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT="3", OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT="2")
    (r,) = [x for x in records(grpc_server) if x.body.string_value == "failed"]
    assert len(r.attributes) == 3 and r.dropped_attributes_count == 5
    assert attrs(r.attributes)["worker"] == "w-"


def test_sdk_disabled_and_none(run, grpc_server):
    for env in ({"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}):
        ran = run("everything", "shutdown:30000", **{**to(grpc_server), **env})
        assert ran.said[0][1] and not any(grpc_server.got.values())


def test_metrics_at_an_interval(run, grpc_server):
    run("everything", "sleep:900", **to(grpc_server), OTEL_METRIC_EXPORT_INTERVAL="200")
    times = [p.time_unix_nano for q in grpc_server.got["metrics"] for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics
             if m.name == "requests" for p in m.sum.data_points]
    assert 4 <= len(times) <= 7 and times == sorted(times)


def test_how_metrics_are_aggregated(run, grpc_server):
    for env, temporality, kind in (({}, 2, "histogram"), ({"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}, 1, "histogram"),
                                   ({"OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "base2_exponential_bucket_histogram"}, 2,
                                    "exponential_histogram")):
        grpc_server.got["metrics"].clear()
        run("everything", "shutdown:30000", **to(grpc_server), **env)
        (m,) = [m for q in grpc_server.got["metrics"] for r in q.resource_metrics for s in r.scope_metrics for m in s.metrics if m.name == "ttft"]
        assert m.WhichOneof("data") == kind and getattr(m, kind).aggregation_temporality == temporality, (env, m)


def test_metrics_that_cannot_go_are_left_behind(run):
    """Each reading ends with its own timeout; the next one goes out when the collector is there."""
    hangs, port = dead_port()
    hangs.listen(8)
    p = run.start("everything", "sleep:2000", "flush:1", "go", "shutdown:30000", OTEL_METRICS_EXPORTER="otlp",
                  OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}", OTEL_METRIC_EXPORT_INTERVAL="400", OTEL_METRIC_EXPORT_TIMEOUT="200")
    assert p.stdout.readline().startswith("flush")
    hangs.close()
    begun = time.time_ns()
    server = Grpc(port)
    wait_for(lambda: len(server.got["metrics"]) >= 2)
    out, err = p.communicate("go\n", timeout=60)
    server.stop()
    assert "shutdown 1" in out and err.count("collector unreachable") == 1 and err.count("collector reachable again") == 1, err
    at = [m.sum.data_points[0].time_unix_nano for q in server.got["metrics"] for r in q.resource_metrics for s in r.scope_metrics
          for m in s.metrics if m.name == "requests"]
    assert len(at) >= 2 and len([t for t in at if t < begun]) <= 2, (begun, at)  # one under way and that of the flush


# ---- other exporters --------------------------------------------------------------------------------------------------------
def test_console_file_and_stdout(run, tmp_path):
    path = tmp_path / "out.jsonl"
    ran = run("everything", "shutdown:30000", OTEL_TRACES_EXPORTER="console,otlp/file", OTEL_LOGS_EXPORTER="otlp/stdout, otlp/file",
              OTEL_METRICS_EXPORTER="otlp/file", SONDE_OTLP_FILE=str(path))
    assert ran.said[0][1], ran.err
    kept = Http()
    for line in path.read_text().splitlines():
        kind = {"resourceSpans": "traces", "resourceLogs": "logs", "resourceMetrics": "metrics"}[next(iter(json.loads(line)))]
        kept.got[kind].append(from_json(kind, line))
    kept.stop()
    check_records(kept, check_spans(kept))
    check_metrics(kept)
    console = [l for l in ran.out.splitlines() if l.startswith("span ")]
    assert len(console) == 2 and json.loads(console[0].split(" ", 2)[2])["name"] == "operation"
    stdout = [json.loads(l) for l in ran.out.splitlines() if l.startswith('{"resourceLogs"')]
    assert "failed" in json.dumps(stdout)


def test_the_file_rotates(run, tmp_path):
    run("logs:2000", "flush:20000", "logs:2000", "flush:20000", "logs:2000", "flush:20000", OTEL_LOGS_EXPORTER="otlp/file",
        SONDE_OTLP_FILE=str(tmp_path / "{signal}.jsonl"), SONDE_OTLP_FILE_BYTES="200000", SONDE_OTLP_FILE_KEEP="2")
    assert sorted(p.name for p in tmp_path.glob("*.jsonl*")) == ["logs.jsonl", "logs.jsonl.1", "logs.jsonl.2"]
    for p in tmp_path.glob("logs*"):
        for line in p.read_text().splitlines():
            from_json("logs", line)


def test_zipkin(run, http_server):
    ran = run("everything", "shutdown:30000", OTEL_TRACES_EXPORTER="zipkin", OTEL_EXPORTER_ZIPKIN_ENDPOINT=http_server.url + "/api/v2/spans")
    assert ran.said[0][1], ran.err
    s = {x["name"]: x for x in http_server.got["zipkin"]}
    op, call = s["operation"], s["client call"]
    assert op["traceId"] == "ab" * 16 and op["parentId"] == "cd" * 8 and len(op["id"]) == 16
    assert op["kind"] == "SERVER" and call["kind"] == "CLIENT"
    assert op["timestamp"] == 1700000000000001 and op["duration"] == 3 and call["duration"] == 1
    assert op["localEndpoint"] == {"serviceName": "driver"} and call["remoteEndpoint"] == {"serviceName": "kv-store"}
    t = op["tags"]
    assert t["bool"] == "true" and t["int"] == "-5" and t["double"] == "1.5" and t["ints"] == "[1,-2,3]" and t["words"] == '["a","b"]'
    assert t["bytes"] == "AAEC" and t["text"] == "w\u00f6rt"
    assert t["otel.status_code"] == "ERROR" and t["error"] == "gave up"
    assert call["tags"]["otel.status_code"] == "OK" and "error" not in call["tags"]
    assert t["otel.scope.name"] == t["otel.library.name"] == "my.tracer" and t["otel.scope.version"] == t["otel.library.version"] == "1.2"
    first = op["annotations"][0]
    assert first["timestamp"] == 1700000000000001 and first["value"] == '"first token": {"token":"first","n":1}'


def proto(data):
    """Fields of a protobuf message: {number: [values]}; bytes stay bytes."""
    out, i = {}, 0

    def number():
        nonlocal i
        n = shift = 0
        while True:
            b = data[i]
            i += 1
            n |= (b & 127) << shift
            shift += 7
            if b < 128:
                return n

    while i < len(data):
        key = number()
        if key & 7 == 0:
            v = number()
        elif key & 7 == 1:
            v, i = int.from_bytes(data[i:i + 8], "little"), i + 8
        else:
            n = number()
            v, i = data[i:i + n], i + n
        out.setdefault(key >> 3, []).append(v)
    return out


class Thrift:
    """Reads the binary protocol: structs as {field: value}, lists as lists."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data)
        return self.data[self.at - n:self.at]

    def number(self, n):
        return int.from_bytes(self.take(n), "big", signed=True)

    def value(self, kind):
        if kind in (6, 8, 10):
            return self.number({6: 2, 8: 4, 10: 8}[kind])
        if kind == 11:
            return self.take(self.number(4))
        if kind == 15:
            kind = self.number(1)
            return [self.value(kind) for _ in range(self.number(4))]
        assert kind == 12, kind
        out = {}
        while kind := self.number(1):
            field = self.number(2)
            out[field] = self.value(kind)
        return out


def zipkin_json(data):
    return [dict(s, annotations=[(a["timestamp"], a["value"]) for a in s["annotations"]], localEndpoint=s["localEndpoint"]["serviceName"],
                 remoteEndpoint=s.get("remoteEndpoint", {}).get("serviceName")) for s in json.loads(data)]


def zipkin_protobuf(data):
    out = []
    for s in map(proto, proto(data)[1]):
        host = [proto(s[n][0])[1][0].decode() if n in s else None for n in (8, 9)]
        span = {"traceId": s[1][0].hex(), "id": s[3][0].hex(), "name": s[5][0].decode(), "timestamp": s[6][0], "duration": s[7][0],
                "localEndpoint": host[0], "remoteEndpoint": host[1], "annotations": [(a[1][0], a[2][0].decode()) for a in map(proto, s.get(10, []))],
                "tags": {t[1][0].decode(): t[2][0].decode() for t in map(proto, s[11])}}
        span |= {"parentId": s[2][0].hex()} if 2 in s else {}
        span |= {"kind": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"][s[4][0] - 1]} if 4 in s else {}
        out.append(span)
    return out


def zipkin_v1(spans):
    """v1 as v2: spans with annotations (time, value, host) and binary ones (key, value, host)."""
    pairs = {("sr", "ss"): "SERVER", ("cs", "cr"): "CLIENT"}
    for s in spans:
        notes = s["annotations"]
        assert all(host == s["localEndpoint"] for _, _, host in notes)
        kind = pairs.get(tuple(v for _, v, _ in notes[:2]))
        if kind:
            assert notes[0][0] == s["timestamp"] and notes[1][0] == s["timestamp"] + s["duration"]
            s["kind"] = kind
        s["annotations"] = [(t, v) for t, v, _ in (notes[2:] if kind else notes)]
        s["remoteEndpoint"] = next((host for k, v, host in s["tags"] if (k, v) == ("sa", True)), None)
        s["tags"] = {k: v for k, v, _ in s["tags"] if v is not True}
    return spans


def zipkin_v1_json(data):
    def host(x):
        return x["endpoint"]["serviceName"]
    return zipkin_v1([{k: v for k, v in s.items() if k != "binaryAnnotations"} | {
        "localEndpoint": host(s["binaryAnnotations"][0]), "annotations": [(a["timestamp"], a["value"], host(a)) for a in s["annotations"]],
        "tags": [(b["key"], b["value"], host(b)) for b in s["binaryAnnotations"]]} for s in json.loads(data)])


def zipkin_v1_thrift(data):
    def unsigned(n):
        return f"{n & (1 << 64) - 1:016x}"
    r, out = Thrift(data), []
    for s in r.value(15):
        tags = [(b[1].decode(), b[2].decode() if b[3] == 6 else b[2] == b"\1", b[4][3].decode()) for b in s[8]]
        out.append({"traceId": unsigned(s[12]) + unsigned(s[1]), "id": unsigned(s[4]), "name": s[3].decode(), "timestamp": s[10], "duration": s[11],
                    "localEndpoint": tags[0][2], "tags": tags, "annotations": [(a[1], a[2].decode(), a[3][3].decode()) for a in s[6]]}
                   | ({"parentId": unsigned(s[5])} if 5 in s else {}))
    assert r.at == len(data)
    return zipkin_v1(out)


@pytest.mark.parametrize("form, path, content_type, read", [("protobuf", "/api/v2/spans", "application/x-protobuf", zipkin_protobuf),
                                                            ("v1/json", "/api/v1/spans", "application/json", zipkin_v1_json),
                                                            ("v1/thrift", "/api/v1/spans", "application/x-thrift", zipkin_v1_thrift)])
def test_zipkin_forms(run, form, path, content_type, read):
    """Each form says what v2 as JSON says."""
    got = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.headers["content-type"], self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for word, to_path in (("json", "/api/v2/spans"), (form, path)):
            ran = run("everything", "shutdown:30000", OTEL_TRACES_EXPORTER="zipkin", OTEL_EXPORTER_ZIPKIN_PROTOCOL=word,
                      OTEL_EXPORTER_ZIPKIN_ENDPOINT=f"http://127.0.0.1:{server.server_port}{to_path}")
            assert ran.said[0][1], ran.err
    finally:
        server.shutdown()
        server.server_close()
    assert [g[:2] for g in got] == [("/api/v2/spans", "application/json"), (path, content_type)]
    want, have = zipkin_json(got[0][2]), read(got[1][2])
    for s in want + have:
        assert len(s.pop("id")) == 16 and len(s["traceId"]) == 32  # ids of its own in each run
        assert s["annotations"].pop()[1].startswith('"exception": {') if s["kind"] == "SERVER" else not s["annotations"]  # at the time it was made
    assert len(want) == 2 and have == want


# ---- sampling by Jaeger -----------------------------------------------------------------------------------------------
class Jaeger:
    """Shares that are answered one after the other, the last for good; None: an error."""

    def __init__(self, kind, *shares):
        import grpc
        import struct
        self.asked, shares, me = [], list(shares), self

        def share(service):
            me.asked.append(service)
            return shares.pop(0) if len(shares) > 1 else shares[0]

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                path, _, query = self.path.partition("?service=")
                s = share(query) if path == "/sampling" else None
                body = json.dumps({"strategyType": "PROBABILISTIC", "probabilisticSampling": {"samplingRate": s}}).encode()
                self.send_response(503 if s is None else 200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        def strategy(request, context):
            assert request[0] == 0x0a and request[1] == len(request) - 2
            s = share(request[2:].decode())
            if s is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
            return bytes([0x12, 9, 9]) + struct.pack("<d", s)

        if kind == "http":
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.server.daemon_threads = True
            self.endpoint = f"http://127.0.0.1:{self.server.server_port}/sampling"
            threading.Thread(target=self.server.serve_forever, daemon=True).start()
            self.stop = lambda: (self.server.shutdown(), self.server.server_close())
        else:
            method = grpc.unary_unary_rpc_method_handler(strategy)
            self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
            self.server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("jaeger.api_v2.SamplingManager", {"GetSamplingStrategy": method})])
            self.endpoint = f"http://127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
            self.server.start()
            self.stop = lambda: self.server.stop(0).wait()


@pytest.mark.parametrize("kind", ["grpc", "http"])
def test_jaeger_remote_sampler(run, kind):
    jaeger = Jaeger(kind, None, None, 1.0, 1.0, 1.0, 0.0)
    try:
        ran = run("until_sampled:0", "until_sampled:1", "until_sampled:0", "shutdown:3000", OTEL_TRACES_SAMPLER="parentbased_jaeger_remote",
                  OTEL_TRACES_SAMPLER_ARG=f"endpoint={jaeger.endpoint},pollingIntervalMs=50,initialSamplingRate=0")
    finally:
        jaeger.stop()
    assert ran.code == 0 and ran.out.count(" 1 ") == 4, ran.out
    assert len(jaeger.asked) >= 6 and set(jaeger.asked) == {"driver"}
    assert ran.err.count("sampling strategy does not arrive") == 1 and ran.err.count("sampling strategy arrives again") == 1, ran.err


def test_a_sampler_that_hangs_holds_nobody_up(run):
    with socket.create_server(("127.0.0.1", 0)) as s:
        ran = run("spans:10", "shutdown:3000", "fork", OTEL_TRACES_SAMPLER="jaeger_remote",
                  OTEL_TRACES_SAMPLER_ARG=f"endpoint=http://127.0.0.1:{s.getsockname()[1]},initialSamplingRate=1")
    assert ran.code == 0 and ran.seconds < 4.5, ran.seconds  # a request may take 5 s


# ---- trouble -----------------------------------------------------------------------------------------------------------------
def retry_info(seconds):
    """google.rpc.Status with RetryInfo, by hand."""
    nanos = int(seconds % 1 * 1e9)
    duration = b"\x08" + bytes([int(seconds)]) + (b"\x10" + varint(nanos) if nanos else b"")
    info = b"\x0a" + bytes([len(duration)]) + duration
    any_ = b"\x0a" + bytes([40]) + b"type.googleapis.com/google.rpc.RetryInfo" + b"\x12" + bytes([len(info)]) + info
    return b"\x08\x08" + b"\x1a" + bytes([len(any_)]) + any_


def varint(n):
    out = b""
    while n >= 128:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def abort(code, info=None):
    def answer(context):
        if info:
            context.set_trailing_metadata((("grpc-status-details-bin", info),))
        context.abort(code, "not now")
    return answer


def test_throttling_is_honoured(run, http_server):
    for form in ("seconds", "date"):
        until = []

        def refuse(kind):
            if until:
                return 200, {}, None
            until.append(int(time.time()) + 3)
            return 503, {"retry-after": "3" if form == "seconds" else email.utils.formatdate(until[0], usegmt=True)}, b""

        http_server.decide = refuse
        http_server.times.clear()
        http_server.got["logs"].clear()
        ran = run("logs:5", "shutdown:30000", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"})
        assert ran.said[0][1] and len(lines(http_server)) == 5 and ran.logs_dropped == 0
        assert http_server.times[1] - http_server.times[0] >= (3 if form == "seconds" else 1.9), form  # a date has whole seconds


def test_retry_info_is_honoured(run, grpc_server):
    import grpc
    grpc_server.answers[:] = [abort(grpc.StatusCode.RESOURCE_EXHAUSTED, retry_info(1.5))]
    ran = run("logs:5", "shutdown:30000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    assert ran.said[0][1] and grpc_server.times[1] - grpc_server.times[0] >= 1.5
    assert len(lines(grpc_server)) == 5


def test_which_grpc_codes_are_tried_again(run, grpc_server):
    import grpc
    again = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        grpc_server.got["logs"].clear()
        grpc_server.answers[:] = [abort(code)]
        run("logs:1", "shutdown:30000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
        assert (len(lines(grpc_server)) == 1) == (code.name in again), code


def test_which_http_codes_are_tried_again(run, http_server):
    for status in (400, 401, 404, 408, 413, 415, 429, 500, 501, 502, 503, 504):
        http_server.got["logs"].clear()
        http_server.answers[:] = [(status, {}, b"garbage \xff")]
        ran = run("logs:1", "shutdown:30000", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"})
        assert (len(lines(http_server)) == 1) == (status in (429, 502, 503, 504)), status
        assert ran.logs_dropped >= (0 if status in (429, 502, 503, 504) else 1)


def test_partial_success_is_told_and_not_tried_again(run, http_server, grpc_server):
    part = logs_pb.ExportLogsServiceResponse()
    part.partial_success.rejected_log_records, part.partial_success.error_message = 2, "too old"
    cases = ((grpc_server, {}, part), (http_server, {}, (200, {}, part.SerializeToString())),
             (http_server, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
              (200, {}, b'{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"too old"}}')))
    for server, env, answer in cases:
        server.answers[:] = [answer]
        server.times.clear()
        ran = run("logs:5", "shutdown:30000", **{**to(server), "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", **env})
        assert "took a batch in part" in ran.err and "rejected=2" in ran.err and "too old" in ran.err, ran.err
        assert ran.logs_dropped == 2 and 3 <= ran.logs_sent <= 4 and len(server.times) <= 2  # the line about it may be sent, too


def test_response_limit(run, http_server):
    http_server.answers[:] = [(200, {}, b"\0" * 100_000)]
    ran = run("logs:2", "shutdown:3000", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"}, SONDE_OTLP_MAX_RESPONSE="10000")
    assert "larger than 10000 bytes" in ran.err and ran.logs_dropped >= 2


def test_requests_are_split(run, http_server):
    ran = run("logs:3000", "shutdown:30000", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"}, SONDE_OTLP_MAX_REQUEST="20000")
    assert ran.said[0][1] and len(lines(http_server)) == 3000
    assert all(int(h["content-length"]) <= 20000 for h in http_server.heads) and len(http_server.heads) > 10


def test_several_requests_in_flight(run, grpc_server):
    most, now = [0], [0]

    def slow(context):
        now[0] += 1
        most[0] = max(most[0], now[0])
        time.sleep(0.3)
        now[0] -= 1

    grpc_server.answers[:] = [slow] * 8
    ran = run("logs:4000", "shutdown:30000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"}, SONDE_OTLP_CONCURRENCY="4",
              OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="500")
    assert ran.said[0][1] and len(lines(grpc_server)) == 4000 and most[0] >= 3


def dead_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s, s.getsockname()[1]


def test_destinations_do_not_wait_for_each_other(run, http_server):
    hangs, port = dead_port()
    hangs.listen(8)
    p = run.start("logs:10", "sleep:1500", "shutdown:300", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"},
                  SONDE_OTLP_ENDPOINTS=f"http://127.0.0.1:{port}")
    until = time.monotonic() + 1.4
    while time.monotonic() < until and len(lines(http_server)) < 10:
        time.sleep(0.02)
    assert len(lines(http_server)) == 10
    p.communicate(timeout=20)
    hangs.close()


def garbage_server():
    """Accepts, answers nonsense, closes."""
    s, port = dead_port()
    s.listen(16)

    def serve():
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            try:
                c.sendall(b"\x16\x03\x01 220 welcome\r\n\r\n")
                c.close()
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    return s, port


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("how", ["refuses", "hangs", "garbage", "no such host"])
def test_the_host_does_not_wait_longer_than_it_says(run, protocol, how):
    s, port = garbage_server() if how == "garbage" else dead_port()
    if how == "hangs":
        s.listen(8)
    host = "no-such-host.invalid" if how == "no such host" else "127.0.0.1"
    ran = run("logs:200", "spans:10", "flush:500", "logs:200", "shutdown:700", OTEL_EXPORT_ENABLED="1", OTEL_METRICS_EXPORTER="otlp",
              OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{host}:{port}", OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    s.close()
    assert ran.code == 0 and [x[:2] for x in ran.said] == [("flush", False), ("shutdown", False)], (ran.said, ran.err)
    assert ran.said[0][2] < 5 and ran.said[1][2] < 5, ran.said  # a request alone may take 10 s; the machine may be loaded
    assert ran.logs_dropped >= 400 and ran.spans_dropped == 10
    assert ran.err.count(": line i=") == 400 and ran.err.count("collector unreachable") <= 1


def test_it_goes_and_comes_back(run):
    server = Grpc()
    p = run.start("logs:10", "flush:30000", "go", "logs:10", "flush:1500", "logs:10", "go", "logs:10", "shutdown:30000",
                  **{**to(server), "OTEL_METRICS_EXPORTER": "none"})
    assert p.stdout.readline().startswith("flush 1")
    server.stop()
    p.stdin.write("go\n")
    p.stdin.flush()
    assert p.stdout.readline().startswith("flush 0")
    second = Grpc(server.port)
    out, err = p.communicate("go\n", timeout=60)
    second.stop()
    assert err.count("collector unreachable") == 1 and err.count("collector reachable again") == 1, err
    assert len(lines(server)) + len(lines(second)) == 40 and "shutdown 1" in out


def test_an_answer_that_comes_late_is_no_news(run, http_server):
    """The log records' first request is refused only when the spans' second one has found the collector again."""
    logs_are_there, back = threading.Event(), threading.Event()
    seen = {"logs": 0, "traces": 0}

    def decide(kind):
        seen[kind] += 1
        if seen[kind] > 1:
            return 200, {}, None
        if kind == "logs":
            logs_are_there.set()
            assert back.wait(30)
        else:
            assert logs_are_there.wait(30)
        return 503, {}, None

    http_server.decide = decide
    p = run.start("logs:1", "spans:1", "flush:30000", "shutdown:30000", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"},
                  OTEL_EXPORTER_OTLP_TIMEOUT="60000")
    err = ""
    for line in p.stderr:
        err += line
        if "reachable again" in line:
            back.set()
    out = p.stdout.read()
    assert p.wait(60) == 0 and "shutdown 1" in out, (out, err)
    assert seen["logs"] >= 2 and err.count("collector unreachable") == 1 and err.count("collector reachable again") == 1, err


def test_batches_by_count_and_delay(run, grpc_server):
    off = {"OTEL_METRICS_EXPORTER": "none"}
    run("logs:100", "spans:100", "shutdown:30000", **{**to(grpc_server), **off}, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="10", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="25")
    sizes = [sum(len(s.log_records) for r in q.resource_logs for s in r.scope_logs) for q in grpc_server.got["logs"]]
    assert max(sizes) == 10 and sum(sizes) == 100
    sizes = [sum(len(s.spans) for r in q.resource_spans for s in r.scope_spans) for q in grpc_server.got["traces"]]
    assert max(sizes) == 25 and sum(sizes) == 100
    for kind, prefix, step in (("logs", "BLRP", "logs:1"), ("traces", "BSP", "spans:1")):
        grpc_server.got[kind].clear()
        p = run.start(step, "go", **{**to(grpc_server), **off, f"OTEL_{prefix}_SCHEDULE_DELAY": "1200"})
        begun = time.monotonic()
        wait_for(lambda: grpc_server.got[kind], step=0.01)
        assert time.monotonic() - begun >= 1.1
        p.communicate("go\n", timeout=60)


def test_a_full_queue_drops_and_counts(run):
    s, port = dead_port()
    ran = run("logs:1000", "spans:1000", "sleep:500", "shutdown:300", OTEL_EXPORT_ENABLED="1", OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
              OTEL_BLRP_MAX_QUEUE_SIZE="100", OTEL_BSP_MAX_QUEUE_SIZE="200")
    s.close()
    assert ran.logs_dropped >= 1000 and ran.spans_dropped == 1000 and ran.err.count(": line i=") == 1000


def test_the_timeout_holds_for_one_export(run, http_server):
    def slow():
        time.sleep(2)

    class Late(list):
        def pop(self, i=-1):
            slow()
            return (200, {}, None)

        def __bool__(self):
            return True

    http_server.answers = Late()
    ran = run("logs:1", "sleep:2500", "shutdown:300", **{**to(http_server), "OTEL_METRICS_EXPORTER": "none"}, OTEL_EXPORTER_OTLP_TIMEOUT="400")
    assert len(http_server.times) >= 3 and "collector unreachable" in ran.err
    assert not ran.said[0][1] and ran.said[0][2] < 1.6
    http_server.answers = []


def test_half_open(run, grpc_server):
    """It answered once and then says nothing any more, the connection still there."""
    grpc_server.answers[:] = [lambda c: None] + [lambda c: time.sleep(3)] * 8
    ran = run("logs:5", "flush:20000", "logs:5", "flush:500", "shutdown:500", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    assert ran.said[0][1] and not ran.said[1][1] and ran.said[1][2] < 2.5 and ran.said[2][2] < 2.5 and ran.code == 0, ran.said


def test_killed_in_the_middle(run, grpc_server):
    p = run.start("logs:100000", "sleep:10000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    while not lines(grpc_server):
        time.sleep(0.01)
    p.kill()
    p.communicate()
    seen = [attrs(r.attributes)["i"] for r in lines(grpc_server)]
    assert sorted(seen) == list(range(len(seen)))  # whole requests, none twice
    ran = run("abort", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    assert ran.code == -6


def test_gzip_and_insecure_words(run, grpc_server):
    host = grpc_server.url[len("http://"):]
    off = {"OTEL_METRICS_EXPORTER": "none"}
    ran = run("logs:1", "shutdown:700", **{**to(grpc_server), **off, "OTEL_EXPORTER_OTLP_ENDPOINT": host})
    assert not ran.said[0][1] and not lines(grpc_server)  # without a scheme gRPC means TLS
    ran = run("logs:1", "shutdown:30000", **{**to(grpc_server), **off, "OTEL_EXPORTER_OTLP_ENDPOINT": host}, OTEL_EXPORTER_OTLP_INSECURE="true")
    assert ran.said[0][1] and len(lines(grpc_server)) == 1


def test_how_much_it_tells_of_itself(run):
    s, port = dead_port()
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}
    for level, told in (("info", True), ("WARN", True), ("nonsense", True), ("", True), ("error", False), ("none", False)):
        ran = run("logs:1", "shutdown:300", **env, OTEL_LOG_LEVEL=level)
        assert ("collector unreachable" in ran.err) == told and ("OTEL_BSP_MAX_QUEUE_SIZE" in ran.err) == told, (level, ran.err)
        assert "line i=0" in ran.err  # the program's own lines are another matter
    s.close()


def test_a_forked_child_exports_for_itself(run, grpc_server):
    run("logs:3", "fork", "shutdown:30000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    told = [r.body.string_value for r in records(grpc_server)]
    assert told.count("line") == 3 and told.count("in the child") == 1
    pids = {attrs(r.resource.attributes)["process.pid"] for q in grpc_server.got["logs"] for r in q.resource_logs}
    assert len(pids) == 2


def test_at_exit_what_is_pending_goes_out(run, grpc_server):
    ran = run("logs:50", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    assert ran.code == 0 and len(lines(grpc_server)) == 50


def test_one_signal_ends(run, grpc_server):
    ran = run("logs:5", "spans:5", "signal_shutdown:1", "logs:5", "spans:5", "shutdown:30000", **{**to(grpc_server), "OTEL_METRICS_EXPORTER": "none"})
    assert [x[1] for x in ran.said] == [True, True]
    assert len(lines(grpc_server)) == 5 and len(spans(grpc_server)) == 10


# ---- spool -------------------------------------------------------------------------------------------------------------------
def spooled(tmp_path):
    return sorted(p for p in (tmp_path / "spool").rglob("*.otlp"))


def test_the_next_process_sends_what_one_left(run, tmp_path):
    s, port = dead_port()
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "SONDE_SPOOL_DIR": str(tmp_path / "spool")}
    ran = run("logs:100", "spans:3", "shutdown:800", **env)
    assert ran.logs_dropped == 0 and ran.spans_dropped == 0 and len(spooled(tmp_path)) >= 2
    first = {p for p in spooled(tmp_path)}
    run("logs:20", "shutdown:800", **env)
    more = [p for p in spooled(tmp_path) if p not in first]
    assert more
    for p in more:  # what the second left is damaged
        data = bytearray(p.read_bytes())
        data[-1] ^= 1
        p.write_bytes(data)
    s.close()
    server = Grpc(port)
    ran = run("spans:1", "sleep:1500", "shutdown:3000", **env)
    server.stop()
    assert not spooled(tmp_path) and len(lines(server)) == 100 and len(spans(server)) == 4
    assert "damaged files removed" in ran.err


def test_the_spool_is_bounded_and_a_full_queue_goes_there(run, tmp_path):
    s, port = dead_port()
    env = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "SONDE_SPOOL_DIR": str(tmp_path / "spool"),
           "OTEL_BLRP_MAX_QUEUE_SIZE": "500", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE": "100", "OTEL_BLRP_SCHEDULE_DELAY": "10"}
    steps = ["logs:100", "sleep:50"] * 20
    ran = run(*steps, "shutdown:500", **env)
    assert ran.logs_dropped == 0 and len([p for p in spooled(tmp_path) if "logs-" in str(p)]) >= 20
    shutil.rmtree(tmp_path / "spool")
    ran = run(*steps, "shutdown:500", **env, SONDE_SPOOL_BYTES="50000")
    assert ran.logs_dropped > 0 and sum(p.stat().st_size for p in spooled(tmp_path)) <= 50000
    s.close()


# ---- TLS ----------------------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    d = tmp_path_factory.mktemp("tls")

    def openssl(*argv):
        done = subprocess.run(["openssl", *argv], cwd=d, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test ca")
    (d / "san").write_text("subjectAltName=IP:127.0.0.1")
    for name, days in (("server", "2"), ("client", "2"), ("expired", "-1")):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days, "-extfile", "san", "-out",
                f"{name}.pem")
    return d


def tls_server(d, name, client=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(d / f"{name}.pem", d / f"{name}.key")
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(d / "ca.pem")
    return Http(context)


def test_tls_and_client_certificates(run, certificates):
    d = certificates
    server = tls_server(d, "server", client=True)
    env = {**to(server), "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(d / "ca.pem")}
    ran = run("logs:5", "shutdown:3000", **env)
    assert not ran.said[0][1] and not lines(server)  # it wants a client certificate
    ran = run("logs:5", "shutdown:30000", **env, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=str(d / "client.pem"),
              OTEL_EXPORTER_OTLP_CLIENT_KEY=str(d / "client.key"))
    server.stop()
    assert ran.said[0][1] and len(lines(server)) == 5, ran.err


def test_an_expired_certificate(run, certificates):
    server = tls_server(certificates, "expired")
    ran = run("logs:5", "shutdown:2000", **to(server), OTEL_EXPORTER_OTLP_CERTIFICATE=str(certificates / "ca.pem"))
    server.stop()
    assert not ran.said[0][1] and "expired" in ran.err and ran.logs_dropped >= 5 and ran.said[0][2] < 8
