#!/usr/bin/env python3
"""Spans of libsonde and of OpenTelemetry's SDKs for Rust and Go, in turn, side by side.

  run.py BUILD_DIR [--runs N]

after scripts/bench_spans.sh has built the programs into BUILD_DIR/peers; writes BUILD_DIR/bench_spans.json. Start and end of a span on
the calling thread, in bursts of 1,000, the rest (an exporter that counts and throws away) awaited between them. Behind each figure its
ratio to libsonde's. CPU: of the whole process, a span. What is exported is encoded as OTLP by libsonde alone, so its CPU figure
holds more work than the others'.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import time

PEERS = [("sonde", "spans-sonde"), ("OpenTelemetry Rust", "spans-rust"), ("OpenTelemetry Go", "spans-go")]
FIGURES = [("plain", 1, "no attributes"), ("plain", 2, "the same, 2 threads"), ("attributes", 1, "ten attributes"),
           ("attributes", 2, "the same, 2 threads"), ("off", 1, "not sampled")]
HERE = os.path.dirname(os.path.abspath(__file__))
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "DYN_", "OTEL_", "GOMAXPROCS", "GOGC"))}


def versions():
    out = {}
    with open(f"{HERE}/rust/Cargo.lock", encoding="utf-8") as f:
        out["opentelemetry_sdk (Rust)"] = re.search(r'name = "opentelemetry_sdk"\nversion = "([^"]+)"', f.read())[1]
    with open(f"{HERE}/go/go.mod", encoding="utf-8") as f:
        out["go.opentelemetry.io/otel/sdk"] = re.search(r"otel/sdk v(\S+)", f.read())[1]
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--runs", type=int, default=3)
    args = p.parse_args()
    folder = f"{os.path.abspath(args.build)}/peers"
    peers = [(n, f"{folder}/{f}") for n, f in PEERS if os.access(f"{folder}/{f}", os.X_OK)]
    got = {n: {} for n, _ in peers}
    began, loads = time.monotonic(), []
    for _ in range(args.runs):
        for mode, threads, _ in FIGURES:
            loads.append(os.getloadavg()[0])
            for name, program in peers:  # in turn, so that what else the machine does meets all of them
                done = subprocess.run([program, mode, str(threads)], stdout=subprocess.PIPE, text=True, timeout=120, check=True, env=ENV)
                r = json.loads(done.stdout.splitlines()[-1])
                want = 0 if mode == "off" else r["made"]
                if r["exported"] != want:
                    raise SystemExit(f"bench_spans: {name} {mode}: {r['exported']} of {want} spans were exported")
                for k in ("ns", "p99_ns", "cpu_ns"):
                    got[name].setdefault(f"{mode}{threads}.{k}", []).append(r[k])
    print(f"spans: {args.runs} runs in {time.monotonic() - began:.0f} s, in turn; load average {min(loads):.1f}–{max(loads):.1f}"
          + ("" if max(loads) < os.cpu_count() else ": others were at work too, trust ratios more than figures"))
    print(f"{'ns a span, start + end':<26}" + "".join(f"{n:>26}" for n, _ in peers))
    for what, key in (("", "ns"), ("CPU, whole process: ", "cpu_ns")):
        for mode, threads, title in FIGURES:
            if key == "cpu_ns" and threads > 1:
                continue
            line = f"{what + title:<40}"[:40]
            base = statistics.median(got[peers[0][0]][f"{mode}{threads}.{key}"])
            for i, (n, _) in enumerate(peers):
                v = statistics.median(got[n][f"{mode}{threads}.{key}"])
                line += f"{v:>{12 if i == 0 else 16},.1f}" + (" " * 0 if i == 0 else f"  ×{v / base:<5.3g}")
            print(line.rstrip())
    print("peers: " + ", ".join(f"{k} {v}" for k, v in versions().items()))
    left_out = [n for n, f in PEERS if n not in got]
    if left_out:
        print("LEFT OUT (not built here): " + ", ".join(left_out))
    with open(f"{args.build}/bench_spans.json", "w", encoding="utf-8") as f:
        json.dump({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "versions": versions(), "load": max(loads), "left_out": left_out,
                   "peers": {n: {k: {"low": min(v), "median": statistics.median(v), "high": max(v)} for k, v in f.items()}
                             for n, f in got.items()}}, f, indent=1)
    print(f"all figures: {args.build}/bench_spans.json")


if __name__ == "__main__":
    main()
