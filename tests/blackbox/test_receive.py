"""Receivers: what is accepted, refused and answered, over real sockets. A refused request must harm nothing else."""
import gzip
import json
import time

import pytest

from conftest import shared, wait_for

NOW = time.time_ns() // 10**9 * 10**9


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, wire, payload):
    return varint(number << 3 | wire) + (varint(len(payload)) + payload if wire == 2 else payload)


def text(number, value):
    return field(number, 2, value.encode() if isinstance(value, str) else value)


def attribute(key, value):
    return text(1, key) + text(2, text(1, value))


def span(name, trace=b"\1" * 16, sid=b"\2" * 8, start=NOW, end=NOW + 10**6):
    return (text(1, trace) + text(2, sid) + text(5, name) + field(7, 1, start.to_bytes(8, "little")) + field(8, 1, end.to_bytes(8, "little"))
            + text(9, attribute("x_request_id", "r-1")))


def traces(*spans, service="svc"):
    resource = text(1, text(1, attribute("service.name", service)))
    return text(1, resource + text(2, b"".join(text(2, s) for s in spans)))


PB = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}


def found(server, name="a"):
    return server.json("/api/search", q='{ name = "%s" }' % name)["traces"]


@pytest.mark.parametrize("path,body,headers,status,says", [
    ("/v1/traces", b"", PB, 200, b""),
    ("/v1/traces", traces(span("a"))[:-7], PB, 400, b"byte"),
    ("/v1/traces", b"\xff" * 40, PB, 400, b""),
    ("/v1/traces", traces(span("a")), {**PB, "Content-Encoding": "gzip"}, 400, b"gzip"),
    ("/v1/traces", gzip.compress(traces(span("a")))[:-9], {**PB, "Content-Encoding": "gzip"}, 400, b"gzip"),
    ("/v1/traces", traces(span("a")), {**PB, "Content-Encoding": "br"}, 415, b""),
    ("/v1/traces", traces(span("a")), {"Content-Type": "text/plain"}, 415, b"application/x-protobuf"),
    ("/v1/traces", b'{"resourceSpans": [', JSON, 400, b"byte"),
    ("/v1/traces", b'{"resourceSpans": 5}', JSON, 400, b"byte"),
    ("/v1/traces", b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":{}}]}]}]}', JSON, 400, b"byte"),
    ("/v1/logs", b"\x0a\xff\xff\xff\xff\x7f", PB, 400, b"byte"),
    ("/v1/logs", b"[]", JSON, 400, b"byte"),
    ("/loki/api/v1/push", b'{"streams":[{"stream":{"a":"b"},"values":[["1', JSON, 400, b"byte"),
    ("/loki/api/v1/push", b'{"streams":[{"stream":{"a":"b"},"values":[[1,"x"]]}]}', JSON, 400, b""),
    ("/loki/api/v1/push", b"not snappy at all", PB, 400, b"snappy"),
    ("/nothing/here", b"x", PB, 404, b""),
    ("/v1/traces", None, {}, 405, b""),
])
def test_bad_requests_get_the_documented_status_and_harm_nothing(server, path, body, headers, status, says):
    got, answer = server.call(path, body, headers)
    assert got == status, answer
    assert says in answer
    assert server.call("/v1/traces", traces(span("a")), PB)[0] == 200
    assert len(found(server)) == 1


def test_a_hundred_megabytes_are_refused(server):
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=30)
    try:
        c.request("POST", "/v1/traces", b"\0" * (100 << 20), PB)
        status = c.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server may close once it has said so and we go on sending
    assert status == 413
    assert server.call("/v1/traces", traces(span("a")), PB)[0] == 200


def test_a_gzip_bomb_is_refused(server):
    bomb = gzip.compress(b"\0" * (200 << 20), 9)
    status, answer = server.call("/v1/logs", bomb, {**PB, "Content-Encoding": "gzip"})
    assert status == 413, answer


def test_good_spans_are_kept_when_one_is_refused(server):
    body = traces(span("a"), span("bad", trace=b"\0" * 16), span("b", sid=b"\3" * 8))
    status, answer = server.call("/v1/traces", body, PB)
    assert status == 200 and b"1 of 3" in answer
    assert len(found(server, "a")) == 1 and len(found(server, "b")) == 1


@pytest.mark.parametrize("port", ["http", "otlp-http"])
def test_protobuf_json_and_gzip_are_equal(server, port):
    doc = {"resourceSpans": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "svc"}}]}, "scopeSpans": [{"spans": [
        {"traceId": "01" * 16, "spanId": "04" * 8, "name": "a", "kind": 2, "startTimeUnixNano": str(NOW), "endTimeUnixNano": NOW + 5}]}]}]}
    assert server.call("/v1/traces", json.dumps(doc).encode(), JSON, port=port) == (200, b"{}")
    assert server.call("/v1/traces", gzip.compress(traces(span("b"))), {**PB, "Content-Encoding": "gzip"}, port=port) == (200, b"")
    trace = server.json("/api/v2/traces/" + "01" * 16)["trace"]["resourceSpans"]
    assert sorted(s["name"] for r in trace for sc in r["scopeSpans"] for s in sc["spans"]) == ["a", "b"]


