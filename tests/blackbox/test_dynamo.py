"""A real NVIDIA Dynamo against sonde serve. Needs SONDE_DYNAMO=DIR, a folder where ../shared/tools/dynamo.py may install it (0.7 GB from
PyPI on first use) and the ports 8000, 8081 and 8082; skipped without it. What Dynamo wrote once is replayed in test_receive.py."""
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import Server, shared, wait_for

ROOT = os.environ.get("SONDE_DYNAMO")
pytestmark = pytest.mark.skipif(not ROOT, reason="SONDE_DYNAMO names no folder for a Dynamo")
SERVICES = {"dynamo-frontend", "dynamo-worker-prefill", "dynamo-worker-decode"}


PAGES = {"dynamo-frontend": 8000, "prefill": 8081, "decode": 8082}


@pytest.fixture
def server(sonde_program, tmp_path):
    pages = ",".join(f"{job}=http://127.0.0.1:{port}/metrics" for job, port in PAGES.items())
    s = Server(sonde_program, tmp_path / "data", "--scrape", pages, "--scrape-interval", "1s")
    yield s
    s.stop()


@pytest.fixture
def dynamo(server):
    tool = [sys.executable, str(shared("tools/dynamo.py"))]
    subprocess.run([*tool, "up", "--dir", ROOT, "--otlp", server.url(port="otlp-grpc")], check=True, timeout=400)
    yield lambda *args: subprocess.run([*tool, *args, "--dir", ROOT], check=True, timeout=120)
    subprocess.run([*tool, "down", "--dir", ROOT], timeout=60)


def request(server, name, ready):
    def ask():
        status, text = server.get("/api/sonde/v1/requests/" + name)
        doc = json.loads(text) if status == 200 else None
        return doc if doc and ready(doc) else None

    return wait_for(ask, 15, 0.2)


def chat(name, stream, tokens):
    body = {"model": "tiny", "stream": stream, "max_tokens": tokens, "ignore_eos": True, "messages": [{"role": "user", "content": "hello world " * 20}]}
    r = urllib.request.Request("http://127.0.0.1:8000/v1/chat/completions", json.dumps(body).encode(),
                               {"content-type": "application/json", "x-request-id": name})
    try:
        with urllib.request.urlopen(r, timeout=60) as a:
            a.read()
    except urllib.error.HTTPError as e:
        e.read()


def test_a_request_is_whole_and_a_lost_worker_is_told(server, dynamo, cli):
    dynamo("send", "--count", "50", "--id", "acc")
    doc = request(server, "acc-7", lambda d: len(d["spans"]) == 5 and len(d["logs"]) >= 11)
    r = doc["request"]
    assert r["status"] == "ok" and r["ttft_ms"] > 0 and r["output_tokens"] == 16 and r["prefill_worker"] and r["decode_worker"]
    assert {s["service"] for s in doc["spans"]} == SERVICES == {log["service"] for log in doc["logs"]}
    assert abs(sum(p["ms"] for p in doc["phases"]) - r["duration_ms"]) < 0.01 * r["duration_ms"]
    # a decode worker whose span ends behind the frontend's leaves nothing unaccounted
    assert [p["name"] for p in doc["phases"]][:4] == ["routing", "prefill", "handover", "decode"]
    assert {p["name"] for p in doc["phases"][4:]} <= {"unaccounted"}
    lanes = {lane["role"]: lane["blocks"] for lane in doc["lanes"]}
    prefill_end = int(lanes["prefill"][0]["start_ns"]) + lanes["prefill"][0]["ms"] * 1e6
    assert int(lanes["decode"][0]["start_ns"]) < prefill_end, "the branches overlap in time"
    code, out, _ = cli("request", "acc-7")
    assert code == 0 and "handover" in out

    # its pages of metrics are scraped: three targets, and the requests just sent are counted there
    def value(query):
        code, out, _ = cli("metrics", query, "-o", "csv")
        return float(out.strip().splitlines()[-1].split(",")[-1]) if code == 0 else -1

    wait_for(lambda: value("sum(up)") == len(PAGES), 30)
    wait_for(lambda: value("sum(dynamo_frontend_requests_total)") >= 50, 30)
    assert 0 < value("histogram_quantile(0.5, sum by (le) (dynamo_frontend_time_to_first_token_seconds_bucket))") < 60

    threads = [threading.Thread(target=chat, args=(name, stream, 400)) for name, stream in [("lost-u", False), ("lost-s", True)]]
    [t.start() for t in threads]
    time.sleep(1.0)
    os.kill(json.load(open(os.path.join(ROOT, "pids.json")))["decode"], signal.SIGKILL)
    [t.join() for t in threads]
    for name in ["lost-u", "lost-s"]:
        doc = request(server, name, lambda d: d["request"]["status"] == "error" and d["failure"] and len(d["spans"]) >= 4)
        f = doc["failure"]
        assert f["where"] == "decode" and "was lost after" in f["why"] and f["evidence"]
        assert abs(int(f["when_ns"]) - int(doc["request"]["start_ns"]) - 1e9) < 3e8, "it was killed a second after the start"
        assert any("request failed" in doc["logs"][i]["message"] or "exhausted" in doc["logs"][i]["message"] for i in f["evidence"])
    assert "broke after a 200" in doc["request"]["verdict"]
