"""Metrics, their page, the status server, several processes."""
import json
import urllib.error
import urllib.request

import pytest

from sonde import metrics, status


@pytest.fixture
def root():
    return metrics.Registry()


def page(registry, accept=None):
    return registry.text(accept)[0].decode()


def test_labels_by_position(root):
    ns = root.namespace("my-ns")
    endpoint = ns.component("decode").endpoint("generate")
    a, b, c = root.metrics.create_intcounter("a_total", "A"), ns.metrics.create_gauge("b", "B"), endpoint.metrics.create_counter(
        "c-total", "C", [("k", "v")])
    a.inc(), a.inc_by(2), b.set(1.5), c.inc_by(0.5)
    assert page(root) == """# HELP dynamo_component_a_total A
# TYPE dynamo_component_a_total counter
dynamo_component_a_total 3
# HELP dynamo_component_b B
# TYPE dynamo_component_b gauge
dynamo_component_b{dynamo_namespace="my_ns"} 1.5
# HELP dynamo_component_c_total C
# TYPE dynamo_component_c_total counter
dynamo_component_c_total{dynamo_component="decode",dynamo_endpoint="generate",dynamo_namespace="my_ns",k="v"} 0.5
"""
    assert "dynamo_component_a_total" not in page(ns)
    assert (c.name(), c.const_labels(), c.variable_labels()) == (
        "dynamo_component_c_total", {"dynamo_namespace": "my_ns", "dynamo_component": "decode", "dynamo_endpoint": "generate", "k": "v"}, [])
    root.label("worker_id", "7")
    assert root.metrics.create_gauge("w", "W").const_labels() == {"worker_id": "7"}
    assert 'dynamo_component_w{worker_id="7"} 0' in page(root)


@pytest.mark.parametrize("kind,ops,value", [
    ("counter", [("inc",), ("inc_by", 2.5)], 3.5),
    ("intcounter", [("inc",), ("inc_by", 2)], 3),
    ("gauge", [("set", 5.0), ("inc",), ("dec",), ("add", 2.5), ("sub", 0.5), ("inc_by", 1.0), ("dec_by", 3.0)], 5.0),
    ("intgauge", [("set", -5), ("inc",), ("dec",), ("add", 2), ("sub", 7)], -10),
])
def test_updates(root, kind, ops, value):
    plain = getattr(root.metrics, f"create_{kind}")("plain", "P")
    vector = getattr(root.metrics, f"create_{kind}vec")("vec", "V", ["model", "code"])
    labels = {"code": "200", "model": "m"}
    for name, *args in ops:
        getattr(plain, name)(*args)
        getattr(vector, name)(*args, labels)
    assert plain.get() == value and type(plain.get()) is type(value)
    assert vector.get(labels) == value and vector.variable_labels() == ["model", "code"]
    assert vector.get({"code": "500", "model": "m"}) == 0
    with pytest.raises(ValueError, match="exactly the names"):
        vector.get({"model": "m"})
    with pytest.raises(ValueError, match="'code' is missing"):
        vector.get({"model": "m", "cod": ""})
    with pytest.raises(TypeError, match="no str"):
        vector.get({"model": "m", "code": 200})
    with pytest.raises(TypeError):
        vector.get()
    if "counter" in kind:
        with pytest.raises(ValueError, match="only grows"):
            plain.inc_by(-1)
        assert not hasattr(plain, "set")


def test_histograms(root):
    h = root.metrics.create_histogram("h_seconds", "H", buckets=[1, 2, 4])
    v = root.metrics.create_histogramvec("v", "V", ["a"], buckets=[1])
    for x in (0.5, 1.5, 3, 9):
        h.observe(x)
        v.observe(x, {"a": "b"})
    assert (h.count(), h.sum(), v.count({"a": "b"})) == (4, 14.0, 4) and 1 <= h.quantile(0.5) <= 2
    assert 'h_seconds_bucket{le="2"} 2\n' in page(root) and 'v_bucket{a="b",le="+Inf"} 4\n' in page(root)


@pytest.mark.parametrize("make,words", [
    (lambda m: m.create_counter("", "x"), "name"),
    (lambda m: (m.create_counter("x", "x"), m.create_counter("x", "x")), "x"),
    (lambda m: (m.create_counter("x", "x", {"a": "1"}), m.create_counter("x", "other", {"a": "2"})), "help"),
    (lambda m: m.create_countervec("x", "x", []), "label"),
    (lambda m: m.create_countervec("x", "x", ["a", "a"]), "a"),
    (lambda m: m.create_counter("x", "x", {"dynamo_namespace": "1"}), "dynamo_namespace"),
    (lambda m: m.create_histogram("x", "x", buckets=[2, 1]), "bucket"),
    (lambda m: m.create_histogram("x", "x", {"le": "1"}), "le"),
])
def test_refused(root, make, words):
    with pytest.raises(ValueError, match=words):
        make(root.namespace("n").metrics)


def test_callbacks_and_accept(root):
    g = root.metrics.create_gauge("g", "G")
    root.metrics.register_callback(lambda: g.inc())
    root.metrics.register_callback(lambda: 1 / 0)
    root.metrics.register_prometheus_expfmt_callback(lambda: "# TYPE vllm:x gauge\nvllm:x 1\n")
    root.metrics.register_prometheus_expfmt_callback(lambda: 5)
    assert "dynamo_component_g 1\n" in page(root)
    text, kind = root.text("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text") and text.endswith(b"# EOF\n") and b"dynamo_component_g 2" in text and b"vllm:x 1" in text


