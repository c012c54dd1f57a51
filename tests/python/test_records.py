"""Records, fields and Python's logging through libsonde."""
import sys

import pytest


def only(run, source, **more):
    code, out, lines = run(source, **more)
    assert code == 0, (out, run.other)
    return lines


def test_fields_keep_their_types(run):
    lines = only(run, """
import sonde
class Odd:
    def __str__(self): raise RuntimeError("no")
sonde.info("all", a=1, b=-2, c=1 << 63, d=1 << 70, e=1.5, f=True, g="x\\ud800y", h=b"\\x00\\x01", i=None, j=[1, 2], k=["a", "b"],
           l=(True, False), m=[1, "a"], n={"k": 1}, o=float("nan"), p=Odd(), q=[])
""")
    line = {k: v for k, v in lines[0].items() if len(k) == 1}
    assert line == {"a": 1, "b": -2, "c": 1 << 63, "d": str(1 << 70), "e": 1.5, "f": True, "g": "x?y", "h": "AAE=", "j": [1, 2], "k": ["a", "b"],
                    "l": [True, False], "m": "[1, 'a']", "n": "{'k': 1}", "o": 0, "p": "<<class '__main__.Odd'>>", "q": "[]"}


def test_place_level_and_target(run):
    lines = only(run, """import sonde
def f():
    sonde.warning("inside")
f()
sonde.log(1, "top")
sonde.debug("held")
""")
    assert [(x["level"], x["message"], x["line"], x["target"], x["file"].rsplit("/", 1)[-1]) for x in lines] == [
        ("WARN", "inside", 3, "__main__.f", "program.py"), ("ERROR", "top", 5, "__main__", "program.py")]


LEVELS = [("critical", "ERROR"), ("error", "ERROR"), ("warning", "WARN"), ("info", "INFO"), ("debug", "DEBUG")]


def test_the_logging_module(run):
    lines = only(run, """
import logging, sonde.logging
log = logging.getLogger("my.engine")
logging.basicConfig()                      # its handler goes
sonde.logging.configure("decode", 7)
def work():
    for name in ("critical", "error", "warning", "info", "debug"):
        getattr(log, name)("%s of %d", name, 3, extra={"tokens": 5, "name_": "n"})
    log.log(5, "trace")
work()
logging.info("from the root")
logging.LoggerAdapter(log, {}).warning("adapted")
log.info("map %(a)s", {"a": 1})
log.info("not %d", "a number")
""", env={"DYN_LOG": "trace"})
    assert [(x["level"], x["message"], x["target"], x.get("tokens")) for x in lines[:6]] == [
        (level, f"[decode:7] {name} of 3", "my.engine.work", 5) for name, level in LEVELS] + [("TRACE", "[decode:7] trace", "my.engine.work", None)]
    assert [(x["message"], x["target"]) for x in lines[6:]] == [
        ("[decode:7] from the root", "program"), ("[decode:7] adapted", "my.engine"), ("[decode:7] map 1", "my.engine"),
        ("[decode:7] not %d ('a number',)", "my.engine")]
    assert all(x["file"].endswith("program.py") for x in lines)


@pytest.mark.parametrize("way", ["short", "record"])
def test_both_ways_of_a_record_write_the_same(run, way):
    lines = only(run, f"""
import logging, sonde.logging
handler = sonde.logging.configure("s")
if {way == "record"}:
    handler.addFilter(lambda r: True)      # now it must make records
class Part(logging.Filter): pass
log = logging.getLogger("a.b")
def f():
    log.info("x %s", 1, extra={{"k": 2}})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    log.warning("stack", stack_info=True)
f()
""")
    assert [(x["message"], x["target"], x["line"]) for x in lines] == [("[s] x 1", "a.b.f", 9), ("[s] failed", "a.b.f", 13), ("[s] stack", "a.b.f", 14)]
    assert lines[0]["k"] == 2 and "Stack (most recent call last)" in lines[2]["stack_info"]


def test_exceptions_with_causes_and_frames(run):
    lines = only(run, """
import logging, sonde.logging
sonde.logging.configure()
class Bad(Exception): pass
def inner(): return {}["k"]
try:
    try: inner()
    except KeyError as e: raise Bad("no worker") from e
except Bad: logging.getLogger("m").exception("boom")
""")
    x = lines[0]
    assert (x["exception.type"], x["exception.message"], x["exception.causes"]) == ("Bad", "no worker", ["KeyError: 'k'"])
    assert x["exception.frames"][0].startswith("<module> (") and "KeyError" in x["exception.stacktrace"]


def test_warnings_are_records(run):
    lines = only(run, "import warnings, sonde.logging\nsonde.logging.configure()\nwarnings.warn('careful')\n")
    assert "careful" in lines[0]["message"] and lines[0]["level"] == "WARN"


