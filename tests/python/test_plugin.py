"""The pytest plug-in, option by option, in runs of pytest of their own."""
import json
import os
import re

import pytest


@pytest.fixture
def suite(pytester):
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider\n")
    return pytester


def test_a_folder_and_a_log_for_each_test(suite):
    suite.makepyfile("""
import logging, pytest
@pytest.mark.parametrize("x", ["a/b", "c"])
def test_x(x, sonde_dir):
    logging.getLogger("my.log").info("hello %s", x)
    logging.getLogger("my.log").debug("not this")
    assert sonde_dir.name == f"test_x[{x.replace('/', '_')}]"
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2)
    text = (suite.path / "out/test_x[a_b]/test.log.txt").read_text()
    assert re.fullmatch(r"\[TEST\] \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO my\.log: hello a/b\n", text)
    line = json.loads((suite.path / "out/test_x[a_b]/test.log.jsonl").read_text())
    assert (line["test"], line["message"], line["level"]) == ("test_a_folder_and_a_log_for_each_test.py::test_x[a/b]", "hello a/b", "INFO")
    assert len(line["trace_id"]) == 32


def test_only_its_own_earlier_run_is_deleted(suite):
    suite.makepyfile("def test_x(): pass\n")
    foreign = suite.path / "out/test_x"
    foreign.mkdir(parents=True)
    (foreign / "precious.txt").write_text("mine")
    for _ in range(2):
        suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
    assert (foreign / "precious.txt").read_text() == "mine"
    assert sorted(p.name for p in (suite.path / "out").iterdir() if not p.name.startswith(".")) == ["test_x", "test_x.1"]


def test_tests_of_one_name_do_not_share_a_folder(suite):
    suite.makepyfile(test_a="def test_x(): pass\n", test_b="class TestC:\n    def test_x(self): pass\n")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2)
    assert sorted(p.name for p in (suite.path / "out").iterdir() if not p.name.startswith(".")) == ["test_a.test_x", "test_b.TestC.test_x"]


@pytest.mark.parametrize("keep, left", [("all", {"test_good", "test_bad"}), ("failed", {"test_bad"}), ("none", set())])
def test_what_is_kept(suite, keep, left):
    suite.makepyfile("def test_good(): pass\ndef test_bad(): assert False\n")
    suite.runpytest_subprocess("--sonde-dir", "out", "--sonde-keep", keep).assert_outcomes(passed=1, failed=1)
    assert {p.name for p in (suite.path / "out").iterdir() if not p.name.startswith(".")} == left


def test_the_folder_by_environment_and_a_wrong_level(suite, monkeypatch):
    suite.makepyfile("def test_x(): pass\n")
    monkeypatch.setenv("DYN_TEST_OUTPUT_PATH", str(suite.path / "dyn"))
    suite.runpytest_subprocess().assert_outcomes(passed=1)
    assert (suite.path / "dyn/test_x/test.log.txt").exists()
    result = suite.runpytest_subprocess("--sonde-log-level", "LOUD")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--sonde-log-level LOUD*"])


PROCESS = """
import sys, time, os, pytest
from sonde.pytest import ProcessDied, ProcessNotReady
def python(source): return [sys.executable, "-c", source]
"""


def test_processes_logs_readiness_and_the_whole_tree(suite):
    suite.makepyfile(PROCESS + """
def test_log(managed_process, sonde_dir):
    p = managed_process(python("print('up', flush=True); print('no end', end=''); import time; time.sleep(60)"), "worker", ready_log="^up$|up")
    assert p.running and (sonde_dir / "worker.log.txt").read_text().startswith("[WORKER] up\\n")
def test_port(managed_process, free_port):
    port = free_port()
    managed_process([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], "web", ready_url=f"http://127.0.0.1:{port}/")
    assert free_port() != port
def test_dies(managed_process):
    with pytest.raises(ProcessDied, match="exit status 3(.|\\n)*last words"):
        managed_process(python("print('last words'); raise SystemExit(3)"), "w", ready_log="never")
def test_slow(managed_process):
    with pytest.raises(ProcessNotReady, match="waited 0.3 s for port"):
        managed_process(python("import time; time.sleep(60)"), "w", ready_port=1, timeout=0.3)
def test_tree(managed_process, tmp_path):
    p = managed_process(python(f'''
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork(): os._exit(0)
    open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
    time.sleep(600)
while not os.path.exists({str(tmp_path / "pid")!r}): time.sleep(0.01)
print("up", flush=True); time.sleep(600)'''), "w", ready_log="up")
    pid = int((tmp_path / "pid").read_text())
    p.stop(0.1)
    for _ in range(100):
        try:
            state = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            break
        if state == "Z": break
        time.sleep(0.02)
    else:
        raise AssertionError("a grandchild in a session of its own lives on")
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=5)


