"""W3C Trace Context (Level 2) and Baggage, as a service built on libsonde behaves: build/examples/w3c calls back what it is told to,
and the headers of that call are compared. Headers go in as raw bytes, so that case, blanks and repetition arrive as written."""
import http.server
import json
import os
import re
import socket
import subprocess
import threading

import pytest

T = "12345678901234567890123456789012"
S = "1234567890123456"
TP = f"00-{T}-{S}-01"


class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.server.lock:
            self.server.seen.append((self.path, list(self.headers.items()), body))
        self.send_response(500 if self.path.endswith("/broken") else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Service:
    def __init__(self, build, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "DYN_", "SONDE_"))} | more
        self.process = subprocess.Popen([str(build / "examples" / "w3c"), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=env)
        self.port = int(re.search(r"port (\d+)", self.process.stdout.readline()).group(1))
        self.receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self.receiver.seen, self.receiver.lock = [], threading.Lock()
        threading.Thread(target=self.receiver.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.receiver.server_port}/cb"

    def test(self, headers, calls=None):
        """Posts with those header lines, as they are; returns what the receiver saw: [(path, headers, body)]."""
        calls = calls if calls is not None else [{"url": self.url, "arguments": []}]
        answer = self.post(headers, json.dumps(calls).encode())
        assert answer.startswith(b"HTTP/1.1 200"), answer[:200]
        with self.receiver.lock:
            return list(self.receiver.seen)

    def post(self, headers, body):
        self.receiver.seen.clear()
        head = b"POST /test HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\n".encode()
        for h in headers:
            head += h.encode("latin-1") + b"\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 30) as s:
            s.sendall(head + b"\r\n" + body)
            answer = b""
            while piece := s.recv(65536):
                answer += piece
        return answer

    def stop(self):
        self.process.terminate()
        assert self.process.wait(60) == 0
        self.receiver.shutdown()
        self.receiver.server_close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def service(build_dir):
    s = Service(build_dir)
    yield s
    s.stop()


def values(seen, name):
    return [v for k, v in seen[1] if k.lower() == name]


def one(service, headers):
    seen = service.test(headers)
    assert len(seen) == 1
    tp = values(seen[0], "traceparent")
    assert len(tp) == 1 and re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]", tp[0]), tp
    _, trace, span, flags = tp[0].split("-")
    assert int(trace, 16) and int(span, 16)
    return trace, span, flags, values(seen[0], "tracestate"), values(seen[0], "baggage")


