"""The pytest plug-in where suites are not plain: reruns, interrupts, odd names, huge and binary output, processes that will not end."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from test_plugin import PROCESS, needs, suite  # noqa: F401


def folders(suite, root="out"):
    return sorted(p.name for p in (suite.path / root).iterdir() if not p.name.startswith("."))


def gone(pid):
    """Whether the process ends within half a minute."""
    for _ in range(1500):
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


# ---- folders --------------------------------------------------------------------------------------------------------------------
def test_names_that_clash_once_cleaned_or_cut_keep_their_own_folders(suite):
    suite.makepyfile("""
import pytest
@pytest.mark.parametrize("x", ["a/b", "a_b", "a\\\\b", "é 日本", "..", "x" * 300 + "1", "x" * 300 + "2", "new\\nline", "%$&*?<>|"])
def test_x(x, sonde_dir): (sonde_dir / "mine.txt").write_text(x)
""")
    for _ in range(2):
        suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=9)
        assert len(folders(suite)) == 9 and not any(re.search(r"\.\d+$", name) for name in folders(suite))
        assert max(len(os.fsencode(name)) for name in folders(suite)) <= 200
    names = folders(suite)
    suite.runpytest_subprocess("--sonde-dir", "out", "-k", "a_b").assert_outcomes(passed=1, deselected=8)
    assert folders(suite) == names  # a choice of tests does not rename their folders


def test_an_earlier_run_under_another_name_goes(suite):
    suite.makepyfile(test_a="def test_x(): pass\n", test_b="def test_x(): pass\n")
    suite.runpytest_subprocess("--sonde-dir", "out", "test_a.py").assert_outcomes(passed=1)
    assert folders(suite) == ["test_x"]
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2)
    assert folders(suite) == ["test_a.test_x", "test_b.test_x"]


def test_a_test_that_leaves_the_directory_does_not_move_the_others(suite):
    suite.makepyfile("import os\ndef test_a(tmp_path): os.chdir(tmp_path)\ndef test_b(sonde_dir): pass\n")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2)
    assert folders(suite) == ["test_a", "test_b"]


def test_a_folder_that_cannot_be_made_is_said_once(suite):
    suite.makepyfile("def test_a(): pass\ndef test_b(): pass\n")
    (suite.path / "out").write_text("a file")
    result = suite.runpytest_subprocess("--sonde-dir", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "INTERNALERROR" not in result.stdout.str() and "--sonde-dir" in result.stdout.str() + result.stderr.str()


def test_sessions_in_one_process_do_not_share_names(suite):
    suite.makepyfile(test_a="def test_x(): pass\n", test_b="def test_x(): pass\n", main="""
import pytest, sys
assert pytest.main(["--sonde-dir", "one", "test_a.py", "test_b.py"]) == 0
assert pytest.main(["--sonde-dir", "two", "test_a.py"]) == 0
""")
    subprocess.run([sys.executable, "main.py"], cwd=suite.path, check=True, capture_output=True, timeout=60)
    assert (folders(suite, "one"), folders(suite, "two")) == (["test_a.test_x", "test_b.test_x"], ["test_x"])


# ---- outcomes -------------------------------------------------------------------------------------------------------------------
def test_each_outcome_is_kept_with_the_folder_and_read_by_the_parser(suite, sonde_program):
    suite.makepyfile("""
import pytest
@pytest.fixture
def broken(): raise RuntimeError("no GPU")
@pytest.fixture
def leaves():
    yield
    raise RuntimeError("still in use")
