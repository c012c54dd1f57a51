#!/usr/bin/env bash
# BUILD_DIR/python: an environment with the Python package as it stands in the tree, and what its tests need.
#   scripts/python_env.sh [BUILD_DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
env=$build/python
want=$(cat tests/python/requirements.txt)
if [ "$(cat "$env/.sonde-requirements" 2>/dev/null)" != "$want" ]; then
    "${PYTHON:-/usr/bin/python3}" -m venv "$env"
    "$env/bin/pip" install -q --disable-pip-version-check -r tests/python/requirements.txt
    printf '%s\n' "$want" >"$env/.sonde-requirements"
fi
PATH=$env/bin:$PATH "$env/bin/pip" install -q --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall . \
    --config-settings=build-dir="$build/python-build" >"$build/python.log" 2>&1 || { tail -30 "$build/python.log" >&2; exit 1; }
