"""The example's pages, read by Prometheus, its promtool and prometheus_client's two parsers."""
import json
import re
import subprocess
import time
import urllib.parse
import urllib.request

import pytest
from conftest import Status, free_port, wait_for
from test_inference import body, call, chat

GET_IT = "scripts/interop_tools.sh gets it"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# Names that Dynamo uses and promtool would rather not see.
BY_DYNAMO = {"dynamo_frontend_tokenizer_latency_ms metric names should not contain abbreviated units"}


def page(process, accept="text/plain", path="/metrics"):
    status, head, data = call(process, "GET", path, headers={"accept": accept})
    assert status == 200
    return head["content-type"], data.decode()


def with_pages(stack):
    """Adds where the pages are: the frontend's on its port, the workers' on their status servers."""
    stack.page_of = {"frontend": stack.frontend, "prefill": Status(stack.prefill), "decode": Status(stack.decode[0])}
    return stack


SYSTEM = {"DYN_SYSTEM_PORT": "0"}


@pytest.fixture
def busy(trio):
    """The trio after some requests: 6 served, 1 failed, 1 refused."""
    stack = with_pages(trio(SYSTEM))
    for i in range(6):
        assert chat(stack, body(5, stream=False), {"x-request-id": f"p-{i}"})[0] == 200
    assert chat(stack, body(5), {"x-sonde-fault": "cuda-oom"})[0] == 500
    assert chat(stack, {"model": "tiny"})[0] == 400
    return stack


def samples(text, openmetrics=False):
    """(name, labels as a frozenset) → sample, by prometheus_client."""
    if openmetrics:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
    else:
        from prometheus_client.parser import text_string_to_metric_families as parse
    out = {}
    for family in parse(text):
        for s in family.samples:
            if "le" in s.labels:
                s.labels["le"] = repr(float(s.labels["le"]))  # 1 and 1.0 are the same bucket
            key = (s.name, frozenset(s.labels.items()))
            assert key not in out, f"{key} twice"
            out[key] = s
    return out


def value(found, name, **labels):
    got = [s.value for (n, have), s in found.items() if n == name and set(labels.items()) <= have]
    assert len(got) == 1, (name, labels, got)
    return got[0]


# ---- the pages -----------------------------------------------------------------------------------------------------------
def test_promtool_has_nothing_to_say(busy, tool):
    promtool = tool("promtool", GET_IT)
    for process in busy.page_of.values():
        p = subprocess.run([promtool, "check", "metrics"], input=page(process)[1], capture_output=True, text=True, timeout=20)
        said = set((p.stdout + p.stderr).splitlines()) - BY_DYNAMO
        assert not said, (process.name, said)
        assert p.returncode in (0, 3)  # 3: it would rather not see a name


def test_both_parsers_of_prometheus_client_read_each_page(busy):
    pytest.importorskip("prometheus_client")
    for process in busy.page_of.values():
        kind, text = page(process)
        assert kind == "text/plain; version=0.0.4; charset=utf-8"
        kind, om = page(process, OPENMETRICS)
        assert kind.startswith("application/openmetrics-text; version=1.0.0") and om.endswith("# EOF\n")
        a, b = samples(text), samples(om, openmetrics=True)
        moving = re.compile(r"^(process_|dynamo_component_uptime|sonde_)")
        steady = {k: s.value for k, s in a.items() if not moving.match(k[0])}
        assert len(steady) > 40 and {k: b[k].value for k in steady} == steady  # the same, in both forms


def test_the_frontend_counts_requests_tokens_and_times(busy):
    pytest.importorskip("prometheus_client")
    found = samples(page(busy.frontend)[1])
    p = "dynamo_frontend_"
    assert value(found, p + "requests_total", status="success", request_type="unary", endpoint="chat_completions", model="tiny", error_type="") == 6
    assert value(found, p + "requests_total", status="error", error_type="internal", model="tiny") == 1
    assert value(found, p + "requests_total", status="error", error_type="validation") == 1
    for gauge in ("inflight_requests", "queued_requests", "active_requests"):
        assert value(found, p + gauge, model="tiny") == 0
    assert value(found, p + "time_to_first_token_seconds_count", model="tiny") == 6
    assert value(found, p + "inter_token_latency_seconds_count", model="tiny") == 6 * 4
    assert value(found, p + "output_tokens_total", model="tiny") == 30
    assert value(found, p + "output_sequence_tokens_sum", model="tiny") == 30
    assert value(found, p + "output_sequence_tokens_count", model="tiny") == 7  # the failed one too, with 0
    assert value(found, p + "input_sequence_tokens_count", model="tiny") == 6
    assert 0.005 < value(found, p + "time_to_first_token_seconds_sum", model="tiny") < 5
    assert value(found, "dynamo_component_router_requests_total", phase="decode", outcome="success") == 6
    assert value(found, "dynamo_component_router_requests_total", phase="decode", outcome="error") == 1
    wait_for(lambda: value(samples(page(busy.frontend)[1]), p + "model_total_kv_blocks", model="tiny") == 2048)


