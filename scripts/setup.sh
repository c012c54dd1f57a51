#!/usr/bin/env bash
# Installs what is missing to build, test and demonstrate Sonde: Debian packages, npm packages of web/, Python tools, toml-test.
#   scripts/setup.sh [BUILD_DIR]
# Says what it does, does nothing when all is there, may be run any number of times. SONDE_SETUP=no skips it.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build}
[ "${SONDE_SETUP:-}" = no ] && exit 0

# One list: to build, to test, to check. Node comes from Debian unless a newer one is there already.
packages="build-essential pkgconf git ca-certificates meson ninja-build python3 python3-venv nodejs npm
 libnghttp2-dev libssl-dev zlib1g-dev libdeflate-dev libzstd-dev libsnappy-dev libxxhash-dev libre2-dev libexpat1-dev
 libyaml-dev libcmocka-dev spin curl chromium procps
 clang clang-format libclang-rt-14-dev llvm"

say() { printf 'setup: %s\n' "$*"; }

missing_packages() {
    local here p
    # shellcheck disable=SC2086
    here=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' $packages 2>/dev/null | sed -n 's/^.i. *//p' || true)
    for p in $packages; do
        { [ "$p" = nodejs ] && command -v node; } >/dev/null && continue
        { [ "$p" = npm ] && command -v npm; } >/dev/null && continue
        grep -qxF "$p" <<<"$here" || printf '%s ' "$p"
    done
}

install_packages() {
    local missing sudo='' log
    missing=$(missing_packages)
    [ -z "$missing" ] && return
    if ! command -v apt-get >/dev/null; then
        say "these Debian packages are missing and apt-get is not here: $missing" >&2
        exit 1
    fi
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { say "not root and no sudo; run as root: apt-get install $missing" >&2; exit 1; }
        sudo=sudo
    fi
    say "installing Debian packages: $missing"
    log=$(mktemp)
    # shellcheck disable=SC2086
    { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } \
        >"$log" 2>&1 </dev/null || { tail -20 "$log" >&2; rm -f "$log"; say "apt-get failed; see above" >&2; exit 1; }
    rm -f "$log"
}

# npm packages of the page and its tests: only when the lock file changed.
install_npm() {
    local dir=$1 stamp=$1/node_modules/.sonde-lock
    [ -f "$dir/package-lock.json" ] || return 0
    cmp -s "$dir/package-lock.json" "$stamp" 2>/dev/null && return
    say "installing npm packages of $dir/"
    (cd "$dir" && npm ci --no-audit --no-fund --loglevel=error </dev/null)
    cp "$dir/package-lock.json" "$stamp"
}

# Python tools of the tests, in an environment of their own: the python3 found first may be anybody's.
install_python() {
    local want
    want=$(cat scripts/requirements.txt)
    [ "$(cat "$build/venv/.sonde-requirements" 2>/dev/null)" = "$want" ] && return
    say "installing Python tools into $build/venv"
    mkdir -p "$build"
    [ -x "$build/venv/bin/pip" ] || python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install -q --disable-pip-version-check -r scripts/requirements.txt
    printf '%s\n' "$want" >"$build/venv/.sonde-requirements"
}

# The public suite of TOML, where Go is: the test is skipped without it, so no network is no failure, and not asked for again today.
install_toml_test() {
    local dir
    [ -x "$build/gobin/toml-test" ] && return
    command -v go >/dev/null || return 0
    [ -n "$(find "$build/gobin/.failed" -mtime -1 2>/dev/null)" ] && return
    say "installing toml-test into $build/gobin"
    mkdir -p "$build/gobin"
    dir=$(realpath "$build/gobin")
    GOBIN=$dir timeout 180 go install github.com/toml-lang/toml-test/v2/cmd/toml-test@latest >/dev/null 2>&1 </dev/null ||
        { touch "$dir/.failed"; say "toml-test could not be installed; its test will be skipped"; }
}

install_packages
install_npm web
install_python
install_toml_test
