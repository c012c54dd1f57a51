#!/usr/bin/env bash
# The figures: libsonde (bench_log, bench_span, bench_loss), the store (bench_store, bench_samples), the server (bench_server.py), each beside the
# machine's floor, as text and in BUILD/bench.json. About three minutes; runs on whatever else the machine is doing, so compare ratios.
#   scripts/bench.sh [BUILD_DIR]      BENCH_RUNS (default 3)
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
runs=${BENCH_RUNS:-3}
out=$(mktemp -d "$build/bench.XXXXXX")
trap 'rm -rf "$out"' EXIT

echo "machine: $(nproc) cores, $(sed -nE 's/^model name\s*: //p' /proc/cpuinfo | head -1), $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
echo
program() { # NAME: runs it, shows its text, keeps its last line, a JSON object
    for i in $(seq "$runs"); do
        "$build/bench/$1" --json "${@:2}" >"$out/$1.$i"
        tail -n 1 "$out/$1.$i" >>"$out/$1.json"
    done
    echo "$1, last of $runs runs"
    head -n -1 "$out/$1.$runs"
    echo
}
program bench_log "$out/lines"
program bench_span
program bench_loss "$out/loss"
program bench_store --seconds 2 "$out/store"
program bench_samples "$out/samples"
python3 bench/bench_server.py "$build" --runs "$runs" --dir "$out" --json "$out/server.json"

python3 - "$out" "$build/bench.json" <<'PY'
import json, os, sys, time
out, target = sys.argv[1:]

def spread(name):
    runs = [json.loads(line) for line in open(f"{out}/{name}.json")]
    runs = [next(iter(r.values())) if len(r) == 1 else r for r in runs]
    return {k: {"low": min(r[k] for r in runs), "median": sorted(r[k] for r in runs)[len(runs) // 2], "high": max(r[k] for r in runs)}
            if isinstance(v, (int, float)) and not isinstance(v, bool) else v for k, v in runs[-1].items()}

log, span, loss, store, samples = (spread("bench_" + name) for name in ("log", "span", "loss", "store", "samples"))
json.dump({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cores": os.cpu_count(), "log": log, "span": span, "loss": loss, "store": store, "samples": samples,
           "server": json.load(open(f"{out}/server.json"))}, open(target, "w"), indent=1)
print(f"\nall figures: {os.path.relpath(target)}; lowest and highest of the runs:")
for title, figures in (("bench_log", log), ("bench_span", span), ("bench_loss", loss), ("bench_store", store), ("bench_samples", samples)):
    for k, v in figures.items():
        if isinstance(v, dict):
            print(f"  {title:<14}{k:<32}{v['low']:>14,.1f} … {v['high']:,.1f}")
PY
