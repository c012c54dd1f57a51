#!/usr/bin/env python3
"""Figures of `sonde serve`: time to ready, memory, size, and what it takes in with every request synced to disk.

    bench_server.py BUILD [--json FILE] [--runs 3] [--dir DIR]

Needs nothing but Python's own library. Bodies come from BUILD/bench/bench_load and are made before the clock starts. "a core":
events divided by the CPU seconds of the server process (all its threads, from /proc), so that the client's share of the machine
does not count. Floors (sync, memcpy, clock) are measured beside the figures, on the same file system. Ranges are over the runs.
"""
import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
CONNECTIONS = 4


class Server:
    def __init__(self, build, data):
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [build / "sonde", "serve", "--data", data, "--http", "127.0.0.1:0", "--otlp-grpc", "off", "--otlp-http", "off"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()  # "sonde 0.1.0 is ready: http http://127.0.0.1:40000/, …"
        if " ready: " not in line:
            raise SystemExit(f"sonde serve did not start: {line!r}")
        self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        self.get("/ready")
        self.ready_ms = (time.perf_counter() - self.began) * 1e3

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.request("GET", path)
        answer = c.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
        c.close()
        return body.decode()

    def metric(self, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.get("/metrics").splitlines() if line.startswith(name))

    def cpu(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, key):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def bodies(build, kind, seed, count):
    """The bodies, and the bytes that count: of the lines, of the trace requests."""
    out = subprocess.run([build / "bench" / "bench_load", kind, str(seed), str(count)], stdout=subprocess.PIPE, check=True).stdout
    parts, at, raw = [], 0, 0
    while at < len(out):
        n, before = struct.unpack_from("<II", out, at)
        parts.append(out[at + 8:at + 8 + n])
        at += 8 + n
        raw += before
    return parts, raw


def send(port, path, content_type, queue, took, problems):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.connect()
    while True:
        try:
            body = queue.pop()
        except IndexError:
            break
        began = time.perf_counter()
        c.request("POST", path, body, {"content-type": content_type})
        answer = c.getresponse()
        text = answer.read()
        took.append((time.perf_counter() - began) * 1e3)
        if answer.status not in (200, 204):
            problems.append(f"{answer.status} {text[:200]!r}")
            break
    c.close()


def ingest(server, path, content_type, load, events_each):
    parts, raw = load
    queue, took, problems = list(reversed(parts)), [], []
    before, cpu = server.metric("sonde_receiver_events_total"), server.cpu()
    threads = [threading.Thread(target=send, args=(server.port, path, content_type, queue, took, problems)) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wall = time.perf_counter() - began
    if problems:
        raise SystemExit(f"{path}: {problems[0]}")
    cpu = server.cpu() - cpu
    events = server.metric("sonde_receiver_events_total") - before
    if events != events_each * len(parts):
        raise SystemExit(f"{path}: {events_each * len(parts)} events sent, {events:.0f} accepted")
    took.sort()
    return {"events": events, "per_core": events / cpu, "mb_per_core": raw / cpu / 1e6, "per_second": events / wall, "cpu_s": cpu, "wall_s": wall,
            "wire_mb_per_s": sum(map(len, parts)) / wall / 1e6, "ack_ms_p50": took[len(took) // 2], "ack_ms_max": took[-1]}


def spread(values):
    return {"low": min(values), "median": sorted(values)[len(values) // 2], "high": max(values)}


def measure_starts(build, root, count):
    ready = []
    for i in range(count):
        s = Server(build, root / f"start-{i}")
        ready.append(s.ready_ms)
        s.stop()
        shutil.rmtree(root / f"start-{i}")
    ready.sort()
    return {"p50": ready[len(ready) // 2], "max": ready[-1], "starts": count}


def measure_idle(build, root):
    s = Server(build, root / "idle")
    time.sleep(1)
    rss, private = s.memory("VmRSS"), s.memory("RssAnon")
    s.stop()
    return {"rss": rss, "anonymous": private}


def stripped_size(build, root):
    subprocess.run(["strip", "-o", root / "stripped", build / "sonde"], check=True)
    return (root / "stripped").stat().st_size / 1048576


def floors(build, root):
    return json.loads(subprocess.run([build / "bench" / "bench_load", "floors", root], stdout=subprocess.PIPE, check=True).stdout)


def measure(build, root, runs):
    result = {"ready_ms": measure_starts(build, root, 20), "idle_mib": measure_idle(build, root), "binary_mib": stripped_size(build, root)}
    kinds = [("loki_lines", "loki", "/loki/api/v1/push", 200, 2000), ("otlp_spans", "spans", "/v1/traces", 200, 1000)]
    rows, peaks, beneath = {name: [] for name, *_ in kinds}, [], []
    for run in range(runs):
        s = Server(build, root / f"run-{run}")
        try:
            for name, kind, path, count, each in kinds:
                beneath.append(floors(build, root))
                rows[name].append(ingest(s, path, "application/x-protobuf", bodies(build, kind, 1 + run, count), each))
            peaks.append(s.memory("VmHWM"))
        finally:
            s.stop()
        shutil.rmtree(root / f"run-{run}")
    for name, got in rows.items():
        result[name] = {key: spread([g[key] for g in got]) for key in got[0]}
    result["peak_rss_mib"] = spread(peaks)
    result["floors"] = {key: spread([b[key] for b in beneath]) for key in beneath[0]}
    return result


def number(v):
    return f"{v:,.0f}" if v >= 100 else f"{v:.1f}" if v >= 1 else f"{v:.2f}"


def line(what, value, floor=""):
    text = value if isinstance(value, str) else f"{number(value['median'])} ({number(value['low'])} … {number(value['high'])})"
    print(f"  {what:<46}{text:<34}{floor}")


def report(r):
    f = r["floors"]
    sync = f"fdatasync of 4 KiB: {number(f['fdatasync_4k_us_p50']['median'] / 1e3)} ms"
    copy = f"memcpy: {number(f['memcpy_gb_per_s']['median'])} GB/s"
    print("sonde serve                                       median (lowest … highest of the runs)   floor of this machine")
    line("ready, empty directory, ms", f"p50 {number(r['ready_ms']['p50'])}, max {number(r['ready_ms']['max'])} of {r['ready_ms']['starts']}")
    line("idle RSS, MiB", f"{number(r['idle_mib']['rss'])}, of it anonymous {number(r['idle_mib']['anonymous'])}")
    line("program, stripped, MiB", number(r["binary_mib"]))
    for name, word, bytes_of in (("loki_lines", "Loki lines", "lines"), ("otlp_spans", "OTLP spans", "requests")):
        line(f"{word} accepted a second, a server core", r[name]["per_core"])
        line(f"  MB/s of {bytes_of}, a core", r[name]["mb_per_core"], copy)
        line(f"{word} accepted a second, {CONNECTIONS} connections", r[name]["per_second"])
        line("  acknowledged and synced after, ms, p50", r[name]["ack_ms_p50"], sync)
        line("  slowest acknowledgement, ms", r[name]["ack_ms_max"], f"slowest fdatasync: {number(f['fdatasync_4k_us_max']['high'] / 1e3)} ms")
    line("peak RSS while taking in, MiB", r["peak_rss_mib"])


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--json", type=pathlib.Path)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--dir", help="where the data directories go (default: the build directory)")
    args = p.parse_args()
    build = args.build.resolve()
    root = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=args.dir or build))
    try:
        result = measure(build, root, args.runs)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    report(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
