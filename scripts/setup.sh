#!/usr/bin/env bash
# Installs what is missing to build, test and demonstrate Sonde: Debian packages, npm packages of web/, Python tools.
#   scripts/setup.sh [BUILD_DIR]
# Says what it does, does nothing when all is there, may be run any number of times. SONDE_SETUP=no skips it.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ "${SONDE_SETUP:-}" = no ] && exit 0

# One list. Building, then testing.
packages="build-essential pkgconf git ca-certificates meson ninja-build python3 python3-venv nodejs
 libnghttp2-dev zlib1g-dev libdeflate-dev libzstd-dev libsnappy-dev libxxhash-dev libre2-dev
 libcmocka-dev curl bc clang clang-format libclang-rt-14-dev llvm chromium"

say() { printf 'setup: %s\n' "$*"; }

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'install ok installed'; }

missing=
for p in $packages; do
    [ "$p" = nodejs ] && command -v node >/dev/null && continue
    installed "$p" || missing="$missing $p"
done
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
    if ! command -v apt-get >/dev/null; then
        say "these Debian packages are missing and apt-get is not here:$missing" >&2
        exit 1
    fi
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { say "not root and no sudo; run as root: apt-get install$missing" >&2; exit 1; }
        sudo=sudo
    fi
    say "installing Debian packages:$missing"
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/tmp/sonde-apt.log 2>&1 ||
        { tail -20 /tmp/sonde-apt.log >&2; exit 1; }
fi

# npm packages of the page: only when the lock file changed.
for dir in web tests/browser; do
    [ -f "$dir/package-lock.json" ] || continue
    stamp="$dir/node_modules/.sonde-lock"
    if ! cmp -s "$dir/package-lock.json" "$stamp" 2>/dev/null; then
        say "installing npm packages of $dir/"
        (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error)
        cp "$dir/package-lock.json" "$stamp"
    fi
done

# Python tools of the tests, in an environment of their own: the python3 found first may be anybody's.
want="$(cat scripts/requirements.txt)"
if [ "$(cat "$build/venv/.sonde-requirements" 2>/dev/null)" != "$want" ]; then
    say "installing Python tools into $build/venv"
    mkdir -p "$build"
    python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install -q --disable-pip-version-check -r scripts/requirements.txt
    printf '%s\n' "$want" >"$build/venv/.sonde-requirements"
fi
