#!/usr/bin/env python3
"""Runs libsonde and its peers in turn and prints them side by side.

  run.py BUILD_DIR [--runs N]

after scripts/bench_peers.sh has built the programs into BUILD_DIR/peers; writes BUILD_DIR/bench_peers.json.

bench/README.md says what is measured and how to read the table.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time

# row, program, its VARIANT, JSON lines?, drops when its queue is full?
PEERS = [
    ("sonde", "sonde", "jsonl", True, True),
    ("spdlog async, block", "spdlog", "block", False, False),
    ("spdlog async, oldest", "spdlog", "oldest", False, True),
    ("spdlog sync", "spdlog", "sync", False, False),
    ("glog", "glog", "text", False, False),
    ("tracing non-bl., lossy", "rust/release/bench-peers-tracing", "lossy", True, True),
    ("tracing non-bl., block", "rust/release/bench-peers-tracing", "block", True, False),
    ("tracing sync", "rust/release/bench-peers-tracing", "sync", True, False),
    ("zerolog diode", "golog", "diode", True, True),
    ("zerolog sync", "golog", "zerolog", True, False),
    ("zap buffered", "golog", "zapbuf", True, False),
    ("zap sync", "golog", "zap", True, False),
]
LINES = 150_000
CHUNK = 100  # as in harness.h
NEEDLE = b"kv transfer done"
TEXT = re.compile(rb"kv transfer done worker=decode-worker-1 tokens=\d+ blocks=17 ms=1\.25$")


def fail(why):
    sys.exit(f"bench_peers: {why}")


# what somebody set for a program of theirs must not change ours
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "DYN_", "OTEL_", "GOMAXPROCS", "GOGC", "GLOG_"))}


def run(argv):
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False, env=ENV)
    except subprocess.TimeoutExpired:
        fail(f"{' '.join(argv)} did not end within 120 s")
    if done.returncode != 0:
        fail(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def flat(value):
    out = {}
    for k, v in value.items():
        out |= flat(v) if isinstance(v, dict) else {k: v}
    return out


def lines_of(path, is_json):
    """How many of our records are in the file, and its size. The last of them must carry all fields with their types."""
    with open(path, "rb") as f:
        data = f.read()
    n = data.count(NEEDLE)
    at = data.rfind(NEEDLE)
    line = data[data.rfind(b"\n", 0, at) + 1:data.find(b"\n", at)]
    if is_json:
        r = flat(json.loads(line))
        good = (r.get("worker"), r.get("blocks"), r.get("ms"), type(r.get("tokens"))) == ("decode-worker-1", 17, 1.25, int)
    else:
        good = TEXT.search(line)
    if not good:
        fail(f"{path}: not the record that was asked for: {line[:300]!r}")
    return n, len(data)


class Figures(dict):
    """Name of a figure → its values, one a run."""

    def add(self, name, value):
        self.setdefault(name, []).append(value)

    def take(self, prefix, result):
        for k in ("warm", "cold"):
            for q, v in result.get(k, {}).items():
                self.add(f"{prefix}.{k}_{q}_ns", v)
        self.add(f"{prefix}.mean_ns", result["mean"])
        if "disabled" in result:
            self.add(f"{prefix}.disabled_ns", result["disabled"])

    def median(self, name):
        return statistics.median(self[name]) if self.get(name) else None

    def spread(self):
        return {k: {"low": min(v), "median": statistics.median(v), "high": max(v)} for k, v in self.items()}


def measure(program, row, out, figures):
    """One run of everything with one peer, as a list of steps, so that the peers can take turns between the steps."""
    _, name, variant, is_json, drops = row
    path = f"{out}/log"

    def calls(sink, threads):
        r = run([program(name), variant, "calls", "/dev/null" if sink == "null" else path, str(threads)])
        figures.take(f"{sink}{threads}", r)
        if sink == "file":
            n, _ = lines_of(path, is_json)
            figures.add(f"file{threads}.calls_lost", r["sent"] - n)

    def rate(mode, threads):
        r = run([program(name), variant, mode, path, str(threads), str(LINES)])
        n, size = lines_of(path, is_json)
        prefix = f"{mode}{threads}"
        figures.add(f"{prefix}.lines_per_s", n / r["seconds"])
        figures.add(f"{prefix}.lost_share", 1 - n / r["sent"])
        figures.add(f"{prefix}.cpu_ns_per_line", r["cpu_seconds"] * 1e9 / max(n, 1))
        figures.add(f"{prefix}.said_ns_per_call", r["said_seconds"] * 1e9 * threads / r["sent"])
        figures.add("bytes_per_line", size / max(n, 1))
        if not drops:  # whole is what it does anyway
            for k in ("lines_per_s", "lost_share", "cpu_ns_per_line"):
                figures.add(f"whole{threads}.{k}", figures[f"{prefix}.{k}"][-1])

    for sink in ("file", "null"):
        for threads in (1, 2):
            yield lambda s=sink, t=threads: calls(s, t)
    for mode in ("flat", "whole") if drops else ("flat",):
        for threads in (1, 2):
            yield lambda m=mode, t=threads: rate(m, t)


def number(v):
    if v is None:
        return "-"
    for limit, digits in ((1, 2), (100, 1)):
        if abs(v) < limit:
            return f"{v:.{digits}f}"
    return f"{v:,.0f}"


def cell(f, name):
    if f.median(name) is None:
        return "-"
    low, high = number(min(f[name])), number(max(f[name]))
    return f"{number(f.median(name))} ({low if low == high else low + '–' + high})"


def ratio(f, base, name):
    a, b = f.median(name), base.median(name)
    return "-" if a is None or not b or b <= 0 else f"×{a / b:.2f}" if a / b < 10 else f"×{a / b:.0f}"


def table(title, rows, figures, columns):
    """columns: (head, figure, kind): how the figure's median is shown."""
    base = figures["sonde"]
    text = [[title] + [c[0] for c in columns]]
    for row in rows:
        f = figures[row]
        line = [row]
        for _, name, kind in columns:
            if kind == "range":
                line.append(cell(f, name))
            elif kind == "ratio":
                line.append(ratio(f, base, name))
            elif kind == "percent":
                line.append(f"{100 * f.median(name):.1f} %" if f.median(name) else "0")
            elif kind == "million":
                low, median, high = (v * 1e-6 for v in (min(f[name]), f.median(name), max(f[name])))
                line.append(f"{median:.2f} ({low:.2f}–{high:.2f})")
            elif kind == "glance":
                line.append(f"{number(f.median(name))} {ratio(f, base, name)}")
            elif kind == "glance million":
                line.append(f"{f.median(name) * 1e-6:.2f} {ratio(f, base, name)}")
            else:
                line.append(number(f.median(name)))
        text.append(line)
    width = [max(len(r[i]) for r in text) for i in range(len(text[0]))]
    for i, r in enumerate(text):
        print("  ".join([r[0].ljust(width[0])] + [c.rjust(w) for c, w in zip(r[1:], width[1:])]).rstrip())
        if i == 0:
            print("  ".join("-" * w for w in width))
    print()


