#!/usr/bin/env python3
"""What a steady rate of spans costs the process that makes them, exported to a `sonde serve` of its own.

  rate.py BUILD_DIR [--rate N] [--seconds N]

Runs BUILD_DIR/peers/spans-rate; adds "rate" to BUILD_DIR/bench_spans.json. The loop's own cost (the same without spans) is measured first
and taken off.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile

ENV = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "DYN_", "OTEL_"))}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--rate", type=int, default=10_000)
    p.add_argument("--seconds", type=int, default=10)
    args = p.parse_args()
    build = os.path.abspath(args.build)
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([f"{build}/sonde", "serve", "--data", f"{folder}/data", "--http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0",
                                   "--otlp-http", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            line = server.stdout.readline()
            where = dict(re.findall(r"(otlp-grpc|otlp-http) (http://127\.0\.0\.1:\d+)", line))
            out = {}
            for name, mode, port, more in (
                    ("the loop alone", "none", "otlp-grpc", {}), ("no attributes, gRPC", "plain", "otlp-grpc", {}),
                    ("ten attributes, gRPC", "attributes", "otlp-grpc", {}), ("ten attributes, HTTP", "attributes", "otlp-http", {}),
                    ("ten attributes, gRPC, gzip", "attributes", "otlp-grpc", {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})):
                env = {**ENV, "SONDE_RING_DIR": folder, "OTEL_EXPORT_ENABLED": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": where[port],
                       "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if port == "otlp-grpc" else "http/protobuf", **more}
                done = subprocess.run([f"{build}/peers/spans-rate", mode, str(args.rate), str(args.seconds)], stdout=subprocess.PIPE, text=True, env=env,
                                      check=True, timeout=args.seconds + 60)
                out[name] = json.loads(done.stdout.splitlines()[-1])
        finally:
            server.terminate()
            server.wait(30)
    own = out["the loop alone"]["cpu_seconds"]
    print(f"{args.rate:,} spans/s for {args.seconds} s, exported to sonde serve: share of a core that the process takes (aim: ≤ 0.5 %)")
    for name, r in out.items():
        if name == "the loop alone":
            print(f"  {name:<28}{100 * own / args.seconds:>8.2f} %")
            continue
        r["share"] = (r["cpu_seconds"] - own) / args.seconds
        print(f"  {name:<28}{100 * r['share']:>8.2f} %  above it, {1e9 * r['share'] / args.rate:,.0f} ns a span; {r['sent']:,} sent, {r['dropped']} lost")
    target = f"{build}/bench_spans.json"
    doc = {}
    if os.path.exists(target):
        with open(target, encoding="utf-8") as f:
            doc = json.load(f)
    doc["rate"] = {"rate": args.rate, "seconds": args.seconds, "loop_share": own / args.seconds, "runs": out}
    with open(target, "w", encoding="utf-8") as f:
        json.dump(doc, f, indent=1)


if __name__ == "__main__":
    main()