def test_good(): pass
def test_bad(): assert 1 == 2
def test_setup(broken): pass
def test_teardown(leaves): pass
@pytest.mark.skip(reason="not today")
def test_skipped(): pass
@pytest.mark.xfail
def test_xfailed(): assert False
@pytest.mark.xfail(strict=True)
def test_xpassed(): pass
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2, failed=2, errors=2, skipped=1, xfailed=1)
    told = json.loads(subprocess.run([sonde_program, "results", "--format", "json", "out"], cwd=suite.path, capture_output=True, text=True).stdout)
    assert {r["test"]: r["outcome"] for r in told["results"]} == {
        "test_good": "passed", "test_bad": "failed", "test_setup": "failed", "test_teardown": "failed", "test_skipped": "skipped",
        "test_xfailed": "skipped", "test_xpassed": "failed"}
    table = subprocess.run([sonde_program, "results", "--format", "markdown", "out"], cwd=suite.path, capture_output=True, text=True).stdout
    assert re.search(r"^\| test_bad +\| pytest \| failed +\|", table, re.M), table
    report = (suite.path / "out/test_teardown/report.txt").read_text()
    assert "report.txt:" not in report
    suite.runpytest_subprocess("--sonde-dir", "out", "--sonde-keep", "failed")
    assert folders(suite) == ["test_bad", "test_setup", "test_teardown", "test_xpassed"]


def test_with_keep_none_nothing_points_at_folders_that_are_gone(suite):
    suite.makepyfile("def test_bad(): assert False\n")
    result = suite.runpytest_subprocess("--sonde-dir", "out", "--sonde-keep", "none", "--junit-xml=junit.xml")
    assert folders(suite) == [] and "sonde results" not in result.stdout.str() and "sonde_dir" not in (suite.path / "junit.xml").read_text()


def test_an_interrupt_ends_processes_and_is_no_pass(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process):
    p = managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "worker", ready_log="up")
    open("pid", "w").write(str(p.pid))
    raise KeyboardInterrupt
""")
    result = suite.runpytest_subprocess("--sonde-dir", "out", "--sonde-keep", "failed")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert gone((suite.path / "pid").read_text())
    assert folders(suite) == ["test_x"] and not (suite.path / "out/.sonde").exists()
    assert json.loads((suite.path / "out/test_x/.sonde-test").read_text())["outcome"] == "interrupted"


def test_collection_errors_and_options_of_other_plugins(suite):
    suite.makepyfile(test_broken="import nothing_of_that_name\n", test_fine="import logging\ndef test_x(): logging.error('x')\ndef test_y(): assert False\n")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(errors=1)
    suite.runpytest_subprocess("--sonde-dir", "out", "test_fine.py", "-p", "no:logging", "-s").assert_outcomes(passed=1, failed=1)
    assert "ERROR root: x" in (suite.path / "out/test_x/test.log.txt").read_text()
    suite.makeini("[pytest]\n")
    for args, outcome in (((), {"passed": 1, "failed": 1}), (("--lf",), {"failed": 1}), (("--sw",), {"passed": 1, "failed": 1})):
        suite.runpytest_subprocess("--sonde-dir", "out", "test_fine.py", *args).assert_outcomes(**outcome)
    assert folders(suite) == ["test_x", "test_y"]


# ---- flaky tests ----------------------------------------------------------------------------------------------------------------
def test_a_rerun_has_its_own_evidence_and_what_differed_is_told(suite):
    needs("pytest_rerunfailures")
    suite.makepyfile(PROCESS + """
import logging
def test_x(managed_process, sonde_dir):
    managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "worker", ready_log="up")
    logging.getLogger("a").info("step %d", 1)
    if not os.path.exists("second"):
        open("second", "w").close()
        logging.getLogger("a").warning("worker 12 was slow")
        assert False
    logging.getLogger("a").info("all done")
def test_never(managed_process):
    managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "worker", ready_log="up")
    assert False