def test_buckets():
    assert metrics.buckets(0.001, 10, 5)[0] == 0 and metrics.buckets(0.001, 10, 5)[-1] == 10
    with pytest.raises(ValueError):
        metrics.buckets(1, 0, 5)


def test_prometheus_client_is_shown_unchanged(root):
    prometheus_client = pytest.importorskip("prometheus_client")
    theirs = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("vllm:tokens", "T", ["model"], registry=theirs).labels("m").inc(3)
    metrics.bridge(theirs, root)
    ours = page(root)
    assert prometheus_client.generate_latest(theirs).decode() in ours and 'vllm:tokens_total{model="m"} 3.0' in ours


def test_prometheus_clients_processes_are_added_up(run, tmp_path):
    pytest.importorskip("prometheus_client")
    (tmp_path / "multi").mkdir()
    code, out, _ = run("""
import multiprocessing, prometheus_client
from sonde import metrics
c = prometheus_client.Counter("vllm:tokens", "T")
def work(): c.inc(2)
if __name__ == "__main__":
    metrics.bridge()
    ps = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    [p.start() for p in ps]; [p.join() for p in ps]
    c.inc()
    print(metrics.text()[0].decode())
""", env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "multi")})
    assert code == 0 and "vllm:tokens_total 7.0\n" in out, (out, run.other)


def get(url, data=None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=10) as r:
            return r.status, r.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()


def test_the_status_server():
    base = f"http://127.0.0.1:{status.start('127.0.0.1:0')}"
    try:
        root = metrics.Registry()
        g = root.metrics.create_intgauge("asked", "A")
        root.metrics.register_callback(lambda: g.inc())
        status.metrics(root)
        e = status.endpoint("generate")
        assert get(base + "/health")[0] == 503
        e.ready()
        status.ready()
        assert status.is_ready() and json.loads(get(base + "/health")[1])["endpoints"] == {"generate": "ready"}
        assert "dynamo_component_asked 1\n" in get(base + "/metrics")[1]
        status.metadata({"model": "m"})
        assert json.loads(get(base + "/metadata")[1]) == {"model": "m"}

        @status.route("pause")
        def pause(request):
            return {"got": request.body, "method": request.method}

        status.route("odd", lambda request: (418, {"tea": True}))
        status.route("broken", lambda request: 1 / 0)
        assert get(base + "/engine/pause", b'{"a": 1}') == (200, '{"got": {"a": 1}, "method": "POST"}')
        assert get(base + "/engine/odd")[0] == 418
        code, text = get(base + "/engine/broken")
        assert code == 500 and "ZeroDivisionError" in text
        with pytest.raises(ValueError, match="generate"):
            status.endpoint("generate")
    finally:
        status.stop()
    assert status.port() == -1


def test_process_end_with_callbacks(run):
    code, _, _ = run("""
import threading, urllib.request
from sonde import metrics, status
root = metrics.runtime()
root.metrics.register_callback(lambda: None)
base = f"http://127.0.0.1:{status.start('127.0.0.1:0')}/metrics"
status.metrics(root)
def ask():
    while True:
        try: urllib.request.urlopen(base, timeout=1).read()
        except OSError: pass
for _ in range(2): threading.Thread(target=ask, daemon=True).start()
import time; time.sleep(0.3)
""", timeout=20)
    assert code == 0


def test_exports_and_registrations_do_not_wait_for_each_other(run, tmp_path):
    code, out, _ = run("""
import time
from sonde import metrics
root = metrics.runtime()
g = root.metrics.create_intgauge("g", "G")
def called(): g.inc(); time.sleep(0.002)
root.metrics.register_callback(called)
until = time.monotonic() + 1
n = 0
while time.monotonic() < until:
    n += 1
    r = metrics.Registry(f"p{n}_")
    r.namespace("n").metrics.create_intcountervec("c", "C", ["a"]).inc({"a": "b"})
    time.sleep(0.0005)
print(n > 10, g.get() > 3)
""", env={"OTEL_EXPORT_ENABLED": "1", "OTEL_METRICS_EXPORTER": "otlp/file", "OTEL_METRIC_EXPORT_INTERVAL": "10", "SONDE_OTLP_FILE": str(tmp_path / "m.jsonl"),
          "OTEL_TRACES_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}, timeout=30)
    assert code == 0 and out == "True True\n", (out, run.other)


def test_several_processes(run, tmp_path):
    code, out, _ = run("""
import os
from sonde import metrics
root = metrics.runtime()
c = root.metrics.create_intcounter("c_total", "C"); g = root.metrics.create_gauge("g", "G")
h = root.metrics.create_histogram("h", "H", {"k": "v"}, buckets=[1])
c.inc_by(10); h.observe(0.5)
import multiprocessing
def work(): c.inc_by(5); g.set(1); h.observe(2)
if __name__ == "__main__":
    write = metrics.share(seconds=60)
    ps = [multiprocessing.get_context("fork").Process(target=work) for _ in range(3)]
    [p.start() for p in ps]; [p.join() for p in ps]
    g.set(7); write()
    print(metrics.merged().replace(str(os.getpid()), "PID"))
""", env={"SONDE_METRICS_DIR": str(tmp_path / "m")})
    assert code == 0, run.other
    assert "dynamo_component_c_total 25\n" in out and 'dynamo_component_g{pid="PID"} 7\n' in out and out.count("dynamo_component_g{") == 1
    assert 'h_bucket{k="v",le="1"} 1\n' in out and 'h_count{k="v"} 4\n' in out and 'h_sum{k="v"} 6.5\n' in out
