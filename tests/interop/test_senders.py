"""What other programs send over OTLP, in the store: as many spans and records as they say, and found by query."""
import json
import subprocess
import time

import pytest
from conftest import wait_for

GET_IT = "make interop (or scripts/interop_tools.sh BUILD all) builds it"


def spans_of(server, query):
    """Each span that the query finds, as (trace id, span). Tempo writes ids without leading zeros."""
    doc = server.json("/api/search", q=query, limit=1000, spss=100)
    return [(t["traceID"].zfill(32), s) for t in doc["traces"] for x in t.get("spanSets", [t.get("spanSet")]) for s in x["spans"]]


def records_of(server, query):
    now = time.time_ns()
    return server.lines(query, now - 3600 * 10**9, now + 60 * 10**9)


def value_of(server, query):
    (one,) = server.json("/api/v1/query", query=query)["data"]["result"]
    return float(one["value"][1])


@pytest.fixture(params=["grpc", "http/protobuf"])
def protocol(request):
    return request.param


def endpoint(server, protocol):
    return server.url(port="otlp-grpc" if protocol == "grpc" else "otlp-http")


# ---- telemetrygen ------------------------------------------------------------------------------------------------------------
def generate(tool, server, protocol, signal, *options):
    where = endpoint(server, protocol).removeprefix("http://")
    p = subprocess.run([tool("telemetrygen", GET_IT), signal, "--otlp-insecure", "--otlp-endpoint", where, "--rate", "0", *options,
                        *([] if protocol == "grpc" else ["--otlp-http"])], capture_output=True, text=True, timeout=60)
    return p.returncode, p.stdout + p.stderr


def test_traces_of_telemetrygen(server, tool, protocol):
    code, said = generate(tool, server, protocol, "traces", "--traces", "200", "--child-spans", "3", "--workers", "2", "--service", "tg",
                          "--status-code", "Error", "--span-links", "1", "--telemetry-attributes", 'kind="made"', "--otlp-attributes", 'zone="z-1"')
    assert code == 0, said
    got = wait_for(lambda: (lambda g: len(g) >= 1600 and g)(spans_of(server, '{ resource.service.name = "tg" && resource.zone = "z-1" && span.kind = "made" }')))
    assert len(got) == 2 * 200 * 4 and len({t for t, _ in got}) == 400
    assert len(spans_of(server, '{ resource.service.name = "tg" && status = error }')) == 1600
    trace = server.json(f"/api/traces/{got[0][0]}")
    assert sum(len(s["spans"]) for b in trace["batches"] for s in b["scopeSpans"]) == 4


def test_logs_of_telemetrygen(server, tool, protocol):
    code, said = generate(tool, server, protocol, "logs", "--logs", "600", "--service", "tg", "--body", "a line of telemetrygen",
                          "--severity-number", "17", "--severity-text", "Error", "--trace-id", "0af7651916cd43dd8448eb211c80319c",
                          "--span-id", "b7ad6b7169203331", "--telemetry-attributes", 'kind="made"')
    assert code == 0, said
    got = wait_for(lambda: (lambda g: len(g) >= 600 and g)(records_of(server, '{service_name="tg"}')))
    assert len(got) == 600 and {line for _, line in got} == {"a line of telemetrygen"}
    assert len(records_of(server, '{service_name="tg"} | trace_id="0af7651916cd43dd8448eb211c80319c" | kind="made"')) == 600


@pytest.mark.parametrize("kind", ["Gauge", "Sum", "Histogram", "ExponentialHistogram"])
def test_metrics_of_telemetrygen(server, tool, protocol, kind):
    code, said = generate(tool, server, protocol, "metrics", "--metrics", "20", "--metric-type", kind, "--service", "tg",
                          "--telemetry-attributes", 'kind="made"')
    assert code == 0, said
    name = {"Sum": "gen_total|gen", "Histogram": "gen_count"}.get(kind, "gen")
    selector = f'{{__name__=~"{name}",job="tg",kind="made"}}'
    wait_for(lambda: server.json("/api/v1/query", query=f"count({selector})")["data"]["result"])
    if kind == "ExponentialHistogram":
        assert value_of(server, f"sum(histogram_count({selector}))") > 0


