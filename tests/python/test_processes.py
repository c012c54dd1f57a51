"""Engines' loggers, processes that fork, sub-interpreters, many tasks."""
import sys

import pytest


def test_health_checks_are_left_out_and_nothing_else_pays(run):
    code, out, lines = run("""
import logging, sonde.logging
sonde.logging.configure_dynamo_logging("decode", 7)
access, engine, other = (logging.getLogger(n) for n in ("uvicorn.access", "vllm.v1.engine.async_llm", "app"))
for path in ("/health", "/v1/chat", "/metrics?x"): access.info('%s - "%s %s HTTP/%s" %d', "1.2.3.4", "GET", path, "1.1", 200)
engine.debug("Called check_health."); engine.debug("step"); other.debug("health")
logging.LogRecord.__init__ = None              # no record is made for it
other.info("short")
""", env={"DYN_LOG": "debug"})
    assert code == 0, run.other
    assert [x["message"].replace("[decode:7] ", "") for x in lines] == ['1.2.3.4 - "GET /v1/chat HTTP/1.1" 200', "step", "health", "short"]


def test_forks_while_others_log(run):
    code, out, lines = run("""
import logging, multiprocessing, sonde.logging, threading
sonde.logging.configure()
log = logging.getLogger("app")
stop = threading.Event()
def noise():
    while not stop.is_set(): log.debug("noise %d", 1)
def work(i):
    with sonde.span("work"): log.info("child %d", i)
if __name__ == "__main__":
    threads = [threading.Thread(target=noise) for _ in range(3)]
    [t.start() for t in threads]
    ps = [multiprocessing.get_context("fork").Process(target=work, args=(i,)) for i in range(12)]
    [p.start() for p in ps]; [p.join(20) for p in ps]
    stop.set(); [t.join() for t in threads]
    print([p.exitcode for p in ps])
""", timeout=60)
    assert code == 0 and out == f"{[0] * 12}\n"
    assert sorted(x["message"] for x in lines if x["message"].startswith("child")) == sorted(f"child {i}" for i in range(12))


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_other_ways_to_start(run, method):
    code, _, lines = run(f"""
import multiprocessing
def work(i):
    import sonde
    sonde.info("child", i=i)
if __name__ == "__main__":
    p = multiprocessing.get_context({method!r}).Process(target=work, args=(1,))
    p.start(); p.join()
""")
    assert code == 0 and [(x["message"], x["i"]) for x in lines] == [("child", 1)]


def test_many_tasks_leave_nothing(run):
    code, out, _ = run("""
import asyncio, gc, sonde
def rss():
    gc.collect()
    return int(open("/proc/self/statm").read().split()[1]) * 4096
async def task(i):
    with sonde.span("task", i=i):
        sonde.debug("in")
        await asyncio.sleep(0)
async def main(n):
    for _ in range(n // 1000): await asyncio.gather(*(task(i) for i in range(1000)))
asyncio.run(main(20_000))
before = rss()
after = []                                     # the arenas of Python's own allocator come and go: the least counts
for n in (80_000, 5_000, 5_000, 5_000):
    asyncio.run(main(n))
    after.append(rss())
print((min(after) - before) / 1e6)
""", env={"OTEL_SDK_DISABLED": "false"}, timeout=120)
    assert code == 0 and float(out) < 5, (out, run.other)  # 60 bytes of each would be more


@pytest.mark.skipif(sys.version_info < (3, 13), reason="_interpreters came with 3.13")
def test_sub_interpreters_neither_hang_nor_crash(run):
    code, out, lines = run("""
import sonde, _interpreters
sonde.info("before")
for config in ("isolated", "legacy"):
    i = _interpreters.create(config)
    failed = _interpreters.exec(i, "import sonde; sonde.info('inside')")
    print(config, failed is None or failed.type.__name__)
    _interpreters.destroy(i)
sonde.info("after")
""")
    assert code == 0, run.other
    assert out.splitlines()[0].startswith("isolated") and [x["message"] for x in lines if x["message"] != "inside"] == ["before", "after"]