""")
    result = suite.runpytest_subprocess("--sonde-dir", "out", "--reruns", "2", "--sonde-keep", "failed")
    assert result.parseoutcomes() == {"passed": 1, "failed": 1, "rerun": 3}
    assert "called 'worker' already" not in result.stdout.str()
    text = (suite.path / "out/test_x/flaky.txt").read_text()
    assert re.search(r"^\+ .*worker <n> was slow", text, re.M) and re.search(r"^- .*all done", text, re.M), text
    result.stdout.fnmatch_lines(["*sonde: flaky tests*", "*test_x*passed at attempt 2*", "*worker <n> was slow*"])
    here = suite.path / "out/test_x"
    assert "worker 12 was slow" in (here / "attempt-1/test.log.txt").read_text() and "slow" not in (here / "test.log.txt").read_text()
    assert (here / "attempt-1/report.txt").exists() and json.loads((here / ".sonde-test").read_text())["attempts"] == 2
    never = suite.path / "out/test_never"
    assert sorted(p.name for p in never.iterdir() if p.is_dir() and p.name.startswith("attempt")) == ["attempt-1", "attempt-2"]
    assert "attempt-1" not in (never / "report.txt").read_text()


# ---- processes ------------------------------------------------------------------------------------------------------------------
def test_huge_and_binary_output(suite):
    suite.makepyfile(PROCESS + """
import resource
def test_x(managed_process, sonde_dir):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    p = managed_process(python('''
import sys
out = sys.stdout.buffer
out.write(b"x" * 50_000_000 + b"\\\\n")                # one line without an end in sight
for i in range(100): out.write(b"line of some length, again and again\\\\n" * 20000)
out.write(bytes(range(256)) * 100 + b"\\\\nERROR \\\\x00\\\\x1b[31mlast\\\\xff words\\\\n")
out.flush(); print("ready", flush=True)
import time; time.sleep(600)'''), "noisy", ready_log="^ready$")
    assert p.output().endswith("ready\\n")
    p.process.kill(); p.process.wait()
    assert "signal SIGKILL" in p.died()
    assert False
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(failed=1)
    report = (suite.path / "out/test_x/report.txt").read_bytes()
    assert b"noisy ended with signal SIGKILL" in report and b"words" in report
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", report) and len(report) < 200_000
    report.decode()


def test_json_lines_are_told_as_text(suite):
    line = {"time": "2026-11-23T00:41:23.257315Z", "level": "ERROR", "file": "a.rs", "line": 7, "target": "llm::http", "message": "no worker\n8", "n": 2, "why": "a b"}
    (suite.path / "said.txt").write_text(json.dumps(line) + "\nup\n" + "x" * 600 + "end\n")
    suite.makepyfile(PROCESS + """
def test_x(managed_process):
    managed_process(["cat", "said.txt", "absent.txt"], "w").process.wait()
    assert False
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(failed=1)
    report = (suite.path / "out/test_x/report.txt").read_text()
    told = '[W] 2026-11-23T00:41:23.257315Z ERROR llm::http: no worker\\n8 n=2 why="a b"'
    assert f"\n  {told}\n" in report and f"w.log.txt:1: {told}\n" in report and "x…\n" in report, report


def test_readiness_in_all_its_forms(suite):
    suite.makepyfile(PROCESS + """
def test_all_that_is_asked(managed_process, free_port):
    port = free_port()   # the line comes before the port is open
    p = managed_process(python(f'''
import http.server, time
print("loading", flush=True); time.sleep(0.5)
http.server.HTTPServer(("127.0.0.1", {port}), http.server.SimpleHTTPRequestHandler).serve_forever()'''), "web", ready_log="^loading$", ready_port=port)
    import socket
    socket.create_connection(("127.0.0.1", port)).close()
def test_dead_though_another_listens(managed_process, free_port):
    port = free_port()
    managed_process([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], "other", ready_port=port)
    with pytest.raises(ProcessDied, match="w ended with exit status 7"):
        w = managed_process(python("raise SystemExit(7)"), "w")
        w.process.wait()
        w.wait_ready(port=port)
def test_that_cannot_be_started(managed_process):
    with pytest.raises(FileNotFoundError): managed_process(["/no/such/program"], "w")
    managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "w", ready_log="up")   # the name is free still