# Bounds as Dynamo 1.6 has them.
BUCKETS = {
    "dynamo_frontend_time_to_first_token_seconds": "0 0.0022 0.0047 0.01 0.022 0.047 0.1 0.22 0.47 1 2.2 4.7 10 22 48 100 220 480",
    "dynamo_frontend_inter_token_latency_seconds": "0 0.0018 0.0033 0.0059 0.011 0.02 0.035 0.064 0.12 0.21 0.38 0.69 1.2 2.3 4.1 7.4 13 24 44 80",
    "dynamo_frontend_request_duration_seconds": "0 2 4 8 16 32 64 130 260 510",
    "dynamo_frontend_input_sequence_tokens": "0 100 210 430 870 1800 3600 7400 15000 31000 63000 130000",
    "dynamo_frontend_output_sequence_tokens": "0 100 210 430 880 1800 3700 7600 16000 32000",
    "dynamo_frontend_tokenizer_latency_ms": "0.5 1 2 4 8 16 32 64 128 256 512",
    "dynamo_component_request_duration_seconds": "0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 20 30 60 120 300 600",
}


def bounds(found, name):
    got = {float(dict(have)["le"]) for (n, have) in found if n == name + "_bucket"}
    return sorted(got - {float("inf")})


def test_buckets_are_dynamos(busy):
    pytest.importorskip("prometheus_client")
    front, decode = samples(page(busy.frontend)[1]), samples(page(busy.page_of["decode"])[1])
    for name, want in BUCKETS.items():
        got = bounds(decode if name.startswith("dynamo_component") else front, name)
        assert got == [float(x) for x in want.split()], name


def test_buckets_and_prefix_follow_the_environment(trio):
    pytest.importorskip("prometheus_client")
    stack = trio({"DYN_METRICS_TTFT_MIN": "0.01", "DYN_METRICS_TTFT_MAX": "1", "DYN_METRICS_TTFT_COUNT": "3", "DYN_METRICS_PREFIX": "my-front"})
    found = samples(page(stack.frontend)[1])
    assert bounds(found, "my_front_time_to_first_token_seconds") == [0.0, 0.1, 1.0]
    assert not [n for n, _ in found if n.startswith("dynamo_frontend")]


def test_the_workers_count_requests_bytes_and_blocks(busy):
    pytest.importorskip("prometheus_client")
    p = "dynamo_component_"
    for process, component, served, failed in ((busy.page_of["prefill"], "prefill", 7, 0), (busy.page_of["decode"], "backend", 7, 1)):
        found = samples(page(process)[1])
        here = {"dynamo_namespace": "dynamo", "dynamo_component": component, "dynamo_endpoint": "generate"}
        assert value(found, p + "requests_total", **here) == served
        assert value(found, p + "request_duration_seconds_count", **here) == served
        assert value(found, p + "inflight_requests", **here) == 0
        assert value(found, p + "request_bytes_total", **here) > 300 and value(found, p + "response_bytes_total", **here) > 300
        errors = [s.value for (n, have), s in found.items() if n == p + "errors_total" and ("error_type", "generate") in have]
        assert sum(errors) == failed
        assert value(found, p + "kvstats_total_blocks", dynamo_component=component) in (2048, 8192)
        assert 0 <= value(found, p + "kvstats_gpu_cache_usage_percent") <= 1
        assert value(found, p + "uptime_seconds") > 0 and value(found, "process_resident_memory_bytes") > 1 << 20
        assert value(found, "dynamo_work_handler_network_transit_seconds_count") == served
        assert value(found, "dynamo_work_handler_queue_depth") == 0
        assert re.fullmatch(r"[0-9a-f]{1,16}", dict(next(k for n, k in found if n == p + "uptime_seconds"))["worker_id"])


def test_a_busy_engine_shows_its_state_and_its_own_families(trio):
    pytest.importorskip("prometheus_client")
    stack = with_pages(trio(SYSTEM, decode=["--itl", "30ms", "--engine-metrics"]))
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(chat, stack, body(30)) for _ in range(3)]
        wait_for(lambda: value(samples(page(stack.page_of["decode"])[1]), "vllm:num_requests_running") == 3)
        found, front = samples(page(stack.page_of["decode"])[1]), samples(page(stack.frontend)[1])
        assert value(found, "dynamo_component_kvstats_active_blocks") > 10
        assert value(found, "dynamo_component_inflight_requests") == 3
        assert value(front, "dynamo_frontend_inflight_requests") == 3
        assert [j.result()[0] for j in jobs] == [200] * 3
    found = samples(page(stack.page_of["decode"])[1])
    assert value(found, "vllm:num_requests_running", engine="0", model_name="tiny") == 0
    assert value(found, "dynamo_component_kvstats_active_blocks") == 0
    assert value(found, "vllm:inter_token_latency_seconds_count") == 3 * 29