CONTINUED = [  # header lines; flags expected
    ([f"traceparent: {TP}"], "01"),
    ([f"traceparent: 00-{T}-{S}-00"], "00"),
    ([f"traceparent: 00-{T}-{S}-02"], "02"),
    ([f"traceparent: 00-{T}-{S}-03"], "03"),
    ([f"traceparent: 00-{T}-{S}-04"], "00"),
    ([f"traceparent: 00-{T}-{S}-09"], "01"),
    ([f"traceparent: 00-{T}-{S}-ff"], "03"),
    ([f"TraceParent: {TP}"], "01"),
    ([f"TrAcEpArEnT: {TP}"], "01"),
    ([f"TRACEPARENT: {TP}"], "01"),
    ([f"traceparent:{TP}"], "01"),
    ([f"traceparent:   {TP}"], "01"),
    ([f"traceparent: {TP} "], "01"),
    ([f"traceparent:\t{TP}"], "01"),
    ([f"traceparent: {TP}\t"], "01"),
    ([f"traceparent: \t {TP} \t"], "01"),
    ([f"traceparent: cc-{T}-{S}-01"], "01"),
    ([f"traceparent: cc-{T}-{S}-01-what-the-future-will-be-like"], "01"),
    ([f"traceparent: cc-{T}-{S}-01-"], "01"),
    ([f"traceparent: 01-{T}-{S}-00"], "00"),
    ([f"traceparent: fe-{T}-{S}-01"], "01"),
    ([f"traceparent: 00-ffffffffffffffffffffffffffffffff-{S}-01"], "01"),
    ([f"traceparent: 00-00000000000000000000000000000001-{S}-01"], "01"),
    ([f"traceparent: 00-{T}-0000000000000001-01"], "01"),
]
RESTARTED = [  # a new trace, and no tracestate
    [],
    [f"traceparent: {TP}", f"traceparent: {TP}"],
    [f"traceparent: {TP}", f"TraceParent: 00-{T}-{S}-00"],
    [f"traceparent: {TP},{TP}"],
    [f"trace-parent: {TP}"],
    [f"trace.parent: {TP}"],
    ["traceparent: "],
    [f"traceparent: ff-{T}-{S}-01"],
    [f"traceparent: FF-{T}-{S}-01"],
    [f"traceparent: CC-{T}-{S}-01"],
    [f"traceparent: 00-{T}-{S}-01-"],
    [f"traceparent: 00-{T}-{S}-01-x"],
    [f"traceparent: 00-{T}-{S}-01-what-the-future-will-be-like"],
    [f"traceparent: 00-{T}-{S}-01."],
    [f"traceparent: 00-{T}-{S}-011"],
    [f"traceparent: 00-{T}-{S}-1"],
    [f"traceparent: 00-{T}-{S}-"],
    [f"traceparent: 00-{T}-{S}"],
    [f"traceparent: 00-{T}-{S}-0A"],
    [f"traceparent: 00-{T}-{S}-.0"],
    [f"traceparent: 00-{T}-{S}-0x"],
    [f"traceparent: cc-{T}-{S}-01.what"],
    [f"traceparent: cc-{T}-{S}-011"],
    [f"traceparent: 0-{T}-{S}-01"],
    [f"traceparent: 000-{T}-{S}-01"],
    [f"traceparent: .0-{T}-{S}-01"],
    [f"traceparent: 0.-{T}-{S}-01"],
    [f"traceparent: -{T}-{S}-01"],
    [f"traceparent: {T}-{S}-01"],
    [f"traceparent: 00-{'0' * 32}-{S}-01"],
    [f"traceparent: 00-{T}-{'0' * 16}-01"],
    [f"traceparent: 00-{'0' * 32}-{'0' * 16}-01"],
    [f"traceparent: 00-.2345678901234567890123456789012-{S}-01"],
    [f"traceparent: 00-1234567890123456789012345678901.-{S}-01"],
    [f"traceparent: 00-{T[:-1]}-{S}-01"],
    [f"traceparent: 00-{T}1-{S}-01"],
    [f"traceparent: 00-1234567890123456789012345678901A-{S}-01"],
    [f"traceparent: 00-1234567890123456789012345678901g-{S}-01"],
    [f"traceparent: 00-{T}-.234567890123456-01"],
    [f"traceparent: 00-{T}-{S[:-1]}-01"],
    [f"traceparent: 00-{T}-{S}1-01"],
    [f"traceparent: 00-{T}-123456789012345A-01"],
    [f"traceparent: 00-{T}-123456789012345x-01"],
    [f"traceparent: 00_{T}-{S}-01"],
    [f"traceparent: 00-{T}_{S}-01"],
    [f"traceparent: 00-{T}-{S}_01"],
    [f"traceparent: 00 -{T}-{S}-01"],
    [f"traceparent: 00-{T} -{S}-01"],
]