def test_two_without_a_name(managed_process, sonde_dir):
    for i in range(2): managed_process(python(f"print('I am {i}', flush=True); import time; time.sleep(600)"), ready_log=f"I am {i}")
    assert sorted("".join(p.read_text().split("I am")[1]) for p in sonde_dir.glob("python*.log.txt")) == [" 0\\n", " 1\\n"]
def test_a_name_that_is_no_file_name(managed_process, sonde_dir):
    managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "vllm/decode worker", ready_log="up")
    assert (sonde_dir / "vllm_decode worker.log.txt").read_text() == "[VLLM/DECODE WORKER] up\\n"
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=5)


def test_processes_that_will_not_end(suite):
    suite.makepyfile(PROCESS + """
def test_stubborn(managed_process, tmp_path):
    p = managed_process(python(f'''
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"],
                         env={{}}, start_new_session=True)   # knows nothing of its mark, nor of its group
open("pids", "w").write(f"{{os.getpid()}} {{child.pid}}")
print("up", flush=True); time.sleep(600)'''), "w", ready_log="up")
    os.kill(p.pid, 19)
    p.stop(0.2)
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
    assert all(gone(pid) for pid in (suite.path / "pids").read_text().split())


@pytest.mark.parametrize("how", ["timeout", "kill"])
def test_processes_end_when_pytest_cannot_say_goodbye(suite, how):
    if how == "timeout":
        needs("pytest_timeout")
    suite.makepyfile(PROCESS + """
def test_x(managed_process):
    p = managed_process(python("print('up', flush=True); import time; time.sleep(600)"), "worker", ready_log="up")
    with open("pid.tmp", "w") as f: f.write(f"{p.pid} {os.getpid()}")
    os.rename("pid.tmp", "pid")
    time.sleep(600)
""")
    args = ["--timeout", "3", "--timeout-method", "thread"] if how == "timeout" else []
    run = subprocess.Popen([sys.executable, "-m", "pytest", "--sonde-dir", "out", *args], cwd=suite.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (suite.path / "pid").exists():
            assert run.poll() is None or how == "timeout"
            time.sleep(0.02)
        worker, runner = (suite.path / "pid").read_text().split()
        if how == "kill":
            os.kill(int(runner), signal.SIGKILL)
        run.wait(60)
        assert gone(worker)
    finally:
        run.kill()


def test_a_clean_exit_in_the_midst_is_told(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process):
    managed_process(python("print('bye', flush=True)"), "worker", ready_log="bye").process.wait()
    assert False
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(failed=1)
    assert "worker ended with exit status 0" in (suite.path / "out/test_x/report.txt").read_text()


def test_many_ports_cost_no_descriptors_and_a_fork_has_its_own(suite):
    suite.makepyfile("""
import os
def test_x(free_port):
    mine = {free_port() for _ in range(500)}
    assert len(mine) == 500 and len(os.listdir("/proc/self/fd")) < 100
    r, w = os.pipe()
    if os.fork() == 0:
        os.write(w, " ".join(str(free_port()) for _ in range(500)).encode())
        os._exit(0)
    os.wait()
    assert not mine & {int(p) for p in os.read(r, 65536).split()}
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)


def test_logging_set_up_by_the_test_leaves_its_log(suite):
    suite.makepyfile("""
import logging, sonde.logging
def test_x():
    sonde.logging.configure("svc")
    logging.getLogger("a").info("after")
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
    assert "INFO a: after" in (suite.path / "out/test_x/test.log.txt").read_text()


# ---- the server and faults ------------------------------------------------------------------------------------------------------
def test_a_server_that_is_gone_is_named(suite):
    suite.makepyfile(PROCESS + """
def test_x(sonde_server):
    sonde_server.process.kill(); sonde_server.process.wait()
    with pytest.raises(AssertionError, match="sonde serve ended with signal SIGKILL"):
        sonde_server.query('{a="b"}')
def test_wrong_query(sonde_server):
    with pytest.raises(AssertionError, match="HTTP 400"):
        sonde_server.query('{a=')
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=2)


