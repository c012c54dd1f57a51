"""Metrics into `sonde serve` and out again: OTLP from OpenTelemetry's SDK, remote write, text, scrapes, libsonde itself, kill -9."""
import http.client
import http.server
import json
import math
import pathlib
import shutil
import socket
import struct
import subprocess
import threading
import time

import pytest

from conftest import Server, shared, wait_for

PB = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
WRITE1 = {**PB, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
WRITE2 = {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request", "Content-Encoding": "snappy",
          "X-Prometheus-Remote-Write-Version": "2.0.0"}
NOW = time.time_ns() // 10**9 * 10**9
LONG = 30


def query(server, text, at=None, tenant=None):
    """[(labels, value)] of an instant query."""
    headers = {"X-Scope-OrgID": tenant} if tenant else {}
    params = {"query": text, **({"time": at} if at else {})}
    result = server.json("/api/v1/query", headers, **params)["data"]["result"]
    return [(r["metric"], float(r["value"][1])) for r in result]


def value(server, text, at=None, tenant=None):
    """The only value, or None while there is none."""
    got = query(server, text, at, tenant)
    assert len(got) <= 1, got
    return got[0][1] if got else None


# ---- OTLP -------------------------------------------------------------------------------------------------------------------
def number(name, v, kind="gauge", at=NOW, **more):
    data = {"dataPoints": [{"timeUnixNano": str(at), "asDouble": v, **more.pop("point", {})}], **more}
    return {"name": name, kind: data}


def request(*metrics, **resource):
    attributes = [{"key": k.replace("_", "."), "value": {"stringValue": v}} for k, v in resource.items()]
    return json.dumps({"resourceMetrics": [{"resource": {"attributes": attributes}, "scopeMetrics": [{"metrics": metrics}]}]}).encode()


@pytest.mark.parametrize("path,port", [("/v1/metrics", "http"), ("/v1/metrics", "otlp-http"), ("/otlp/v1/metrics", "http"),
                                       ("/api/v1/otlp/v1/metrics", "http")])
def test_json_over_each_path(server, path, port):
    body = request(number("kv.usage", 0.25), number("requests", 7, "sum", aggregationTemporality=2, isMonotonic=True), service_name="fe")
    assert server.call(path, body, JSON, port=port) == (200, b"{}")
    at = NOW / 1e9 + 1
    assert query(server, "kv_usage", at) == [({"__name__": "kv_usage", "job": "fe", "service_name": "fe"}, 0.25)]
    assert value(server, 'requests_total{service_name="fe"}', at) == 7


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_unmodified_opentelemetry_sdk_delivers(server, protocol):
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
    from opentelemetry.sdk.resources import Resource
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
        exporter = OTLPMetricExporter(endpoint=server.url(port="otlp-grpc"), insecure=True)
    else:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        exporter = OTLPMetricExporter(endpoint=server.url("/v1/metrics", "otlp-http"))
    resource = Resource.create({"service.name": "sdk", "service.namespace": "ns", "service.instance.id": "i-1", "host.name": "box"})
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, 3600_000)], resource=resource,
                             views=[View(instrument_name="exp", aggregation=ExponentialBucketHistogramAggregation())])
    meter = provider.get_meter("lib", "1.2")
    counter = meter.create_counter("requests", unit="1", description="Requests.")
    counter.add(3, {"model": "m"})
    counter.add(4, {"model": "n"})
    meter.create_up_down_counter("active").add(-2)
    histogram, exponential = meter.create_histogram("ttft", unit="s"), meter.create_histogram("exp", unit="ms")
    for v in (0.3, 7, 7, 80):
        histogram.record(v)
    for i in range(1, 101):
        exponential.record(i)
    provider.shutdown()
    base = 'job="ns/sdk",instance="i-1",otel_scope_name="lib",otel_scope_version="1.2",service_name="sdk"'
    assert value(server, 'requests_total{%s,model="m"}' % base) == 3
    assert value(server, "sum(requests_total)") == 7
    assert value(server, "active") == -2
    assert value(server, 'ttft_seconds_bucket{le="10"}') == 3 and value(server, 'ttft_seconds_bucket{le="+Inf"}') == 4
    assert value(server, "ttft_seconds_count") == 4 and math.isclose(value(server, "ttft_seconds_sum"), 94.3)
    assert value(server, "histogram_count(exp_milliseconds)") == 100 and value(server, "histogram_sum(exp_milliseconds)") == 5050
    assert 40 < value(server, "histogram_quantile(0.5, exp_milliseconds)") < 60
    (info,) = query(server, "target_info")
    assert info[0]["host_name"] == "box" and info[0]["job"] == "ns/sdk" and info[1] == 1
    told = server.json("/api/v1/metadata", metric="requests_total")["data"]["requests_total"][0]
    assert told["type"] == "counter" and told["help"] == "Requests."


