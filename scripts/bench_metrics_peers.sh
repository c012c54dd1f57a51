#!/usr/bin/env bash
# libsonde's metrics beside prometheus-client and OpenTelemetry for Rust, client_golang and OpenTelemetry for Go: the same updates with
# the same values, one after the other in the same minute. Builds what is missing into BUILD/peers (the first time some minutes, with
# low priority). BUILD must hold a built bench/bench_metrics. Also writes BUILD/bench_metrics_peers.json.
#   scripts/bench_metrics_peers.sh [BUILD_DIR]
# A peer whose go or cargo is not there, or that cannot be built, is left out, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -x "$build/bench/bench_metrics" ] || { echo "bench_metrics_peers: $build/bench/bench_metrics is not there; build it first: make BUILD=$build" >&2; exit 1; }
build=$(realpath "$build")
from=$PWD/bench/peers/metrics
to=$build/peers
mkdir -p "$to"

say() { printf 'bench_metrics_peers: %s\n' "$*" >&2; }
quietly() { # NAME CMD…
    local name=$1
    shift
    nice -n 19 "$@" >"$to/$name.log" 2>&1 || { say "$name is left out, it cannot be built (all of it in $to/$name.log)"; tail -n 5 "$to/$name.log" >&2; return 1; }
}
newer() { # PROGRAM SOURCE…
    local program=$1 s
    shift
    for s; do
        if [ ! -x "$program" ] || [ "$s" -nt "$program" ]; then return 0; fi
    done
    return 1
}

peers=()
rust=$to/rust-metrics/release/bench-peers-metrics
if ! command -v cargo >/dev/null; then
    say "the Rust peers are left out: no cargo here"
elif newer "$rust" "$from/rust/src/main.rs" "$from/rust/Cargo.toml" "$from/rust/Cargo.lock"; then
    if quietly rust-metrics cargo build --release --locked -j1 --manifest-path "$from/rust/Cargo.toml" --target-dir "$to/rust-metrics"; then
        touch "$rust" && peers+=("$rust")
    fi
else
    peers+=("$rust")
fi
if ! command -v go >/dev/null; then
    say "the Go peers are left out: no go here"
elif newer "$to/gometrics" "$from"/go/*; then
    quietly go-metrics env GOTOOLCHAIN=local go build -C "$from/go" -p 1 -trimpath -o "$to/gometrics" . && peers+=("$to/gometrics")
else
    peers+=("$to/gometrics")
fi

python3 - "$build" "${peers[@]}" <<'PY'
import json
import os
import subprocess
import sys

build, peers = sys.argv[1], sys.argv[2:]
out = subprocess.run([build + "/bench/bench_metrics", "--json"], check=True, capture_output=True, text=True).stdout
own = json.loads(out.splitlines()[-1])["metrics"]
rows = [[library, name, *(own[key + "_ns"][:2]), *(own[key + "_two_ns"][:2])] for library, name, key in [
    ("libsonde", "int counter add", "int"), ("libsonde", "counter add", "float"), ("libsonde", "histogram observe", "classic"),
    ("libsonde", "native histogram observe", "native"), ("libsonde", "two labels and counter add", "vec"),
    ("libsonde, bound instrument", "int counter add", "bound_int"), ("libsonde, bound instrument", "counter add", "bound_float"),
    ("libsonde, bound instrument", "histogram observe", "bound_classic"), ("libsonde, bound instrument", "native histogram observe", "bound_native"),
    ("libsonde, meter", "two labels and counter add", "attributes"), ("floor", "a thread's own number", "own"), ("floor", "one shared atomic number", "atomic")]]
for p in peers:
    for line in subprocess.run([p], check=True, capture_output=True, text=True).stdout.splitlines():
        library, name, *ns = line.split("\t")
        rows.append([library, name, *map(float, ns)])
rows.sort(key=lambda r: r[1])
print("nanoseconds an update: lowest and median of 31 rounds of 100,000, alone and on each of two threads")
print(f"{'operation':28} {'library':28} {'alone':>8} {'median':>8} {'two':>8} {'median':>8}")
for r in rows:
    print(f"{r[1]:28} {r[0]:28} " + " ".join(f"{x:8.1f}" for x in r[2:]))
print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; scrape of 10,000 series {own['scrape_10k_ms'][1]:.2f} ms, as OTLP {own['otlp_10k_ms'][1]:.2f} ms")
json.dump([dict(zip(("library", "operation", "ns", "ns_median", "two_ns", "two_ns_median"), r)) for r in rows],
          open(build + "/bench_metrics_peers.json", "w"), indent=1)
PY