@pytest.mark.parametrize("headers,flags", CONTINUED)
def test_parent_is_continued(service, headers, flags):
    trace, span, got, state, _ = one(service, headers + ["tracestate: a=1"])
    sent = re.search(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-", headers[0])
    assert (trace, got, state) == (sent.group(1), flags, ["a=1"])
    assert span != sent.group(2)


@pytest.mark.parametrize("headers", RESTARTED)
def test_trace_is_restarted(service, headers):
    trace, _, flags, state, _ = one(service, headers + ["tracestate: a=1"])
    assert trace != T and state == []
    assert flags == "03"  # sampled, and our own ids are random


STATES = [  # tracestate lines; what goes out ("" nothing)
    (["foo=1"], "foo=1"),
    (["foo=1,bar=2"], "foo=1,bar=2"),
    (["foo=1", "bar=2"], "foo=1,bar=2"),
    (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3"),
    (["foo=1", ""], "foo=1"),
    (["", "foo=1"], "foo=1"),
    ([""], ""),
    (["foo=1,"], "foo=1"),
    ([",foo=1"], "foo=1"),
    (["foo=1,,bar=2"], "foo=1,bar=2"),
    (["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
    (["foo=1\t \t,\t \tbar=2,\t \tbaz=3"], "foo=1,bar=2,baz=3"),
    ([" foo=1"], "foo=1"),
    (["foo=1 "], "foo=1"),
    (["foo= 1"], "foo= 1"),
    (["foo=1 2"], "foo=1 2"),
    (["foo =1"], ""),
    (["FOO=1"], ""),
    (["foo.bar=1"], ""),
    (["foo@=1,bar=2"], "foo@=1,bar=2"),
    (["foo@@bar=1,bar=2"], "foo@@bar=1,bar=2"),
    (["foo@bar@baz=1,bar=2"], "foo@bar@baz=1,bar=2"),
    (["@foo=1,bar=2"], ""),
    (["foo@bar=1"], "foo@bar=1"),
    (["1foo=1"], "1foo=1"),
    (["_foo=1"], ""),
    (["-foo=1"], ""),
    (["a_-*/b=1"], "a_-*/b=1"),
    (["foo"], ""),
    (["foo="], ""),
    (["=1"], ""),
    (["foo=1,bar"], ""),
    (["foo=1,bar="], ""),
    (["foo=bar=baz"], ""),
    (["foo=1,foo=1"], "foo=1,foo=1"),
    (["foo=1,foo=2"], "foo=1,foo=2"),
    (["foo=1", "foo=2"], "foo=1,foo=2"),
    (["foo=,bar=3"], ""),
    (["foo=\xe9"], ""),
    (["foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"], "foo=!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"),
    (["z" * 256 + "=1"], "z" * 256 + "=1"),
    (["z" * 257 + "=1"], ""),
    (["t" * 241 + "@" + "v" * 14 + "=1"], "t" * 241 + "@" + "v" * 14 + "=1"),
    (["foo=" + "v" * 256], "foo=" + "v" * 256),
    (["foo=" + "v" * 257], ""),
    ([",".join(f"bar{i:02}={i:02}" for i in range(1, 33))], ",".join(f"bar{i:02}={i:02}" for i in range(1, 33))),
    ([",".join(f"bar{i:02}={i:02}" for i in range(1, 34))], ""),
    ([f"bar{i:02}={i:02}" for i in range(1, 33)], ",".join(f"bar{i:02}={i:02}" for i in range(1, 33))),
    ([f"bar{i:02}={i:02}" for i in range(1, 34)], ""),
    (["a=" + "x" * 200 + ",b=" + "y" * 250 + ",c=" + "z" * 100], "a=" + "x" * 200 + ",c=" + "z" * 100),  # over 512: long ones first
    (["ot=th:8;rv:0123456789abcd,a=1"], "ot=th:8;rv:0123456789abcd,a=1"),
]


@pytest.mark.parametrize("lines,want", STATES)
def test_tracestate(service, lines, want):
    trace, _, _, state, _ = one(service, [f"traceparent: {TP}"] + [f"tracestate: {x}" for x in lines])
    assert trace == T  # a broken tracestate does not harm the parent
    assert state == ([want] if want else [])


@pytest.mark.parametrize("name", ["tracestate", "TraceState", "TrAcEsTaTe", "TRACESTATE"])
def test_tracestate_name(service, name):
    assert one(service, [f"traceparent: {TP}", f"{name}: foo=1"])[3] == ["foo=1"]


@pytest.mark.parametrize("name", ["trace-state", "trace.state"])
def test_tracestate_other_name(service, name):
    assert one(service, [f"traceparent: {TP}", f"{name}: foo=1"])[3] == []


BAGGAGE = [
    (["a=1"], "a=1"),
    (["a=1,b=2"], "a=1,b=2"),
    (["a=1", "b=2"], "a=1,b=2"),
    (["a=1,b=2", "c=3"], "a=1,b=2,c=3"),
    (["  a\t=\t1  ,  b=2 "], "a=1,b=2"),
    (["a=1;p=x"], "a=1;p=x"),
    (["a=1;p;q=2,b=2"], "a=1;p;q=2,b=2"),
    (["a=Am%C3%A9lie"], "a=Am%C3%A9lie"),
    (["a=%20%22%2C%3B%5C%25"], "a=%20%22%2C%3B%5C%25"),
    (["a=%FF"], "a=%EF%BF%BD"),
    (["a=x=y"], "a=x=y"),
    (["a=1,a=2"], "a=1,a=2"),
    (["a="], "a="),
    (["SomeKey=SomeValue"], "SomeKey=SomeValue"),
    (["a=1,nonsense,b=2"], "a=1,b=2"),
    (["a b=1,b=2"], "b=2"),
    (["a=x y,b=2"], "b=2"),
    (["=1,b=2"], "b=2"),
    (["nonsense"], ""),
    ([""], ""),
    ([",".join(f"k{i}=v" for i in range(64))], ",".join(f"k{i}=v" for i in range(64))),
    ([",".join(f"k{i}=v" for i in range(80))], ",".join(f"k{i}=v" for i in range(64))),
    ([f"k{i}=v" for i in range(64)], ",".join(f"k{i}=v" for i in range(64))),
    (["a=" + "x" * 8190], "a=" + "x" * 8190),
    (["a=1,b=" + "x" * 8190], "a=1"),
]


@pytest.mark.parametrize("lines,want", BAGGAGE)
def test_baggage(service, lines, want):
    for parent in ([], [f"traceparent: {TP}"]):  # with a trace and without
        assert one(service, parent + [f"baggage: {x}" for x in lines])[4] == ([want] if want else [])


def test_each_call_has_a_parent_of_its_own(service):
    seen = service.test([f"traceparent: {TP}", "tracestate: foo=1"],
                        [{"url": service.url + f"/{i}", "arguments": [{"n": i}]} for i in range(3)])
    parents = [values(s, "traceparent")[0].split("-") for s in seen]
    assert {p[1] for p in parents} == {T} and len({p[2] for p in parents} | {S}) == 4
    assert sorted(json.loads(s[2])[0]["n"] for s in seen) == [0, 1, 2]


def test_nested_calls(service):
    me = f"http://127.0.0.1:{service.port}/test"
    inner = [{"url": service.url, "arguments": []}, {"url": service.url, "arguments": []}]
    seen = service.test([f"traceparent: {TP}"], [{"url": me, "arguments": inner}, {"url": service.url, "arguments": []}])
    parents = [values(s, "traceparent")[0].split("-") for s in seen]
    assert len(seen) == 3 and {p[1] for p in parents} == {T} and len({p[2] for p in parents}) == 3


def test_several_requests_are_traces_of_their_own(service):
    traces = {one(service, [])[0] for _ in range(5)}
    assert len(traces) == 5


def test_request_ids_travel(service):
    uuid = "11112222-3333-4444-8555-666677778888"
    seen = service.test(["x-request-id: demo-42", f"x-dynamo-request-id: {uuid}"])[0]
    assert values(seen, "x-request-id") == ["demo-42"] and values(seen, "x-dynamo-request-id") == [uuid]


@pytest.mark.parametrize("body", ["", "{", "[", "null", "1", "[1]", "[{}]", '[{"url":5}]', '[{"url":""}]', '[{"arguments":[]}]',
                                  '[{"url":"U"}]x', '[{"url":"U"},', "\xff"])
def test_no_call_is_made_of_half_a_body(service, body):
    answer = service.post([], body.replace("U", service.url).encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 400") and not service.receiver.seen


def test_a_target_that_is_not_there_harms_no_other(service):
    with socket.create_server(("127.0.0.1", 0)) as s:
        gone = f"http://127.0.0.1:{s.getsockname()[1]}/"
    calls = [{"url": gone, "arguments": []}, {"url": service.url, "arguments": []}, {"url": "ftp://x/"},
             {"url": service.url + "/broken"}]
    answer = service.post([f"traceparent: {TP}"], json.dumps(calls).encode())
    assert answer.startswith(b"HTTP/1.1 200") and b"3 of 4 calls failed" in answer and len(service.receiver.seen) == 2


def test_many_calls_and_a_large_one(service):
    seen = service.test([f"traceparent: {TP}"], [{"url": service.url, "arguments": [i]} for i in range(300)])
    assert sorted(json.loads(s[2])[0] for s in seen) == list(range(300))
    assert len({values(s, "traceparent")[0] for s in seen}) == 300
    big = ["x" * 3_900_000]
    assert json.loads(service.test([], [{"url": service.url, "arguments": big}])[0][2]) == big


def test_every_propagator_at_once(build_dir):
    service = Service(build_dir, OTEL_PROPAGATORS="tracecontext,baggage,b3,b3multi,jaeger,ottrace,xray")
    try:
        seen = service.test([f"traceparent: {TP}", "baggage: " + ",".join(f"k{i}=v{i}" for i in range(40))])
        assert values(seen[0], "traceparent")[0].split("-")[1] == T
        assert [values(seen[0], f"uberctx-k{i}") for i in range(40)] == [[f"v{i}"] for i in range(40)]
    finally:
        service.stop()
