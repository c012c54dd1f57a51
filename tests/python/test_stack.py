"""A serving stack of real processes whose decode worker dies: what the report says must be enough to name the cause.

The stack in C is examples/inference of the build; the real Dynamo runs where SONDE_DYNAMO names the folder that its set-up made (venv/, model/).
"""
import os
import pathlib
import re

import pytest

STACK = """
import json, os, signal, time, urllib.error, urllib.request
import pytest

def chat(port, id, tokens=8):
    body = {"model": "tiny", "max_tokens": tokens, "messages": [{"role": "user", "content": "hello"}]}
    r = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                               {"content-type": "application/json", "x-request-id": id})
    try:
        with urllib.request.urlopen(r, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code

def kill_by_fault(worker, faults):
    faults.kill(worker)

def kill_by_stranger(worker, faults):
    os.kill(worker.pid, signal.SIGKILL)
    worker.process.wait()
"""

TRIO = STACK + """
@pytest.fixture
def stack(managed_process, free_port):
    bin, (front, pre, dec) = BIN, (free_port() for _ in range(3))
    def start(name, port, *options):
        return managed_process([bin + "/" + name, "--listen", f"127.0.0.1:{port}", *options], name, ready_log="listening on http",
                               env={"OTEL_SERVICE_NAME": name, "DYN_LOG": "debug"})
    prefill, decode = start("prefill", pre), start("decode", dec)
    start("frontend", front, "--prefill", f"http://127.0.0.1:{pre}", "--decode", f"http://127.0.0.1:{dec}", "--aside", "500ms")
    return front, decode
"""

DYNAMO = STACK + """
@pytest.fixture
def stack(managed_process, free_port, tmp_path):
    root, front = BIN, free_port()
    env = {"DYN_FILE_KV": str(tmp_path / "kv"), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DYN_LOGGING_JSONL": "1",
           "DYN_TCP_RPC_HOST": "127.0.0.1", "DYN_TCP_RESPONSE_STREAM_HOST": "127.0.0.1", "DYN_EVENT_PLANE_HOST": "127.0.0.1", "DYN_SYSTEM_HOST": "127.0.0.1"}
    planes = ["--discovery-backend", "file", "--request-plane", "tcp", "--event-plane", "zmq"]
    def start(name, *command):
        return managed_process([root + "/venv/bin/python", "-m", *command, *planes], name, env={**env, "OTEL_SERVICE_NAME": name})
    start("frontend", "dynamo.frontend", "--http-host", "127.0.0.1", "--http-port", str(front))
    model = ["--model-path", root + "/model", "--model-name", "tiny"]
    start("prefill", "dynamo.mocker", "--disaggregation-mode", "prefill", "--bootstrap-ports", str(free_port()), *model)
    decode = start("decode", "dynamo.mocker", "--disaggregation-mode", "decode", *model)
    end = time.monotonic() + 60
    while True:
        try:
            if b"tiny" in urllib.request.urlopen(f"http://127.0.0.1:{front}/v1/models", timeout=2).read() and chat(front, "warm-up", 1) == 200:
                return front, decode
        except OSError:
            pass
        assert time.monotonic() < end, "the model is not served"
        time.sleep(0.2)
"""

TESTS = """
def test_healthy(stack, sonde_server):
    port, _ = stack
    assert chat(port, "fine-1") == 200
    sonde_server.request("fine-1", 10)
    sonde_server.assert_no_errors()

@pytest.mark.parametrize("kill", [kill_by_fault, kill_by_stranger])
def test_killed(stack, sonde_server, faults, kill):
    port, decode = stack
    assert chat(port, "before-1") == 200
    kill(decode, faults)
    status = chat(port, "after-1")
    end = time.monotonic() + 10
    while not any(r.get("status") == "error" for r in sonde_server.requests()) and time.monotonic() < end:
        time.sleep(0.05)
    assert status == 200
"""


def report_of(suite, test):
    return (suite.path / "out" / test / "report.txt").read_text()


def run_stack(pytester, source, folder):
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")
    pytester.makepyfile(source.replace("BIN", repr(str(folder))) + TESTS)
    pytester.runpytest_subprocess("--sonde-dir", "out", "-q").assert_outcomes(passed=1, failed=2)
    fault, stranger = report_of(pytester, "test_killed[kill_by_fault]"), report_of(pytester, "test_killed[kill_by_stranger]")
    assert "faults injected by the test:" in fault and "decode: SIGKILL" in fault
    assert "decode ended with signal SIGKILL" in stranger and "faults injected" not in stranger
    for report in (fault, stranger):
        assert "error lines, in order of time:" in report and "failed requests:" in report, report
        assert re.search(r"decode worker \d+ could not be reached", report), report
    return fault, stranger


def test_the_stack_in_c_loses_its_decode_worker(pytester, sonde_program):
    folder = pathlib.Path(os.environ.get("SONDE_STACK") or pathlib.Path(sonde_program).parent / "examples/inference")
    if not (folder / "decode").exists():
        pytest.skip(f"the stack is not built: {folder}/decode")
    for report in run_stack(pytester, TRIO, folder):
        assert re.search(r"failed requests:\n  after-1 .* error decode worker", report), report


def test_the_real_dynamo_loses_its_decode_worker(pytester, sonde_program):
    folder = pathlib.Path(os.environ.get("SONDE_DYNAMO", ""))
    if not (os.environ.get("SONDE_DYNAMO") and (folder / "venv/bin/python").exists()):
        pytest.skip("SONDE_DYNAMO does not name a folder with Dynamo's venv/ and model/")
    run_stack(pytester, DYNAMO, folder)  # the failed request may go by its trace id: Dynamo names it x_request_id in lines alone
