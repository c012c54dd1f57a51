"""OpenTelemetry's API on libsonde: both sides' spans in one trace."""
import importlib.util

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("opentelemetry") is None, reason="opentelemetry-api is not installed")
HEAD = """
import sonde.otel
from opentelemetry import trace, propagate, context, baggage
sonde.otel.install()
tracer = trace.get_tracer("my.instrumentation", "1.2")
"""


def test_what_their_spans_tell(go):
    out, (bad, outer), _ = go(HEAD + """
link = trace.Link(trace.SpanContext(0xabc, 0xdef, True, trace.TraceFlags(1), trace.TraceState([("k", "v")])), {"why": "retry"})
with tracer.start_as_current_span("outer", kind=trace.SpanKind.SERVER, attributes={"a": 1, "b": ["x", "y"]}, links=[link], start_time=10**18) as s:
    assert trace.get_current_span() is s and s.is_recording()
    s.set_attribute("c", 1.5); s.set_attributes({"d": True}); s.add_event("e", {"f": "g"}, timestamp=10**18 + 5); s.update_name("renamed")
    s.set_status(trace.Status(trace.StatusCode.OK))
    try:
        with tracer.start_as_current_span("bad", end_on_exit=True): raise ValueError("no")
    except ValueError: pass
    s.end(end_time=2 * 10**18)
assert not s.is_recording()
""")
    assert (outer["name"], outer["kind"], outer["startTimeUnixNano"], outer["endTimeUnixNano"], outer["status"]) == ("renamed", 2, str(10**18), str(2 * 10**18), {"code": 1})
    assert {k: outer["attributes"][k] for k in "acd"} == {"a": "1", "c": 1.5, "d": True}
    assert outer["links"][0]["traceId"] == f"{0xabc:032x}" and outer["links"][0]["traceState"] == "k=v" and outer["links"][0]["attributes"][0]["key"] == "why"
    assert [(e["name"], e["timeUnixNano"]) for e in outer["events"]][0] == ("e", str(10**18 + 5))
    assert bad["parentSpanId"] == outer["spanId"] and bad["status"] == {"code": 2, "message": "ValueError: no"}
    assert [e["name"] for e in bad["events"]] == ["exception"]


def test_each_side_is_the_others_parent(go):
    _, spans, lines = go(HEAD + """
with sonde.request({"traceparent": TP, "x-request-id": "r-1"}):
    assert f"{trace.get_current_span().get_span_context().trace_id:032x}" == "a" * 32
    with sonde.span("s1") as s1:
        assert f"{trace.get_current_span().get_span_context().span_id:016x}" == s1.context.span_id
        with tracer.start_as_current_span("o2") as o2:
            assert sonde.current_span() is o2.sonde
            sonde.info("in o2")
            with sonde.span("s3"):
                with tracer.start_as_current_span("o4"): sonde.info("in o4")
            assert trace.get_current_span() is o2
        assert sonde.current_span() is s1
    with tracer.start_as_current_span("o5"): pass
assert not trace.get_current_span().get_span_context().is_valid and sonde.current_span() is None
async def task(i):
    with tracer.start_as_current_span(f"t{i}"):
        await asyncio.sleep(0.01)
        with sonde.span(f"in t{i}"): await asyncio.sleep(0)
async def main(): await asyncio.gather(*(task(i) for i in range(3)))
asyncio.run(main())
""")
    by = {s["name"]: s for s in spans}
    assert [by[n]["parentSpanId"] for n in ("s1", "o2", "s3", "o4", "o5")] == ["b" * 16, by["s1"]["spanId"], by["o2"]["spanId"], by["s3"]["spanId"], "b" * 16]
    assert all(by[n]["traceId"] == "a" * 32 for n in ("s1", "o2", "s3", "o4", "o5"))
    assert [(x["message"], x["span_id"], x["x_request_id"]) for x in lines if x["message"].startswith("in o")] == [
        ("in o2", by["o2"]["spanId"], "r-1"), ("in o4", by["o4"]["spanId"], "r-1")]
    assert all(by[f"in t{i}"]["parentSpanId"] == by[f"t{i}"]["spanId"] for i in range(3)) and len({by[f"t{i}"]["traceId"] for i in range(3)}) == 3


def test_headers(go):
    out, spans, _ = go(HEAD + """
came = propagate.extract({"traceparent": TP, "tracestate": "v=1", "x-request-id": "r-9", "baggage": "k=v"})
assert baggage.get_baggage("k", came) == "v"
with tracer.start_as_current_span("server", context=came) as s:
    headers = {}
    propagate.inject(headers, came); print(headers["traceparent"] == TP, headers["x-request-id"], headers["tracestate"])
    headers = {}
    propagate.inject(headers); print(headers["traceparent"][3:35] == "a" * 32, headers["traceparent"][36:52] == s.sonde.context.span_id, headers["x-request-id"])
token = context.attach(came)
with sonde.span("ours"): pass
context.detach(token)
with sonde.span("free"): pass
nothing = propagate.extract({"traceparent": "torn"})
assert not trace.get_current_span(nothing).get_span_context().is_valid
""")
    assert out == "True r-9 v=1\nTrue True r-9\n"
    by = {s["name"]: s for s in spans}
    assert by["server"]["parentSpanId"] == by["ours"]["parentSpanId"] == "b" * 16 and by["free"]["traceId"] != "a" * 32


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry.instrumentation.dbapi") is None if importlib.util.find_spec("opentelemetry") else True,
                    reason="opentelemetry-instrumentation-dbapi is not installed")
def test_an_instrumentation_records_through_libsonde(go):
    _, spans, _ = go(HEAD + """
import sqlite3
from opentelemetry.instrumentation.dbapi import trace_integration
trace_integration(sqlite3, "connect", "sqlite")
with sonde.span("work"):
    c = sqlite3.connect(":memory:").cursor()
    c.execute("create table t (a)")
    try: c.execute("select nothing")
    except sqlite3.Error: pass
""")
    *calls, work = spans
    assert [s["kind"] for s in calls] == [3, 3] and all(s["parentSpanId"] == work["spanId"] for s in calls)
    assert calls[0]["attributes"]["db.statement"] == "create table t (a)" and calls[1]["status"]["code"] == 2


def test_another_provider_is_not_thrown_out(run):
    code, out, _ = run("""
from opentelemetry import trace
trace.set_tracer_provider(trace.NoOpTracerProvider())
import sonde.otel
try: sonde.otel.install()
except RuntimeError as e: print(e)
""")
    assert code == 0 and "already" in out
