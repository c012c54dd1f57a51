#!/usr/bin/env bash
# Every test, in order of cost. Ends with the line `N passed, M failed`; exit status 1 if anything failed.
#   scripts/check.sh [BUILD_DIR]
# SONDE_CHECK     parts to run, of "layers format compliance unit blackbox interop python browser" (all)
# SONDE_BLACKBOX  files of tests/blackbox/ to run (all)
# SONDE_VENV      Python environment with the test tools (BUILD_DIR/venv)
# The part interop runs what scripts/interop_tools.sh has quickly at hand; what takes minutes to build (make interop) only if it is there.
# Tests that read ../shared (recorded data of other programs) skip themselves, and say so, where it is absent.
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
parts=${SONDE_CHECK:-layers format compliance unit blackbox interop python browser}
python=${SONDE_VENV:-$build/venv}/bin/python
passed=0 failed=0 skipped=0

count() { # NAME PASSED FAILED SKIPPED
    printf '== %-9s %s passed, %s failed%s\n' "$1" "$2" "$3" "$([ "${4:-0}" -gt 0 ] && echo ", $4 skipped")"
    passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + ${4:-0}))
}

number() { # TEXT WORD…: the sum of the numbers that stand before these words
    local text=$1 sum=0 n word
    shift
    for word; do
        n=$(grep -oE "[0-9]+ $word" <<<"$text" | head -1 | grep -oE '^[0-9]+')
        sum=$((sum + ${n:-0}))
    done
    echo "$sum"
}

layers() {
    if python3 scripts/layers.py; then count layers 1 0; else count layers 0 1; fi
}

format() {
    local out
    if out=$(scripts/format.sh --dry-run -Werror 2>&1); then
        count format 1 0
    else
        grep -oE '^[^ :]+:' <<<"$out" | sort | uniq -c | sed 's/:$//; s/^/   lines to change: /'
        echo "   run: make format"
        count format 0 1
    fi
}

unit() { # unit tests and replayed fuzz corpora; each cmocka case counts, any other program as one
    rm -f "$build/meson-logs/testlog.json"
    meson test -C "$build" --no-rebuild --timeout-multiplier "${TEST_SLOWNESS:-1}" >"$build/unit.out" 2>&1
    local rc=$? counts
    counts=$(python3 scripts/unit_counts.py "$build/meson-logs/testlog.json") || { tail -40 "$build/unit.out"; counts="0 1 0"; }
    sed '$d' <<<"$counts"
    read -r ok bad skip <<<"$(tail -1 <<<"$counts")"
    [ $rc != 0 ] && [ "$bad" = 0 ] && { tail -40 "$build/unit.out"; bad=1; }
    count unit "$ok" "$bad" "$skip"
}

pytests() { # NAME FILE…
    local name=$1
    shift
    SONDE_BUILD="$build" "$python" -m pytest -q -rs -p no:cacheprovider "$@" >"$build/$name.out" 2>&1
    local rc=$? line ok bad skip
    line=$(tail -1 "$build/$name.out")
    ok=$(number "$line" passed) bad=$(number "$line" failed error) skip=$(number "$line" skipped)
    [ $rc != 0 ] && { cat "$build/$name.out"; [ "$bad" = 0 ] && bad=1; }
    [ $rc = 0 ] && grep -E '^SKIPPED' "$build/$name.out"
    count "$name" "$ok" "$bad" "$skip"
}

blackbox() { # real processes over real sockets
    local files=() f
    for f in ${SONDE_BLACKBOX:-}; do files+=("tests/blackbox/$f"); done
    pytests blackbox "${files[@]:-tests/blackbox}"
}

interop() { # beside programs of others
    scripts/interop_tools.sh "$build" ${SONDE_INTEROP:+"$SONDE_INTEROP"}
    pytests interop tests/interop
}

compliance() { # docs/compliance.md: each row once, each "yes" with a test that exists
    if python3 scripts/compliance.py; then count compliance 1 0; else count compliance 0 1; fi
}

python() { # the Python package: types, then its tests
    if ! scripts/python_env.sh "$build"; then count python 0 1; return; fi
    local python=$build/python/bin/python out
    if out=$("$python" -m mypy --strict python/sonde 2>&1); then count types 1 0; else printf '%s\n' "$out"; count types 0 1; fi
    pytests python tests/python --sonde-dir "$build/test-results"
}

browser() { # the page, in Chromium
    local out ok bad skip
    out=$("$python" tests/browser/run.py "$build" 2>&1)
    local rc=$?
    sum() { sed -nE "s/^(#|ℹ) $1 ([0-9]+)\$/\2/p" <<<"$out" | awk '{ n += $1 } END { print n + 0 }'; }
    ok=$(sum pass) bad=$(($(sum fail) + $(sum cancelled))) skip=$(sum skipped)
    [ $rc != 0 ] && { printf '%s\n' "$out"; [ "$bad" = 0 ] && bad=1; }
    [ "$ok" = 0 ] && [ "$bad" = 0 ] && { printf '%s\n' "$out"; bad=1; }
    count browser "$ok" "$bad" "$skip"
}

for part in $parts; do
    case $part in
    layers | format | compliance | unit | blackbox | interop | python | browser) "$part" ;;
    *) echo "check.sh: unknown part \"$part\" in SONDE_CHECK" >&2; count "$part" 0 1 ;;
    esac
done
[ "$skipped" -gt 0 ] && echo "$skipped tests were skipped: what they need is not on this machine (see above)"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
