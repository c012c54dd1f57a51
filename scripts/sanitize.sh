#!/usr/bin/env bash
# The whole check under sanitizers: scripts/sanitize.sh address,undefined | thread
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
build=build-${kind%%,*}
scripts/setup.sh "$build"
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=debugoptimized -Db_sanitize="$kind" -Db_lundef=false >/dev/null
ninja -C "$build" >"$build/ninja.out" 2>&1 || { tail -40 "$build/ninja.out"; exit 1; }
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
export TEST_SLOWNESS=6
SONDE_CHECK="${SONDE_CHECK:-unit blackbox}" scripts/check.sh "$build"
