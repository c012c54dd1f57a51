"""What the example sends, taken by receivers made of others' code: every message decodes, and each trace is whole."""
import collections
import json
import time

import pytest
from conftest import attributes, wait_for
from test_inference import body, chat

SERVICES = {"frontend", "prefill", "decode"}
NAMES = {"http-request": 1, "router.route_request": 2, "handle_payload": 2, "queue": 2, "prefill": 1, "kv_transfer": 1, "kv_send": 1, "decode": 1}


def exporting(receiver, **more):
    return {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_EXPORTER_OTLP_PROTOCOL": receiver.protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50", **more}


def by_request(receiver):
    """x-request-id → spans, by way of the trace of the root that has it."""
    traces = collections.defaultdict(list)
    for found in receiver.spans():
        traces[found[2].trace_id].append(found)
    out = {}
    for spans in traces.values():
        for _, _, s in spans:
            if s.name == "http-request":
                out[attributes(s)["x_request_id"]] = spans
    return out


def check_span(resource, scope, s):
    assert len(s.trace_id) == 16 and any(s.trace_id) and len(s.span_id) == 8 and any(s.span_id)
    assert len(s.parent_span_id) in (0, 8) and s.parent_span_id != s.span_id
    assert 0 < s.start_time_unix_nano <= s.end_time_unix_nano <= time.time_ns() + 10**9
    assert s.name and 1 <= s.kind <= 5 and s.status.code in (0, 1, 2)
    assert resource["service.name"] in SERVICES and scope
    assert len({a.key for a in s.attributes}) == len(s.attributes) and all(a.value.WhichOneof("value") for a in s.attributes)
    for e in s.events:
        assert e.name and s.start_time_unix_nano <= e.time_unix_nano <= s.end_time_unix_nano, (s.name, e)


def check_trace(spans):
    """One root, every parent there, every span inside its parent's time as far as its start goes."""
    by_id = {s.span_id: s for _, _, s in spans}
    assert len(by_id) == len(spans), "a span id twice"
    roots = [s for s in by_id.values() if not s.parent_span_id]
    assert [s.name for s in roots] == ["http-request"]
    for s in by_id.values():
        if s.parent_span_id:
            parent = by_id.get(s.parent_span_id)
            assert parent, f"{s.name} is an orphan"
            assert parent.start_time_unix_nano <= s.start_time_unix_nano + 10**6, (parent.name, s.name)
    names = collections.Counter(s.name for s in by_id.values())
    assert {k: names[k] for k in NAMES} == NAMES
    assert {r["service.name"] for r, _, _ in spans} == SERVICES


def test_every_span_and_record_of_the_example_arrives_whole(receiver, trio):
    stack = trio(exporting(receiver))
    n = 12
    for i in range(n):
        assert chat(stack, body(6), {"x-request-id": f"whole-{i}"})[0] == 200
    assert stack.stop() == [0, 0, 0]  # what is pending goes out before they end
    got = by_request(receiver)
    assert sorted(got) == sorted(f"whole-{i}" for i in range(n))
    for spans in got.values():
        check_trace(spans)
        for found in spans:
            check_span(*found)
    lines = [(name, r) for name, r in stack.records() if "message" in r]
    records = receiver.records()
    assert len(records) == len(lines)
    told = collections.Counter((r["service.name"], x.body.string_value) for r, _, x in records)
    assert told == collections.Counter((name, r["message"]) for name, r in lines)
    ids = {s.span_id: s.trace_id for spans in got.values() for _, _, s in spans}
    for resource, scope, x in records:
        assert x.time_unix_nano and 1 <= x.severity_number <= 24 and x.severity_text and scope.startswith("inference::"), x
        if x.span_id:
            assert ids[x.span_id] == x.trace_id, "a record of a span that never came"
    assert sum(1 for _, _, x in records if x.span_id) > 10 * n


@pytest.mark.parametrize("packing", ["none", "gzip"])
def test_the_wire_is_as_asked(receiver, trio, packing):
    stack = trio(exporting(receiver, OTEL_EXPORTER_OTLP_COMPRESSION=packing, OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20x,x-tenant=a"))
    assert chat(stack, body(3), {"x-request-id": "wire-1"})[0] == 200
    wait_for(lambda: "wire-1" in by_request(receiver))
    assert receiver.heads and all(h["authorization"] == "Bearer x" and h["x-tenant"] == "a" for h in receiver.heads)
    if receiver.protocol != "grpc":
        assert {h.get("content-encoding", "none") for h in receiver.heads} == {packing}
    assert all("sonde" in h["user-agent"].lower() for h in receiver.heads)


def test_a_callers_trace_goes_on_through_all_three(receiver, trio):
    stack = trio(exporting(receiver))
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    headers = {"traceparent": f"00-{trace}-{parent}-01", "tracestate": "vendor=a,other=b", "x-request-id": "mine-1"}
    assert chat(stack, body(3), headers)[0] == 200
    assert stack.stop() == [0, 0, 0]
    spans = [s for _, _, s in receiver.spans()]
    assert {s.trace_id.hex() for s in spans} == {trace} and len(spans) >= 11
    assert {s.trace_state for s in spans} == {"vendor=a,other=b"}
    assert [s.parent_span_id.hex() for s in spans if s.name == "http-request"] == [parent]
    stack2 = json.dumps(sorted(s.name for s in spans))
    assert "kv_send" in stack2


def test_a_request_that_fails_is_an_error_in_each_span_on_its_way(receiver, trio):
    stack = trio(exporting(receiver))
    assert chat(stack, body(6), {"x-request-id": "bad-1", "x-sonde-fault": "cuda-oom"})[0] == 500
    assert stack.stop() == [0, 0, 0]
    spans = by_request(receiver)["bad-1"]
    bad = {(r["service.name"], s.name) for r, _, s in spans if s.status.code == 2}
    assert bad >= {("frontend", "http-request"), ("frontend", "router.route_request"), ("decode", "handle_payload"), ("decode", "decode")}
    assert all(s.status.message for _, _, s in spans if s.status.code == 2)
