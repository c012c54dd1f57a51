"""Calls as Grafana's Tempo and Loki data sources make them, and the shapes of the answers: names, types, text or number."""
import base64
import gzip
import json
import re
import time
import urllib.parse

import pytest

pytest.importorskip("opentelemetry.proto.trace.v1.trace_pb2", reason="needs opentelemetry-proto: scripts/setup.sh installs it")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData  # noqa: E402

from conftest import Server  # noqa: E402

S = 10**9
NOW = time.time_ns() // S * S - 30 * S
TRACE = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
SHORT = bytes(14) + b"\x0b\xad"  # an id whose leading zeros are often left out


def attributes(target, **values):
    for key, value in values.items():
        pair = target.add()
        pair.key = key.replace("__", ".")
        if isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        elif isinstance(value, bytes):
            pair.value.bytes_value = value
        elif isinstance(value, list):
            for item in value:
                pair.value.array_value.values.add().string_value = item
        else:
            pair.value.string_value = value


def group(request, service, **more):
    r = request.resource_spans.add()
    attributes(r.resource.attributes, service__name=service, **more)
    scope = r.scope_spans.add()
    scope.scope.name, scope.scope.version = "lib", "1.2"
    return scope.spans


def add(spans, trace, number, name, kind, at_ms, took_ms, parent=0, **attrs):
    s = spans.add()
    s.trace_id, s.span_id = trace, bytes([number]) * 8
    s.parent_span_id = bytes([parent]) * 8 if parent else b""
    s.name, s.kind = name, kind
    s.start_time_unix_nano, s.end_time_unix_nano = NOW + at_ms * 10**6, NOW + (at_ms + took_ms) * 10**6
    attributes(s.attributes, **attrs)
    return s


def request_of_three():
    """frontend → prefill, decode; the last one fails. And a second, quick trace of the frontend alone."""
    request = ExportTraceServiceRequest()
    front = group(request, "frontend", host__cores=8)
    root = add(front, TRACE, 1, "http-request", Span.SPAN_KIND_SERVER, 0, 900, x_request_id="demo-42", http__status_code=200, stream=True,
               load=0.5, body=b"\0\xff", tags=["a", "b"])
    root.trace_state, root.flags = "vendor=1", 0x101
    event = root.events.add()
    event.name, event.time_unix_nano = "first-token", NOW + 5
    attributes(event.attributes, index=0)
    link = root.links.add()
    link.trace_id, link.span_id = SHORT, b"\4" * 8
    root.status.code = 1
    add(group(request, "prefill"), TRACE, 2, "prefill", Span.SPAN_KIND_CLIENT, 10, 300, 1, tokens=2**53 + 1)
    bad = add(group(request, "decode"), TRACE, 3, "decode", Span.SPAN_KIND_INTERNAL, 320, 500, 1)
    bad.status.code, bad.status.message = 2, "CUDA out of memory"
    add(front, SHORT, 4, "GET /health", Span.SPAN_KIND_SERVER, 1000, 2, x_request_id="health")
    return request


PB = {"Content-Type": "application/x-protobuf"}
RANGE = {"start": NOW // S - 600, "end": NOW // S + 600}


@pytest.fixture(scope="module")
def server(sonde_program, tmp_path_factory):
    s = Server(sonde_program, tmp_path_factory.mktemp("tempo") / "data")
    assert s.call("/v1/traces", request_of_three().SerializeToString(), PB)[0] == 200
    other = ExportTraceServiceRequest()
    add(group(other, "elsewhere"), TRACE, 9, "other", Span.SPAN_KIND_SERVER, 0, 1)
    assert s.call("/v1/traces", other.SerializeToString(), {**PB, "X-Scope-OrgID": "team-b"})[0] == 200
    assert s.push({"app": "web", "env": "prod"}, [(NOW + i * S, f"line {i} level={'error' if i % 5 == 0 else 'info'}") for i in range(10)])[0] == 204
    assert s.push({"app": "db", "env": "prod"}, [(NOW, '{"ms": 7}', {"shard": "s1"})])[0] == 204
    assert s.push({"app": "secret"}, [(NOW, "of another tenant")], tenant="team-b")[0] == 204
    yield s
    if s.process.poll() is None:
        assert s.stop() == 0, open(s.data + ".log").read()[-3000:]


def raw(server, path, headers=None, **params):
    """(status, headers, body)"""
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=30)
    query = urllib.parse.urlencode(params)
    c.request("GET", path + ("?" + query if query else ""), headers=headers or {})
    r = c.getresponse()
    out = r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    c.close()
    return out


