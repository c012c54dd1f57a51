"""Spans and context: threads, tasks, decorators, headers."""


def ok(run, source, **more):
    code, out, lines = run(source, **more)
    assert code == 0, (out, run.other)
    return lines


def test_tasks_threads_and_executors_have_their_own_current_span(run):
    lines = ok(run, """
import asyncio, concurrent.futures, contextvars, threading, sonde
@sonde.span("task", kind="server")
async def task(i):
    sonde.info("before", i=i)
    await asyncio.sleep(0.01 * (3 - i))
    sonde.info("after", i=i)
    await asyncio.to_thread(sonde.info, "thread", i=i)
async def main():
    with sonde.span("outer"):
        await asyncio.gather(*(task(i) for i in range(3)))
asyncio.run(main())
with sonde.span("main"):
    t = threading.Thread(target=lambda: sonde.info("another thread"))
    t.start(); t.join()
""")
    by = {}
    for x in lines[:-1]:
        by.setdefault(x["i"], set()).add(x["span_id"])
        assert x["span_name"] == "task"
    assert all(len(ids) == 1 for ids in by.values()) and len(set().union(*by.values())) == 3
    assert len({x["parent_id"] for x in lines[:-1]}) == 1
    assert "span_id" not in lines[-1]


def test_an_exception_makes_an_error_and_goes_on(run, tmp_path):
    ok(run, """
import sonde
try:
    with sonde.span("bad", tokens=3) as s:
        s.add_event("half", n=1)
        raise ValueError("no")
except ValueError: pass
assert not s.recording
s.set_attribute("late", 1); s.end(); s.end()
""", env={"OTEL_TRACES_EXPORTER": "otlp/file", "SONDE_OTLP_FILE": str(tmp_path / "out.jsonl")})
    import json
    span = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["name"] == "bad" and span["status"] == {"message": "no", "code": 2}
    assert [e["name"] for e in span["events"]] == ["half", "exception"]
    assert {a["key"] for a in span["attributes"]} >= {"tokens"} and "late" not in {a["key"] for a in span["attributes"]}


def test_headers_in_and_out(run):
    ok(run, """
import sonde
given = {"TraceParent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "X-Request-Id": b"r-1", "tracestate": ["a=1", "b=2"]}
with sonde.request(given) as c:
    assert c.valid and c.remote and c.request_id == "r-1" and c.sampled and c.tracestate == "a=1,b=2"
    assert sonde.current_span() is None and sonde.current_context().trace_id == c.trace_id
    with sonde.span("s") as s:
        out = sonde.inject({"keep": "me"})
        assert out["traceparent"] == f"00-{c.trace_id}-{s.context.span_id}-01" and out["x-request-id"] == "r-1" and out["keep"] == "me"
        assert set(sonde.inject(dynamo=True)) >= {"request-id", "x-frontend-send-ts-ns"}
        with sonde.span("new", parent=None) as n:
            assert n.context.trace_id != c.trace_id
assert sonde.current_context() is None
bad = sonde.extract([(b"traceparent", b"00-00000000000000000000000000000000-b7ad6b7169203331-01"), ("x-request-id", "only")])
assert not bad.valid and bad.request_id == "only"
try: sonde.context("line\\nfeed")
except ValueError: pass
else: raise AssertionError
""")


def test_a_decorated_function_is_one_span_a_call(run):
    lines = ok(run, """
import sonde
@sonde.span()
def f(n):
    sonde.info("in", n=n)
    if n: f(n - 1)
f(2)
assert f.__name__ == "f"
""")
    assert [x["span_name"] for x in lines] == ["f"] * 3
    assert lines[1]["parent_id"] == lines[0]["span_id"] and lines[2]["parent_id"] == lines[1]["span_id"]


def test_a_hundred_thousand_tasks_leave_nothing_behind(run):
    ok(run, """
import asyncio, gc, sonde, resource
async def one():
    with sonde.span("x", n=1):
        await asyncio.sleep(0)
async def main(n):
    for _ in range(n // 1000):
        await asyncio.gather(*(one() for _ in range(1000)))
asyncio.run(main(20000)); gc.collect()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
asyncio.run(main(100000)); gc.collect()
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 8192, f"{grown} KiB more"
""", timeout=120)
