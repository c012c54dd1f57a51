"""Prometheus' HTTP API and `sonde metrics`, over samples that came by remote write."""
import csv
import io
import json
import os
import subprocess
import time
import urllib.parse

import pytest
import remote_write

T = 1_700_000_000


def send(server, all_series, tenant=None):
    status, body = server.call("/api/v1/write", remote_write.request(all_series), {**remote_write.HEADERS, **({"x-scope-orgid": tenant} if tenant else {})})
    assert status in (200, 204), body


@pytest.fixture
def filled(server):
    send(server, [({"__name__": "up", "job": j, "instance": i}, [((T + 15 * k) * 1000, float(k * (n + 1))) for k in range(41)])
                  for n, (j, i) in enumerate((("api", "0"), ("api", "1"), ("web", "0")))])
    return server


def post(server, path, **params):
    body = urllib.parse.urlencode([(k, x) for k, v in params.items() for x in (v if isinstance(v, list) else [v])]).encode()
    status, answer = server.call(path, body, {"content-type": "application/x-www-form-urlencoded"})
    return status, json.loads(answer)


def metric(job, instance, name="up"):
    return {"__name__": name, "job": job, "instance": instance} if name else {"job": job, "instance": instance}


def test_one_time(filled):
    d = filled.json("/api/v1/query", query="up", time=T + 60)
    assert d == {"status": "success", "data": {"resultType": "vector", "result": [
        {"metric": metric("api", "0"), "value": [T + 60, "4"]}, {"metric": metric("web", "0"), "value": [T + 60, "12"]}, {"metric": metric("api", "1"), "value": [T + 60, "8"]}]}}
    assert filled.json("/api/v1/query", query="1.5 / 0", time=f"{T}.25")["data"] == {"resultType": "scalar", "result": [T + 0.25, "+Inf"]}
    assert filled.json("/api/v1/query", query='"x"', time=T)["data"] == {"resultType": "string", "result": [T, "x"]}
    raw = filled.json("/api/v1/query", query='up{job="web"}[30s]', time=T + 60)["data"]
    assert raw == {"resultType": "matrix", "result": [{"metric": metric("web", "0"), "values": [[T + 45, "9"], [T + 60, "12"]]}]}, "the older edge is open"
    assert filled.json("/api/v1/query", query="nope")["data"]["result"] == []
    assert filled.json("/api/v1/query", query="up", time="2023-11-14T22:14:20Z")["data"]["result"][0]["value"] == [T + 60, "4"]


def test_lookback_and_staleness(filled):
    last = T + 600
    count = lambda t, **more: len(filled.json("/api/v1/query", query="up", time=t, **more)["data"]["result"])
    assert count(last + 299) == 3 and count(last + 301) == 0
    assert count(last + 301, lookback_delta="10m") == 3
    send(filled, [({"__name__": "up", "job": "api", "instance": "0"}, [((last + 15) * 1000, None)])])
    assert count(last + 14) == 3 and count(last + 16) == 2


def test_range(filled):
    status, d = post(filled, "/api/v1/query_range", query="sum by (job) (rate(up[1m]))", start=T + 120, end=T + 150, step="15")
    assert status == 200 and d["data"]["resultType"] == "matrix"
    assert [s["metric"] for s in d["data"]["result"]] == [{"job": "api"}, {"job": "web"}]
    assert [(t, round(float(v), 12)) for t, v in d["data"]["result"][0]["values"]] == [(T + 120 + 15 * k, 0.2) for k in range(3)]
    assert "metric might not be a counter" in d["infos"][0]
    get = filled.json("/api/v1/query_range", query="sum by (job) (rate(up[1m]))", start=T + 120, end=T + 150, step="15s")
    assert get == d


def test_flushed_samples_answer_the_same(filled):
    ask = lambda: filled.json("/api/v1/query_range", query="increase(up[2m])", start=T, end=T + 600, step=7)
    before = ask()
    assert filled.call("/flush", b"", method="POST")[0] == 204
    assert ask() == before
    send(filled, [({"__name__": "up", "job": "api", "instance": "0"}, [((T + 15 * k) * 1000, float(k)) for k in range(41)])])  # once more
    assert ask() == before


def test_what_is_there(filled):
    assert filled.json("/api/v1/labels")["data"] == ["__name__", "instance", "job"]
    assert filled.json("/api/v1/label/job/values")["data"] == ["api", "web"]
    assert filled.json("/api/v1/label/instance/values", **{"match[]": 'up{job="api"}'})["data"] == ["0", "1"]
    limited = filled.json("/api/v1/label/instance/values", limit=1)
    assert limited["data"] == ["0"] and limited["warnings"] == ["results truncated due to limit"]
    assert filled.json("/api/v1/label/nope/values")["data"] == []
    status, d = post(filled, "/api/v1/series", **{"match[]": ['up{job="web"}', 'up{instance="1"}']})
    assert status == 200 and d["data"] == [metric("web", "0"), metric("api", "1")]
    assert filled.json("/api/v1/labels", start=T + 7200, end=T + 7300)["data"] == []