def test_a_report_from_which_the_cause_can_be_read(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process, sonde_server, faults):
    p = managed_process(python('''
import sonde, time
sonde.init("decode-worker")
with sonde.request({"x-request-id": "r-1"}):
    with sonde.span("http-request", kind="server"):
        with sonde.span("prefill"): time.sleep(0.02)
        sonde.error("KV transfer to worker 7 timed out", peer="w-7")
sonde.flush()
print("up", flush=True)
time.sleep(60)'''), "decode", ready_log="up")
    sonde_server.assert_span("r-1", "prefill")
    sonde_server.assert_log("timed out")
    assert sonde_server.assert_phases("r-1", "prefill")["prefill"] >= 0.02
    sonde_server.assert_no_errors(except_="timed out")
    faults.kill(p)
    sonde_server.assert_no_errors()
""")
    result = suite.runpytest_subprocess("--sonde-dir", "out", "--junit-xml=junit.xml")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 error lines:*", "*decode-worker: KV transfer to worker 7 timed out*", "*sonde: *out/test_x*",
                                 "*decode.log.txt:*ERROR*KV transfer*", "*slowest requests:*", "*r-1*", "*prefill*ms*", "*sonde results *"])
    assert "Injecting failure for: Failure(pod_name='decode', command='SIGKILL')" in (suite.path / "out/test_x/test.log.txt").read_text()
    assert "sonde_dir" in (suite.path / "junit.xml").read_text()


def test_an_unexpected_death_is_told_with_the_last_records(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process):
    p = managed_process(python('''
import os, signal, sonde, time
sonde.debug("the last thing it thought", slot=3)
print("up", flush=True)
time.sleep(0.3)
os.kill(os.getpid(), signal.SIGKILL)'''), "decode", ready_log="up")
    p.process.wait()
    assert False
""")
    result = suite.runpytest_subprocess("--sonde-dir", "out")
    result.stdout.fnmatch_lines(["*decode ended with signal SIGKILL*", "*last records of its ring:*", "*the last thing it thought*slot=3*"])


