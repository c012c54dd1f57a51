#!/usr/bin/env bash
# Every fuzz target with libFuzzer for FUZZ_SECONDS (default 10) each, starting from the saved corpus; new inputs stay in
# build-fuzz/corpus/. A crash is left in build-fuzz/crash-NAME-…: make it small, put it into fuzz/corpus/NAME, then mend the code.
#   scripts/fuzz.sh [NAME…]       (default: all)
# FUZZ_SEED  the start of the random numbers (default: another each time). CI gives one, so that a change is judged by what it changes.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-10}
build=build-fuzz
scripts/setup.sh "${BUILD:-build}"
[ -f "$build/build.ninja" ] || CC=clang CXX=clang++ meson setup "$build" --buildtype=debugoptimized -Dfuzzer=true \
    -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
targets=$(ninja -C "$build" -t targets all | sed -nE 's/^(fuzz\/fuzz_[a-z0-9_]+):.*/\1/p' | sort -u)
[ $# -gt 0 ] && targets=$(printf 'fuzz/fuzz_%s\n' "$@")
# shellcheck disable=SC2086
ninja -C "$build" $targets >"$build/ninja.out" 2>&1 || { tail -40 "$build/ninja.out"; exit 1; }
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

fuzz() { # NAME: its status stands in NAME.rc
    mkdir -p "$build/corpus/$1" "fuzz/corpus/$1"
    "$build/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3000 -max_len=65536 -artifact_prefix="$build/crash-$1-" \
        -print_final_stats=1 -seed="${FUZZ_SEED:-0}" "$build/corpus/$1" "fuzz/corpus/$1" >"$build/$1.out" 2>&1 && echo 0 >"$build/$1.rc" || echo 1 >"$build/$1.rc"
}

passed=0 failed=0
for t in $targets; do # as many at once as there are processors
    while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || true; done
    fuzz "${t#fuzz/fuzz_}" &
done
wait
for t in $targets; do
    name=${t#fuzz/fuzz_}
    if [ "$(cat "$build/$name.rc")" = 0 ]; then
        echo "fuzz $name: $(sed -nE 's/^stat::number_of_executed_units: *//p' "$build/$name.out") runs"
        passed=$((passed + 1))
    else
        tail -40 "$build/$name.out"
        echo "fuzz $name: FAILED, see above and $build/crash-$name-*"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
