#!/usr/bin/env bash
# sonde serve with a real NVIDIA Dynamo in front of it; see dynamo.py.
#   examples/dynamo/run.sh [BUILD_DIR]
# Runs until Ctrl-C, or for DEMO_SECONDS (not counting the installation on first use). DYNAMO_DIR: where Dynamo is installed
# (default BUILD_DIR/dynamo). Sonde takes its usual ports where they are free.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${1:-build}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/sonde-dynamo.XXXXXX")
serve= dynamo=

stop() {
    trap - EXIT
    trap '' INT TERM
    [ -n "$dynamo" ] && kill -TERM "$dynamo" 2>/dev/null && wait "$dynamo"
    [ -n "$serve" ] && kill -TERM "$serve" 2>/dev/null && wait "$serve"
    rm -rf "$dir"
    exit "$1"
}
trap 'stop 0' INT TERM
trap 'stop $?' EXIT

[ -x "$build/sonde" ] || { echo "run.sh: $build/sonde is not built; run make" >&2; exit 1; }
taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port_or_free() { if taken "$1"; then echo 0; else echo "$1"; fi; }
"$build/sonde" serve --data "$dir/data" --http "127.0.0.1:$(port_or_free 3100)" --otlp-grpc "127.0.0.1:$(port_or_free 4317)" \
    --otlp-http "127.0.0.1:$(port_or_free 4318)" >"$dir/serve.out" 2>"$dir/serve.log" &
serve=$!
for _ in $(seq 100); do
    grep -q 'otlp-grpc http://' "$dir/serve.out" && break
    kill -0 "$serve" 2>/dev/null || { cat "$dir/serve.log" >&2; exit 1; }
    sleep 0.1
done
address() { grep -oE "(^| )$1 http://127\.0\.0\.1:[0-9]+" "$dir/serve.out" | grep -oE 'http://.*' | head -n 1; }

case $build in "$PWD"/*) program=${build#"$PWD"/}/sonde ;; *) program=$build/sonde ;; esac
python=/usr/bin/python3
[ -x "$python" ] || python=python3
"$python" examples/dynamo/dynamo.py --dir "${DYNAMO_DIR:-$build/dynamo}" --otlp "$(address otlp-grpc)" --sonde "$(address http)" \
    --program "$program" --seconds "${DEMO_SECONDS:-0}" &
dynamo=$!
wait "$dynamo"
code=$?
dynamo=
stop $code
