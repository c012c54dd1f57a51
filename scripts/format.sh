#!/usr/bin/env bash
# clang-format over every C and C++ file of the tree; options go through: -i changes them, --dry-run -Werror only looks.
set -euo pipefail
cd "$(dirname "$0")/.."
find src include python/src tests fuzz bench examples -name node_modules -prune -o \( -name '*.[ch]' -o -name '*.cc' \) -print0 |
    xargs -0 clang-format "$@"
