#!/usr/bin/env bash
# The check under sanitizers: scripts/sanitize.sh address,undefined | thread
# SONDE_CHECK and SONDE_BLACKBOX choose parts, as in scripts/check.sh. Any report of a sanitizer ends the program it is about,
# and so fails its test.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
tools=${BUILD:-build}
build=build-${kind%%,*}
scripts/setup.sh "$tools"
[ -f "$build/build.ninja" ] || meson setup "$build" --buildtype=debugoptimized -Db_sanitize="$kind" -Db_lundef=false >/dev/null
ninja -C "$build" >"$build/ninja.out" 2>&1 || { tail -40 "$build/ninja.out"; exit 1; }
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:allocator_may_return_null=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0
export TEST_SLOWNESS=6 SONDE_VENV=$PWD/$tools/venv
SONDE_CHECK="${SONDE_CHECK:-unit blackbox browser}" scripts/check.sh "$build"
