#!/usr/bin/env bash
# Every fuzz target with libFuzzer for FUZZ_SECONDS (default 10) each, starting from the saved corpus; new inputs stay in
# build-fuzz/. A crash is copied to build-fuzz/crash-* : make it small, put it into fuzz/corpus/NAME, then mend the code.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-10}
build=build-fuzz
scripts/setup.sh "$build"
[ -f "$build/build.ninja" ] || CC=clang CXX=clang++ meson setup "$build" --buildtype=debugoptimized -Dfuzzer=true \
    -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
targets=$(ninja -C "$build" -t targets all | sed -nE 's/^(fuzz\/fuzz_[a-z0-9_]+):.*/\1/p' | sort -u)
# shellcheck disable=SC2086
ninja -C "$build" $targets >"$build/ninja.out" 2>&1 || { tail -40 "$build/ninja.out"; exit 1; }
passed=0 failed=0
for t in $targets; do
    name=${t#fuzz/fuzz_}
    mkdir -p "$build/corpus/$name"
    if "$build/$t" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=3000 -max_len=65536 -artifact_prefix="$build/crash-$name-" \
        -print_final_stats=1 "$build/corpus/$name" "fuzz/corpus/$name" >"$build/$name.out" 2>&1; then
        echo "fuzz $name: $(sed -nE 's/^stat::number_of_executed_units: *//p' "$build/$name.out") runs"
        passed=$((passed + 1))
    else
        tail -30 "$build/$name.out"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
