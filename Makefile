# The front door. `make help` explains the targets; meson does the work in build/.
BUILD   ?= build
PREFIX  ?= /usr/local
DESTDIR ?=
.DEFAULT_GOAL := all
export BUILD

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what is missing (Debian packages, npm packages, Python tools)
	@scripts/setup.sh $(BUILD)

all: setup ## build everything into build/, installing what is missing first
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --buildtype=debugoptimized --prefix=$(PREFIX) >/dev/null
	@ninja -C $(BUILD)

check: all ## every test: layers, format, unit, black box, programs of others, browser
	@scripts/check.sh $(BUILD)

interop: all ## tests beside programs of others, with those that take minutes to build (Go, Rust)
	@SONDE_CHECK=interop SONDE_INTEROP=all scripts/check.sh $(BUILD)

demo: all ## frontend, prefill, decode and load on sonde serve; DEMO_SECONDS=20 stops by itself
	@scripts/demo.sh $(BUILD)

demo-dynamo: all ## the same with a real NVIDIA Dynamo from PyPI
	@examples/dynamo/run.sh $(BUILD)

bench: all ## figures, each beside the machine's floor
	@scripts/bench.sh $(BUILD)

bench-peers: all ## libsonde beside spdlog, glog, tracing, zerolog and zap
	@scripts/bench_peers.sh $(BUILD)

soak: all ## libsonde at full rate for SOAK_SECONDS (default 300): memory stays flat, each loss is counted
	@SONDE_BUILD=$(BUILD) SOAK_SECONDS=$${SOAK_SECONDS:-300} nice $(BUILD)/venv/bin/python -m pytest -q -s -p no:cacheprovider tests/blackbox/test_soak.py

bench-spans: all ## spans beside OpenTelemetry's SDKs for Rust and Go; the cost of 10,000 a second
	@scripts/bench_spans.sh $(BUILD)

bench-python: setup ## a record of Python's logging through libsonde, beside structlog, loguru and picologging; import time and memory
	@mkdir -p $(BUILD) && scripts/python_env.sh $(BUILD) && $(BUILD)/python/bin/pip install -q --disable-pip-version-check --prefer-binary -r bench/python/requirements.txt && \
	  $(BUILD)/python/bin/python bench/python/bench.py

bench-outage: all ## the inference example's latency without export, with a collector, with an absent and a slow one
	@bench/bench_outage.py $(BUILD)

fuzz: ## every fuzz target for FUZZ_SECONDS (default 10) each
	@scripts/fuzz.sh

asan: ## the whole check under address and undefined-behaviour sanitizers
	@scripts/sanitize.sh address,undefined

tsan: ## the whole check under the thread sanitizer
	@scripts/sanitize.sh thread

analyze: all ## gcc's static analyzer over src/
	@scripts/analyze.py $(BUILD)

install: all ## install into PREFIX (default /usr/local), below DESTDIR if given
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD)

wheel: setup ## the Python package as a wheel in build/wheel/
	@mkdir -p $(BUILD) && scripts/wheel.sh $(BUILD)

docs: all ## docs/settings.md from the tables of the program
	@$(BUILD)/sonde help --markdown >$(BUILD)/settings.md && mv $(BUILD)/settings.md docs/settings.md

format: setup ## clang-format every C file
	@scripts/format.sh -i

clean: ## remove what was built
	rm -rf $(BUILD) build-address build-thread build-fuzz

check-engines: setup ## the Python package with the real vLLM and SGLang (7 GB from PyPI; no GPU)
	@mkdir -p $(BUILD) && scripts/engines_env.sh $(BUILD)

.PHONY: help setup all check interop check-engines demo demo-dynamo bench bench-peers bench-spans bench-python bench-outage soak fuzz \
        asan tsan analyze install wheel docs format clean