def keys(doc, allowed, required=()):
    assert set(doc) <= set(allowed), f"fields Grafana would refuse: {set(doc) - set(allowed)}"
    assert set(required) <= set(doc), f"missing: {set(required) - set(doc)}"


# ---- Tempo ----------------------------------------------------------------------------------------------------------

def test_echo(server):
    status, headers, body = raw(server, "/api/echo")
    assert (status, body) == (200, b"echo") and headers["content-type"].startswith("text/plain")


def test_buildinfo_is_bare(server):
    keys(server.json("/api/status/buildinfo"), allowed := ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"], allowed)


def spans_of(resource_spans):
    return {s["name"]: (r, sc, s) for r in resource_spans for sc in r["scopeSpans"] for s in sc["spans"]}


def value(attrs, key):
    return next(a["value"] for a in attrs if a["key"] == key)


@pytest.mark.parametrize("v2", [False, True])
def test_a_trace_as_json(server, v2):
    status, headers, body = raw(server, f"/api/{'v2/' if v2 else ''}traces/{TRACE.hex()}")
    assert status == 200 and headers["content-type"].startswith("application/json")
    doc = json.loads(body)
    if v2:
        keys(doc, ["trace", "metrics", "status", "message"], ["trace"])
        keys(doc["trace"], ["resourceSpans"])
    else:
        keys(doc, ["batches"], ["batches"])
    spans = spans_of(doc["trace"]["resourceSpans"] if v2 else doc["batches"])
    assert set(spans) == {"http-request", "prefill", "decode"}
    resource, scope, root = spans["http-request"]
    assert value(resource["resource"]["attributes"], "service.name") == {"stringValue": "frontend"}
    assert scope["scope"] == {"name": "lib", "version": "1.2"}
    # ids are base64 of the bytes, 64-bit numbers texts, enums names, zero values left out
    assert root["traceId"] == base64.b64encode(TRACE).decode() and root["spanId"] == base64.b64encode(b"\1" * 8).decode()
    assert "parentSpanId" not in root and spans["prefill"][2]["parentSpanId"] == root["spanId"]
    assert root["kind"] == "SPAN_KIND_SERVER" and root["status"] == {"code": "STATUS_CODE_OK"}
    assert root["startTimeUnixNano"] == str(NOW) and root["endTimeUnixNano"] == str(NOW + 900 * 10**6)
    assert root["traceState"] == "vendor=1" and root["flags"] == 0x101
    attrs = root["attributes"]
    assert value(attrs, "http.status_code") == {"intValue": "200"} and value(attrs, "stream") == {"boolValue": True}
    assert value(attrs, "load") == {"doubleValue": 0.5} and value(attrs, "body") == {"bytesValue": base64.b64encode(b"\0\xff").decode()}
    assert value(attrs, "tags") == {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}}
    assert value(spans["prefill"][2]["attributes"], "tokens") == {"intValue": str(2**53 + 1)}
    assert root["events"] == [{"timeUnixNano": str(NOW + 5), "name": "first-token", "attributes": [{"key": "index", "value": {"intValue": "0"}}]}]
    assert root["links"] == [{"traceId": base64.b64encode(SHORT).decode(), "spanId": base64.b64encode(b"\4" * 8).decode()}]
    assert spans["decode"][2]["status"] == {"code": "STATUS_CODE_ERROR", "message": "CUDA out of memory"}