@pytest.mark.parametrize("flight", ["trace", "off"])
def test_levels_change_while_running(run, flight):
    lines = only(run, """
import logging, sonde, sonde.logging
sonde.logging.configure()
log = logging.getLogger("a.b")
log.debug("1")
assert sonde.set_filter("info,a.b=debug")
log.debug("2")
logging.getLogger("other").debug("3")
assert sonde.set_filter(None)
log.debug("4")
assert not sonde.set_filter("info,a[b")
""", env={"SONDE_FLIGHT_LEVEL": flight})
    assert [x["message"] for x in lines] == ["2"]


def test_what_a_disabled_call_does_not_do(run):
    only(run, """
import logging, sonde, sonde.logging
sonde.logging.configure()
class No:
    def __str__(self): raise AssertionError("formatted though nobody wants it")
logging.getLogger("x").debug("%s", No())
sonde.debug(No())
""", env={"SONDE_FLIGHT_LEVEL": "off"})


def test_a_fork_and_threads(run):
    lines = only(run, """
import os, threading, sonde
def many():
    for i in range(500): sonde.info("t", i=i)
threads = [threading.Thread(target=many) for _ in range(8)]
for t in threads: t.start()
pids = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        sonde.info("child")
        sonde.flush()
        os._exit(0)
    pids.append(pid)
for pid in pids: assert os.waitpid(pid, 0)[1] == 0
for t in threads: t.join()
sonde.flush(10)
print(sonde.counts())
""")
    assert sum(x["message"] == "t" for x in lines) == 4000 and sum(x["message"] == "child" for x in lines) == 4


def test_values_that_are_hard_to_tell(run):
    lines = only(run, """
import logging, sonde, sonde.logging
sonde.logging.configure()
log = logging.getLogger("app")
class Odd:
    def __str__(self): raise RuntimeError("no")
    __repr__ = __str__
class OddError(Exception): __str__ = Odd.__str__
class Number:                                  # as numpy's and torch's
    dtype = ndim = 0
    def __init__(self, v): self.v, self.ndim = v, int(isinstance(v, list))
    def __len__(self): return len(self.v)
    def tolist(self): return self.v
    def __str__(self): return "many"
class Strange(Number):
    def tolist(self): return self
log.info("message %s", Odd())
log.info(Odd())
log.info("too few %d %d", 1)
log.info("own", extra={"odd": Odd(), "n": Number(3), "f": Number(0.5), "row": Number([1, 2]), "big": Number([1] * 100000), "strange": Strange(1)})
try:
    with sonde.span("fails"): raise OddError()
except OddError:
    log.exception("failed")
    sonde.exception("failed")
try:
    raise ValueError("no") from OddError()
except ValueError: log.exception("caused")
""")
    assert [x["message"] for x in lines if x["message"] != "SPAN_CLOSED"] == [
        "message %s <tuple: RuntimeError from __str__>", "<Odd: RuntimeError from __str__>", "too few %d %d (1,)", "own", "failed", "failed", "caused"]
    own = lines[3]
    assert {k: own[k] for k in ("n", "f", "row", "big", "strange")} == {"n": 3, "f": 0.5, "row": [1, 2], "big": "many", "strange": "many"}
    assert [x["exception.message"] for x in lines if x["message"] == "failed"] == ["<OddError: RuntimeError from __str__>"] * 2
    assert lines[-1]["exception.causes"] == ["OddError: <OddError: RuntimeError from __str__>"]
    assert "During handling" not in "\n".join(run.other)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups of exceptions came with 3.11")
def test_a_group_tells_its_members(run):
    (line,) = only(run, """
import logging, sonde.logging
sonde.logging.configure()
try:
    try: {}["k"]
    except KeyError as e: raise ValueError("bad") from e
except ValueError as e: one = e
try: raise ExceptionGroup("all", [one, ExceptionGroup("inner", [OSError("disk")])])
except ExceptionGroup: logging.exception("several")
""")
    assert line["exception.causes"] == ["ValueError: bad", "ExceptionGroup: inner (1 sub-exception)", "KeyError: 'k'", "OSError: disk"]
    assert "OSError: disk" in line["exception.stacktrace"]


def test_names_that_extra_may_have(run):
    code, out, lines = run("""
import logging, sonde.logging
sonde.logging.configure()
log = logging.getLogger("app")
for name in ("name", "message", "asctime", "args", "other"):
    try: log.info("x", extra={name: 1})
    except KeyError as e: print(e.args[0])
""")
    assert code == 0 and out.splitlines() == [f"Attempt to overwrite {n!r} in LogRecord" for n in ("name", "message", "asctime", "args")] and lines[0]["other"] == 1