def test_a_request_sent_twice_is_stored_once(server):
    for _ in range(3):
        assert server.call("/v1/traces", traces(span("a")), PB)[0] == 200
        assert server.push({"app": "x"}, [(NOW, "one"), (NOW, "two"), (NOW, "one")])[0] == 204
    assert found(server)[0]["spanSets"][0]["matched"] == 1
    assert server.lines('{app="x"}', NOW - 1, NOW + 1) == [(NOW, "one"), (NOW, "two")]


def test_tenants_do_not_see_each_other(server):
    server.push({"app": "x"}, [(NOW, "mine")], tenant="t1")
    server.push({"app": "x"}, [(NOW, "yours")], tenant="t2")
    assert server.lines('{app="x"}', NOW - 1, NOW + 1, tenant="t1") == [(NOW, "mine")]
    assert server.lines('{app="x"}', NOW - 1, NOW + 1) == []
    status, answer = server.call("/loki/api/v1/push", b"{}", {**JSON, "X-Scope-OrgID": "a/b"})
    assert status == 400 and b"X-Scope-OrgID" in answer


def test_an_unmodified_opentelemetry_sdk_delivers(server):
    pytest.importorskip("opentelemetry.sdk")
    import logging
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    grpc, http = server.url(port="otlp-grpc"), server.url(port="otlp-http")
    ways = {"sdk-grpc": (GrpcSpans(endpoint=grpc, insecure=True), GrpcLogs(endpoint=grpc, insecure=True)),
            "sdk-http": (HttpSpans(endpoint=http + "/v1/traces"), HttpLogs(endpoint=http + "/v1/logs"))}
    for service, (spans, logs) in ways.items():
        resource = Resource.create({"service.name": service})
        tracing, logging_ = TracerProvider(resource=resource), LoggerProvider(resource=resource)
        tracing.add_span_processor(BatchSpanProcessor(spans))
        logging_.add_log_record_processor(BatchLogRecordProcessor(logs))
        logger = logging.Logger(service)
        logger.addHandler(LoggingHandler(logger_provider=logging_))
        with tracing.get_tracer("t").start_as_current_span("outer", attributes={"n": 7}) as outer:
            with tracing.get_tracer("t").start_as_current_span("inner"):
                logger.warning("something odd", extra={"worker": "w-1"})
        tracing.shutdown()
        logging_.shutdown()
        tid = format(outer.get_span_context().trace_id, "032x")
        got = server.json("/api/v2/traces/" + tid)["trace"]["resourceSpans"]
        assert sorted(s["name"] for r in got for sc in r["scopeSpans"] for s in sc["spans"]) == ["inner", "outer"]
        lines = wait_for(lambda: server.json("/loki/api/v1/query_range", query='{service_name="%s"} | worker="w-1"' % service)["data"]["result"])
        assert lines[0]["values"][0][1] == "something odd"
        assert lines[0]["stream"]["trace_id"] == tid


def test_every_record_of_a_real_dynamo_arrives(server):
    folder = shared("testdata/dynamo/otlp")
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    spans, logs = set(), 0
    for path in sorted(folder.glob("*.pb")):
        body = path.read_bytes()
        kind = "traces" if "traces" in path.name else "logs"
        assert server.call("/v1/" + kind, body, PB) == (200, b"")
        if kind == "traces":
            for r in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans |= {(s.trace_id.hex(), s.span_id) for sc in r.scope_spans for s in sc.spans}
        else:
            logs += sum(len(sc.log_records) for r in ExportLogsServiceRequest.FromString(body).resource_logs for sc in r.scope_logs)
    assert len(spans) > 60 and logs > 100
    got = 0
    for trace in {t for t, _ in spans}:
        doc = server.json("/api/v2/traces/" + trace)["trace"]["resourceSpans"]
        got += sum(len(sc["spans"]) for r in doc for sc in r["scopeSpans"])
    assert got == len(spans)
    doc = server.json("/loki/api/v1/query_range", query='{service_name=~".+"}', limit=5000, start=0, end=time.time_ns())
    assert sum(len(s["values"]) for s in doc["data"]["result"]) == logs


@pytest.mark.parametrize("folder", ["info-jsonl", "debug-jsonl-faults", "info-text"])
def test_every_console_line_of_a_real_dynamo_arrives(server, folder):
    for path in sorted(shared("testdata/dynamo/" + folder).glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()
        base = NOW - 10**9
        assert server.push({"job": path.stem}, [(base + i, line) for i, line in enumerate(lines)])[0] == 204
        got = server.lines('{job="%s"}' % path.stem, base, base + len(lines), limit=5000)
        assert [g[1] for g in got] == lines
        if "jsonl" in folder:
            want = sum(1 for x in lines if x.startswith("{") and json.loads(x).get("level") == "ERROR")
            got = server.lines('{job="%s"} | json | level="ERROR"' % path.stem, base, base + len(lines), limit=5000)
            assert len(got) == want
