"""Loki's query API over HTTP: shapes of answers, defaults of parameters, status codes, tenants."""
import json
import threading
import time
import urllib.parse

import pytest

from conftest import Server

S = 10**9
T0 = (time.time_ns() // S - 600) * S  # ten minutes ago, a whole second
API = "/loki/api/v1"


def push(server, tenant, stream, values):
    body = json.dumps({"streams": [{"stream": stream, "values": [[str(T0 + t * S), *rest] for t, *rest in values]}]}).encode()
    status, text = server.call(API + "/push", body, {"Content-Type": "application/json", "X-Scope-OrgID": tenant})
    assert status == 204, text


@pytest.fixture(scope="module")
def server(sonde_program, tmp_path_factory):
    s = Server(sonde_program, tmp_path_factory.mktemp("loki") / "data", "--discover-service=false")
    push(s, "one", {"app": "web", "env": "prod"}, [[0, "GET /a 200", {"trace_id": "t1"}], [10, "GET /b 500"], [20, "POST /a 200", {"trace_id": "t2"}]])
    push(s, "one", {"app": "db"}, [[5, '{"level":"error","ms":7}'], [15, "plain"]])
    push(s, "two", {"app": "other"}, [[0, "not yours"]])
    yield s
    assert s.stop() == 0


def ask(server, path, tenant="one", headers=None, **params):
    return server.json(API + path, {"X-Scope-OrgID": tenant, **(headers or {})}, **params)


def test_streams_merge_metadata_and_come_newest_first(server):
    d = ask(server, "/query_range", query='{app="web"}', start=T0, end=T0 + 60 * S)
    assert d["status"] == "success" and d["data"]["resultType"] == "streams"
    got = {s["stream"].get("trace_id"): s["values"] for s in d["data"]["result"]}
    assert got == {"t1": [[str(T0), "GET /a 200"]], None: [[str(T0 + 10 * S), "GET /b 500"]], "t2": [[str(T0 + 20 * S), "POST /a 200"]]}
    assert d["data"]["stats"]["summary"]["totalLinesProcessed"] == 3
    assert d["data"]["stats"]["summary"]["totalEntriesReturned"] == 3
    two = ask(server, "/query_range", query='{app="web"}', start=T0, end=T0 + 60 * S, limit=2)["data"]["result"]
    assert sorted(v[1] for s in two for v in s["values"]) == ["GET /b 500", "POST /a 200"]


def test_categorized_labels(server):
    d = ask(server, "/query_range", headers={"X-Loki-Response-Encoding-Flags": "categorize-labels"}, direction="forward",
            query='{app="web"} | pattern "<verb> <_>"', start=T0, end=T0 + 60 * S)["data"]
    assert d["encodingFlags"] == ["categorize-labels"]
    assert [s["stream"] for s in d["result"]] == [{"app": "web", "env": "prod"}]
    assert d["result"][0]["values"][0] == [str(T0), "GET /a 200", {"structuredMetadata": {"trace_id": "t1"}, "parsed": {"verb": "GET"}}]
    assert d["result"][0]["values"][1][2] == {"parsed": {"verb": "GET"}}


def test_matrix_vector_and_scalar(server):
    q = 'sum by (app) (count_over_time({app=~".+"}[20s]))'
    d = ask(server, "/query_range", query=q, start=T0 // S, end=T0 // S + 20, step=10)["data"]
    t = T0 // S
    assert d["resultType"] == "matrix"
    assert d["result"] == [{"metric": {"app": "db"}, "values": [[t + 10, "1"], [t + 20, "2"]]},
                           {"metric": {"app": "web"}, "values": [[t, "1"], [t + 10, "2"], [t + 20, "2"]]}]
    d = ask(server, "/query", query=q, time=f"{t + 20}.5")["data"]
    assert d["resultType"] == "vector" and d["result"][0] == {"metric": {"app": "db"}, "value": [t + 20.5, "2"]}
    d = ask(server, "/query", query="vector(1)+vector(1)", time=t)["data"]  # Grafana's health check
    assert d["result"] == [{"metric": {}, "value": [t, "2"]}]
    assert ask(server, "/query", query="1+1", time=t)["data"]["result"][1] == "2"


def test_labels_values_series(server):
    assert ask(server, "/labels") == {"status": "success", "data": ["app", "env"]}
    assert ask(server, "/label", query='{app="db"}')["data"] == ["app"]
    assert ask(server, "/label/app/values")["data"] == ["db", "web"]
    assert ask(server, "/label/app/values", query='{env="prod"}')["data"] == ["web"]
    assert ask(server, "/label/nope/values")["data"] == []
    assert ask(server, "/label/app/values", start=T0 - 100 * S, end=T0 - S)["data"] == []
    assert ask(server, "/detected_labels") == {"detectedLabels": [{"label": "app", "cardinality": 2}, {"label": "env", "cardinality": 1}]}
    assert ask(server, "/series", **{"match[]": ['{app="db"}', '{env=~".+"}']})["data"] == [{"app": "db"}, {"app": "web", "env": "prod"}]


def test_index_answers(server):
    d = ask(server, "/index/stats", query='{app="web"}', start=T0, end=T0 + 60 * S)
    assert (d["streams"], d["entries"], d["bytes"]) == (1, 3, 31)
    d = ask(server, "/index/volume", query='{app=~".+"}', start=T0, end=T0 + 60 * S)["data"]
    assert [(s["metric"], s["value"][1]) for s in d["result"]] == [({"app": "web"}, "31"), ({"app": "db"}, "29")]


def test_tenants_see_their_own(server):
    assert ask(server, "/label/app/values", tenant="two")["data"] == ["other"]
    assert ask(server, "/query_range", tenant="two", query='{app="web"}', start=T0, end=T0 + 60 * S)["data"]["result"] == []


def test_form_posts(server):
    form = urllib.parse.urlencode({"query": '{app="db"} |= "plain"', "start": T0, "end": T0 + 60 * S}).encode()
    status, body = server.call(API + "/query_range", form, {"X-Scope-OrgID": "one", "Content-Type": "application/x-www-form-urlencoded"})
    assert status == 200 and [v[1] for s in json.loads(body)["data"]["result"] for v in s["values"]] == ["plain"]


@pytest.mark.parametrize("path,params,word", [
    ("/query_range", {}, "query"),
    ("/query_range", {"query": '{app="x"'}, "parse error at line 1, col 9"),
    ("/query_range", {"query": "{}"}, "matcher"),
    ("/query_range", {"query": '{app="x"}', "limit": 0}, "limit"),
    ("/query_range", {"query": '{app="x"}', "limit": 10**9}, "limit"),
    ("/query_range", {"query": '{app="x"}', "direction": "up"}, "direction"),
    ("/query_range", {"query": '{app="x"}', "start": 20, "end": 10}, "start"),
    ("/query_range", {"query": '{app="x"}', "start": "soon"}, "start"),
    ("/query_range", {"query": '{app="x"}', "start": -2**63}, "start"),
    ("/query_range", {"query": '{app="x"}', "end": 2**63 - 1}, "end"),
    ("/query_range", {"query": '{app="x"}', "since": "250y"}, "since"),
    ("/query", {"query": '1', "time": 2**63 - 1}, "time"),
    ("/query_range", {"query": '{app="x"}', "step": "0.5m"}, "step"),
    ("/query_range", {"query": '{app="x"}', "interval": -1}, "interval"),
    ("/query_range", {"query": 'rate({app="x"}[1m])', "start": 0, "end": 100000, "step": 1}, "resolution"),
    ("/query", {"query": '{app="x"}'}, "instant"),
    ("/query", {"query": 'count_over_time({app="db"} | json [15m])'}, "pipeline error"),
    ("/labels", {"query": '{app="x"} |= "y"'}, "selector"),
    ("/series", {"match[]": 'rate({app="x"}[1m])'}, "selector"),
    ("/index/volume", {"query": "{}", "aggregateBy": "x"}, "aggregateBy"),
])
def test_mistakes_are_told(server, path, params, word):
    status, body = server.get(API + path, {"X-Scope-OrgID": "one"}, **params)
    assert status == 400 and word in body.decode(), (status, body)


def test_format_query(server):
    assert ask(server, "/format_query", query='{a="b"}|="c"')["data"] == '{a="b"} |= "c"'
    status, body = server.get(API + "/format_query", query="{")
    assert status == 400 and json.loads(body)["status"] == "invalid-query"


def test_a_full_queue_answers_429_and_the_rest_is_served(sonde_program, tmp_path):
    s = Server(sonde_program, tmp_path / "data", "--query-threads", "1")
    try:
        push(s, "one", {"app": "x"}, [[0, "line"]])
        got = []
        slow = 'sum(' + ' + '.join(['count_over_time({app="x"}[1h])'] * 60) + ')'

        def one():
            got.append(s.get(API + "/query_range", {"X-Scope-OrgID": "one"}, query=slow, start=T0 // S - 10000, end=T0 // S, step=1)[0])
        threads = [threading.Thread(target=one) for _ in range(150)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert set(got) <= {200, 429} and 200 in got, got
        assert s.get(API + "/labels", {"X-Scope-OrgID": "one"})[0] == 200
    finally:
        assert s.stop() == 0
