#!/usr/bin/env bash
# Spans of libsonde beside OpenTelemetry's SDKs for Rust and Go, in the same minute, as a table and in BUILD/bench_spans.json; then
# what 10,000 spans a second cost a process that exports them to `sonde serve`. Builds what is missing into BUILD/peers (the first time
# some minutes, with low priority), then runs for about a minute. BUILD must hold a built libsonde.so.
#   scripts/bench_spans.sh [BUILD_DIR]      BENCH_RUNS (default 3)
# A peer whose compiler is not there is left out, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -e "$build/libsonde.so" ] || { echo "bench_spans: $build/libsonde.so is not there; build it first: make BUILD=$build" >&2; exit 1; }
build=$(realpath "$build")
from=$PWD/bench/peers/spans
to=$build/peers
mkdir -p "$to"
exec 9>"$to/.lock"
flock -n 9 || { echo "bench_spans: waiting for another run in $to" >&2; flock 9; }

say() { printf 'bench_spans: %s\n' "$*"; }
quietly() { # NAME CMD…
    local name=$1
    shift
    nice -n 19 "$@" >"$to/$name.log" 2>&1 || { say "$name is left out, it cannot be built (all of it in $to/$name.log):"; tail -n 5 "$to/$name.log"; rm -f "$to/$name"; }
}
newer() { # PROGRAM SOURCE…
    local program=$1 s
    shift
    for s; do
        if [ ! -x "$program" ] || [ "$s" -nt "$program" ]; then return 0; fi
    done
    return 1
}

for p in sonde rate; do
    if newer "$to/spans-$p" "$from/$p.c" include/sonde/*.h; then
        ${CC:-cc} -std=gnu17 -O2 -Wall -Wextra -Iinclude "$from/$p.c" -o "$to/spans-$p" -L"$build" -lsonde -Wl,-rpath,"$build" -pthread
    fi
done
if ! command -v cargo >/dev/null; then
    say "OpenTelemetry Rust is left out: no cargo here"
elif newer "$to/spans-rust" "$from/rust/src/main.rs" "$from/rust/Cargo.toml" "$from/rust/Cargo.lock"; then
    say "building the Rust peer"
    quietly spans-rust cargo build --release --locked -j1 --manifest-path "$from/rust/Cargo.toml" --target-dir "$to/spans-cargo"
    [ ! -x "$to/spans-cargo/release/bench-spans-otel" ] || { cp "$to/spans-cargo/release/bench-spans-otel" "$to/spans-rust" && touch "$to/spans-rust"; }
fi
if ! command -v go >/dev/null; then
    say "OpenTelemetry Go is left out: no go here"
elif newer "$to/spans-go" "$from"/go/*; then
    say "building the Go peer"
    quietly spans-go env GOTOOLCHAIN=local go build -C "$from/go" -p 1 -trimpath -o "$to/spans-go" .
fi
python3 "$from/run.py" "$build" --runs "${BENCH_RUNS:-3}"
[ -x "$build/sonde" ] || exit 0
echo
exec python3 "$from/rate.py" "$build"
