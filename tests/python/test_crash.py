"""What is left of a Python process that died, hangs, or failed where nobody looked; SONDE_AUTO."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest


@pytest.fixture
def rings(tmp_path):
    d = tmp_path / "rings"
    d.mkdir()
    return {"SONDE_RING_DIR": str(d)}


def test_a_segfault_is_told_by_the_next_process(run, rings):
    code, _, _ = run("""
import sonde, sonde.crash, threading, time
sonde.crash.enable()
sonde.info("last words")
def beside(): time.sleep(9)
threading.Thread(target=beside, daemon=True).start()
import ctypes
def deep(): ctypes.string_at(0)
deep()
""", env=rings)
    assert code == -signal.SIGSEGV
    (file,) = pathlib.Path(rings["SONDE_RING_DIR"]).glob("*.stacks")
    assert file.with_suffix(".ring").exists() and "in deep" in file.read_text() and "in beside" in file.read_text()
    code, _, lines = run("import sonde.crash; print(sonde.crash.enable()); sonde.crash.enable()", env=rings)
    assert code == 0
    (told,) = [x for x in lines if x["level"] == "ERROR"]
    assert "Segmentation fault" in told["message"] and "in deep" in told["stacks"] and told["ring"].endswith(".ring")
    assert not [x for x in run("import sonde.crash; sonde.crash.enable()", env=rings)[2] if x["level"] == "ERROR"]
    assert not list(pathlib.Path(rings["SONDE_RING_DIR"]).glob("*.stacks"))


def test_a_dead_process_had_our_number(run, rings):
    """As in a container, where each start gets the same one."""
    code, out, lines = run("""
import os
dead = os.path.join(os.environ["SONDE_RING_DIR"], f"svc-{os.getpid()}")
open(dead + ".ring", "w").write("old")
open(dead + ".stacks", "w").write("Fatal Python error: Aborted\\n")
import sonde.crash
path = sonde.crash.enable()
assert path == dead.replace("svc", "svc.2") + ".stacks" and os.path.exists(path[:-7] + ".ring"), path
assert open(dead + ".ring").read() == "old"
""", env={**rings, "OTEL_SERVICE_NAME": "svc"})
    assert code == 0, (out, lines)
    (told,) = [x for x in lines if x["level"] == "ERROR"]
    assert "Fatal Python error: Aborted" in told["message"] and told["ring"].endswith(".ring") and ".2-" not in told["ring"]


def test_unhandled_exceptions_know_their_request(run, rings):
    code, _, lines = run("""
import sonde, sonde.crash, threading
sonde.crash.enable()
def work(): raise KeyError("in the thread")
def thread():
    with sonde.request({"x-request-id": "r-1"}), sonde.span("work"): work()
t = threading.Thread(target=thread, name="w7"); t.start(); t.join()
with sonde.request({"x-request-id": "r-2"}), sonde.span("outer"):
    with sonde.span("inner"):
        raise ValueError("in the main thread")
""", env=rings)
    assert code == 1 and any("ValueError: in the main thread" in x for x in run.other)
    a, b = [x for x in lines if x["level"] == "ERROR"]
    assert (a["exception.type"], a["thread.name"], a["x_request_id"], a["line"]) == ("KeyError", "w7", "r-1", 4)
    assert (b["exception.type"], b["x_request_id"], b["line"]) == ("ValueError", "r-2", 10) and re.fullmatch("[0-9a-f]{32}", b["trace_id"])
    assert a["trace_id"] != b["trace_id"]


@pytest.mark.parametrize("logging", [True, False])
def test_failed_tasks(run, rings, logging):
    code, _, lines = run(f"""
import asyncio, gc, sonde.crash, sonde.logging
if {logging}: sonde.logging.configure()
sonde.crash.enable()
async def task():
    with sonde.request({{"x-request-id": "r-3"}}), sonde.span("work"):
        raise OSError("lost")
async def main():
    t = asyncio.ensure_future(task()); await asyncio.sleep(0); await asyncio.sleep(0)
    del t; gc.collect()
asyncio.run(main())
""", env=rings)
    assert code == 0
    (told,) = [x for x in lines if x["level"] == "ERROR"]
    assert told["exception.type"] == "OSError" and told["x_request_id"] == "r-3" and "never retrieved" in told["message"]


def test_a_signal_and_a_hang(run, rings):
    code, _, lines = run("""
import os, signal, sonde.crash, time
path = sonde.crash.enable()
def here():
    os.kill(os.getpid(), signal.SIGUSR2)
    time.sleep(0.05)
here()
def stuck(): time.sleep(3)
with sonde.crash.hang(0.3): stuck()
with sonde.crash.hang(2) as h:
    for _ in range(11): time.sleep(0.2); h.beat()
print(open(path).read())
""", env=rings)
    assert code == 0
    assert [(x["level"], x["message"]) for x in lines] == [("WARN", "stacks of all threads: signal SIGUSR2"),
                                                           ("ERROR", "stacks of all threads: no sign of life for 0.3 s")]
    assert "in here" in lines[0]["stacks"] and "in stuck" in lines[1]["stacks"]


def test_fork_and_orderly_ends_leave_nothing(run, rings):
    code, _, _ = run("""
import os, sonde.crash, sys
sonde.crash.enable()
pid = os.fork()
if pid == 0: sys.exit(0)
os.waitpid(pid, 0)
""", env=rings)
    assert code == 0 and not list(pathlib.Path(rings["SONDE_RING_DIR"]).glob("*.stacks*"))


AUTO = "import logging; logging.basicConfig(level=logging.INFO); logging.getLogger('app').warning('hello %s', 1)"


def test_auto(run, rings):
    code, _, lines = run(AUTO, env={**rings, "SONDE_AUTO": "1"})
    assert code == 0 and [(x["message"], x["target"], x["level"]) for x in lines] == [("hello 1", "app", "WARN")]
    code, _, lines = run(AUTO, env={**rings, "SONDE_AUTO": "0"})
    assert code == 0 and not lines and run.other == ["WARNING:app:hello 1"]


def test_auto_survives_a_broken_package(tmp_path):
    (tmp_path / "sonde").mkdir()
    (tmp_path / "sonde" / "__init__.py").write_text("raise ImportError('torn')")
    p = subprocess.run([sys.executable, "-c", "print('ran')"], capture_output=True, text=True,
                       env={**os.environ, "SONDE_AUTO": "1", "PYTHONPATH": str(tmp_path)})
    assert (p.returncode, p.stdout) == (0, "ran\n") and p.stderr == "SONDE_AUTO: this process runs without sonde: ImportError: torn\n"


def test_the_pth_line_costs_nothing_when_unset():
    import sonde
    line = (pathlib.Path(sonde.__file__).parent.parent / "sonde_auto.pth").read_text()
    code = compile(line, "pth", "exec")
    assert "SONDE_AUTO" not in os.environ
    best = min((lambda t: (exec(code), time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(20))
    assert best < 0.001