def test_metrics_of_processes_and_what_wrong_assertions_say(suite):
    suite.makepyfile(PROCESS + r"""
def test_x(managed_process, sonde_server):
    managed_process(python('\n'.join(["import sonde, sonde.metrics, time", "sonde.init('decode-worker')",
        "sonde.metrics.runtime().metrics.create_intcounter('tokens_total', 'Tokens', [('kind', 'out')]).inc_by(42)",
        "print('up', flush=True)", "time.sleep(600)"])), "decode", ready_log="up")
    name = "dynamo_component_tokens_total"
    assert sonde_server.assert_metric(f"sum({name})", 42, wait=60) == 42
    assert sonde_server.assert_metric(name, at_least=40, at_most=50) == 42
    series = sonde_server.metric(name)
    assert [s["value"] for s in series] == [42] and series[0]["labels"]["kind"] == "out"
    assert sonde_server.metric("1 + 1") == [{"labels": {}, "value": 2}]
    with pytest.raises(AssertionError, match=r'(?s)tokens_total is not at least 50 within 0.2 s; 1 of 1 series:.*tokens_total{.*kind="out".*} 42'):
        sonde_server.assert_metric(name, at_least=50, wait=0.2)
    with pytest.raises(AssertionError, match="component_token_total gives no series within 0.2 s; .*component_tokens_total"):
        sonde_server.assert_metric("dynamo_component_token_total", wait=0.2)
    with pytest.raises(AssertionError, match="HTTP 400"):
        sonde_server.metric("sum(")
    with pytest.raises(AssertionError, match=r"put a function around it, as in rate\(up\[1m\]\)"):
        sonde_server.metric("up[1m]")
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)


def test_faults_begin_and_end_in_the_record(suite):
    suite.makepyfile(PROCESS + """
def test_x(managed_process, faults, free_port, sonde_dir, monkeypatch):
    port = free_port()
    p = managed_process([sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], "web", ready_port=port)
    faults.freeze(p)
    assert open(f"/proc/{p.pid}/stat").read().rsplit(")", 1)[1].split()[0] in "Tt"
    faults.thaw(p)
    assert p.running
    with faults.frozen(p): pass
    slow = faults.slow_network(port, delay=0.01)
    slow.cut(); slow.heal()
    faults.terminate(p)
    assert p.process.wait(30) is not None and p.died() is None
    assert False
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(failed=1)
    report = (suite.path / "out/test_x/report.txt").read_text()
    marks = re.findall(r"^  \S+Z (\S+): (.*)$", report[report.index("faults injected"):report.index("to open it")].split("\n\n")[0], re.M)
    port = marks[4][0]
    assert marks == [("web", "SIGSTOP"), ("web", "SIGCONT (the fault ends)"), ("web", "SIGSTOP"), ("web", "SIGCONT (the fault ends)"),
                     (port, "delay 0.01 s"), (port, "connection lost"), (port, "connections taken again (the fault ends)"), ("web", "SIGTERM")]


def test_a_slow_network_delays_and_limits_but_does_not_do_both_for_each_piece(suite):
    suite.makepyfile(PROCESS + """
import socket, threading
def test_x(faults):
    listener = socket.create_server(("127.0.0.1", 0))
    def serve():
        with listener.accept()[0] as s: s.sendall(b"x" * 8_000_000)
    threading.Thread(target=serve, daemon=True).start()
    slow = faults.slow_network(listener.getsockname()[1], delay=0.3)
    t, n = time.monotonic(), 0
    with socket.create_connection(("127.0.0.1", slow.port)) as s:
        while data := s.recv(65536): n += len(data)
    took = time.monotonic() - t
    assert n == 8_000_000 and took >= 0.3
    assert took < 60, took   # over 100 pieces that wait 0.3 s one after the other
    for _ in range(1000):
        if not slow._sockets: break
        time.sleep(0.02)
    assert not slow._sockets   # what is over is closed
""")
    suite.runpytest_subprocess("--sonde-dir", "out").assert_outcomes(passed=1)
