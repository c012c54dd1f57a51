"""What the example sends, taken by receivers made of others' code: every message decodes, and each trace is whole."""
import collections
import json
import time

import pytest
from conftest import attributes, wait_for
from test_inference import body, call, chat

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
        assert x.time_unix_nano and 1 <= x.severity_number <= 24 and x.severity_text and scope.startswith(("inference::", "sonde")), x
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
    assert all(h["user-agent"].startswith("OTel-OTLP-Exporter-") for h in receiver.heads), receiver.heads[0]


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


def test_a_retry_is_linked_to_the_attempt_before(receiver, trio):
    stack = trio(exporting(receiver))
    assert chat(stack, body(3), {"x-request-id": "storm-1", "x-sonde-fault": "retry-storm"})[0] == 529
    assert stack.stop() == [0, 0, 0]
    routes = sorted((s for _, _, s in by_request(receiver)["storm-1"] if s.name == "router.route_request" and attributes(s)["phase"] == "decode"),
                    key=lambda s: s.start_time_unix_nano)
    assert len(routes) == 7 and [attributes(s)["request.attempt"] for s in routes] == list(range(7))
    assert not routes[0].links
    for before, s in zip(routes, routes[1:]):
        assert [(x.trace_id, x.span_id, attributes(x)) for x in s.links] == [(before.trace_id, before.span_id, {"link.reason": "retry"})]


@pytest.mark.parametrize("fault,kind", [("cuda-oom", "torch.OutOfMemoryError"), ("kv-timeout", "TimeoutError")])
def test_a_fault_is_an_exception_on_the_span_it_met(receiver, trio, fault, kind):
    stack = trio(exporting(receiver))
    assert chat(stack, body(4), {"x-request-id": "x-1", "x-sonde-fault": fault})[0] >= 500
    assert stack.stop() == [0, 0, 0]
    found = [(s.name, attributes(e)) for _, _, s in by_request(receiver)["x-1"] for e in s.events if e.name == "exception"]
    assert [(n, a["exception.type"]) for n, a in found] == [("decode" if fault == "cuda-oom" else "kv_transfer", kind)]
    assert found[0][1]["exception.message"]


def test_baggage_is_passed_on_to_the_workers(build_dir, tmp_path):
    """The decode worker behind the frontend is ours here, and sees the headers."""
    import http.server
    import threading

    from test_inference import Process
    seen = {}

    class Worker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            seen.update({k.lower(): v for k, v in self.headers.items()})
            self.send_response(400)
            self.send_header("content-length", "0")
            self.end_headers()

        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Worker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    frontend = Process(build_dir, tmp_path, "frontend", ["--prefill", url, "--decode", url])
    try:
        call(frontend, "POST", "/v1/chat/completions", json.dumps(body(3)).encode(),
             {"baggage": "tenant=a%20b;p=1,user=7", "x-request-id": "b-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"})
        assert seen["baggage"].replace(" ", "") in ("tenant=a%20b;p=1,user=7", "user=7,tenant=a%20b;p=1")
        assert seen["x-request-id"] == "b-1" and seen["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
        assert abs(int(seen["x-frontend-send-ts-ns"]) - time.time_ns()) < 60 * 10**9 and seen["request-id"]
    finally:
        frontend.stop()
        server.shutdown()
        server.server_close()