def test_the_short_way_sees_what_the_long_way_would(run):
    code, out, lines = run("""
import collections, importlib, logging, sonde.logging, types
sonde.logging.configure("s")
log = logging.getLogger("a.b")
seen = []
class Other(logging.Handler):
    def emit(self, r): seen.append(r.getMessage())
def both(what):
    log.info(what)
both("alone")
other = Other(); logging.getLogger("a").addHandler(other); both("beside another"); logging.getLogger("a").removeHandler(other)
logging.root.handlers.append(other); both("in the list of the root"); logging.root.handlers.remove(other)
log.propagate = False; both("nowhere"); log.propagate = True
log.addFilter(lambda r: seen.append("filter") or True); both("filtered"); log.filters.clear()
plain = logging.getLogRecordFactory()
def factory(*a, **k):
    r = plain(*a, **k); r.made = True; return r
logging.setLogRecordFactory(factory); both("by a factory"); logging.setLogRecordFactory(plain)
class Mine(logging.Logger):
    def makeRecord(self, *a, **k):
        r = super().makeRecord(*a, **k); r.mine = True; return r
class Property(logging.Logger):
    @property
    def handlers(self): return [x for x in self.own]
    @handlers.setter
    def handlers(self, v): self.own = v
was = logging.Logger.callHandlers
def patched(self, r): seen.append("patched"); return was(self, r)
logging.Logger.callHandlers = patched; both("seen by a patch"); logging.Logger.callHandlers = was
class Caller(logging.Logger):
    def findCaller(self, *a, **k): return "other.py", 7, "elsewhere", None
logging.setLoggerClass(Caller); logging.getLogger("c").info("found"); logging.setLoggerClass(logging.Logger)
for cls in (Mine, Property):
    logging.setLoggerClass(cls); logging.getLogger(cls.__name__).info("of a class"); logging.setLoggerClass(logging.Logger)
log.info("user %(name)s", collections.ChainMap({"name": "x"}))
log.info("extra", extra=types.MappingProxyType({"k": 1}))
log.info("no", exc_info=None, stack_info=False)
def outer(): helper()
def helper(): log.info("level", stacklevel=2)
outer()
exec(compile("\\n\\nlog.info('compiled')", "/made/up.py", "exec"))
importlib.reload(sonde.logging); sonde.logging.configure("again"); both("reloaded")
print(seen)
""")
    assert code == 0, run.other
    assert [(x["message"].split("] ")[1], x["target"]) for x in lines] == [
        ("alone", "a.b.both"), ("beside another", "a.b.both"), ("in the list of the root", "a.b.both"), ("filtered", "a.b.both"), ("by a factory", "a.b.both"),
        ("seen by a patch", "a.b.both"), ("found", "c.elsewhere"), ("of a class", "Mine"), ("of a class", "Property"), ("user x", "a.b"), ("extra", "a.b"), ("no", "a.b"), ("level", "a.b.outer"), ("compiled", "a.b"),
        ("reloaded", "a.b.both")]
    assert (lines[4]["made"], lines[7]["mine"], lines[10]["k"]) == (True, True, 1)
    assert eval(out) == ["beside another", "in the list of the root", "filter", "patched"]
    assert (lines[13]["file"], lines[13]["line"]) == ("/made/up.py", 3) and lines[14]["message"].startswith("[again] ")


def test_the_same_line_of_many_functions(run):
    lines = only(run, """
import logging, sonde.logging
sonde.logging.configure()
for i in range(10000):                         # more places than are kept near
    code = compile(f"def f{i}(): log.info('x')\\nf{i}()", f"{i}.py", "exec")
    exec(code, {"log": logging.getLogger("n")})
""", timeout=120)
    assert [x["target"] for x in lines] == [f"n.f{i}" for i in range(10000)]


@pytest.mark.parametrize("tell", ["sonde.exception('x')", "logging.exception('x')", "raise"])
def test_every_way_to_tell_an_exception_tells_frames_and_causes(run, tell):
    code, _, lines = run(f"""
import logging, sonde, sonde.logging, sonde.crash
sonde.logging.configure()
sonde.crash.enable()
def inner(): return {{}}["k"]
try:
    try: inner()
    except KeyError as e: raise ValueError("bad") from e
except ValueError: {tell}
""")
    (x,) = [x for x in lines if "exception.type" in x]
    assert code == (tell == "raise") and (x["exception.type"], x["exception.causes"]) == ("ValueError", ["KeyError: 'k'"])
    assert x["exception.frames"][-1].endswith("program.py:8)") and "KeyError" in x["exception.stacktrace"]
