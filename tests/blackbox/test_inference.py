"""The inference example: frontend, prefill and decode worker as processes on free ports, healthy and under every fault."""
import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess
import time
import uuid

import pytest

from conftest import ROOT, Server, wait_for

FAST = {
    "prefill": ["--base", "1ms", "--per-token", "5us", "--slow-factor", "100"],
    "decode": ["--itl", "2ms", "--itl-per-seq", "20us", "--kv-timeout", "400ms"],
    "frontend": ["--timeout", "1s", "--aside", "200ms", "--storm-retries", "6"],
}


class Process:
    """One of the example's programs, with its log lines."""

    def __init__(self, build, folder, name, options, env=None, listen="127.0.0.1:0"):
        self.name, self.log = name, folder / f"{name}-{uuid.uuid4().hex[:6]}.log"
        program = build / "examples" / "inference" / name
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([str(program), "--listen", listen, *options], stdout=subprocess.PIPE, stderr=log, text=True,
                                            env={**clean_env(), "SONDE_RING_DIR": str(folder / "rings"), **(env or {})})
        line = self.process.stdout.readline()
        found = re.fullmatch(r"listening on (http://127\.0\.0\.1:(\d+))\n", line)
        assert found, (name, line, self.log.read_text()[-2000:])
        self.url, self.port = found[1], int(found[2])

    def stop(self):
        """The exit code after SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process.stdout.close()
        return code

    def records(self):
        whole = self.log.read_text().rpartition("\n")[0]  # the last line may be on its way
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def clean_env():
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "DYN_", "SONDE_"))}
    # a sanitizer would turn the crash that the fault asks for into an exit
    keep = {k: f"{env.get(k, '')}:handle_segv=0" for k in ("ASAN_OPTIONS", "TSAN_OPTIONS")}
    return {**env, **keep, "DYN_LOGGING_JSONL": "1", "DYN_LOG": "debug"}


class Stack:
    def __init__(self, build, folder, prefill=(), decode=(), frontend=(), n_decode=1, env=lambda name: {}):
        self.build, self.folder, self.env = build, folder, env
        self.options = {"decode": [*FAST["decode"], *decode]}
        self.prefill = Process(build, folder, "prefill", [*FAST["prefill"], *prefill], env("prefill"))
        self.decode = [Process(build, folder, "decode", self.options["decode"], env("decode")) for _ in range(n_decode)]
        self.lost = []  # decode workers that died
        self.frontend = Process(build, folder, "frontend", [*FAST["frontend"], "--prefill", self.prefill.url, "--decode",
                                                           ",".join(d.url for d in self.decode), *frontend], env("frontend"))

    def processes(self):
        return [self.frontend, self.prefill, *self.decode]

    def revive(self):
        """Starts the dead decode workers again, on their ports; returns their exit codes."""
        codes = []
        for i, d in enumerate(self.decode):
            if d.process.poll() is not None:
                codes.append(d.process.returncode)
                self.lost.append(d)
                self.decode[i] = Process(self.build, self.folder, "decode", self.options["decode"], self.env("decode"),
                                         f"127.0.0.1:{d.port}")
        wait_for(lambda: call(self.frontend, "GET", "/health")[0] == 200)
        return codes

    def stop(self):
        return [p.stop() for p in self.processes()]

    def records(self, **fields):
        """Log records of all processes with these values, [(process name, record)]."""
        found = [(p.name, r) for p in [*self.processes(), *self.lost] for r in p.records()]
        return [(n, r) for n, r in found if all(r.get(k) == v for k, v in fields.items())]


@pytest.fixture(scope="module")
def stack(build_dir, tmp_path_factory):
    s = Stack(build_dir, tmp_path_factory.mktemp("stack"))
    yield s
    assert s.stop() == [0] * 3


@pytest.fixture
def new_stack(build_dir, tmp_path):
    made = []

    def make(**options):
        made.append(Stack(build_dir, tmp_path, **options))
        return made[-1]

    yield make
    for s in made:
        s.stop()


def call(process, method, path, body=None, headers=None, timeout=20):
    """(status, headers, bytes)"""
    c = http.client.HTTPConnection("127.0.0.1", process.port, timeout=timeout)
    try:
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        return r.status, r.headers, r.read()
    finally:
        c.close()


def body(tokens=8, stream=False, prompt="hello world " * 20, **more):
    return {"model": "tiny", "max_tokens": tokens, "stream": stream, "messages": [{"role": "user", "content": prompt}], **more}


def chat(stack, request, headers=None, timeout=20):
    status, got, data = call(stack.frontend, "POST", "/v1/chat/completions", json.dumps(request), {"content-type": "application/json", **(headers or {})},
                             timeout)
    return status, got, data if request.get("stream") and status == 200 else json.loads(data)


def events(data):
    """[(event name, payload)] of an SSE stream; payload is "[DONE]" or the JSON."""
    out = []
    for block in data.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if "data" in fields:
            out.append((fields.get("event", ""), fields["data"] if fields["data"] == "[DONE]" else json.loads(fields["data"])))
    return out


def quiet(stack):
    """Until every worker is idle."""
    for p in [stack.prefill, *stack.decode]:
        wait_for(lambda: (lambda h: h["running"] == 0 and h["waiting"] == 0)(json.loads(call(p, "GET", "/health")[2])))


# ---- answers -------------------------------------------------------------------------------------------------------
def test_answer(stack):
    status, headers, doc = chat(stack, body(8), {"x-request-id": "unary-1"})
    assert status == 200 and headers["x-request-id"] == "unary-1"
    assert doc["object"] == "chat.completion" and doc["model"] == "tiny" and doc["id"].startswith("chatcmpl-")
    choice = doc["choices"][0]
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] == "length"
    assert len(choice["message"]["content"].split()) == 8
    usage = doc["usage"]
    assert usage["completion_tokens"] == 8 and usage["prompt_tokens"] > 50
    assert usage["total_tokens"] == usage["prompt_tokens"] + 8


def test_stream(stack):
    status, headers, data = chat(stack, body(12, True, stream_options={"include_usage": True}), {"x-request-id": "stream-1"})
    assert status == 200 and headers["x-request-id"] == "stream-1"
    assert headers["content-type"].startswith("text/event-stream")
    got = events(data)
    assert got[-1] == ("", "[DONE]") and all(name == "" for name, _ in got)
    usage, end, first = got[-2][1], got[-3][1]["choices"][0], got[0][1]["choices"][0]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12
    assert end == {"index": 0, "delta": {}, "finish_reason": "length"}
    assert first["delta"] == {"role": "assistant", "content": ""} and first["finish_reason"] is None
    words = [e["choices"][0]["delta"]["content"] for _, e in got[1:-3]]
    assert len(words) == 12 and all(words)
    assert len({e["id"] for _, e in got[:-1]}) == 1


def test_without_usage_option_a_stream_has_none(stack):
    got = events(chat(stack, body(3, True))[2])
    assert all("usage" not in e for _, e in got if e != "[DONE]")


def test_own_length_stops(stack):
    request = body()
    del request["max_tokens"]
    doc = chat(stack, request)[2]
    assert doc["choices"][0]["finish_reason"] == "stop" and 16 <= doc["usage"]["completion_tokens"] <= 96


def test_request_id_is_made_when_none_came(stack):
    ids = {chat(stack, body(2))[1]["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(uuid.UUID(i).version == 4 for i in ids)


REFUSED = [
    (b"", 400, None, None),
    (b"[]", 400, None, None),
    (b'{"model":"tiny"', 400, None, None),
    ({"messages": [{"role": "user", "content": "x"}]}, 400, "model", None),
    ({"model": 5, "messages": []}, 400, "model", None),
    ({"model": "tiny"}, 400, "messages", None),
    ({"model": "tiny", "messages": []}, 400, "messages", None),
    ({"model": "tiny", "messages": "x"}, 400, "messages", None),
    ({"model": "tiny", "messages": ["x"]}, 400, "messages", None),
    ({"model": "tiny", "messages": [{"role": "king", "content": "x"}]}, 400, "messages", None),
    ({"model": "tiny", "messages": [{"role": "user", "content": 7}]}, 400, "messages", None),
    (body(0), 400, "max_tokens", None),
    (body("many"), 400, "max_tokens", None),
    (body(stream="yes"), 400, "stream", None),
    (body(temperature=9), 400, "temperature", None),
    (body(n=2), 400, "n", None),
    (body(prompt="x" * 400000), 400, "messages", "context_length_exceeded"),
    ({"model": "gpt-0", "messages": [{"role": "user", "content": "x"}]}, 404, "model", "model_not_found"),
]


@pytest.mark.parametrize("request_body,status,param,code", REFUSED, ids=range(len(REFUSED)))
def test_refused(stack, request_body, status, param, code):
    data = request_body if isinstance(request_body, bytes) else json.dumps(request_body)
    got, headers, answer = call(stack.frontend, "POST", "/v1/chat/completions", data, {"x-request-id": "bad-1"})
    error = json.loads(answer)["error"]
    assert (got, error["param"], error["code"]) == (status, param, code), error
    assert error["type"] == "invalid_request_error" and error["message"] and headers["x-request-id"] == "bad-1"


def test_content_may_be_parts(stack):
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "world"}]
    status, _, doc = chat(stack, {"model": "tiny", "max_tokens": 2, "messages": [{"role": "user", "content": parts}]})
    assert status == 200 and doc["usage"]["completion_tokens"] == 2


def test_other_routes(stack):
    models = json.loads(call(stack.frontend, "GET", "/v1/models")[2])
    assert [m["id"] for m in models["data"]] == ["tiny"] and models["object"] == "list"
    assert json.loads(call(stack.frontend, "GET", "/v1/models/tiny")[2])["id"] == "tiny"
    assert call(stack.frontend, "GET", "/v1/models/none")[0] == 404
    health = json.loads(call(stack.frontend, "GET", "/health")[2])
    assert health["status"] == "healthy" and [w["phase"] for w in health["workers"]] == ["prefill", "decode"]
    assert json.loads(call(stack.frontend, "GET", "/live")[2])["status"] == "live"
    assert call(stack.frontend, "GET", "/v1/chat/completions")[0] == 405
    status, _, data = call(stack.frontend, "GET", "/nowhere")
    assert status == 404 and json.loads(data)["error"]["code"] == "unknown_url"
    for worker, component in ((stack.prefill, "prefill"), (stack.decode[0], "backend")):
        doc = json.loads(call(worker, "GET", "/health")[2])
        assert doc["status"] == "ready" and doc["component"] == component and int(doc["instance_id"]) > 0


# ---- one request over three processes --------------------------------------------------------------------------------
def test_logs_share_the_ids(stack):
    trace = uuid.uuid4().hex
    status, _, _ = chat(stack, body(5), {"x-request-id": "ids-1", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert status == 200
    wanted = {("frontend", "request received"), ("frontend", "Selected worker"), ("frontend", "Prefill completed"), ("frontend", "request completed"),
              ("frontend", "http response sent"), ("prefill", "request received"), ("prefill", "Prefill completed"), ("prefill", "KV cache sent"),
              ("decode", "request received"), ("decode", "KV cache received"), ("decode", "request completed")}
    wait_for(lambda: wanted <= {(n, r["message"]) for n, r in stack.records(trace_id=trace)})
    got = stack.records(trace_id=trace)
    assert {r["x_request_id"] for _, r in got} == {"ids-1"}
    spans = {r["span_name"] for _, r in got}
    assert {"http-request", "router.route_request", "handle_payload", "prefill", "kv_transfer", "decode"} <= spans
    # parents: what a worker logs in its top span hangs below the route span that called it
    routes = {r["span_id"] for n, r in got if n == "frontend" and r["span_name"] == "router.route_request"}
    payloads = {r["parent_id"] for n, r in got if n != "frontend" and r["span_name"] == "handle_payload"}
    assert len(routes) == 2 and payloads == routes


def test_ids_without_a_caller(stack):
    chat(stack, body(2), {"x-request-id": "orphan-1"})
    got = wait_for(lambda: (lambda r: r if len({n for n, _ in r}) == 3 else None)(stack.records(x_request_id="orphan-1")))
    assert len({r["trace_id"] for _, r in got}) == 1


# ---- faults ----------------------------------------------------------------------------------------------------------
FAULTS = [  # name, status, error.code, exit code of the decode worker
    ("kv-timeout", 504, "kv_transfer_timeout", None),
    ("cuda-oom", 500, "cuda_out_of_memory", None),
    ("hang", 504, "response_timeout", None),
    ("retry-storm", 529, "worker_overloaded", None),
    ("crash", 503, "worker_disconnected", -signal.SIGSEGV),
    ("lost-worker", 503, "worker_disconnected", -signal.SIGKILL),
]
LINES = {  # what some process logs at WARN or above
    "kv-timeout": ("decode", "pulling KV caches failed: Timeout waiting for P side ready"),
    "cuda-oom": ("decode", "torch.OutOfMemoryError: CUDA out of memory"),
    "hang": ("frontend", "route request failed"),
    "retry-storm": ("decode", "request rejected, worker overloaded"),
    "crash": ("frontend", "route request failed"),
    "lost-worker": ("frontend", "route request failed"),
}


@pytest.mark.parametrize("name,status,code,exit_code", FAULTS, ids=[f[0] for f in FAULTS])
def test_fault(stack, name, status, code, exit_code):
    request_id = f"fault-{name}"
    began = time.monotonic()
    got, headers, doc = chat(stack, body(10), {"x-request-id": request_id, "x-sonde-fault": name})
    assert time.monotonic() - began < 30  # it is not left hanging
    assert (got, doc["error"]["code"]) == (status, code), doc
    assert headers["x-request-id"] == request_id and doc["error"]["message"]
    if exit_code is not None:
        wait_for(lambda: stack.decode[0].process.poll() is not None)
    codes = stack.revive()
    assert codes == ([] if exit_code is None else [exit_code])
    where, line = LINES[name]
    wait_for(lambda: [r for n, r in stack.records(x_request_id=request_id) if n == where and r["message"] == line and r["level"] in ("WARN", "ERROR")])
    wait_for(lambda: [r for _, r in stack.records(x_request_id=request_id, message="request completed", level="ERROR")])
    assert chat(stack, body(3))[0] == 200  # and the stack serves on
    quiet(stack)


@pytest.mark.parametrize("name", ["hang", "crash", "lost-worker"])
def test_fault_in_a_stream(stack, name):
    status, _, data = chat(stack, body(10, True), {"x-sonde-fault": name})
    got = events(data)
    assert status == 200 and got[-1][0] == "error" and got[-1][1]["error"]["message"]
    assert 3 <= sum(1 for n, e in got if n == "" and e["choices"][0]["delta"].get("content")) < 10
    if name != "hang":
        wait_for(lambda: stack.decode[0].process.poll() is not None)
    stack.revive()
    quiet(stack)


def test_slow_prefill(stack):
    chat(stack, body(2), {"x-request-id": "slow-1", "x-sonde-fault": "slow-prefill"})
    chat(stack, body(2), {"x-request-id": "slow-2"})

    def took(i):
        return wait_for(lambda: [r["prefill_ms"] for n, r in stack.records(x_request_id=i, message="Prefill completed") if n == "prefill"])[0]

    assert took("slow-1") > 10 * took("slow-2")


@pytest.mark.parametrize("name", ["crash", "lost-worker"])
def test_ring_of_a_lost_worker(new_stack, sonde_program, name):
    s = new_stack()
    chat(s, body(10), {"x-request-id": f"ring-{name}", "x-sonde-fault": name})
    s.decode[0].process.wait(60)
    ring = s.folder / "rings" / f"decode-{s.decode[0].process.pid}.ring"
    p = subprocess.run([str(sonde_program), "inspect", "ring", str(ring)], capture_output=True, text=True, timeout=20)
    assert p.returncode == 0, p.stderr
    mine = [line for line in p.stdout.splitlines() if f"ring-{name}" in line]
    assert any("scheduled for decode" in line for line in mine) and any("SPAN_OPEN" in line for line in mine), p.stdout[-3000:]


def test_retry_storm_has_attempts(stack):
    chat(stack, body(2), {"x-request-id": "storm-9", "x-sonde-fault": "retry-storm"})
    got = wait_for(lambda: (lambda r: r if len(r) >= 7 else None)(
        [r for n, r in stack.records(x_request_id="storm-9", message="Selected worker") if r["phase"] == "decode"]))
    assert sorted(r["request.attempt"] for r in got) == list(range(7))


def test_fault_by_flag(new_stack):
    s = new_stack(decode=["--fault", "cuda-oom"])
    assert chat(s, body(2))[0] == 500
    bad = subprocess.run([str(s.build / "examples/inference/decode"), "--fault", "meteor"], capture_output=True, text=True, timeout=10)
    assert bad.returncode == 1 and "meteor" in bad.stderr


def test_unused_cache_is_released(new_stack):
    s = new_stack(prefill=["--kv-ttl", "300ms"])
    status, _, data = call(s.prefill, "POST", "/generate", json.dumps({"request_id": "r", "model": "tiny", "prompt_tokens": 100}))
    kv = json.loads(data)["kv"]["url"].rsplit(":", 1)[1].split("/", 1)[1]
    wait_for(lambda: s.records(message="Releasing expired KV blocks for request", retrieved_by=0))
    assert call(s.prefill, "GET", "/" + kv)[0] == 404
    assert json.loads(call(s.prefill, "GET", "/health")[2])["kv_usage"] == 0


# ---- pressure --------------------------------------------------------------------------------------------------------
def many(stack, n, request):
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return list(pool.map(lambda i: chat(stack, request, {"x-request-id": f"many-{i}"}), range(n)))


def test_preemption(new_stack):
    s = new_stack(decode=["--kv-blocks", "24"])  # prompts of 5 blocks that grow to 12
    got = many(s, 4, body(110))
    assert [g[0] for g in got] == [200] * 4
    assert [len(g[2]["choices"][0]["message"]["content"].split()) for g in got] == [110] * 4
    assert json.loads(call(s.decode[0], "GET", "/health")[2])["preemptions"] > 0
    warned = [r for _, r in s.records(level="WARN") if "PreemptionMode.RECOMPUTE" in r["message"]]
    assert warned and all(r["x_request_id"].startswith("many-") for r in warned)
    quiet(s)
    assert json.loads(call(s.decode[0], "GET", "/health")[2])["kv_usage"] == 0


def test_overload_is_refused(new_stack):
    s = new_stack(decode=["--max-seqs", "1", "--queue", "1", "--itl", "20ms"], frontend=["--retries", "0", "--timeout", "5s"])
    got = sorted(g[0] for g in many(s, 8, body(10)))
    assert set(got) == {200, 529} and got.count(200) >= 2
    quiet(s)


def test_too_large_for_the_cache(new_stack):
    s = new_stack(decode=["--kv-blocks", "4"])
    status, _, doc = chat(s, body(100))
    assert status == 400 and "KV cache" in doc["error"]["message"]


def test_client_that_goes_away(stack):
    c = http.client.HTTPConnection("127.0.0.1", stack.frontend.port, timeout=10)
    c.request("POST", "/v1/chat/completions", json.dumps(body(2000, True)), {"x-request-id": "gone-1"})
    c.getresponse().read(300)
    c.sock.close() if c.sock else None
    c.close()
    wait_for(lambda: stack.records(x_request_id="gone-1", message="request completed", status="cancelled"))
    wait_for(lambda: [1 for n, r in stack.records(x_request_id="gone-1", message="Aborted request") if n == "decode"])
    quiet(stack)


def test_lost_worker_is_put_aside(new_stack):
    s = new_stack(n_decode=2, frontend=["--aside", "30s"])
    assert [chat(s, body(2))[0] for _ in range(4)] == [200] * 4
    s.decode[0].process.kill()
    s.decode[0].process.wait()
    assert [chat(s, body(2))[0] for _ in range(6)] == [200] * 6
    workers = json.loads(call(s.frontend, "GET", "/health")[2])["workers"]
    assert [w["put_aside"] for w in workers] == [False, True, False]


def test_no_worker(new_stack):
    s = new_stack()
    s.prefill.process.kill()
    s.prefill.process.wait()
    status, _, doc = chat(s, body(2))
    assert status == 503 and doc["error"]["code"] == "no_worker"


def test_shutdown_lets_requests_finish(new_stack):
    s = new_stack(decode=["--itl", "10ms"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(chat, s, body(60, True))
        wait_for(lambda: s.records(message="first token"))
        for p in s.processes():
            p.process.send_signal(signal.SIGTERM)
        status, _, data = job.result(15)
    assert status == 200 and events(data)[-1] == ("", "[DONE]")
    assert [p.process.wait(60) for p in s.processes()] == [0, 0, 0]


# ---- load ------------------------------------------------------------------------------------------------------------
def load(stack, *options):
    p = subprocess.run([str(stack.build / "examples/inference/load"), "--url", stack.frontend.url, *options, "-o", "json"], capture_output=True,
                       text=True, timeout=60, env=clean_env())
    return p.returncode, json.loads(p.stdout)


def test_load_counts(stack):
    code, doc = load(stack, "--rate", "60", "--count", "50", "--faults", "cuda-oom=0.3", "--prompt", "20-200", "--output", "4-12",
                     "--prefix", "cnt", "--stream", "0.6")
    assert code == 0 and doc["sent"] == 50 and doc["ok"] + doc["failed"] == 50 and doc["unfinished"] == 0
    oom = doc["faults"].get("cuda-oom", {"sent": 0, "failed": 0})
    assert 3 <= oom["sent"] <= 30 and oom["sent"] == oom["failed"] == doc["failed"] == sum(doc["errors"].values())
    assert list(doc["errors"]) == ["500 server_error"]
    assert doc["e2e_ms"]["count"] == doc["ok"] and 0 < doc["ttft_ms"]["count"] <= doc["streamed"]
    for measure in ("ttft_ms", "itl_ms", "e2e_ms"):
        m = doc[measure]
        assert 0 < m["p50"] <= m["p90"] <= m["p99"] <= m["max"]
    seen = {r["x_request_id"] for n, r in stack.records(message="request received") if n == "frontend"}
    assert {f"cnt-{i}" for i in range(1, 51)} <= seen


def test_load_for_a_time_with_a_cap(stack):
    code, doc = load(stack, "--rate", "80", "--duration", "1s", "--concurrency", "2", "--output", "8", "--prompt", "20")
    assert code == 0 and 40 <= doc["sent"] <= 130 and doc["ok"] == doc["sent"]
    assert doc["e2e_ms"]["p99"] > doc["itl_ms"]["p50"] * 8  # what waited for the cap is counted in


def test_load_that_is_stopped_tells_what_it_saw(stack):
    p = subprocess.Popen([str(stack.build / "examples/inference/load"), "--url", stack.frontend.url, "--rate", "50", "--duration", "1h",
                          "--prefix", "stopped", "-o", "json"], stdout=subprocess.PIPE, text=True, env=clean_env())
    wait_for(lambda: stack.records(x_request_id="stopped-20", message="http response sent"))
    p.send_signal(signal.SIGTERM)
    doc = json.loads(p.communicate(timeout=10)[0])
    assert p.returncode == 0 and doc["ok"] >= 10 and doc["sent"] == doc["ok"] + doc["failed"] + doc["unfinished"]
    quiet(stack)


def test_load_without_a_server(build_dir):
    p = subprocess.run([str(build_dir / "examples/inference/load"), "--url", "http://127.0.0.1:1", "--count", "2", "--rate", "50"],
                       capture_output=True, text=True, timeout=20)
    assert p.returncode == 1 and "no connection" in p.stdout
    p = subprocess.run([str(build_dir / "examples/inference/load"), "--rate", "fast"], capture_output=True, text=True, timeout=20)
    assert p.returncode == 2 and "fast" in p.stderr


# ---- with a collector --------------------------------------------------------------------------------------------------
def test_collector_sees_the_request(new_stack, sonde_program, tmp_path):
    server = Server(sonde_program, tmp_path / "data")
    try:
        endpoint = server.url("", "otlp-grpc")
        s = new_stack(env=lambda name: {"OTEL_EXPORT_ENABLED": "1", "OTEL_SERVICE_NAME": name, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": endpoint})
        status, _, _ = chat(s, body(10), {"x-request-id": "seen-1"})
        assert status == 200

        def complete():
            code, data = server.get("/api/sonde/v1/requests/seen-1")
            doc = json.loads(data) if code == 200 else {}
            whole = doc and len(doc["services"]) == 3 and len(doc["spans"]) >= 9 and {r["service"] for r in doc["logs"]} >= {"frontend", "prefill", "decode"}
            return doc if whole and doc["request"]["status"] == "ok" else None

        doc = wait_for(complete)
        assert {x["name"] for x in doc["spans"]} >= {"http-request", "router.route_request", "handle_payload", "queue", "prefill", "kv_transfer",
                                                     "kv_send", "decode"}
        assert doc["request"]["output_tokens"] == 10 and doc["request"]["model"] == "tiny"
        assert doc["request"]["prefill_worker"] and doc["request"]["decode_worker"]
        total = sum(p["ms"] for p in doc["phases"])
        assert abs(total - doc["request"]["duration_ms"]) <= 0.01 * doc["request"]["duration_ms"]
        assert {"prefill", "kv_transfer", "decode"} <= {p["name"] for p in doc["phases"]}
    finally:
        server.stop()


# ---- the demonstration ---------------------------------------------------------------------------------------------------
def test_demo_stops_by_itself_and_leaves_nothing(build_dir, tmp_path):
    env = {**clean_env(), "DEMO_SECONDS": "8", "DEMO_RATE": "5", "DEMO_FREE_PORTS": "1", "TMPDIR": str(tmp_path)}
    p = subprocess.run([str(ROOT / "scripts" / "demo.sh"), str(build_dir)], capture_output=True, text=True, timeout=60, env=env)
    assert p.returncode == 0, p.stdout + p.stderr
    url = re.search(r"Sonde +(http://127\.0\.0\.1:\d+)", p.stdout)[1]
    for command in ("request", "logs"):
        assert re.search(rf"sonde {command} --url {url} ", p.stdout), p.stdout
    assert f"curl -s {url}/api/sonde/v1/requests/demo-42" in p.stdout
    assert re.search(r"requests in .* answered", p.stdout) and p.stderr == ""
    assert list(tmp_path.iterdir()) == []
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in running


def test_demo_stops_at_ctrl_c(build_dir, tmp_path):
    env = {**clean_env(), "DEMO_FREE_PORTS": "1", "TMPDIR": str(tmp_path)}
    # a shell cannot trap what was ignored when it began, as it is in tests that run in the background of a shell
    p = subprocess.Popen([str(ROOT / "scripts" / "demo.sh"), str(build_dir)], stdout=subprocess.PIPE, text=True, env=env, start_new_session=True,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    for line in p.stdout:
        if "Ctrl-C" in line:
            break
    os.killpg(p.pid, signal.SIGINT)
    p.communicate(timeout=30)
    assert p.returncode == 0 and list(tmp_path.iterdir()) == []