def test_delta_temporality_becomes_a_counter(server):
    for i, add in enumerate((5, 7, 7)):
        at = NOW - (3 - i) * 10**10
        body = request(number("work", add, "sum", at, aggregationTemporality=1, isMonotonic=True), service_name="d")
        for _ in range(2):  # sent again: counted once
            assert server.call("/v1/metrics", body, JSON) == (200, b"{}")
    assert value(server, "work_total", NOW / 1e9) == 19
    assert value(server, "count_over_time(work_total[1h])", NOW / 1e9) == 3
    status, answer = server.call("/v1/metrics", request(number("work", 1, "sum", NOW - 10**12, aggregationTemporality=1, isMonotonic=True),
                                                        service_name="d"), JSON)
    assert status == 200 and json.loads(answer)["partialSuccess"]["rejectedDataPoints"] == "1" and b"older" in answer
    server.kill()
    server.start()
    assert value(server, "work_total", NOW / 1e9) == 19


def test_a_delta_that_comes_again_after_a_kill_adds_nothing(server):
    def send(i, add):
        at = NOW - (5 - i) * 10**10
        buckets = {"offset": 1, "bucketCounts": [str(add)]}
        histogram = {"timeUnixNano": str(at), "startTimeUnixNano": str(NOW - 10**11), "count": str(add), "sum": add, "scale": 2, "positive": buckets}
        body = request(number("work", add, "sum", at, aggregationTemporality=1, isMonotonic=True),
                       {"name": "size", "exponentialHistogram": {"aggregationTemporality": 1, "dataPoints": [histogram]}}, service_name="d")
        assert server.call("/v1/metrics", body, JSON) == (200, b"{}")
    for i, add in enumerate((5, 7)):
        send(i, add)
    for _ in range(2):  # killed before it could answer: the client has no answer, the store has the point
        server.kill()
        server.start()
        send(1, 7)
    send(2, 8)
    send(3, 1)
    at = NOW / 1e9
    assert value(server, "work_total", at) == 21 and value(server, "histogram_count(size)", at) == 21
    assert value(server, "count_over_time(work_total[1h])", at) == 4 and value(server, "count_over_time(size[1h])", at) == 4
    assert value(server, "resets(work_total[1h])", at) == 0