# ---- exemplars --------------------------------------------------------------------------------------------------------------
def test_an_exemplar_leads_to_the_request(trio, server):
    pytest.importorskip("prometheus_client")
    stack = with_pages(trio({**SYSTEM, "OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": server.url(port="otlp-grpc")}))
    assert chat(stack, body(5), {"x-request-id": "slow-one"})[0] == 200
    for process, name in ((stack.frontend, "dynamo_frontend_time_to_first_token_seconds_bucket"),
                          (stack.frontend, "dynamo_frontend_inter_token_latency_seconds_bucket"),
                          (stack.frontend, "dynamo_frontend_request_duration_seconds_bucket"),
                          (stack.page_of["decode"], "dynamo_component_request_duration_seconds_bucket"),
                          (stack.page_of["prefill"], "dynamo_component_request_duration_seconds_bucket")):
        found = samples(page(process, OPENMETRICS)[1], openmetrics=True)
        exemplars = [s.exemplar for (n, _), s in found.items() if n == name and s.exemplar]
        assert exemplars, name
        trace = exemplars[0].labels["trace_id"]
        doc = wait_for(lambda: (lambda a: a[0] == 200 and json.loads(a[1]))(server.get(f"/api/sonde/v1/requests/{trace}")))
        assert doc["request"]["trace_id"] == trace and doc["request"]["request_id"] == "slow-one", doc["request"]


# ---- Prometheus itself --------------------------------------------------------------------------------------------------------
class Prometheus:
    def __init__(self, program, folder, targets):
        self.port = free_port()
        jobs = "".join(f"\n  - job_name: {name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]" for name, port in targets.items())
        (folder / "prometheus.yml").write_text(f"global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nscrape_configs:{jobs}\n")
        self.log = open(folder / "prometheus.log", "wb")
        self.process = subprocess.Popen([program, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                                         f"--web.listen-address=127.0.0.1:{self.port}", "--enable-feature=exemplar-storage"],
                                        stdout=self.log, stderr=subprocess.STDOUT)

    def get(self, path, **params):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(params)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as a:
                return json.load(a)["data"]
        except OSError:
            assert self.process.poll() is None, open(self.log.name).read()[-2000:]
            return None

    def query(self, expression):
        got = self.get("query", query=expression)
        return got and {frozenset(r["metric"].items()): float(r["value"][1]) for r in got["result"]}

    def one(self, expression):
        got = self.query(expression)
        return next(iter(got.values())) if got and len(got) == 1 else None

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def test_prometheus_scrapes_the_trio(busy, tool, tmp_path):
    ports = {name: p.port for name, p in busy.page_of.items()}
    prometheus = Prometheus(tool("prometheus", GET_IT), tmp_path, ports)
    try:
        def up():
            targets = (prometheus.get("targets") or {}).get("activeTargets", [])
            return len(targets) == 3 and all(t["health"] == "up" for t in targets) and targets

        for t in wait_for(up, 60):
            assert t["lastError"] == ""
        wait_for(lambda: prometheus.one('sum(dynamo_frontend_requests_total{status="success"})') == 6)
        assert prometheus.one('dynamo_component_requests_total{job="decode"}') == 7
        assert prometheus.one('histogram_quantile(0.5, dynamo_frontend_inter_token_latency_seconds_bucket)') < 1
        assert len(prometheus.query('{__name__=~"dynamo_.*_uptime_seconds"}')) == 3
        for i in range(4):  # rates, and exemplars of requests of this time
            assert chat(busy, body(5))[0] == 200
            time.sleep(0.3)
        wait_for(lambda: (prometheus.one("increase(dynamo_frontend_output_tokens_total[30s])") or 0) > 5)
        now = time.time()

        def exemplars():
            return prometheus.get("query_exemplars", query="dynamo_frontend_time_to_first_token_seconds_bucket", start=now - 300, end=now + 60)

        got = wait_for(exemplars)
        traces = {e["labels"]["trace_id"] for s in got for e in s["exemplars"]}
        known = {r["trace_id"] for n, r in busy.records(message="request received") if n == "frontend"}
        assert traces and traces <= known
        meta = prometheus.get("metadata", metric="dynamo_frontend_requests_total") or {}
        meta |= prometheus.get("metadata", metric="dynamo_frontend_requests") or {}
        assert any(m["type"] == "counter" and m["help"] for ms in meta.values() for m in ms), meta
    finally:
        prometheus.stop()
