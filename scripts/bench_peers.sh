#!/usr/bin/env bash
# libsonde beside spdlog, glog, Rust's tracing, zerolog and zap on the same work in the same minutes, as a table and in
# BUILD/bench_peers.json. bench/README.md says what is measured. Builds what is missing into BUILD/peers (the first time a few
# minutes, with low priority), then runs for less than four minutes. BUILD must hold a built libsonde.so.
#   scripts/bench_peers.sh [BUILD_DIR]
# BENCH_RUNS (default 3); SONDE_SETUP=no installs no Debian packages. A peer whose library, go or cargo is not there is left out,
# and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ -e "$build/libsonde.so" ] || { echo "bench_peers: $build/libsonde.so is not there; build it first: make BUILD=$build" >&2; exit 1; }
build=$(realpath "$build")
from=$PWD/bench/peers
to=$build/peers
mkdir -p "$to"
# one at a time: several may share the machine, and two of these the directory
exec 9>"$to/.lock"
flock -n 9 || { echo "bench_peers: waiting for another run in $to" >&2; flock 9; }

say() { printf 'bench_peers: %s\n' "$*"; }
quietly() { # NAME CMD…: runs it with low priority; false, with the end of what it said, when it fails
    local name=$1
    shift
    nice -n 19 "$@" >"$to/$name.log" 2>&1 || { say "$name is left out, it cannot be built (all of it in $to/$name.log):"; tail -n 5 "$to/$name.log"; return 1; }
}
installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }
newer() { # PROGRAM SOURCE…: whether it must be built
    local program=$1 s
    shift
    for s; do
        if [ ! -x "$program" ] || [ "$s" -nt "$program" ]; then return 0; fi
    done
    return 1
}

missing=
command -v pkg-config >/dev/null || missing=" pkgconf"
for p in libspdlog-dev libgoogle-glog-dev; do
    installed "$p" || missing="$missing $p"
done
if [ -n "$missing" ] && [ "${SONDE_SETUP:-}" != no ] && command -v apt-get >/dev/null; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    if [ -z "$sudo" ] || command -v sudo >/dev/null; then
        say "installing Debian packages:$missing"
        # shellcheck disable=SC2086
        { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
            >"$to/apt.log" 2>&1 || { say "apt-get failed:"; tail -n 5 "$to/apt.log"; }
    else
        say "not root and no sudo; for spdlog and glog run as root: apt-get install$missing"
    fi
fi

flags="-O2 -Wall -Wextra -Wshadow -Wno-unused-parameter"
[ "$(uname -m)" != x86_64 ] || flags="$flags -march=x86-64-v2"
# shellcheck disable=SC2086
{
    if newer "$to/floors" "$from/floors.c" "$from/harness.h"; then
        ${CC:-cc} -std=gnu17 $flags "$from/floors.c" -o "$to/floors" -pthread
    fi
    if newer "$to/sonde" "$from/sonde.c" "$from/harness.h" include/sonde/*.h; then
        ${CC:-cc} -std=gnu17 $flags -Iinclude "$from/sonde.c" -o "$to/sonde" -L"$build" -lsonde -Wl,-rpath,"$build" -pthread
    fi
    for p in spdlog:spdlog glog:libglog; do
        name=${p%:*}
        if ! pkg-config --exists "${p#*:}" 2>/dev/null; then
            say "$name is left out: its Debian package is not installed"
            rm -f "$to/$name"
        elif newer "$to/$name" "$from/$name.cc" "$from/harness.h"; then
            quietly "$name" ${CXX:-c++} -std=c++17 $flags "$from/$name.cc" -o "$to/$name" $(pkg-config --cflags --libs "${p#*:}") -pthread ||
                rm -f "$to/$name"
        fi
    done
}
program=$to/rust/release/bench-peers-tracing
if ! command -v cargo >/dev/null; then
    say "Rust's tracing is left out: no cargo here"
    rm -f "$program"
elif newer "$program" "$from/rust/src/main.rs" "$from/rust/Cargo.toml" "$from/rust/Cargo.lock"; then
    say "building the Rust peer"
    if quietly tracing cargo build --release --locked -j1 --manifest-path "$from/rust/Cargo.toml" --target-dir "$to/rust"; then
        touch "$program"
    else
        rm -f "$program"
    fi
fi
if ! command -v go >/dev/null; then
    say "zerolog and zap are left out: no go here"
    rm -f "$to/golog"
elif newer "$to/golog" "$from"/go/*; then
    say "building the Go peers"
    quietly zerolog-zap env GOTOOLCHAIN=local go build -C "$from/go" -p 1 -trimpath -o "$to/golog" . || rm -f "$to/golog"
fi

exec python3 "$from/run.py" "$build" --runs "${BENCH_RUNS:-3}"