def sent_spans():
    return {s.span_id: (s, r.resource, sc.scope) for r in request_of_three().resource_spans for sc in r.scope_spans for s in sc.spans
            if s.trace_id == TRACE}


@pytest.mark.parametrize("v2", [False, True])
def test_a_trace_as_protobuf_is_what_was_sent(server, v2):
    status, headers, body = raw(server, f"/api/{'v2/' if v2 else ''}traces/{TRACE.hex()}", {"Accept": "application/protobuf"})
    assert status == 200 and headers["content-type"] == "application/protobuf"
    if v2:  # TraceByIDResponse: field 1 is the trace
        assert body[0] == 0x0a
        size, at, shift = 0, 1, 0
        while True:
            size |= (body[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if body[at - 1] < 128:
                break
        body = body[at:at + size]
    trace = TracesData.FromString(body)
    got = {s.span_id: (s, r.resource, sc.scope) for r in trace.resource_spans for sc in r.scope_spans for s in sc.spans}
    want = sent_spans()
    assert set(got) == set(want)
    for number, (span, resource, scope) in want.items():
        for message in (span, got[number][0], resource, got[number][1]):
            message.attributes.sort(key=lambda a: a.key)
        assert got[number][0] == span and got[number][1] == resource and got[number][2] == scope


@pytest.mark.parametrize("written", ["bad", "BAD", "0bad", "00000bad", "bad".zfill(32)])
def test_a_trace_id_may_be_short_and_in_either_case(server, written):
    assert set(spans_of(server.json("/api/traces/" + written)["batches"])) == {"GET /health"}
    assert set(spans_of(server.json("/api/v2/traces/" + written)["trace"]["resourceSpans"])) == {"GET /health"}


def test_an_unknown_trace(server):
    unknown = "f" * 32
    assert server.get("/api/traces/" + unknown)[0] == 404
    assert server.get("/api/traces/" + unknown, {"Accept": "application/protobuf"})[0] == 404
    doc = server.json("/api/v2/traces/" + unknown)
    assert doc["trace"].get("resourceSpans", []) == []
    # Grafana takes the trace field without looking whether it is there
    status, body = server.get("/api/v2/traces/" + unknown, {"Accept": "application/protobuf"})
    assert status == 200 and body[:2] == b"\x0a\x00"


@pytest.mark.parametrize("v2", ["", "v2/"])
@pytest.mark.parametrize("trace,says", [("zz", "position 1"), ("12g4", "position 3"), ("0" * 33, "33"), ("12%20", "position 3"), ("%00", "percent")])
def test_a_bad_trace_id_is_told(server, v2, trace, says):
    status, headers, body = raw(server, f"/api/{v2}traces/{trace}")
    assert status == 400 and headers["content-type"].startswith("text/plain") and says in body.decode(), body


def test_a_trace_of_a_range(server):
    path = "/api/v2/traces/" + TRACE.hex()
    assert server.json(path, **RANGE)["trace"]["resourceSpans"]
    assert server.json(path, start=1, end=1000)["trace"].get("resourceSpans", []) == []
    assert server.get("/api/traces/" + TRACE.hex(), start=1, end=1000)[0] == 404
    assert server.get(path, start=1000, end=1)[0] == 400
    assert server.get(path, start="soon", end=1)[0] == 400


SEARCH = ["traces", "metrics"]
METRICS = ["inspectedTraces", "inspectedBytes", "totalBlocks", "completedJobs", "totalJobs", "totalBlockBytes", "inspectedSpans", "backendReads",
           "backendBytes", "additionalMetrics"]
FOUND = ["traceID", "rootServiceName", "rootTraceName", "startTimeUnixNano", "durationMs", "spanSet", "spanSets", "serviceStats"]


def search(server, **params):
    doc = server.json("/api/search", **{**RANGE, **params})
    keys(doc, SEARCH, ["traces"])
    keys(doc["metrics"], METRICS)
    for name, v in doc["metrics"].items():
        assert isinstance(v, str if name in ("inspectedBytes", "totalBlockBytes", "inspectedSpans", "backendReads", "backendBytes") else int), name
    for t in doc["traces"]:
        keys(t, FOUND, ["traceID", "rootServiceName", "startTimeUnixNano", "spanSets"])
        assert re.fullmatch("[0-9a-f]{1,32}", t["traceID"])
        assert isinstance(t["startTimeUnixNano"], str) and isinstance(t.get("durationMs", 0), int)
        assert len(t["spanSets"]) == 1 or "spanSet" not in t
        for spans in t["spanSets"] + ([t["spanSet"]] if "spanSet" in t else []):
            keys(spans, ["spans", "matched", "attributes"], ["spans", "matched"])
            assert isinstance(spans["matched"], int) and spans["matched"] >= len(spans["spans"])
            for s in spans["spans"]:
                keys(s, ["spanID", "name", "startTimeUnixNano", "durationNanos", "attributes"], ["spanID", "startTimeUnixNano", "durationNanos"])
                assert re.fullmatch("[0-9a-f]{16}", s["spanID"])
                assert isinstance(s["startTimeUnixNano"], str) and isinstance(s["durationNanos"], str)
        for stats in t.get("serviceStats", {}).values():
            keys(stats, ["spanCount", "errorCount"])
            assert all(isinstance(n, int) for n in stats.values())
    return [t["traceID"].lstrip("0") for t in doc["traces"]], doc["traces"]


BIG, SMALL = TRACE.hex().lstrip("0"), SHORT.hex().lstrip("0")


@pytest.mark.parametrize("params,want", [
    ({"q": "{}"}, [SMALL, BIG]),  # newest first
    ({"q": ""}, [SMALL, BIG]),
    ({}, [SMALL, BIG]),
    ({"q": "{}", "limit": 1}, [SMALL]),
    ({"q": '{ .x_request_id = "demo-42" }'}, [BIG]),
    ({"q": '{ resource.service.name = "frontend" }'}, [SMALL, BIG]),
    ({"q": '{ resource.service.name = "decode" && status = error }'}, [BIG]),
    ({"q": '{ duration > 400ms }'}, [BIG]),
    ({"q": '{ span.http.status_code >= 500 }'}, []),
    ({"q": '{ name =~ "GET.*" }'}, [SMALL]),
    ({"tags": "x_request_id=demo-42"}, [BIG]),
    ({"tags": 'service.name=frontend name="GET /health"'}, [SMALL]),
    ({"tags": "service.name=nobody"}, []),
    ({"minDuration": "500ms"}, [BIG]),
    ({"maxDuration": "500ms"}, [SMALL]),
    ({"tags": "service.name=frontend", "minDuration": "1ms", "maxDuration": "1.5s"}, [SMALL, BIG]),
    ({"q": "{}", "minDuration": "500ms"}, [SMALL, BIG]),  # the language has its own durations
    ({"q": "{}", "start": NOW // S + 1, "end": NOW // S + 60}, [SMALL]),
])
def test_search_finds(server, params, want):
    assert search(server, **params)[0] == want


def test_what_search_tells_of_a_trace(server):
    _, traces = search(server, q='{ resource.service.name =~ "prefill|decode" }')
    assert len(traces) == 1
    t = traces[0]
    assert (t["rootServiceName"], t["rootTraceName"], t["startTimeUnixNano"], t["durationMs"]) == ("frontend", "http-request", str(NOW), 900)
    assert t["spanSet"] == t["spanSets"][0] and t["spanSet"]["matched"] == 2
    assert {s["spanID"]: s["durationNanos"] for s in t["spanSet"]["spans"]} == {"02" * 8: str(300 * 10**6), "03" * 8: str(500 * 10**6)}
    assert t["serviceStats"] == {"frontend": {"spanCount": 1}, "prefill": {"spanCount": 1}, "decode": {"spanCount": 1, "errorCount": 1}}


def test_search_returns_the_attributes_it_was_asked_about(server):
    _, (t,) = search(server, q='{ .x_request_id = "demo-42" && span.http.status_code = 200 && resource.service.name = "frontend" && load > 0.1 }'
                     .replace("load", ".load"))
    (span,) = t["spanSet"]["spans"]
    got = {a["key"]: a["value"] for a in span["attributes"]}
    assert got == {"x_request_id": {"stringValue": "demo-42"}, "http.status_code": {"intValue": "200"},
                   "service.name": {"stringValue": "frontend"}, "load": {"doubleValue": 0.5}}
    _, (t,) = search(server, q="{ status = error && kind = internal }")
    assert {a["key"]: a["value"] for a in t["spanSet"]["spans"][0]["attributes"]} == {
        "status": {"stringValue": "error"}, "kind": {"stringValue": "internal"}}


def test_spans_per_set(server):
    whole = search(server, q='{ trace:id = "%s" }' % TRACE.hex(), spss=100)[1][0]["spanSet"]
    assert (len(whole["spans"]), whole["matched"]) == (3, 3)
    cut = search(server, q='{ trace:id = "%s" }' % TRACE.hex(), spss=1)[1][0]["spanSet"]
    assert (len(cut["spans"]), cut["matched"]) == (1, 3)


@pytest.mark.parametrize("params,says", [
    ({"q": "{}", "tags": "a=b"}, "not both"),
    ({"q": "{ .a = }"}, "position"),
    ({"q": "{ .a = 1"}, "}"),
    ({"q": "{}", "limit": 0}, "limit"),
    ({"q": "{}", "limit": -1}, "limit"),
    ({"q": "{}", "limit": "many"}, "limit"),
    ({"q": "{}", "spss": 101}, "spss"),
    ({"q": "{}", "minDuration": "3 apples"}, "minDuration"),
    ({"minDuration": "2s", "maxDuration": "1s"}, "maxDuration"),
    ({"q": "{}", "start": 10, "end": 10}, "start"),
    ({"q": "{}", "start": 20, "end": 10}, "start"),
    ({"q": "{}", "start": "x"}, "start"),
    ({"tags": "novalue"}, "tags"),
    ({"tags": 'a="open'}, "quote"),
    ({"tags": "a=1 a=2"}, "twice"),
])
def test_a_bad_search_is_refused_in_plain_text(server, params, says):
    status, headers, body = raw(server, "/api/search", **{**({"start": RANGE["start"], "end": RANGE["end"]}), **params})
    assert status == 400 and headers["content-type"].startswith("text/plain"), body
    assert says in body.decode(), body


INTRINSICS = {"duration", "kind", "name", "rootName", "rootServiceName", "status", "statusMessage", "traceDuration", "event:name",
              "event:timeSinceStart", "instrumentation:name", "instrumentation:version", "link:spanID", "link:traceID", "span:duration", "span:id",
              "span:kind", "span:name", "span:parentID", "span:status", "span:statusMessage", "trace:duration", "trace:id", "trace:rootName",
              "trace:rootService"}


def test_tags(server):
    doc = server.json("/api/search/tags", **RANGE)
    keys(doc, ["tagNames", "metrics"], ["tagNames"])
    assert {"service.name", "host.cores", "x_request_id", "http.status_code", "tokens"} <= set(doc["tagNames"])
    assert not INTRINSICS & set(doc["tagNames"])
    assert server.json("/api/search/tags", scope="resource", **RANGE)["tagNames"] == ["host.cores", "service.name"]
    assert set(server.json("/api/search/tags", scope="intrinsic", **RANGE)["tagNames"]) == INTRINSICS
    assert server.get("/api/search/tags", scope="nowhere")[0] == 400


def test_tags_by_scope(server):
    doc = server.json("/api/v2/search/tags", limit=5000, **RANGE)
    keys(doc, ["scopes", "metrics"], ["scopes"])
    scopes = {s["name"]: s["tags"] for s in doc["scopes"]}
    assert set(scopes["intrinsic"]) == INTRINSICS and scopes["resource"] == ["host.cores", "service.name"]
    assert {"x_request_id", "http.status_code"} <= set(scopes["span"]) and "service.name" not in scopes["span"]
    only = server.json("/api/v2/search/tags", scope="span", **RANGE)["scopes"]
    assert [s["name"] for s in only] == ["span"]
    assert server.get("/api/v2/search/tags", scope="nowhere")[0] == 400
    assert server.get("/api/v2/search/tags", start=20, end=10)[0] == 400
    assert "span" not in {s["name"] for s in server.json("/api/v2/search/tags", start=1, end=2)["scopes"]}


@pytest.mark.parametrize("tag,want", [
    ("service.name", {"decode", "frontend", "prefill"}),
    ("x_request_id", {"demo-42", "health"}),
    ("http.status_code", {"200"}),
    ("name", {"http-request", "prefill", "decode", "GET /health"}),
    ("error", {"true"}),
    ("status.code", {"unset", "ok", "error"}),
    ("status", set()),
    ("kind", set()),
    ("nobody-has-it", set()),
])
def test_values_of_a_tag(server, tag, want):
    doc = server.json(f"/api/search/tag/{tag}/values", **RANGE)
    keys(doc, ["tagValues", "metrics"], ["tagValues"])
    assert set(doc["tagValues"]) == want


@pytest.mark.parametrize("tag,want", [
    ("resource.service.name", {("string", "decode"), ("string", "frontend"), ("string", "prefill")}),
    ("span.service.name", set()),
    (".x_request_id", {("string", "demo-42"), ("string", "health")}),
    ("span.http.status_code", {("int", "200")}),
    ("span.stream", {("bool", "true")}),
    ("span.load", {("float", "0.5")}),
    ("resource.host.cores", {("int", "8")}),
    ("span.tags", set()),
    ("name", {("string", n) for n in ("http-request", "prefill", "decode", "GET /health")}),
    ("status", {("keyword", k) for k in ("ok", "error", "unset")}),
    ("span:status", {("keyword", k) for k in ("ok", "error", "unset")}),
    ("kind", {("keyword", k) for k in ("client", "server", "producer", "consumer", "internal", "unspecified")}),
    ("statusMessage", {("string", "CUDA out of memory")}),
    ("duration", set()),
    ("traceDuration", set()),
    ("rootServiceName", {("string", "frontend")}),
    ("trace:rootName", {("string", "http-request"), ("string", "GET /health")}),
])
def test_typed_values_of_a_tag(server, tag, want):
    for written in (urllib.parse.quote(tag, safe=""), urllib.parse.quote(urllib.parse.quote(tag, safe=""), safe="")):  # Grafana encodes twice
        doc = server.json(f"/api/v2/search/tag/{written}/values", **RANGE)
        keys(doc, ["tagValues", "metrics"], ["tagValues"])
        assert {(v["type"], v["value"]) for v in doc["tagValues"]} == want
        assert all(set(v) == {"type", "value"} for v in doc["tagValues"])


def test_values_narrowed_by_other_conditions(server):
    def values(q):
        return {v["value"] for v in server.json("/api/v2/search/tag/resource.service.name/values", q=q, **RANGE)["tagValues"]}
    assert values("{ status = error }") == {"decode"}
    assert values('{ .x_request_id = "demo-42" }') == {"frontend"}
    assert values("{ status = error && .x = ") == values("{}") == {"decode", "frontend", "prefill"}  # unfinished text narrows nothing


def test_limits_and_errors_of_values(server):
    assert len(server.json("/api/v2/search/tag/name/values", limit=2, **RANGE)["tagValues"]) == 2
    assert server.get("/api/v2/search/tag/http.method/values")[0] == 400  # which scope?
    assert server.get("/api/v2/search/tag/name/values", start=20, end=10)[0] == 400
    assert server.get("/api/search/tag/name/values", limit="x")[0] == 400


def test_a_tenant_sees_only_its_own(server):
    team = {"X-Scope-OrgID": "team-b"}
    assert set(spans_of(server.json("/api/traces/" + TRACE.hex(), team)["batches"])) == {"other"}
    assert [t["rootServiceName"] for t in server.json("/api/search", team, q="{}", **RANGE)["traces"]] == ["elsewhere"]
    assert server.json("/api/search/tag/service.name/values", team, **RANGE)["tagValues"] == ["elsewhere"]
    assert server.json("/api/search/tags", team, scope="span", **RANGE)["tagNames"] == []
    assert server.get("/api/traces/" + TRACE.hex(), {"X-Scope-OrgID": "nobody"})[0] == 404
    for path in ("/api/search", "/api/search/tags", "/api/traces/1", "/loki/api/v1/labels"):
        status, body = server.get(path, {"X-Scope-OrgID": "a/../b"})
        assert status == 400 and b"X-Scope-OrgID" in body


def test_answers_are_compressed_when_asked(server):
    for path in ("/api/v2/search/tags", "/loki/api/v1/series"):
        status, headers, body = raw(server, path, {"Accept-Encoding": "gzip"}, start=NOW - 60 * S if "loki" in path else RANGE["start"])
        assert status == 200
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        json.loads(body)
    status, headers, body = raw(server, f"/api/traces/{TRACE.hex()}", {"Accept-Encoding": "gzip"})
    assert headers.get("content-encoding") == "gzip" and "batches" in json.loads(gzip.decompress(body))


# ---- Loki -----------------------------------------------------------------------------------------------------------

LOKI = {"start": NOW - 60 * S, "end": NOW + 60 * S}


def loki(server, path, **params):
    doc = server.json("/loki/api/v1/" + path, **params)
    assert doc["status"] == "success"
    return doc["data"]


def test_labels_and_values(server):
    assert loki(server, "labels", **LOKI) == ["app", "env"]
    assert loki(server, "label", **LOKI) == ["app", "env"]
    assert loki(server, "label/app/values", **LOKI) == ["db", "web"]
    assert loki(server, "label/app/values", query='{app=~"d.*"}', **LOKI) == ["db"]
    assert loki(server, "label/nothing/values", **LOKI) == []
    assert loki(server, "labels", start=1, end=2) == []
    assert server.json("/loki/api/v1/label/app/values", {"X-Scope-OrgID": "team-b"}, **LOKI)["data"] == ["secret"]


def test_series(server):
    want = [{"app": "db", "env": "prod"}, {"app": "web", "env": "prod"}]
    assert sorted(loki(server, "series", **{"match[]": '{env="prod"}'}, **LOKI), key=lambda d: d["app"]) == want
    both = loki(server, "series", **{"match[]": ['{app="web"}', '{app="db"}']}, **LOKI)
    assert sorted(both, key=lambda d: d["app"]) == want
    assert server.get("/loki/api/v1/series", **{"match[]": "{app="})[0] == 400


def test_the_health_check_of_grafana(server):
    data = loki(server, "query", query="vector(1)+vector(1)", time=NOW)
    assert data["resultType"] == "vector"
    (sample,) = data["result"]
    assert sample == {"metric": {}, "value": [NOW // S, "2"]}


def test_an_instant_query(server):
    data = loki(server, "query", query='sum by (app) (count_over_time({env="prod"}[5m]))', time=NOW + 20 * S)
    assert data["resultType"] == "vector" and "summary" in data["stats"]
    assert {s["metric"]["app"]: s["value"] for s in data["result"]} == {"web": [NOW // S + 20, "10"], "db": [NOW // S + 20, "1"]}
    status, body = server.get("/loki/api/v1/query", query='{app="web"}')
    assert status == 400 and b"instant" in body


def test_a_matrix(server):
    data = loki(server, "query_range", query='sum by (app) (rate({app="web"} |= "level=error" [10s]))', step="5000ms", **LOKI)
    assert data["resultType"] == "matrix"
    (series,) = data["result"]
    assert series["metric"] == {"app": "web"}
    for at, v in series["values"]:
        assert isinstance(at, (int, float)) and isinstance(v, str)
    assert {at % 5 for at, _ in series["values"]} == {LOKI["start"] // S % 5} and any(float(v) > 0 for _, v in series["values"])


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_streams(server, direction):
    data = loki(server, "query_range", query='{app="web"}', limit=4, direction=direction, **LOKI)
    assert data["resultType"] == "streams"
    times = [int(v[0]) for s in data["result"] for v in s["values"]]
    assert len(times) == 4 and all(isinstance(v[0], str) and isinstance(v[1], str) for s in data["result"] for v in s["values"])
    assert set(times) == {NOW + i * S for i in (range(4) if direction == "forward" else range(6, 10))}
    for s in data["result"]:
        assert s["stream"]["app"] == "web" and [int(v[0]) for v in s["values"]] == sorted((int(v[0]) for v in s["values"]), reverse=direction == "backward")
    assert {"summary", "querier", "ingester"} <= set(data["stats"])
    summary = data["stats"]["summary"]
    assert summary["totalEntriesReturned"] == 4 and summary["totalLinesProcessed"] >= 4
    assert isinstance(summary["execTime"], (int, float)) and isinstance(summary["bytesProcessedPerSecond"], int)


def test_labels_in_categories(server):
    path, flags = "/loki/api/v1/query_range", {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
    data = server.json(path, flags, query='{app="db"} | json', **LOKI)["data"]
    assert data["encodingFlags"] == ["categorize-labels"]
    (stream,) = data["result"]
    assert stream["stream"] == {"app": "db", "env": "prod"}
    (row,) = stream["values"]
    assert row[:2] == [str(NOW), '{"ms": 7}']
    assert row[2]["parsed"] == {"ms": "7"} and row[2]["structuredMetadata"]["shard"] == "s1"
    plain = server.json(path, query='{app="db"} | json', **LOKI)["data"]
    assert "encodingFlags" not in plain and len(plain["result"][0]["values"][0]) == 2
    assert plain["result"][0]["stream"]["shard"] == "s1" and plain["result"][0]["stream"]["ms"] == "7"


@pytest.mark.parametrize("path,params,says", [
    ("query_range", {"query": '{app="web"'}, "parse error"),
    ("query_range", {"query": ""}, "query"),
    ("query_range", {"query": "{}"}, ""),
    ("query_range", {"query": '{app="web"}', "limit": 0}, "limit"),
    ("query_range", {"query": '{app="web"}', "start": 20, "end": 10}, "end"),
    ("query_range", {"query": '{app="web"}', "direction": "up"}, "direction"),
    ("query_range", {"query": 'rate({app="web"}[1m])', "step": "0"}, "step"),
    ("query", {"query": "sum("}, "parse error"),
    ("label/app/values", {"query": "nonsense"}, ""),
])
def test_a_bad_query_is_refused_in_plain_text(server, path, params, says):
    status, headers, body = raw(server, "/loki/api/v1/" + path, **params)
    assert status == 400 and headers["content-type"].startswith("text/plain") and says in body.decode(), body
    assert headers.get("x-content-type-options") == "nosniff"


def test_loki_buildinfo_and_ready(server):
    keys(server.json("/loki/api/v1/status/buildinfo"), allowed := ["version", "revision", "branch", "buildUser", "buildDate", "goVersion"], allowed)
    assert server.get("/ready")[0] == 200


def test_service_name_is_added_when_wished(sonde_program, tmp_path):
    s = Server(sonde_program, tmp_path / "data", "--discover-service")
    try:
        assert s.push({"app": "web"}, [(NOW, "x")])[0] == 204
        assert loki(s, "labels", **LOKI) == ["app", "service_name"] and loki(s, "label/service_name/values", **LOKI) == ["web"]
    finally:
        assert s.stop() == 0
