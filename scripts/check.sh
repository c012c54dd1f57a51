#!/usr/bin/env bash
# Every test, in order of cost. Ends with the line `N passed, M failed`; exit status 1 if anything failed.
#   scripts/check.sh [BUILD_DIR]      SONDE_CHECK="unit layers blackbox browser" chooses parts
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
parts=${SONDE_CHECK:-layers unit blackbox browser}
passed=0 failed=0 skipped=0

count() { # NAME PASSED FAILED SKIPPED
    printf '== %-9s %s passed, %s failed%s\n' "$1" "$2" "$3" "$([ "${4:-0}" -gt 0 ] && echo ", $4 skipped")"
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + ${4:-0}))
}

layers() {
    if python3 scripts/layers.py; then count layers 1 0; else count layers 0 1; fi
}

unit() { # unit tests and fuzz corpora, by meson; each cmocka case counts
    local log="$build/meson-logs/testlog.txt" ok bad
    meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier "${TEST_SLOWNESS:-1}" >"$build/unit.out" 2>&1
    local rc=$?
    ok=$(grep -cE '^\[       OK \]' "$log")
    bad=$(grep -cE '^\[  FAILED  \] [a-zA-Z_0-9]+$' "$log")
    ok=$((ok + $(sed -n 's/^ *[0-9]*\/[0-9]* *[^ ]*fuzz.* OK .*/x/p' "$build/unit.out" | wc -l)))
    if [ $rc != 0 ]; then
        tail -60 "$build/unit.out"
        [ "$bad" = 0 ] && bad=1
    else
        bad=0
    fi
    count unit "$ok" "$bad"
}

blackbox() {
    SONDE_BUILD="$build" "$build/venv/bin/python" -m pytest -q -p no:cacheprovider tests/blackbox >"$build/blackbox.out" 2>&1
    local rc=$? line
    line=$(tail -1 "$build/blackbox.out")
    local ok bad skip
    ok=$(grep -oE '[0-9]+ passed' <<<"$line" | grep -oE '[0-9]+' || echo 0)
    bad=$(grep -oE '[0-9]+ (failed|error)' <<<"$line" | grep -oE '[0-9]+' | paste -sd+ | bc || echo 0)
    skip=$(grep -oE '[0-9]+ skipped' <<<"$line" | grep -oE '[0-9]+' || echo 0)
    [ $rc != 0 ] && { cat "$build/blackbox.out"; [ "${bad:-0}" = 0 ] && bad=1; }
    [ "${skip:-0}" != 0 ] && grep -E '^SKIPPED|skipped' "$build/blackbox.out" | head -20
    count blackbox "${ok:-0}" "${bad:-0}" "${skip:-0}"
}

browser() {
    local out ok bad
    out=$("$build/venv/bin/python" tests/browser/run.py "$build" 2>&1)
    local rc=$?
    ok=$(sed -nE 's/^# pass ([0-9]+)$/\1/p' <<<"$out" | paste -sd+ | bc)
    bad=$(sed -nE 's/^# fail ([0-9]+)$/\1/p' <<<"$out" | paste -sd+ | bc)
    [ $rc != 0 ] && { printf '%s\n' "$out"; [ "${bad:-0}" = 0 ] && bad=1; }
    count browser "${ok:-0}" "${bad:-0}"
}

for part in $parts; do
    "$part"
done
[ "$skipped" -gt 0 ] && echo "$skipped tests were skipped: what they need is not on this machine (see above)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
