#!/usr/bin/env bash
# The demonstration: sonde serve, then frontend, prefill and decode worker that export to it, then some load with a few faults.
#   scripts/demo.sh [BUILD_DIR]
# Runs until Ctrl-C, or for DEMO_SECONDS, then stops everything and exits with 0. Everything it writes is in a temporary folder
# that goes away at the end (DEMO_KEEP=1 keeps it). Sonde takes its usual ports (3100, 4317, 4318) where they are free
# (DEMO_FREE_PORTS=1: others in any case). DEMO_RATE is the load in requests a second.
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
seconds=${DEMO_SECONDS:-0}
rate=${DEMO_RATE:-2}
dir=$(mktemp -d "${TMPDIR:-/tmp}/sonde-demo.XXXXXX")
began=$SECONDS
pids=()

say() { printf '%s\n' "$*"; }

stop() { # in the order in which requests flow, so that what is under way ends well; the server last
    trap - EXIT INT TERM
    : >"$dir/stopping"
    local name pid
    for name in load frontend prefill decode serve; do
        pid=$(cat "$dir/$name.pid" 2>/dev/null) || continue
        kill -TERM "$pid" 2>/dev/null || continue
        for _ in $(seq 80); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL "$pid" 2>/dev/null
    done
    [ ${#pids[@]} -gt 0 ] && wait "${pids[@]}" 2>/dev/null
    [ -s "$dir/load.out" ] && printf '\n  The load, as its clients saw it:\n' && sed 's/^/    /' "$dir/load.out"
    [ -n "${DEMO_KEEP:-}" ] && say "kept: $dir" || rm -rf "$dir"
    exit "${1:-0}"
}
trap 'say ""; say "stopping …"; stop 0' INT TERM
trap 'stop $?' EXIT

fail() { # MESSAGE LOG
    say "demo: $1" >&2
    [ -s "$dir/$2.log" ] && tail -n 15 "$dir/$2.log" >&2
    stop 1
}

taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port_or_free() { if [ -n "${DEMO_FREE_PORTS:-}" ] || taken "$1"; then echo 0; else echo "$1"; fi; }

# A free port for a status server, which takes none above 32767: the given one if it can be had.
system_port() {
    local port=$1
    while [ -n "${DEMO_FREE_PORTS:-}" ] || taken "$port"; do
        port=$((20000 + RANDOM % 12000))
        taken "$port" || break
    done
    echo "$port"
}

# NAME COMMAND…: in the background, in a session of its own, so that Ctrl-C reaches this script alone and not the server before its
# clients; its output goes to NAME.out and NAME.log, its id to NAME.pid.
start() {
    local name=$1
    shift
    : >"$dir/$name.out"
    setsid "$@" >>"$dir/$name.out" 2>>"$dir/$name.log" &
    echo $! >"$dir/$name.pid"
    disown $! # its death by a signal is no news for the terminal
}

# NAME: the URL from the line "listening on URL", up to 10 s after the start.
url_of() {
    local url
    for _ in $(seq 100); do
        url=$(sed -n 's/^listening on //p' "$dir/$1.out" | tail -n 1)
        [ -n "$url" ] && { echo "$url"; return 0; }
        kill -0 "$(cat "$dir/$1.pid")" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# NAME COMMAND…: starts it again whenever it dies, on the port it had.
watch_over() {
    local name=$1 url=$2
    shift 2
    (
        trap '' INT TERM
        while [ -d "$dir" ] && [ ! -e "$dir/stopping" ]; do
            pid=$(cat "$dir/$name.pid")
            while kill -0 "$pid" 2>/dev/null && [ ! -e "$dir/stopping" ]; do sleep 0.2; done
            [ -e "$dir/stopping" ] && break
            echo "$name died and is started again" >>"$dir/restarts.log"
            setsid "$@" --listen "${url#http://}" >>"$dir/$name.out" 2>>"$dir/$name.log" &
            echo $! >"$dir/$name.pid"
        done
        kill -TERM "$(cat "$dir/$name.pid")" 2>/dev/null # if it was started while the rest was being stopped
        wait
    ) 2>>"$dir/restarts.log" &
    pids+=($!)
}

reach() { curl -fsS -m 2 -o /dev/null "$1" 2>/dev/null; }

await() { # SECONDS COMMAND…
    local until=$((SECONDS + $1))
    shift
    while ! "$@"; do
        [ $SECONDS -ge $until ] && return 1
        sleep 0.1
    done
}

# ---- the collector --------------------------------------------------------------------------------------------------
sonde=$build/sonde
bin=$build/examples/inference
for program in "$sonde" "$bin/frontend" "$bin/prefill" "$bin/decode" "$bin/load"; do
    [ -x "$program" ] || { say "demo: $program is not built; run make" >&2; rm -rf "$dir"; trap - EXIT; exit 1; }
done
start serve "$sonde" serve --data "$dir/data" --http "127.0.0.1:$(port_or_free 3100)" --otlp-grpc "127.0.0.1:$(port_or_free 4317)" \
    --otlp-http "127.0.0.1:$(port_or_free 4318)"
address() { grep -oE "(^| )$1 http://127\.0\.0\.1:[0-9]+" "$dir/serve.out" | grep -oE 'http://.*' | head -n 1; }
await 10 grep -q 'otlp-grpc http://' "$dir/serve.out" || fail "sonde serve did not start" serve
url=$(address http)
grpc=$(address otlp-grpc)
await 10 reach "$url/ready" || fail "sonde serve is not ready" serve

# ---- the serving stack ------------------------------------------------------------------------------------------------
export OTEL_EXPORT_ENABLED=1 OTEL_EXPORTER_OTLP_ENDPOINT=$grpc OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=$grpc OTEL_EXPORTER_OTLP_LOGS_ENDPOINT=$grpc
export OTEL_METRICS_EXPORTER=otlp OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=$grpc OTEL_METRIC_EXPORT_INTERVAL=2000
export SONDE_RING_DIR=$dir/rings
export DYN_LOG=${DYN_LOG:-debug} DYN_LOGGING_JSONL=${DYN_LOGGING_JSONL:-1}
prefill_system=$(system_port 8081)
decode_system=$(system_port 8082)
mkdir -p "$dir/config"
worker() { # NAME SYSTEM-PORT: its command, into the array NAME
    local -n command=$1
    command=(env OTEL_SERVICE_NAME="$1" DYN_SYSTEM_PORT="$2" DYN_SYSTEM_HOST=127.0.0.1 "$bin/$1" --engine-metrics --dump-config-to "$dir/config/$1.json")
}
worker prefill "$prefill_system"
worker decode "$decode_system"
start prefill "${prefill[@]}" --listen 127.0.0.1:0
start decode "${decode[@]}" --listen 127.0.0.1:0
prefill_url=$(url_of prefill) || fail "the prefill worker did not start" prefill
decode_url=$(url_of decode) || fail "the decode worker did not start" decode
start frontend env OTEL_SERVICE_NAME=frontend "$bin/frontend" --listen 127.0.0.1:0 --dump-config-to "$dir/config/frontend.json" --prefill "$prefill_url" --decode "$decode_url" --aside 500ms
frontend_url=$(url_of frontend) || fail "the frontend did not start" frontend
watch_over prefill "$prefill_url" "${prefill[@]}"
watch_over decode "$decode_url" "${decode[@]}"
await 10 reach "$frontend_url/health" || fail "the frontend has no workers" frontend

# ---- requests ---------------------------------------------------------------------------------------------------------
chat() { # REQUEST-ID
    curl -fsS -m 20 -o /dev/null "$frontend_url/v1/chat/completions" -H 'content-type: application/json' -H "x-request-id: $1" \
        -d '{"model": "tiny", "max_tokens": 32, "messages": [{"role": "user", "content": "Where did the time of this request go? Tell me phase by phase, worker by worker."}]}' 2>/dev/null
}
seen() { curl -fsS -m 2 "$url/api/sonde/v1/requests/$1" 2>/dev/null | grep -q '"decode"'; }
await 10 chat demo-42 || fail "the request demo-42 was not answered" frontend
await 10 seen demo-42 || fail "the request demo-42 does not appear at $url" serve
duration=86400
[ "$seconds" -gt 0 ] && duration=$((seconds - (SECONDS - began) > 2 ? seconds - (SECONDS - began) - 1 : 1))
start load "$bin/load" --url "$frontend_url" --rate "$rate" --duration "${duration}s" --prefix load \
    --faults slow-prefill=0.04,kv-timeout=0.02,cuda-oom=0.02,hang=0.01,retry-storm=0.02,crash=0.01,lost-worker=0.01

option=
[ "$url" = http://127.0.0.1:3100 ] || option="--url $url "
case $build in "$PWD"/*) program=${build#"$PWD"/}/sonde ;; *) program=$sonde ;; esac
cat <<TEXT

  Sonde                $url
  a sample request     x-request-id demo-42: $url/ui/request/demo-42

  Try:
    $program request ${option}demo-42
    $program logs $option'{service_name="decode"} | x_request_id = "demo-42"'
    curl -s $url/api/sonde/v1/requests/demo-42

  Metrics              $url/ui/metrics (a dot on a chart opens its request); of the processes: $frontend_url/metrics
                       http://127.0.0.1:$prefill_system/metrics (prefill)   http://127.0.0.1:$decode_system/metrics (decode)
  Health               the same with /health; /metadata, /engine/kv and /debug/spans of the workers
    curl -s -H 'accept: application/openmetrics-text; version=1.0.0' $frontend_url/metrics | grep trace_id   # exemplars: "sonde request TRACE-ID"
    curl -s -X POST http://127.0.0.1:$decode_system/engine/pause                     # requests wait until …/engine/resume
    $program config diff $dir/config/prefill.json $dir/config/decode.json

  Send your own:
    curl -s $frontend_url/v1/chat/completions -H 'x-request-id: mine-1' -d '{"model": "tiny", "messages": [{"role": "user", "content": "hello"}]}'

  Load of $rate requests a second is running, some of them go wrong (add -H 'x-sonde-fault: hang' to yours).
TEXT
# From here on a signal only sets a flag; everything is stopped outside of the trap.
asked=
trap 'asked=1' INT TERM
serving=$(cat "$dir/serve.pid")
if [ "$seconds" -gt 0 ]; then
    say "  Stops by itself after $seconds s."
else
    say "  Ctrl-C stops everything."
fi
until [ -n "$asked" ] || { [ "$seconds" -gt 0 ] && [ $((SECONDS - began)) -ge "$seconds" ]; }; do
    kill -0 "$serving" 2>/dev/null || fail "sonde serve ended" serve
    sleep 0.2
done
[ -n "$asked" ] && say "" && say "stopping …"
stop 0
