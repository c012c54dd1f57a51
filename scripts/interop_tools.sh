#!/usr/bin/env bash
# Gets the programs of others that tests/interop runs beside Sonde into BUILD/interop; does nothing for what is there.
#   scripts/interop_tools.sh BUILD_DIR [all]
# Without "all" what is quickly had: prometheus and promtool, out of Debian's package without installing it (so that no service
# starts). With it telemetrygen (Go) and a sender made with OpenTelemetry's Rust SDK, which take minutes to build.
# Says what it cannot get, and ends with 0: the tests skip what is not there. SONDE_SETUP=no gets nothing.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-build}/interop"
to=$(realpath "${1:-build}/interop")
[ "${SONDE_SETUP:-}" = no ] && exit 0
telemetrygen=v0.161.0

say() { printf 'interop: %s\n' "$*"; }
step() { # NAME CMD…: with low priority; false, with the end of what it said, when it fails
    local name=$1
    shift
    nice -n 19 "$@" >"$to/$name.log" 2>&1 </dev/null || { say "$name cannot be had (all of it in $to/$name.log):"; tail -n 5 "$to/$name.log"; return 1; }
}

prometheus() {
    [ -x "$to/prometheus" ] && [ -x "$to/promtool" ] && return
    command -v apt-get >/dev/null || { say "no apt-get: prometheus is left out"; return; }
    local dir=$to/deb
    rm -rf "$dir" && mkdir -p "$dir"
    say "getting Debian's prometheus"
    fetch() { (cd "$dir" && apt-get download -qq prometheus); }
    if ! fetch >"$to/prometheus.log" 2>&1; then
        apt-get update -qq >>"$to/prometheus.log" 2>&1
        fetch >>"$to/prometheus.log" 2>&1
    fi
    step prometheus dpkg -x "$dir"/prometheus_*.deb "$dir" && cp "$dir/usr/bin/prometheus" "$dir/usr/bin/promtool" "$to/"
    rm -rf "$dir"
}

go_telemetrygen() {
    [ "$(cat "$to/telemetrygen.version" 2>/dev/null)" = $telemetrygen ] && return
    command -v go >/dev/null || { say "no go: telemetrygen is left out"; return; }
    say "building telemetrygen $telemetrygen"
    step telemetrygen env GOBIN="$to" GOTOOLCHAIN=local go install -p 1 \
        github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen@$telemetrygen && echo $telemetrygen >"$to/telemetrygen.version"
}

rust_sender() {
    local from=tests/interop/rust
    [ -x "$to/otel-send" ] && [ ! $from/src/main.rs -nt "$to/otel-send" ] && [ ! $from/Cargo.lock -nt "$to/otel-send" ] && return
    command -v cargo >/dev/null || { say "no cargo: the Rust sender is left out"; return; }
    say "building the Rust sender"
    step otel-send cargo build --release --locked -j1 --manifest-path $from/Cargo.toml --target-dir "$to/rust" &&
        cp "$to/rust/release/otel-send" "$to/otel-send" && touch "$to/otel-send"
}

prometheus
if [ "${2:-}" = all ]; then
    go_telemetrygen
    rust_sender
fi
exit 0
