"""The trio as an operator meets it: status servers, readiness, canaries, the engine's callbacks, configuration dumps."""
import concurrent.futures
import json
import time

import pytest
from conftest import Status, wait_for
from test_inference import body, call, chat


@pytest.fixture
def ops(trio):
    """The trio with status servers: stack, {name: Status}."""

    def make(env=None, **options):
        stack = trio({"DYN_SYSTEM_PORT": "0", **(env or {})}, **options)
        return stack, {p.name: Status(p) for p in stack.processes()}

    return make


def get(where, path, method="GET", data=None):
    status, head, text = call(where, method, path, data)
    return status, json.loads(text) if text[:1] in b"{[" and b"\n" not in text.strip() else text.decode()


def test_health_metadata_and_metrics_of_the_workers(ops):
    stack, status = ops()
    for name, component in (("prefill", "prefill"), ("decode", "backend")):
        for path in ("/health", "/live"):
            code, doc = get(status[name], path)
            assert (code, doc["status"], doc["endpoints"]) == (200, "ready", {"generate": "ready"}) and doc["uptime"]["secs"] >= 0
        code, doc = get(status[name], "/metadata")
        assert code == 200 and doc["component"] == component and doc["endpoint"] == "generate"
        assert doc["transport"]["http"] == (stack.prefill if name == "prefill" else stack.decode[0]).url
        code, listed = get(status[name], "/metrics_endpoints")
        assert [(x["namespace"], x["url"]) for x in listed["data"]] == [("dynamo", f"http://127.0.0.1:{status[name].port}/metrics")]
        assert int(listed["data"][0]["instance_id"], 16) == int(doc["instance_id"])
        code, text = get(status[name], "/metrics")
        assert code == 200 and f'dynamo_component_requests_total{{dynamo_component="{component}"' in text
        assert get(status[name], "/nothing")[0] == 404
    doc = wait_for(lambda: (lambda d: len(d["instances"]) == 2 and d)(get(stack.frontend, "/health")[1]))
    assert doc["status"] == "healthy" and doc["endpoints"] == ["dyn://dynamo.prefill.generate", "dyn://dynamo.backend.generate"]
    assert [(x["namespace"], x["component"], x["endpoint"], x["transport"]) for x in doc["instances"]] == [
        ("dynamo", "prefill", "generate", {"http": stack.prefill.url}), ("dynamo", "backend", "generate", {"http": stack.decode[0].url})]
    assert get(stack.frontend, "/live") == (200, {"message": "the process runs", "status": "live"})
    code, text = get(stack.frontend, "/metrics")
    assert code == 200 and "dynamo_frontend_inflight_requests" in text


def test_pausing_an_engine_holds_requests_back(ops):
    stack, status = ops()
    code, doc = get(status["decode"], "/engine/pause", "POST")
    assert code == 200 and doc["paused"] is True
    assert get(status["decode"], "/health")[0] == 503
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(chat, stack, body(3))
        wait_for(lambda: "dynamo_work_handler_queue_depth 1" in get(status["decode"], "/metrics")[1])
        time.sleep(0.2)
        assert not job.done()
        assert get(status["decode"], "/engine/resume", "POST", b"{}")[1]["paused"] is False
        assert job.result(10)[0] == 200
    assert get(status["decode"], "/health")[0] == 200
    code, doc = get(status["decode"], "/engine/kv")
    assert code == 200 and doc == {"block_tokens": 16, "total_blocks": 2048, "active_blocks": 0, "usage": 0}
    assert get(status["decode"], "/engine/nothing")[0] == 404
    assert get(status["decode"], "/engine/pause", "POST", b"{not json")[0] == 400


def test_a_canary_keeps_an_idle_worker_ready_and_finds_a_stuck_one(ops):
    stack, status = ops({"DYN_HEALTH_CHECK_ENABLED": "1", "DYN_CANARY_WAIT_TIME": "1", "DYN_HEALTH_CHECK_REQUEST_TIMEOUT": "1"})

    def served(name):
        text = get(status[name], "/metrics")[1]
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("dynamo_component_requests_total{"))

    wait_for(lambda: served("decode") >= 1 and served("prefill") >= 1, 60)  # nobody else asks them
    assert get(status["decode"], "/health")[0] == get(status["prefill"], "/health")[0] == 200
    active = [line for line in get(status["prefill"], "/metrics")[1].splitlines() if line.startswith("dynamo_component_kvstats_active_blocks")]
    assert active[0].endswith(" 0"), active  # what a canary computed is not kept
    get(status["decode"], "/engine/pause", "POST")
    # a canary is sent, and is not answered in time
    wait_for(lambda: get(status["decode"], "/health")[1]["endpoints"]["generate"] == "notready", 60)