def test_what_is_refused_is_told(server):
    body = request({"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [{"count": "1", "bucketCounts": ["1"], "explicitBounds": [1]}]}},
                   number("g", 1), number("s", 1, "sum"))
    status, answer = server.call("/v1/metrics", body, JSON)
    partial = json.loads(answer)["partialSuccess"]
    assert status == 200 and partial["rejectedDataPoints"] == "2" and "temporality" in partial["errorMessage"]
    assert value(server, "g", NOW / 1e9) == 1
    assert server.call("/v1/metrics", b"{", JSON)[0] == 400
    assert server.call("/v1/metrics", b"", {"Content-Type": "text/plain"})[0] == 415


def test_a_point_without_a_recorded_value_ends_the_series(server):
    server.call("/v1/metrics", request(number("g", 1, at=NOW - 60 * 10**9)), JSON)
    at = NOW / 1e9
    assert value(server, "g", at) == 1
    server.call("/v1/metrics", request(number("g", 0, point={"flags": 1})), JSON)
    assert value(server, "g", at) is None


def test_tenants_do_not_see_each_other(server):
    for tenant, v in (("t1", 1), ("t2", 2)):
        assert server.call("/v1/metrics", request(number("g", v)), {**JSON, "X-Scope-OrgID": tenant})[0] == 200
    assert value(server, "g", NOW / 1e9, "t1") == 1 and value(server, "g", NOW / 1e9, "t2") == 2
    assert value(server, "g", NOW / 1e9) is None


# ---- remote write -----------------------------------------------------------------------------------------------------------
def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def snappy(data):
    """A snappy block of literals."""
    out = varint(len(data))
    for i in range(0, len(data), 60):
        part = data[i:i + 60]
        out += bytes([len(part) - 1 << 2]) + part
    return out


def sample(v, ms):
    return b"\x09" + struct.pack("<d", v) + b"\x10" + varint(ms)


def series(labels, *samples):
    pairs = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    return field(1, pairs + b"".join(field(2, sample(*s)) for s in samples))


def test_remote_write_1(server):
    ms = NOW // 10**6
    metadata = field(3, b"\x08\x01" + field(2, b"r_total") + field(4, b"Requests."))
    body = series({"__name__": "r_total", "job": "j"}, (1, ms - 1000), (3, ms)) + series({"__name__": "g", "job": "j"}, (math.inf, ms)) + metadata
    assert server.call("/api/v1/write", snappy(body), WRITE1) == (204, b"")
    at = NOW / 1e9 + 1
    assert value(server, "r_total", at) == 3 and value(server, "increase(r_total[1m])", at) > 1 and value(server, "g", at) == math.inf
    assert server.json("/api/v1/metadata")["data"]["r_total"][0]["help"] == "Requests."
    status, answer = server.call("/api/v1/write", snappy(series({"job": "j"}, (1, ms)) + series({"__name__": "kept"}, (1, ms))), WRITE1)
    assert status == 400 and b"1 of 2 refused" in answer and b"__name__" in answer
    assert value(server, "kept", at) == 1
    assert server.call("/api/v1/write", b"\xff\xff\xff", WRITE1)[0] == 400
    assert server.call("/api/v1/write", snappy(body), {"Content-Type": "application/json"})[0] == 415


def test_remote_write_2(server):
    ms = NOW // 10**6
    symbols = b"".join(field(4, s) for s in (b"", b"__name__", b"h_bucket", b"le", b"1", b"How long.", b"trace_id", b"abc"))
    exemplar = field(4, field(1, b"\x06\x07") + b"\x11" + struct.pack("<d", 0.5) + b"\x18" + varint(ms))
    good = field(5, field(1, b"\x01\x02\x03\x04") + field(2, sample(7, ms)) + exemplar + field(5, b"\x08\x03\x18\x05"))
    bad = field(5, field(1, b"\x01\x63") + field(2, sample(7, ms)))

    def write(body):
        import urllib.error
        import urllib.request
        r = urllib.request.Request(server.url("/api/v1/write"), snappy(body), WRITE2)
        try:
            with urllib.request.urlopen(r, timeout=LONG) as a:
                return a.status, dict(a.headers)
        except urllib.error.HTTPError as e:
            return e.code, dict(e.headers)

    def written(headers):
        return [{k.lower(): v for k, v in headers.items()}[f"x-prometheus-remote-write-{x}-written"] for x in ("samples", "histograms", "exemplars")]

    status, headers = write(symbols + good)
    assert status == 204 and written(headers) == ["1", "0", "1"]
    status, headers = write(symbols + good + bad)
    assert status == 400 and written(headers) == ["1", "0", "1"]
    assert value(server, 'h_bucket{le="1"}', NOW / 1e9 + 1) == 7
    assert server.json("/api/v1/metadata")["data"]["h"][0] == {"type": "histogram", "help": "How long.", "unit": ""}
    unknown = {**WRITE2, "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v9.Request"}
    assert server.call("/api/v1/write", snappy(symbols), unknown)[0] == 415


def test_samples_sent_again_are_stored_once_and_survive(server):
    ms = NOW // 10**6
    body = b"".join(series({"__name__": "m", "n": str(n)}, *((n * 1000 + i, ms - i * 1000) for i in range(50))) for n in range(40))
    for _ in range(3):
        assert server.call("/api/v1/write", snappy(body), WRITE1)[0] == 204
    at = NOW / 1e9 + 1

    def check():
        assert value(server, "sum(count_over_time(m[5m]))", at) == 2000
        assert value(server, "sum(sum_over_time(m[5m]))", at) == sum(n * 1000 + i for n in range(40) for i in range(50))

    check()
    assert server.call("/flush", b"", method="POST")[0] == 204
    check()
    server.kill()
    server.start()
    check()


def test_kill_9_in_the_midst_loses_nothing_acknowledged(server):
    ms = NOW // 10**6
    done, stop = [], threading.Event()

    def send(worker):
        i = 0
        while not stop.is_set():
            body = b"".join(series({"__name__": "k", "w": str(worker), "n": str(n)}, (i, ms - i)) for n in range(20))
            try:
                if server.call("/api/v1/write", snappy(body), WRITE1, timeout=LONG)[0] == 204:
                    done.append((worker, i))
                    i += 1
            except (OSError, http.client.HTTPException):
                time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(w,)) for w in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            before = len(done)
            wait_for(lambda: len(done) > before + 60, LONG)
            server.kill()
            server.start()
        wait_for(lambda: len(done) > before + 100, LONG)
    finally:
        stop.set()
        for t in threads:
            t.join()
    at = NOW / 1e9 + 1
    for worker in range(4):
        sent = len([d for d in done if d[0] == worker])
        counts = query(server, 'count_over_time(k{w="%d"}[1h])' % worker, at)
        # What was under way at a kill is there, too, or not at all; its repetition is stored once.
        assert len(counts) == 20 and all(sent <= c <= sent + 1 for _, c in counts), (worker, sent, counts[:3])


