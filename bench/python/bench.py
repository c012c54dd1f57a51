#!/usr/bin/env python3
"""What logging costs in Python: one record through each library into a file, the least of several repeats; import time; memory.

    make bench-python            # or: bench/python/bench.py [--records N] [--repeats N] [--json]

Each way runs in a process of its own. Beside them stand what `logging` costs without any output (NullHandler) and below its level: the
machine's own speed, by which the other figures are to be judged when it is busy. What is not installed is left out and named.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

# Each: (name, set-up, statement). `file` is a path in a folder of its own.
LOG = "import logging; log = logging.getLogger('bench.engine')\n"
FORMAT = "h = logging.FileHandler(file); h.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(name)s %(message)s'))\nlogging.getLogger().addHandler(h); log.setLevel(10)\n"
SONDE = LOG + "import sonde.logging; sonde.logging.configure('bench')\n"
FIELDS = "log.info('step done', extra={'tokens': 17, 'worker': 'w-1', 'ms': 1.25})"
MESSAGE = "log.info('step %d of %s done', 17, 'prefill')"
WAYS = [
    ("logging, NullHandler", LOG + "logging.getLogger().addHandler(logging.NullHandler()); log.setLevel(10)\n", MESSAGE),
    ("logging, below the level", LOG + "log.setLevel(30)\n", MESSAGE),
    ("logging to a file", LOG + FORMAT, MESSAGE),
    ("logging to sonde", SONDE, MESSAGE),
    ("logging to sonde, 3 fields", SONDE, FIELDS),
    ("logging to sonde, in a span", SONDE + "s = sonde.span('request'); s.__enter__()\n", MESSAGE),
    ("logging to sonde, below the level", SONDE + "log.setLevel(30)\n", MESSAGE),
    ("sonde.info, 3 fields", "import sonde\nsonde.init('bench')\n", "sonde.info('step done', tokens=17, worker='w-1', ms=1.25)"),
    ("sonde.span", "import sonde\nsonde.init('bench')\n", "with sonde.span('step', tokens=17): pass"),
    ("structlog to a file", "import structlog\nf = open(file, 'w')\nstructlog.configure(processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt='iso'), "
     "structlog.processors.JSONRenderer()], logger_factory=structlog.WriteLoggerFactory(f), cache_logger_on_first_use=True)\nlog = structlog.get_logger()\n",
     "log.info('step done', tokens=17, worker='w-1', ms=1.25)"),
    ("loguru to a file", "from loguru import logger\nlogger.remove(); logger.add(file)\n", "logger.info('step {} of {} done', 17, 'prefill')"),
    ("picologging to a file", "import picologging as logging; log = logging.getLogger('bench.engine')\n" + FORMAT, MESSAGE),
    ("counter.inc (sonde.metrics)", "from sonde import metrics\nc = metrics.Registry().metrics.create_intcounter('c', 'C').inc\n", "c()"),
    ("countervec.inc (sonde.metrics)", "from sonde import metrics\nc = metrics.Registry().metrics.create_intcountervec('c', 'C', ['a']).inc\nl = {'a': 'b'}\n", "c(l)"),
]
# Batches with a rest between, so that what is measured is a call, not how fast a disk takes lines.
RUN = """
import sys, time
file, records, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
{setup}
def batch(n):
    r = range(n)
    t = time.perf_counter_ns()
    for _ in r:
        {statement}
    return time.perf_counter_ns() - t
def empty(n):
    r = range(n)
    t = time.perf_counter_ns()
    for _ in r:
        pass
    return time.perf_counter_ns() - t
batch(200)
best = min((time.sleep(0.02), batch(records))[1] for _ in range(repeats))
print((best - min(empty(records) for _ in range(5))) / records)
"""
MEMORY = "{setup}\nfor i in range(1000): log.info('record %d', i)\nimport time; time.sleep(0.3)\nprint(int(open('/proc/self/statm').read().split()[1]) * 4096)"


def run(source, *args):
    """The last line of the program's output as a number; None and its last complaint if it fails."""
    with tempfile.TemporaryDirectory() as d:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("DYN_", "OTEL_", "SONDE_"))}
        env.update(DYN_LOGGING_JSONL="1", SONDE_RING_DIR=d, OTEL_SDK_DISABLED="false")
        with open(os.path.join(d, "err"), "w") as err:
            p = subprocess.run([sys.executable, "-c", source, os.path.join(d, "out.log"), *map(str, args)], stdout=subprocess.PIPE, stderr=err, text=True, env=env)
        if p.returncode == 0:
            return float(p.stdout.split()[-1]), ""
        with open(os.path.join(d, "err"), errors="replace") as err:
            return None, (err.read().strip().splitlines() or ["?"])[-1]


def import_ms(module, repeats):
    source = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1000)"
    return min(run(source)[0] for _ in range(repeats))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--records", type=int, default=2000, help="of a batch")
    p.add_argument("--repeats", type=int, default=15)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    figures, left_out = {}, []
    for name, setup, statement in WAYS:
        ns, why = run(RUN.format(setup=setup, statement=statement), a.records, a.repeats)
        if ns is None:
            left_out.append(f"{name}: {why}")
        else:
            figures[name] = round(ns)
            if not a.json:
                print(f"{name:36} {ns:8.0f} ns", flush=True)
    more = {"import logging": import_ms("logging", 7), "import sonde": import_ms("sonde", 7), "import sonde.logging": import_ms("sonde.logging", 7)}
    plain = min(run(MEMORY.format(setup=LOG + FORMAT.replace("file", "'/dev/null'")))[0] for _ in range(3))
    ours = min(run(MEMORY.format(setup=SONDE))[0] for _ in range(3))
    more["memory over logging, MB"] = (ours - plain) / 1e6
    if a.json:
        print(json.dumps({"ns_per_call": figures, "left_out": left_out, **{k: round(v, 2) for k, v in more.items()}}, indent=1))
        return
    for name, v in more.items():
        print(f"{name:36} {v:8.1f} {'' if 'MB' in name else 'ms'}")
    for line in left_out:
        print(f"left out: {line}")


if __name__ == "__main__":
    main()