# ---- OpenTelemetry's Rust SDK -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["grpc", "grpc gzip", "http/protobuf", "http/protobuf gzip", "http/json"])
def test_the_rust_sdk(server, tool, how):
    protocol, _, packing = how.partition(" ")
    p = subprocess.run([tool("otel-send", GET_IT), protocol, endpoint(server, protocol), "250", *packing.split()], capture_output=True, text=True,
                       timeout=60)
    assert p.returncode == 0, p.stderr[-2000:]
    told = json.loads(p.stdout.splitlines()[-1])
    assert (told["spans"], told["logs"]) == (500, 250) and not told["errors"], told
    assert value_of(server, 'sum(sent_traces_total{otel_scope_name="rust.scope"})') == 250
    got = wait_for(lambda: (lambda g: len(g) >= 250 and g)(spans_of(server, '{ name = "rust-child" && status = error && kind = client }')))
    assert len(got) == 250 and len({t for t, _ in got}) == 250
    assert len(spans_of(server, '{ name = "rust-parent" && span.n >= 100 && resource.service.name = "rust-sender" }')) == 150
    trace = got[0][0]
    spans = [s for b in server.json(f"/api/traces/{trace}")["batches"] for x in b["scopeSpans"] for s in x["spans"]]
    child = next(s for s in spans if s["name"] == "rust-child")
    assert len(spans) == 2 and child["events"][0]["name"] == "first_token" and len(child["links"]) == 1
    assert child["events"][0]["attributes"][0]["value"]["stringValue"] == 'ä\n"x"'
    lines = wait_for(lambda: (lambda g: len(g) >= 250 and g)(records_of(server, '{service_name="rust-sender"}')))
    assert sorted(line for _, line in lines) == sorted(f"line {i} of the Rust SDK" for i in range(250))
    assert len(records_of(server, f'{{service_name="rust-sender"}} | trace_id="{trace}"')) == 1


# ---- OpenTelemetry's Python SDK ---------------------------------------------------------------------------------------------
def python_exporters(protocol, server):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        return OTLPSpanExporter(endpoint=endpoint(server, protocol), insecure=True), OTLPLogExporter(endpoint=endpoint(server, protocol), insecure=True)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    base = endpoint(server, protocol)
    return OTLPSpanExporter(endpoint=base + "/v1/traces"), OTLPLogExporter(endpoint=base + "/v1/logs")


def test_the_python_sdk(server, protocol):
    pytest.importorskip("opentelemetry.sdk")
    import logging

    from opentelemetry import trace
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    spans, logs = python_exporters(protocol, server)
    resource = Resource.create({"service.name": "py-sender"})
    tracers, loggers = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs))
    log = logging.Logger("py.scope")
    log.addHandler(LoggingHandler(logger_provider=loggers))
    tracer = tracers.get_tracer("py.scope", "1.0")
    for i in range(200):
        with tracer.start_as_current_span("py-parent", kind=trace.SpanKind.SERVER):
            with tracer.start_as_current_span("py-child", attributes={"n": i}):
                log.warning("line %d of the Python SDK", i)
    tracers.shutdown()
    loggers.shutdown()
    got = wait_for(lambda: (lambda g: len(g) >= 200 and g)(spans_of(server, '{ name = "py-child" }')))
    assert len(got) == 200 and len(spans_of(server, '{ name = "py-parent" && kind = server }')) == 200
    lines = wait_for(lambda: (lambda g: len(g) >= 200 and g)(records_of(server, '{service_name="py-sender"}')))
    assert sorted(line for _, line in lines) == sorted(f"line {i} of the Python SDK" for i in range(200))
    assert len(records_of(server, f'{{service_name="py-sender"}} | trace_id="{got[0][0]}"')) == 1