@pytest.mark.parametrize("path, params, status, kind, text", [
    ("/api/v1/query", {"query": "sum(rate(up[5m])"}, 400, "bad_data", 'invalid parameter "query": 1:17: parse error'),
    ("/api/v1/query", {"query": ""}, 400, "bad_data", "no expression found in input"),
    ("/api/v1/query", {"query": "up", "time": "x"}, 400, "bad_data", 'invalid parameter "time"'),
    ("/api/v1/query", {"query": "up + on (job) up", "time": T + 60}, 422, "execution", "found duplicate series for the match group"),
    ("/api/v1/query_range", {"query": "up", "start": T, "end": T - 1, "step": 1}, 400, "bad_data", "end timestamp must not be before start"),
    ("/api/v1/query_range", {"query": "up", "start": T, "end": T + 1, "step": 0}, 400, "bad_data", "zero or negative"),
    ("/api/v1/query_range", {"query": "up", "start": T, "end": T + 11001, "step": 1}, 400, "bad_data", "11,000 points"),
    ("/api/v1/query_range", {"query": "up[5m]", "start": T, "end": T + 1, "step": 1}, 400, "bad_data", "invalid expression type"),
    ("/api/v1/query_range", {"query": "up", "end": T, "step": 1}, 400, "bad_data", 'invalid parameter "start"'),
    ("/api/v1/series", {}, 400, "bad_data", "no match[] parameter"),
    ("/api/v1/labels", {"match[]": "sum(up)"}, 400, "bad_data", "only a series selector"),
    ("/api/v1/query", {"query": "count_over_time(up[10000d:1s])"}, 422, "execution", "subquery would be evaluated"),
])
def test_refusals(filled, path, params, status, kind, text):
    got, body = filled.get(path, **params)
    d = json.loads(body)
    assert (got, d["status"], d["errorType"]) == (status, "error", kind) and text in d["error"], d


def test_tenants_are_apart(filled):
    send(filled, [({"__name__": "other"}, [(T * 1000, 1.0)])], tenant="b")
    assert filled.json("/api/v1/label/__name__/values", headers={"x-scope-orgid": "b"})["data"] == ["other"]
    assert filled.json("/api/v1/label/__name__/values")["data"] == ["up"]


def test_format_and_parse(filled):
    assert filled.json("/api/v1/format_query", query="sum(rate(up[5m]))by(job)")["data"] == "sum by (job) (rate(up[5m]))"
    tree = filled.json("/api/v1/parse_query", query="up > bool 1")["data"]
    assert tree["type"] == "binaryExpr" and tree["bool"] is True and tree["lhs"]["matchers"] == [{"name": "__name__", "type": "=", "value": "up"}]


def test_what_grafana_asks_first(filled):
    assert filled.json("/api/v1/status/buildinfo")["data"]["version"].startswith("3.")
    assert filled.json("/api/v1/query", query="1+1", time=T)["data"]["result"][1] == "2"
    assert filled.json("/api/v1/rules")["data"] == {"groups": []} and filled.json("/api/v1/alerts")["data"] == {"alerts": []}
    assert filled.json("/api/v1/metadata")["status"] == "success"
    assert filled.json("/api/v1/query_exemplars", query="up", start=T, end=T + 600)["data"] == []
    assert "data" in filled.json("/api/v1/status/flags")["data"] and "yaml" in filled.json("/api/v1/status/config")["data"]
    tsdb = filled.json("/api/v1/status/tsdb")["data"]
    assert tsdb["headStats"]["numSeries"] == 3 and tsdb["seriesCountByMetricName"] == [{"name": "up", "value": 3}]


def test_targets_are_the_series_up(server):
    now = int(time.time())
    assert server.json("/api/v1/targets")["data"] == {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}
    send(server, [({"__name__": "up", "job": "a", "instance": "x:1"}, [(now * 1000, 1.0)]), ({"__name__": "up", "job": "b", "instance": "y:2"}, [(now * 1000, 0.0)])])
    found = server.json("/api/v1/targets")["data"]["activeTargets"]
    assert [(t["labels"], t["scrapePool"], t["health"]) for t in found] == [({"job": "a", "instance": "x:1"}, "a", "up"), ({"job": "b", "instance": "y:2"}, "b", "down")]