def test_wrong_assertions_say_what_is_there(suite):
    suite.makepyfile(PROCESS + """
def test_x(sonde_server):
    with pytest.raises(AssertionError, match="request nope did not come within 0.2 s; the server knows: none"):
        sonde_server.request("nope", wait=0.2)
    with pytest.raises(AssertionError, match="no line of .* matches 'x' within 0.2 s; 0 lines are there"):
        sonde_server.assert_log("x", wait=0.2)
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)


def test_what_differs_from_the_run_that_passed(suite):
    suite.makepyfile("""
import logging, os
def test_x():
    logging.getLogger("a").info("step 1 took %d ms", 17)
    if os.path.exists("fail"):
        logging.getLogger("a").warning("worker 12 was slow")
        assert False
    logging.getLogger("a").info("step 2 done")
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
    (suite.path / "fail").write_text("")
    result = suite.runpytest_subprocess("--sonde-dir", "out")
    result.stdout.fnmatch_lines(["*what differs from the last run that passed:*", "*+ *worker <n> was slow*", "*- *step <n> done*"])


def test_faults(suite):
    suite.makepyfile(PROCESS + """
import socket, urllib.request
def test_x(managed_process, faults, free_port, sonde_dir):
    port = free_port()
    p = managed_process([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], "web", ready_port=port)
    slow = faults.slow_network(port, delay=0.2)
    t = time.monotonic()
    urllib.request.urlopen(f"http://127.0.0.1:{slow.port}/", timeout=10).read()
    assert time.monotonic() - t >= 0.4
    with faults.frozen(p):
        with pytest.raises(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=0.3)
    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
    slow.cut()
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{slow.port}/", timeout=1).read()
    q = managed_process(python('''
try:
    with open("big", "w") as f: f.write("x" * 100000); f.flush()
except OSError as e: print("errno", e.errno, flush=True)
import time; time.sleep(60)'''), "full", ready_log="errno 27", file_limit=faults.disk_full("full", 4096), cwd=sonde_dir)
    faults.crash(q); q.process.wait()
    assert q.died() is None   # it was asked to
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)


def test_faults_on_purpose_are_in_the_report(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process, faults):
    faults.kill(managed_process(python("import time; time.sleep(60)"), "decode"))
    assert False
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(failed=1)
    report = (suite.path / "out/test_x/report.txt").read_text()
    assert re.search(r"^faults injected by the test:\n  \d{4}-\d\d-\d\dT\S+Z decode: SIGKILL$", report, re.M)


# ---- beside other plug-ins ------------------------------------------------------------------------------------------------------
def needs(name):
    """The package, or the test is skipped: this plug-in works without it."""
    return pytest.importorskip(name, reason=f"{name} is not installed")


def test_beside_xdist_each_test_has_one_folder_and_ports_of_its_own(suite):
    needs("xdist")
    suite.makepyfile(test_a="""
import logging, pytest
@pytest.mark.parametrize("n", range(8))
def test_x(n, free_port, sonde_dir):
    ports = [free_port() for _ in range(20)]
    logging.getLogger("a").info("ports %s", " ".join(map(str, ports)))
""", test_b="def test_x(): assert False\n")
    result = suite.runpytest_subprocess("--sonde-dir", "out", "-n", "2")
    result.assert_outcomes(passed=8, failed=1)
    result.stdout.fnmatch_lines(["*sonde: *out/test_x*", "*to open it: sonde results *"])
    logs = [p.read_text() for p in (suite.path / "out").glob("*/test.log.txt")]
    assert len(logs) == 9
    ports = [p for text in logs for found in re.findall(r"ports (.*)", text) for p in found.split()]
    assert len(ports) == len(set(ports)) == 160


def test_beside_asyncio_the_span_of_the_test_is_current(suite):
    needs("pytest_asyncio")
    suite.makepyfile("""
import asyncio, logging, pytest
@pytest.mark.asyncio
async def test_x(managed_process, sonde_dir):
    await asyncio.sleep(0)
    logging.getLogger("a").info("from the loop")
    await asyncio.create_task(child())
async def child():
    logging.getLogger("a").info("from a task")
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
    lines = [json.loads(line) for line in (suite.path / "out/test_x/test.log.jsonl").read_text().splitlines()]
    mine = [line for line in lines if line["message"].startswith("from")]
    assert [line["message"] for line in mine] == ["from the loop", "from a task"]
    assert len({line.get("trace_id") for line in mine}) == 1 and mine[0]["trace_id"]


def test_beside_timeout_processes_end_and_the_report_is_written(suite):
    needs("pytest_timeout")
    suite.makepyfile(PROCESS + """
@pytest.mark.timeout(2)
def test_x(managed_process):
    p = managed_process(python("print('ERROR stuck', flush=True); import time; time.sleep(600)"), "worker", ready_log="stuck")
    open("pid", "w").write(str(p.pid))
    time.sleep(600)
""")
    suite.runpytest_subprocess("--sonde-dir", "out", "--timeout-method", "signal").assert_outcomes(failed=1)
    assert "worker.log.txt:1: [WORKER] ERROR stuck" in (suite.path / "out/test_x/report.txt").read_text()
    with pytest.raises(ProcessLookupError):
        os.kill(int((suite.path / "pid").read_text()), 0)
