#!/usr/bin/env python3
"""What an absent or slow collector does to requests: the inference example under load, its latency as clients see it, and how long its
processes take to end.

  bench_outage.py BUILD_DIR [--seconds N] [--rate N] [--runs N]

Five set-ups in turn, a few rounds of them, of which the one with the lowest p99 counts (other work on the machine only adds): no export; a `sonde serve`; nobody listening; one that takes connections and is silent; one that answers after a second.
The engine's steps are simulated by timers, so what differs between the rows is what export costs. Prints a table, no verdict.
"""
import argparse
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "DYN_", "OTEL_"))}


class Slow(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(1)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def start(argv, env, log):
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, text=True, env=env)
    line = p.stdout.readline()
    return p, re.search(r"http://127\.0\.0\.1:\d+", line)[0]


def measure(build, folder, export, args):
    env = {**ENV, "SONDE_RING_DIR": str(folder / "rings"), "DYN_LOG": "debug", "DYN_LOGGING_JSONL": "1", **export}
    programs = build / "examples" / "inference"
    with open(folder / "log", "wb") as log:
        prefill, p_url = start([programs / "prefill", "--listen", "127.0.0.1:0", "--base", "1ms", "--per-token", "5us"], env, log)
        decode, d_url = start([programs / "decode", "--listen", "127.0.0.1:0", "--itl", "2ms", "--itl-per-seq", "20us"], env, log)
        front, f_url = start([programs / "frontend", "--listen", "127.0.0.1:0", "--prefill", p_url, "--decode", d_url], env, log)
        try:
            done = subprocess.run([programs / "load", "--url", f_url, "--rate", str(args.rate), "--duration", f"{args.seconds}s", "--prompt", "100",
                                   "--output", "20", "-o", "json"], stdout=subprocess.PIPE, env=ENV, check=True, timeout=args.seconds + 60)
        finally:
            took = []
            for p in (front, prefill, decode):
                began = time.monotonic()
                p.send_signal(signal.SIGTERM)
                code = p.wait(30)
                took.append(time.monotonic() - began)
                p.stdout.close()
                if code != 0:
                    raise SystemExit(f"bench_outage: a process ended with {code}: {open(folder / 'log').read()[-1500:]}")
    return json.loads(done.stdout), max(took)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build", type=pathlib.Path)
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--rate", type=int, default=100)
    args = p.parse_args()
    build = args.build.resolve()
    print(f"{args.rate} requests/s for {args.seconds} s through frontend, prefill and decode worker; load average {os.getloadavg()[0]:.1f}")
    out = {}
    with tempfile.TemporaryDirectory() as tmp:
        tmp = pathlib.Path(tmp)
        sonde = subprocess.Popen([build / "sonde", "serve", "--data", tmp / "data", "--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0", "--otlp-http",
                                  "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        grpc = re.search(r"otlp-grpc (http://127\.0\.0\.1:\d+)", sonde.stdout.readline())[1]
        silent = socket.create_server(("127.0.0.1", 0))
        gone = socket.create_server(("127.0.0.1", 0))
        nobody = gone.getsockname()[1]
        gone.close()
        slow = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
        slow.daemon_threads = True
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        try:
            rows = (("none: no export", None, ""), ("sonde serve", grpc, "grpc"), ("absent", f"http://127.0.0.1:{nobody}", "grpc"),
                    ("silent", f"http://127.0.0.1:{silent.getsockname()[1]}", "http/protobuf"),
                    ("answers after 1 s", f"http://127.0.0.1:{slow.server_port}", "http/protobuf"))
            for n, (name, url, protocol) in enumerate(rows * args.runs):
                export = {"OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol} if url else {}
                folder = tmp / str(n)
                folder.mkdir()
                doc, exit_s = measure(build, folder, export, args)
                if name not in out or doc["e2e_ms"]["p99"] < out[name]["load"]["e2e_ms"]["p99"]:
                    out[name] = {"load": doc, "exit_seconds": exit_s}
        finally:
            sonde.terminate()
            sonde.wait(30)
            slow.shutdown()
            silent.close()
    print(f"{'collector':<22}{'e2e p50 ms':>12}{'p99':>9}{'TTFT p99':>10}{'ITL p99':>9}{'answered':>10}{'exit s':>8}")
    for name, r in out.items():
        doc = r["load"]
        print(f"{name:<22}{doc['e2e_ms']['p50']:>12.2f}{doc['e2e_ms']['p99']:>9.2f}{doc['ttft_ms']['p99']:>10.2f}{doc['itl_ms']['p99']:>9.2f}"
              f"{doc['ok']:>6}/{doc['sent']}{r['exit_seconds']:>8.2f}")
    with open(build / "bench_outage.json", "w", encoding="utf-8") as f:
        json.dump(out, f, indent=1)


if __name__ == "__main__":
    main()