def otlp(server, metrics):
    body = json.dumps({"resourceMetrics": [{"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "decode"}}]}, "scopeMetrics": [{"metrics": metrics}]}]})
    assert server.call("/v1/metrics", body.encode(), {"content-type": "application/json"})[0] == 200


def test_metadata_and_exemplars_of_otlp(server):
    now = int(time.time()) * 10**9
    otlp(server, [{"name": "ttft", "unit": "s", "description": "time to first token", "histogram": {"aggregationTemporality": 2, "dataPoints": [
        {"startTimeUnixNano": str(now - 10**10), "timeUnixNano": str(now), "count": "3", "sum": 1.5, "explicitBounds": [0.1, 1], "bucketCounts": ["1", "1", "1"],
         "exemplars": [{"timeUnixNano": str(now - 10**9), "asDouble": 0.5, "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331"}]}]}}])
    meta = server.json("/api/v1/metadata")["data"]
    assert meta["ttft_seconds"][0]["type"] == "histogram" and meta["ttft_seconds"][0]["help"] == "time to first token", meta
    assert list(server.json("/api/v1/metadata", metric="nope")["data"]) == []
    found = server.json("/api/v1/query_exemplars", query="histogram_quantile(0.9, rate(ttft_seconds_bucket[5m]))", start=now / 1e9 - 60, end=now / 1e9 + 1)["data"]
    all_of = [e for s in found for e in s["exemplars"]]
    assert any(e["labels"]["trace_id"] == "0af7651916cd43dd8448eb211c80319c" and e["value"] == "0.5" for e in all_of), found
    q = server.json("/api/v1/query", query="histogram_quantile(0.5, ttft_seconds_bucket)", time=now / 1e9 + 1)["data"]["result"]
    assert len(q) == 1 and 0.1 < float(q[0]["value"][1]) <= 1


def test_native_histograms(server):
    now = int(time.time())
    for k in range(3):
        otlp(server, [{"name": "size", "exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [
            {"startTimeUnixNano": str((now - 100) * 10**9), "timeUnixNano": str((now - 60 + 30 * k) * 10**9), "count": str(4 * (k + 1)), "sum": 10.0 * (k + 1), "scale": 0, "zeroCount": "0",
             "positive": {"offset": 0, "bucketCounts": [str(2 * (k + 1)), str(2 * (k + 1))]}}]}}])
    ask = lambda e: server.json("/api/v1/query", query=e, time=now)["data"]["result"][0]
    h = ask("size")["histogram"][1]
    assert (h["count"], h["sum"], h["buckets"]) == ("12", "30", [[0, "1", "2", "6"], [0, "2", "4", "6"]])
    assert ask("histogram_count(size)")["value"][1] == "12" and ask("histogram_avg(size)")["value"][1] == "2.5"
    assert ask("histogram_quantile(0.5, size)")["value"][1] == "2"
    assert abs(float(ask("histogram_quantile(0.75, size)")["value"][1]) - 2 * 2**0.5) < 1e-12, "inside a bucket on a logarithmic scale"
    assert ask("histogram_fraction(0, 2, size)")["value"][1] == "0.5"
    assert abs(float(ask("histogram_count(increase(size[2m]))")["value"][1]) - 8) < 8
    assert ask("histogram_sum(sum(size) + sum(size))")["value"][1] == "60" and ask("histogram_count(size * 2)")["value"][1] == "24"
    assert ask("histogram_count(avg_over_time(size[5m]))")["value"][1] == "8"


def cli(server, program, *args, check=0):
    r = subprocess.run([str(program), "metrics", *args, "--url", server.url()], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80", "TZ": "UTC"}, timeout=60)
    assert r.returncode == check, (r.returncode, r.stdout, r.stderr)
    return r


def test_command_line(filled, sonde_program):
    at = ["--until", str(T + 600)]
    text = cli(filled, sonde_program, 'up{job="api"}', *at).stdout
    assert [line.split()[-1] for line in text.splitlines()] == ["40", "80"] and text.startswith('up{instance="0", job="api"}')
    assert json.loads(cli(filled, sonde_program, "up", "-o", "json", *at).stdout)["status"] == "success"
    rows = list(csv.DictReader(io.StringIO(cli(filled, sonde_program, "up", "-o", "csv", "--range", "1m", "--step", "30s", *at).stdout)))
    assert len(rows) == 9 and rows[0] == {"time": str(T + 540), "__name__": "up", "instance": "0", "job": "api", "value": "36"}
    chart = cli(filled, sonde_program, "up", "--chart", "--range", "10m", *at).stdout
    assert "└─" in chart and '⣿ up{instance="0", job="web"}' in chart and any(0x2800 < ord(c) < 0x28FF for c in chart)
    assert all(len(line) <= 80 for line in chart.splitlines())
    assert cli(filled, sonde_program, "1 + 1").stdout == "2\n"
    assert "no series matched" in cli(filled, sonde_program, "nope", check=1).stderr
    assert "parse error" in cli(filled, sonde_program, "sum(", check=2).stderr
    assert "truncated" in cli(filled, sonde_program, "up", "--limit", "1", *at).stderr
