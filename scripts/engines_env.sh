#!/usr/bin/env bash
# BUILD_DIR/engines: vLLM and SGLang as PyPI has them, with the Python package, and the tests that need them. 7 GB; minutes. No GPU needed.
#   scripts/engines_env.sh [BUILD_DIR]           # PYTHON: 3.10 to 3.13, what both have wheels for
# TensorRT-LLM is not there: PyPI has its source alone, which is built with CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "${1:-build}")
env=$build/engines
vllm=0.33.0 sglang=0.5.23 torch=2.14.0
want="$vllm $sglang $torch $(cat tests/python/engines.txt)"
if [ "$(cat "$env/.sonde-requirements" 2>/dev/null)" != "$want" ]; then
    "${PYTHON:-python3}" -m venv "$env"
    "$env/bin/pip" install -q --disable-pip-version-check --prefer-binary "torch==$torch" -r tests/python/engines.txt
    "$env/bin/pip" install -q --disable-pip-version-check --no-deps "vllm==$vllm" "sglang==$sglang"
    printf '%s\n' "$want" >"$env/.sonde-requirements"
fi
scripts/wheel.sh "$build" >/dev/null
"$env/bin/pip" install -q --disable-pip-version-check --no-deps --force-reinstall "$build"/wheel/*.whl
SONDE_BUILD=$build "$env/bin/python" -m pytest -q -rs -p no:cacheprovider tests/python/test_engines.py
