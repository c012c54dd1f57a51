#!/bin/sh
# The public suite of TOML 1.0 against toml_decoder: toml_suite.sh DECODER. Exit status 77 (skipped) where toml-test is not
# installed: go install github.com/toml-lang/toml-test/v2/cmd/toml-test@latest
tool=${TOML_TEST:-$(PATH="$PATH:${GOBIN:-/nonexistent}:${GOPATH:-$HOME/go}/bin" command -v toml-test)}
if [ -z "$tool" ]; then
    echo "skipped: toml-test is not installed: go install github.com/toml-lang/toml-test/v2/cmd/toml-test@latest"
    exit 77
fi
"$tool" test -toml 1.0 -decoder "$1" || exit 1
echo "[       OK ] toml_suite"
