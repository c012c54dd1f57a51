#!/usr/bin/env bash
# Checks ring.pml with spin: as the library is, in which nothing may be found, and with each order broken, which must be found.
# Exit status 77 (skipped) without spin or a C compiler.
#   tests/model/run.sh [NAME…]      rows by name; all if none is given
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
command -v spin >/dev/null || { echo "skipped: spin is not installed (Debian package spin)"; exit 77; }
cc=$(command -v gcc || command -v cc) || { echo "skipped: no C compiler"; exit 77; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# name, what is expected, definitions
rows="
threads           holds OFFLINE THREADS=2 CHUNKS=3 N=3
reuse             holds OFFLINE THREADS=1 CHUNKS=2 N=9
weak_memory       holds WEAK THREADS=1 CHUNKS=2 N=5
inspector         holds LIVE WEAK THREADS=1 CHUNKS=2 R=1 N=4
inspector_two     holds LIVE THREADS=1 CHUNKS=2 N=5
commit_early      fails OFFLINE BREAK_COMMIT_EARLY
commit_relaxed    fails WEAK THREADS=1 CHUNKS=2 N=3 BREAK_COMMIT_RELAXED
link_early        fails OFFLINE BREAK_LINK_EARLY
read_commit_first fails OFFLINE BREAK_READ_COMMIT_FIRST
retire_early      fails OFFLINE BREAK_RETIRE_EARLY
no_fence          fails LIVE WEAK THREADS=1 CHUNKS=2 R=1 N=4 BREAK_NO_FENCE
seq_after_commit  fails LIVE THREADS=1 CHUNKS=2 N=5 BREAK_SEQ_AFTER_COMMIT
"

check() { # NAME EXPECTED DEFINITION…
    local name=$1 want=$2 dir=$tmp/$1 result states
    shift 2
    mkdir -p "$dir"
    cd "$dir" || return 1
    # spin reports how it called the preprocessor in its exit status; pan.c is what counts
    spin -a "${@/#/-D}" "$here/ring.pml" >spin.out 2>&1
    if ! [ -f pan.c ] || ! "$cc" -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1500 -o pan pan.c 2>cc.out; then
        cat spin.out cc.out 2>/dev/null
        echo "FAILED $name: the model cannot be built"
        return 1
    fi
    ./pan -m200000 >pan.out 2>&1
    states=$(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' pan.out)
    if grep -qE 'max search depth too small|out of memory|error: ' pan.out; then result=incomplete
    elif grep -q 'errors: 0' pan.out; then result=holds
    elif grep -q 'assertion violated' pan.out; then result=fails
    else result=unknown
    fi
    if [ "$result" != "$want" ]; then
        grep -vE '^$' pan.out | head -20
        echo "FAILED $name: $result, want $want ($*)"
        return 1
    fi
    echo "ok $name: $want, $states states"
}

bad=0 found=0
while read -r name want definitions; do
    [ -z "$name" ] && continue
    [ $# -gt 0 ] && [[ " $* " != *" $name "* ]] && continue
    found=$((found + 1))
    # shellcheck disable=SC2086
    (check "$name" "$want" $definitions) || bad=$((bad + 1))
done <<<"$rows"
[ $found -gt 0 ] || { echo "no such row: $*"; exit 1; }
echo "$((found - bad)) of $found as expected"
[ $bad = 0 ]