@pytest.fixture(scope="session")
def prometheus(build_dir):
    for p in (build_dir / "interop/prometheus", shutil.which("prometheus")):
        if p and pathlib.Path(p).exists():
            return str(p)
    pytest.skip("prometheus is not here; scripts/interop_tools.sh gets it")


def test_a_real_prometheus_writes(server, prometheus, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    (tmp_path / "p.yml").write_text(f"""global: {{scrape_interval: 1s}}
scrape_configs: [{{job_name: self, static_configs: [{{targets: ["127.0.0.1:{port}"]}}]}}]
remote_write: [{{url: "{server.url('/api/v1/write')}", metadata_config: {{send_interval: 1s}}, queue_config: {{batch_send_deadline: 1s}}}}]
""")
    with open(tmp_path / "p.log", "wb") as log:
        p = subprocess.Popen([prometheus, f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                             stdout=log, stderr=log)
    try:
        wait_for(lambda: (value(server, "count_over_time(up[5m])") or 0) >= 3, 60)
        assert query(server, "up")[0][0] == {"__name__": "up", "instance": f"127.0.0.1:{port}", "job": "self"}
        assert value(server, "count({job='self'})") > 300
        wait_for(lambda: server.json("/api/v1/metadata")["data"].get("go_goroutines"), 60)
    finally:
        p.terminate()
        p.wait(LONG)
    assert "non-recoverable" not in (tmp_path / "p.log").read_text()


# ---- text and scrapes ----------------------------------------------------------------------------------------------------------
def test_a_page_can_be_pushed(server):
    page = b'# HELP r_total How many.\n# TYPE r_total counter\nr_total{a="b"} 5\nold 1 %d\n' % (NOW // 10**6)
    assert server.call("/api/v1/import/prometheus", page) == (204, b"")
    assert value(server, 'r_total{a="b"}') == 5
    assert server.json("/api/v1/metadata")["data"]["r_total"][0]["type"] == "counter"
    assert server.call("/api/v1/import/prometheus", b"a 1\nb x\n")[0] == 400
    assert value(server, "a") is None


class Pages:
    """A server of pages: path → (content type, bytes), or None for 500."""

    def __init__(self):
        pages = self.pages = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = pages.get(self.path)
                self.send_response(200 if page else 500)
                self.send_header("Content-Type", page[0] if page else "text/plain")
                self.send_header("Content-Length", str(len(page[1]) if page else 0))
                self.end_headers()
                self.wfile.write(page[1] if page else b"")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def pages():
    p = Pages()
    yield p
    p.server.shutdown()
    p.server.server_close()


@pytest.fixture
def scraping(sonde_program, tmp_path):
    started = []

    def start(targets, interval="200ms"):
        started.append(Server(sonde_program, tmp_path / "scraping", "--scrape", targets, "--scrape-interval", interval))
        return started[-1]

    yield start
    for s in started:
        assert s.stop() == 0


TEXT, OPENMETRICS = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_scraping(scraping, pages):
    pages.pages["/metrics"] = (TEXT, b'# TYPE c_total counter\nc_total{job="own"} 1\ngoes 2\n')
    pages.pages["/om"] = (OPENMETRICS, b'# TYPE r counter\nr_total 3 # {trace_id="ab"} 0.5\n# EOF\n')
    server = scraping(f"a={pages.host},b=http://{pages.host}/om,http://127.0.0.1:1/x")
    base = {"instance": pages.host, "job": "a"}
    wait_for(lambda: value(server, "goes") == 2, LONG)
    assert query(server, "c_total") == [({"__name__": "c_total", "exported_job": "own", **base}, 1)]
    wait_for(lambda: value(server, 'r_total{job="b"}') == 3, LONG)
    wait_for(lambda: value(server, 'up{job="scrape"}') == 0, LONG)
    assert value(server, 'up{job="a"}') == 1 and value(server, 'scrape_samples_scraped{job="a"}') == 2
    assert value(server, 'scrape_duration_seconds{job="a"}') > 0
    pages.pages["/metrics"] = (TEXT, b"c_total 2\n")
    wait_for(lambda: value(server, "goes") is None, LONG)  # at once, not after five minutes
    assert value(server, 'up{job="a"}') == 1
    pages.pages["/metrics"] = (TEXT, b"c_total two\n")
    wait_for(lambda: value(server, 'up{job="a"}') == 0, LONG)
    wait_for(lambda: value(server, 'c_total{job="a"}') is None, LONG)
    assert "scraping" in open(server.data + ".log").read()
    pages.pages["/metrics"] = (TEXT, b"c_total 3\n")
    wait_for(lambda: value(server, 'c_total{job="a"}') == 3, LONG)


def test_scraping_the_pages_of_a_real_dynamo(scraping, pages):
    folder = shared("testdata/dynamo/metrics")
    want = {}
    for path in folder.glob("*.prom"):
        pages.pages["/" + path.stem] = (TEXT, path.read_bytes())
        want[path.stem] = sum(1 for line in path.read_text().splitlines() if line and not line.startswith("#"))
    server = scraping(",".join(f"{name}={pages.host}/{name}" for name in want))
    for name, n in want.items():
        wait_for(lambda: value(server, 'scrape_samples_scraped{job="%s"}' % name) == n, LONG)
        assert value(server, 'count({job="%s",__name__!~"up|scrape_.+"})' % name) == n
    assert value(server, 'histogram_quantile(0.5, sum by (le) (dynamo_frontend_time_to_first_token_seconds_bucket{job="frontend"}))') > 0


def test_a_bad_target_ends_the_start(sonde_program, tmp_path):
    p = subprocess.run([str(sonde_program), "serve", "--data", str(tmp_path / "d"), "--http", "127.0.0.1:0", "--otlp-grpc", "off", "--otlp-http", "off",
                        "--scrape", "ftp://x/y"], capture_output=True, text=True, timeout=LONG)
    assert p.returncode != 0 and "--scrape" in p.stderr, p


# ---- libsonde -----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_metrics_of_the_inference_example_arrive(server, build_dir, tmp_path, protocol):
    from test_inference import Stack
    if not (build_dir / "examples/inference/frontend").exists():
        pytest.skip("the example is not built")
    endpoint = server.url(port="otlp-grpc" if protocol == "grpc" else "otlp-http")
    env = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
           "OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_LOGS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", "DYN_LOGGING_CONFIG": ""}
    stack = Stack(build_dir, tmp_path, env=lambda name: dict(env))
    try:
        body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}).encode()
        import urllib.request
        r = urllib.request.Request(stack.frontend.url + "/v1/chat/completions", body, JSON)
        with urllib.request.urlopen(r, timeout=LONG) as a:
            assert a.status == 200
        wait_for(lambda: (value(server, "sum(dynamo_frontend_requests_total)") or 0) >= 1, LONG)
        wait_for(lambda: value(server, "sum(dynamo_frontend_time_to_first_token_seconds_count)") == 1, LONG)
        assert value(server, "count(count by (service_name) ({service_name=~'.+'}))") >= 3
    finally:
        stack.stop()
