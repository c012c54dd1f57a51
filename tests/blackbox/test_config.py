"""A process that links libsonde, looked at from outside: status server, configuration dump, `sonde config`, declarative file."""
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import wait_for
from test_libsonde import HERE, installed, rings  # noqa: F401 (fixtures)


class Worker:
    def __init__(self, program, rings, env=None, *arguments):
        env = {"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(rings), "DYN_SYSTEM_PORT": "0", "DYN_SYSTEM_HOST": "127.0.0.1", **(env or {})}
        self.process = subprocess.Popen([program, *map(str, arguments)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def call(self, path, body=None, method=None, headers=None):
        r = urllib.request.Request(self.url + path, body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(r, timeout=10) as a:
                return a.status, a.read().decode(), a.headers
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(), e.headers

    def say(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self):
        out, err = self.process.communicate("", timeout=20)
        return self.process.returncode, err


@pytest.fixture
def worker(installed, rings):  # noqa: F811
    program = installed.compile("status", "status.c")
    started = []

    def start(env=None, *arguments):
        started.append(Worker(program, rings, env, *arguments))
        return started[-1]

    yield start
    for w in started:
        if w.process.poll() is None:
            w.process.kill()
            w.process.communicate()


@pytest.fixture
def config(sonde_program):
    def run(*args, env=None):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "DYN_", "OTEL_"))}
        p = subprocess.run([str(sonde_program), "config", *map(str, args)], capture_output=True, text=True, timeout=30, env={**clean, **(env or {})})
        return p.returncode, p.stdout, p.stderr

    return run


# ---- status server ----------------------------------------------------------------------------------------------------
def test_status_server(worker):
    w = worker({"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]'})
    status, body, headers = w.call("/health")
    assert status == 503 and headers["content-type"].startswith("text/plain")
    assert re.fullmatch(r'{"endpoints":{"generate":"notready"},"status":"notready","uptime":{"nanos":\d+,"secs":\d+}}', body)
    w.say("r")
    wait_for(lambda: w.call("/live")[0] == 200)
    assert "dynamo_component_requests_total 5" in w.call("/metrics")[1]
    assert w.call("/engine/echo", b'{"a":1}')[:2] == (200, '{"a":1}')
    assert w.call("/engine/echo", b'{"fail":1}')[:2] == (500, '{"error":"Handler error","message":"asked to fail"}')
    assert w.call("/engine/echo", b'{a}')[0] == 400
    assert w.call("/nothing")[:2] == (404, "Route not found")
    spans = json.loads(w.call("/debug/spans")[1])
    assert spans["open"] == 1 and spans["spans"][0]["name"] == "long request" and spans["spans"][0]["age_ms"] >= 0
    assert w.call("/debug/level", b"debug for 5s", "PUT")[0] == 200
    assert json.loads(w.call("/debug/level")[1])["filter"] == "debug"
    assert "/nothing" in w.call("/debug/ring?n=50")[1]
    code, err = w.end()
    assert code == 0 and "INFO" in err and "/nothing" in err


def test_port_taken(installed, rings):  # noqa: F811
    with socket.socket() as s:
        while True:
            s.bind(("127.0.0.1", 0))
            if s.getsockname()[1] < 32768:
                break
            s.close()
            s = socket.socket()
            try:
                s.bind(("127.0.0.1", 20000 + os.getpid() % 10000))
            except OSError:
                pytest.skip("no free port below 32768")
            break
        s.listen()
        p = subprocess.run([installed.compile("status", "status.c")], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                           env={"PATH": os.environ["PATH"], "SONDE_RING_DIR": str(rings), "DYN_SYSTEM_HOST": "127.0.0.1",
                                "DYN_SYSTEM_PORT": str(s.getsockname()[1])})
    assert p.returncode == 3 and p.stdout == "-1\n" and "ERROR" in p.stderr and "status server cannot listen" in p.stderr


# ---- dump -------------------------------------------------------------------------------------------------------------
def test_dump(worker, config, tmp_path):
    path = tmp_path / "made" / "dump.json"
    w = worker({"DYN_LOG": "info", "DYN_API_KEY": "geheim", "OTEL_BSP_MAX_QUEUE_SIZE": "many"}, path)
    text = path.read_text()
    dump = json.loads(text)
    assert text == json.dumps(dump, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert set(dump) == {"config", "config_hash", "dynamo_version", "environment", "gpu_info", "installed_packages", "runtime_info",
                         "settings", "system_info"}
    assert dump["config"] == {"model": "llama", "hf_token": "<REDACTED>", "tp": 8}
    assert dump["environment"]["DYN_API_KEY"] == "<REDACTED>" and "geheim" not in text
    assert dump["settings"]["OTEL_BSP_MAX_QUEUE_SIZE"] == {"from": "default", "rejected": "many", "value": "65536"}
    assert dump["settings"]["DYN_SYSTEM_PORT"] == {"from": "environment", "value": "0"}
    assert dump["settings"]["OTEL_SERVICE_NAME"] == {"from": "sonde_init", "value": "worker"}
    assert dump["runtime_info"]["pid"] == w.process.pid and dump["runtime_info"]["command_line_args"][1] == str(path)
    for how in (["--url", w.url], ["--pid", w.process.pid]):
        code, out, err = config("dump", *how)
        again = json.loads(out)
        assert code == 0 and again["config_hash"] == dump["config_hash"] and again["config"] == dump["config"], err
    code, err = w.end()
    assert code == 0 and f"path={path}" in err.replace('"', "")


@pytest.fixture
def nvml(tmp_path):
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libnvidia-ml.so.1", HERE / "nvml.c"], check=True)
    return {"LD_LIBRARY_PATH": str(tmp_path)}


def test_gpus_by_nvml(config, nvml):
    gpu = {"name": "NVIDIA Test", "driver_version": "550.1", "memory_total": "81920 MiB"}
    assert json.loads(config("dump", env=nvml)[1])["gpu_info"] == {"gpus": [gpu, gpu], "count": 2}


def test_a_driver_that_hangs(config, nvml):
    start = time.monotonic()
    code, out, _ = config("dump", env={**nvml, "NVML_HANG": "1"})
    assert code == 0 and json.loads(out)["gpu_info"] is None and 4.5 < time.monotonic() - start < 50


def test_two_processes_of_one_configuration(worker, config):
    a, b = worker(), worker()
    hashes = {json.loads(config("dump", "--url", w.url)[1])["config_hash"] for w in (a, b)}
    assert len(hashes) == 1
    assert config("diff", a.url, b.process.pid) == (0, "", "")
    c = worker({"DYN_LOG": "debug"})
    code, out, err = config("diff", a.url, c.url)
    assert code == 1 and "settings.DYN_LOG: info (default) | debug (environment)\n" in out and err == ""
    code, out, _ = config("diff", "-o", "json", a.url, c.url)
    assert code == 1 and {"a": "info", "a_from": "default", "b": "debug", "b_from": "environment", "path": "settings.DYN_LOG"} in json.loads(out)


def test_expected_values(worker, config, tmp_path):
    w = worker({"DYN_LOG": "warn"})
    want = tmp_path / "want.toml"
    want.write_text('DYN_LOG = "warn"\nDYN_CANARY_WAIT_TIME = 10\n[config]\nmodel = "llama"\ntp = 8\n')
    assert config("diff", w.process.pid, want) == (0, "", "")
    want.write_text('DYN_LOG = "info"\nmissing = 1\n[config]\ntp = 4\n')
    code, out, _ = config("diff", w.url, want)
    assert code == 1 and out == "settings.DYN_LOG: warn (environment) | info\nconfig.tp: 8 | 4\nmissing: (absent) | 1\n" or sorted(
        out.splitlines()) == ["config.tp: 8 | 4", "missing: (absent) | 1", "settings.DYN_LOG: warn (environment) | info"]
    (tmp_path / "want.json").write_text('{"config": {"tp": 8, "model": "llama"}}')
    assert config("diff", tmp_path / "want.json", w.url)[0] == 0


@pytest.mark.parametrize("args", [["diff", "/nonexistent", "/nonexistent"], ["diff", "x"], ["show"], ["diff", "http://127.0.0.1:1", "x"],
                                  ["dump", "--pid", "999999999"], ["dump", "--url", "http://127.0.0.1:1"]])
def test_errors(config, args):
    code, out, err = config(*args)
    assert code == 2 and out == "" and err.startswith("sonde: ")


def test_no_dump(config, tmp_path):
    for name, text in (("a.json", "{"), ("b.toml", "= 1"), ("c.json", "[1]")):
        (tmp_path / name).write_text(text)
        code, _, err = config("diff", tmp_path / name, tmp_path / name)
        assert code == 2 and name in err


# ---- declarative file ---------------------------------------------------------------------------------------------------
def test_config_file(worker, config, tmp_path):
    path = tmp_path / "otel.yaml"
    path.write_text('file_format: "1.0"\n'
                    "resource:\n"
                    "  attributes:\n"
                    "    - name: service.name\n      value: ${NAME:-nobody}\n"
                    "meter_provider:\n"
                    "  readers:\n"
                    "    - pull: {exporter: {prometheus/development: {host: 127.0.0.1, port: 0}}}\n")
    w = worker({"OTEL_CONFIG_FILE": str(path), "NAME": "yaml-worker", "OTEL_SERVICE_NAME": "ignored"})
    dump = json.loads(config("dump", "--url", w.url)[1])
    assert dump["settings"]["OTEL_SERVICE_NAME"] == {"from": f"{path}:5", "value": "yaml-worker"}
    assert dump["settings"]["OTEL_METRICS_EXPORTER"]["value"] == "prometheus"
    assert dump["settings"]["OTEL_TRACES_EXPORTER"]["value"] == "none"
    ring = w.call("/debug/ring?n=100")[1]
    port = re.search(r"page of metrics.*?port=(\d+)", ring) or re.search(r"port=(\d+).*page of metrics", ring)
    with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=10) as a:
        assert 'target_info{' in (text := a.read().decode()) and 'service_name="yaml-worker"' in text
    assert w.end()[0] == 0


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_config_file_makes_the_exporter(worker, tmp_path):
    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    s.got = []
    threading.Thread(target=s.serve_forever, daemon=True).start()
    path = tmp_path / "otel.yaml"
    path.write_text(f"""
file_format: "1.0"
resource:
  attributes_list: team=blue
  attributes: [{{name: service.name, value: "from, yaml"}}]
tracer_provider:
  processors:
    - batch:
        schedule_delay: 50
        exporter:
          otlp_http:
            endpoint: http://127.0.0.1:{s.server_address[1]}/own/path
            headers: [{{name: x-key, value: "a,b"}}]
            encoding: json
    - batch:
        exporter:
          otlp_http:
            endpoint: http://127.0.0.1:{s.server_address[1]}/second
            headers: [{{name: x-key, value: "a,b"}}]
            encoding: json
""")
    w = worker({"OTEL_CONFIG_FILE": str(path), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_RESOURCE_ATTRIBUTES": "no=no"})
    code, err = w.end()
    s.shutdown()
    s.server_close()
    assert code == 0
    assert {path for path, _, _ in s.got} == {"/own/path", "/second"}, err  # spans alone: the file has no logger provider
    headers = {k.lower(): v for k, v in s.got[0][1].items()}
    assert headers["x-key"] == "a,b" and headers["content-type"] == "application/json"
    resource = json.loads(s.got[0][2])["resourceSpans"][0]
    attributes = {a["key"]: a["value"].get("stringValue") for a in resource["resource"]["attributes"]}
    assert attributes["service.name"] == "from, yaml" and attributes["team"] == "blue" and "no" not in attributes
    assert re.fullmatch("[0-9a-f]{16}", attributes["sonde.config.hash"])
    assert resource["scopeSpans"][0]["spans"][0]["name"] == "long request"


def test_env_shows_the_library(sonde_program):
    p = subprocess.run([str(sonde_program), "env", "libsonde", "-o", "json"], capture_output=True, text=True, timeout=20,
                       env={"DYN_CANARY_WAIT_TIME": "7", "OTEL_SDK_DISABLED": "maybe"})
    rows = {s["env"]: s for s in json.loads(p.stdout)[0]["settings"]}
    assert rows["DYN_CANARY_WAIT_TIME"]["value"] == "7" and rows["DYN_CANARY_WAIT_TIME"]["from"] == "environment"
    assert rows["OTEL_SDK_DISABLED"]["rejected"] == "maybe" and rows["OTEL_SDK_DISABLED"]["from"] == "default"
    assert rows["DYN_SYSTEM_PORT"]["accepted"] == "whole number from -32768 to 32767" and rows["DYN_SYSTEM_PORT"]["about"]