def test_a_dump_tells_how_each_process_was_set_up(trio, tmp_path):
    stack = trio({"DYN_X_API_KEY": "verysecret"}, prefill=["--dump-config-to", str(tmp_path / "dumps/p.json")],
                 decode=["--dump-config-to", str(tmp_path / "dumps/d.json"), "--kv-blocks", "777"],
                 frontend=["--dump-config-to", str(tmp_path / "dumps/f.json")])
    assert chat(stack, body(2))[0] == 200
    for name, key, want in (("p", "listen", "127.0.0.1:0"), ("d", "kv-blocks", "777"), ("f", "model", "tiny")):
        text = (tmp_path / "dumps" / f"{name}.json").read_text()
        doc = json.loads(text)
        assert doc["config"][key] == want and "verysecret" not in text
        assert doc["environment"]["DYN_X_API_KEY"] == "<REDACTED>"
        assert doc["settings"]["DYN_LOG"]["value"] == "debug" and doc["settings"]["DYN_LOG"]["from"] == "environment", doc["settings"]["DYN_LOG"]


def test_debug_pages_tell_of_a_request_under_way(ops):
    stack, status = ops(decode=["--itl", "40ms"])
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        job = pool.submit(chat, stack, body(25), {"x-request-id": "under-way"})
        wait_for(lambda: "dynamo_component_inflight_requests" in get(status["decode"], "/metrics")[1]
                 and '"decode"' in json.dumps(get(status["decode"], "/debug/spans")[1]))
        spans = json.dumps(get(status["decode"], "/debug/spans")[1])
        assert "handle_payload" in spans and "decode" in spans
        assert "under-way" in str(get(status["decode"], "/debug/ring?n=50&format=jsonl")[1])
        assert job.result(10)[0] == 200
    code, doc = get(status["decode"], "/debug/level")
    assert code == 200 and "debug" in str(doc)


@pytest.mark.parametrize("phases", ["spans", "marks"])
def test_phases_become_lanes_however_they_are_told(trio, server, phases):
    how = ["--phases", phases]
    stack = trio({"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": server.url(port="otlp-grpc")}, prefill=how, decode=how)
    assert chat(stack, body(12), {"x-request-id": "lanes-1"})[0] == 200

    def whole():
        code, text = server.get("/api/sonde/v1/requests/lanes-1")
        doc = json.loads(text) if code == 200 else {}
        told = {p["name"] for p in doc.get("phases", [])}  # of all three processes: each exports when it likes
        return doc if doc and doc["request"]["status"] == "ok" and {"prefill", "kv_transfer", "decode"} <= told and len(doc["lanes"]) >= 3 else None

    doc = wait_for(whole)
    names = {s["name"] for s in doc["spans"]}
    assert ("queue" in names and "decode" in names) == (phases == "spans")
    lanes = {x["service"]: {b["name"] for b in x["blocks"]} for x in doc["lanes"]}
    assert {"queue", "prefill"} <= lanes["prefill"] and {"queue", "kv_transfer", "decode"} <= lanes["decode"], lanes
    decode = [b for x in doc["lanes"] if x["service"] == "decode" for b in x["blocks"] if b["name"] == "decode"]
    assert len(decode) == 1


def test_the_conventions_of_generative_ai(trio, server):
    stack = trio({"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": server.url(port="otlp-grpc")})
    assert chat(stack, body(12, temperature=0.5), {"x-request-id": "ai-1"})[0] == 200
    query = ('{ name = "http-request" && span.gen_ai.operation.name = "chat" && span.gen_ai.request.model = "tiny" && span.gen_ai.request.max_tokens = 12'
             ' && span.gen_ai.usage.output_tokens = 12 && span.gen_ai.usage.input_tokens > 10 && span.gen_ai.request.temperature = 0.5'
             ' && span.gen_ai.server.time_to_first_token > 0.0 }')
    wait_for(lambda: len(server.json("/api/search", q=query)["traces"]) == 1)