def versions(build):
    out = {}
    for name, package in (("spdlog", "libspdlog-dev"), ("glog", "libgoogle-glog-dev")):
        r = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
        out[name] = r.stdout or "?"
    here = os.path.dirname(os.path.abspath(__file__))
    with open(f"{here}/rust/Cargo.lock", encoding="utf-8") as f:
        for name, version in re.findall(r'name = "(tracing(?:-subscriber|-appender)?)"\nversion = "([^"]+)"', f.read()):
            out[name] = version
    with open(f"{here}/go/go.mod", encoding="utf-8") as f:
        for name, version in re.findall(r"\t\S+/(zerolog|zap) v(\S+)", f.read()):
            out[name] = version
    for tool, argv in (("rustc", ["rustc", "--version"]), ("go", ["go", "env", "GOVERSION"])):
        try:
            out[tool] = subprocess.run(argv, capture_output=True, text=True, check=False).stdout.split()[-1 if tool == "go" else 1]
        except FileNotFoundError:
            pass
    return out


def load():
    return os.getloadavg()[0]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    args = p.parse_args()
    build = os.path.abspath(args.build)
    out = f"{build}/peers/out"
    os.makedirs(out, exist_ok=True)

    def program(name):
        return f"{build}/peers/{name}"

    rows = [r for r in PEERS if os.access(program(r[1]), os.X_OK)]
    left_out = [r[0] for r in PEERS if r not in rows]
    if not rows or rows[0][0] != "sonde":
        fail(f"{program('sonde')} is missing; scripts/bench_peers.sh builds it")
    figures = {r[0]: Figures() for r in rows}
    floors, bench_log, loads = Figures(), Figures(), [load()]
    cpu = subprocess.run(["sed", "-nE", "s/^model name\\s*: //p", "/proc/cpuinfo"], capture_output=True, text=True, check=False)
    machine = f"{os.cpu_count()} cores, {(cpu.stdout.splitlines() or ['?'])[0]}, Linux {os.uname().release}"
    print(f"machine: {machine}; load average at the start {loads[0]:.1f}", flush=True)

    started = time.monotonic()
    pin = ["taskset", "-c", str(os.cpu_count() - 1)]
    for n in range(args.runs):
        for k, v in run(pin + [program("floors"), f"{out}/log"]).items():
            floors.add(k, v)
        if os.access(f"{build}/bench/bench_log", os.X_OK):
            for k, v in run([f"{build}/bench/bench_log", "--json", f"{out}/log"])["log"].items():
                bench_log.add(k, v)
        steps = [list(measure(program, r, out, figures[r[0]])) for r in rows]
        for i in range(max(map(len, steps))):
            for s in steps:
                if i < len(s):
                    s[i]()
                    if os.path.exists(f"{out}/log"):
                        os.unlink(f"{out}/log")
            loads.append(load())
        if sys.stderr.isatty():
            print(f"run {n + 1} of {args.runs} done after {time.monotonic() - started:.0f} s", file=sys.stderr)
    took = time.monotonic() - started

    names = [r[0] for r in rows]
    print(f"{args.runs} runs in {took:.0f} s, peers in turn; load average while running {min(loads):.1f}–{max(loads):.1f}: "
          f"{'quiet' if max(loads) < os.cpu_count() else 'others were at work too, trust ratios more than figures'}")
    print("floors: " + ", ".join(f"{label} {cell(floors, key)} ns" for label, key in (
        ("clock (TSC) read", "tick_ns"), ("clock_gettime", "clock_gettime_ns"), ("64-byte copy", "copy64_ns"),
        ("write(2) of 200 bytes to /dev/null", "write200_null_ns"), ("to the file", "write200_file_ns"))))
    print(f"mean: of {CHUNK} calls in a row, the median of many such; quantiles: of single calls, less {number(floors.median('clock_pair_ns'))} ns "
          "for the two clock reads and no finer than that\n")
    table("median of the runs ×sonde", names, figures, [
        ("ns/call: mean", "file1.mean_ns", "glance"), ("p99", "file1.warm_p99_ns", "glance"), ("p99.9", "file1.warm_p999_ns", "glance"),
        ("2 threads, mean", "file2.mean_ns", "glance"), ("cold p50", "file1.cold_p50_ns", "glance"), ("disabled", "null1.disabled_ns", "glance"),
        ("M lines/s, none lost", "whole1.lines_per_s", "glance million"), ("CPU ns/line", "whole1.cpu_ns_per_line", "glance"),
        ("lost flat out", "flat1.lost_share", "percent")])
    print("all of it: median (lowest–highest) of the runs; × is the ratio of medians to sonde\n")
    for threads, sink, where in ((1, "file", "a file"), (2, "file", "a file"), (1, "null", "/dev/null"), (2, "null", "/dev/null")):
        s = f"{sink}{threads}"
        table(f"ns a call, {threads} thread{'s' * (threads > 1)}, {where}", names, figures, [
            ("mean", f"{s}.mean_ns", "range"), ("", f"{s}.mean_ns", "ratio"), ("p50", f"{s}.warm_p50_ns", "range"), ("p90", f"{s}.warm_p90_ns", "range"),
            ("p99", f"{s}.warm_p99_ns", "range"), ("", f"{s}.warm_p99_ns", "ratio"), ("p99.9", f"{s}.warm_p999_ns", "range"),
            ("", f"{s}.warm_p999_ns", "ratio")])
    table("ns, one call after 0.5 ms; disabled", names, figures, [
        ("cold p50", "file1.cold_p50_ns", "range"), ("", "file1.cold_p50_ns", "ratio"), ("cold p99", "file1.cold_p99_ns", "range"),
        ("", "file1.cold_p99_ns", "ratio"), ("cold p50, /dev/null", "null1.cold_p50_ns", "range"), ("disabled", "null1.disabled_ns", "range"),
        ("", "null1.disabled_ns", "ratio")])
    for threads in (1, 2):
        table(f"{LINES:,} lines to a file, {threads} thread{'s' * (threads > 1)}", names, figures, [
            ("none lost: M lines/s", f"whole{threads}.lines_per_s", "million"), ("", f"whole{threads}.lines_per_s", "ratio"),
            ("CPU ns/line", f"whole{threads}.cpu_ns_per_line", "range"), ("", f"whole{threads}.cpu_ns_per_line", "ratio"),
            ("flat out: M lines/s", f"flat{threads}.lines_per_s", "million"), ("lost", f"flat{threads}.lost_share", "percent"),
            ("ns/call", f"flat{threads}.said_ns_per_call", "range"), ("bytes/line", "bytes_per_line", "median")])
    lost = {n: max(max(figures[n].get(f"file{t}.calls_lost", [0])) for t in (1, 2)) for n in names}
    lost = {n: v for n, v in lost.items() if v}
    print("lines lost while calls were measured: " + (", ".join(f"{n} {v}" for n, v in lost.items()) or "none, by any"))
    if bench_log:
        print(f"bench_log (libsonde linked statically, /dev/null) in the same minutes: mean in a loop {cell(bench_log, 'loop_mean_ns')} ns, "
              f"p99 {cell(bench_log, 'warm_p99_ns')} ns, cold p50 {cell(bench_log, 'cold_p50_ns')} ns, disabled {cell(bench_log, 'disabled_ns')} ns, "
              f"backend {bench_log.median('json_lines_per_s') * 1e-6:.2f} M lines/s")
    found = versions(build)
    print("peers: " + ", ".join(f"{k} {v.removeprefix('go') if k == 'go' else v}" for k, v in found.items()))
    if left_out:
        print("LEFT OUT (not built here): " + ", ".join(left_out))
    with open(f"{build}/bench_peers.json", "w", encoding="utf-8") as f:
        json.dump({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine, "seconds": round(took, 1),
                   "load": {"low": min(loads), "high": max(loads)}, "lines": LINES, "versions": found, "left_out": left_out,
                   "floors": floors.spread(), "bench_log": bench_log.spread(),
                   "peers": {n: figures[n].spread() for n in names}}, f, indent=1)
    print(f"all figures: {args.build}/bench_peers.json")


if __name__ == "__main__":
    main()
