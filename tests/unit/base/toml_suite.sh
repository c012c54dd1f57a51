#!/bin/sh
# The public suite of TOML 1.0 against toml_decoder: toml_suite.sh DECODER [DIR…]; DIR: where scripts/setup.sh put it. Exit status 77 (skipped) where toml-test is not
# installed: go install github.com/toml-lang/toml-test/v2/cmd/toml-test@latest
decoder=$1
shift
places=${GOBIN:-/nonexistent}:${GOPATH:-$HOME/go}/bin
for dir; do
    places=$places:$dir
done
tool=${TOML_TEST:-$(PATH="$PATH:$places" command -v toml-test)}
if [ -z "$tool" ]; then
    echo "skipped: toml-test is not installed: go install github.com/toml-lang/toml-test/v2/cmd/toml-test@latest"
    exit 77
fi
"$tool" test -toml 1.0 -decoder "$decoder" || exit 1
echo "[       OK ] toml_suite"
