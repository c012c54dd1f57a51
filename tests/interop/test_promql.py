"""`sonde serve` beside Prometheus: the same samples by remote write, some hundred expressions, the same answers."""
import json
import math
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import remote_write
from conftest import Server, free_port
from promql_cases import MINUTES, START, expressions, samples

BEGIN = START / 1000 + 300.5
END = START / 1000 + MINUTES * 60 - 59.5


class Api:
    def __init__(self, url):
        self.url = url

    def call(self, path, **params):
        body = urllib.parse.urlencode(params).encode()
        try:
            with urllib.request.urlopen(self.url + path, body, timeout=60) as a:
                return a.status, json.loads(a.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def write(self, all_series):
        r = urllib.request.Request(self.url + "/api/v1/write", remote_write.request(all_series), remote_write.HEADERS)
        with urllib.request.urlopen(r, timeout=60) as a:
            assert a.status in (200, 204)


@pytest.fixture(scope="module")
def prometheus(tool, tmp_path_factory):
    program = tool("prometheus", "scripts/interop_tools.sh gets it")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    with open(folder / "log", "wb") as log:
        p = subprocess.Popen([str(program), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=100y",
                              f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--enable-feature=promql-negative-offset"], stdout=log, stderr=log)
    api = Api(f"http://127.0.0.1:{port}")
    for _ in range(600):
        try:
            urllib.request.urlopen(api.url + "/-/ready", timeout=5).read()
            break
        except (urllib.error.URLError, OSError):
            assert p.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.05)
    yield api
    p.terminate()
    p.wait()


@pytest.fixture(scope="module")
def both(prometheus, sonde_program, tmp_path_factory):
    server = Server(sonde_program, tmp_path_factory.mktemp("sonde") / "data")
    sonde = Api(server.url())
    data = samples()
    for api in (prometheus, sonde):
        for i in range(0, len(data), 20):
            api.write(data[i:i + 20])
    yield prometheus, sonde
    server.stop()


def number(text):
    return float(text.replace("+Inf", "inf").replace("-Inf", "-inf"))


def close(a, b):
    return math.isnan(a) and math.isnan(b) or a == b or abs(a - b) <= 1e-9 * max(abs(a), abs(b)) or abs(a - b) < 1e-12


def table(answer):
    """{labels: {time: value}} of any kind of result."""
    data = answer["data"]
    if data["resultType"] in ("scalar", "string"):
        return {(): {data["result"][0]: data["result"][1]}}
    return {tuple(sorted(s["metric"].items())): {t: v for t, v in s.get("values", [s.get("value")])} for s in data["result"]}


def difference(want, got):
    """None, or what differs first."""
    if want["data"]["resultType"] != got["data"]["resultType"]:
        return f"type {want['data']['resultType']} {got['data']['resultType']}"
    a, b = table(want), table(got)
    if a.keys() != b.keys():
        return f"series only there {sorted(a.keys() - b.keys())[:3]}, only here {sorted(b.keys() - a.keys())[:3]}"
    for k in a:
        if a[k].keys() != b[k].keys():
            return f"{k}: times only there {sorted(a[k].keys() - b[k].keys())[:3]}, only here {sorted(b[k].keys() - a[k].keys())[:3]}"
        for t in a[k]:
            if a[k][t] != b[k][t] and not close(number(a[k][t]), number(b[k][t])):
                return f"{k} at {t}: {a[k][t]} there, {b[k][t]} here"
    return None


def compare(both, path, expression, **params):
    (status, want), (other, got) = (api.call(path, query=expression, **params) for api in both)
    if status != other:
        return f"{expression}: status {status} there {want.get('error', '')!r}, {other} here {got.get('error', '')!r}"
    if status != 200:
        return None if want["errorType"] == got["errorType"] else f"{expression}: {want['errorType']} there, {got['errorType']} here"
    what = difference(want, got)
    return f"{expression}: {what}" if what else None


def all_of(both, path, **params):
    bad = [x for x in (compare(both, path, e, **params) for e in expressions()) if x]
    report = os.environ.get("PROMQL_REPORT")
    if report:
        with open(report, "a") as f:
            f.write("\n".join([f"== {path} {params}: {len(bad)} of {len(expressions())}"] + bad) + "\n")
    assert not bad, f"{len(bad)} of {len(expressions())} differ:\n" + "\n".join(bad[:30])


def test_ranges(both):
    all_of(both, "/api/v1/query_range", start=BEGIN, end=END, step=37)


def test_coarse_steps(both):
    all_of(both, "/api/v1/query_range", start=BEGIN - 600, end=END + 1200, step="5m")


@pytest.mark.parametrize("at", [BEGIN, BEGIN + 1001, END])
def test_instants(both, at):
    all_of(both, "/api/v1/query", time=at)


def test_order_of_instants(both):
    for e in ("sort(temperature{job!='odd'})", "sort_desc(temperature{job!='odd'})", "topk(5, temperature{job!='odd'})", "bottomk(3, temperature{job!='odd'})"):
        a, b = ([s["metric"] for s in api.call("/api/v1/query", query=e, time=END)[1]["data"]["result"]] for api in both)
        assert a == b, e


def test_what_is_there(both):
    for path, params in (("/api/v1/labels", {}), ("/api/v1/series", {"match[]": "{__name__=~'temp.*'}"}), ("/api/v1/labels", {"match[]": "node"})):
        (_, a), (_, b) = (api.call(path, start=BEGIN, end=END, **params) for api in both)
        key = lambda x: json.dumps(x, sort_keys=True)
        assert sorted(a["data"], key=key) == sorted(b["data"], key=key), path
    for name in ("__name__", "job", "le", "nope"):
        a, b = (json.loads(urllib.request.urlopen(f"{api.url}/api/v1/label/{name}/values", timeout=60).read()) for api in both)
        assert a == b, name


def test_formats(both):
    long = "sum by (job, instance, code) (rate(requests_total{job=~'api|web|db', instance!='10'}[5m])) / ignoring (code) group_left (x) sum without (code) (max_over_time(rate(requests_total[1m])[5m:30s])) > bool 3"
    for e in expressions() + [long, f"topk(3, {long})", f"abs(({long}))", f"-({long})", f"clamp(({long}), 1, 2)", f"max_over_time(({long})[1h:])"]:
        (sa, a), (sb, b) = (api.call("/api/v1/format_query", query=e) for api in both)
        assert sa == sb, e
        if sa == 200:
            assert a["data"] == b["data"], e


def test_promtool_asks(both, tool):
    promtool, url = tool("promtool", "scripts/interop_tools.sh gets it"), both[1].url

    def ask(*args):
        r = subprocess.run([str(promtool), *args], capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, (args, r.stderr)
        return r.stdout

    at = str(int(END))
    assert 'build_info{job="api", version="1.2"} => 1 @' in ask("query", "instant", f"--time={at}", url, "build_info")
    assert ask("query", "range", f"--start={int(BEGIN)}", f"--end={at}", "--step=1m", url, "sum(node)").count(" @[") == (int(END) - int(BEGIN)) // 60 + 1
    assert "build_info" in ask("query", "labels", f"--start={int(BEGIN)}", f"--end={at}", url, "__name__").split()
    assert 'rack="r0"' in ask("query", "series", "--match=node", f"--start={int(BEGIN)}", f"--end={at}", url)
    for path in ("/-/healthy", "/-/ready"):
        assert urllib.request.urlopen(url + path, timeout=30).status == 200
