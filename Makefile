# The front door. `make help` explains the targets; meson does the work in build/.
BUILD ?= build
PY     = $(BUILD)/venv/bin/python
.DEFAULT_GOAL := all

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## install what is missing (Debian packages, npm packages, Python tools)
	@scripts/setup.sh $(BUILD)

$(BUILD)/build.ninja:
	@scripts/setup.sh $(BUILD)
	@meson setup $(BUILD) --buildtype=debugoptimized >/dev/null

all: $(BUILD)/build.ninja ## build everything into build/
	@ninja -C $(BUILD)

check: all ## every test: unit, layers, black box, browser
	@scripts/check.sh $(BUILD)

demo: all ## frontend, prefill, decode and load on sonde serve; DEMO_SECONDS=20 stops by itself
	@scripts/demo.sh $(BUILD)

demo-dynamo: all ## the same with a real NVIDIA Dynamo from PyPI
	@examples/dynamo/run.sh $(BUILD)

bench: all ## figures, each beside the machine's floor
	@scripts/bench.sh $(BUILD)

fuzz: ## every fuzz target for FUZZ_SECONDS (default 10) each
	@scripts/fuzz.sh

asan: ## the whole check under address and undefined-behaviour sanitizers
	@scripts/sanitize.sh address,undefined

tsan: ## the whole check under the thread sanitizer
	@scripts/sanitize.sh thread

install: all ## install into PREFIX (default /usr/local)
	@meson install -C $(BUILD)

format: ## clang-format every C file
	@git ls-files '*.c' '*.h' '*.cc' | xargs clang-format -i

clean: ## remove build/
	rm -rf $(BUILD)

.PHONY: help setup all check demo demo-dynamo bench fuzz asan tsan install format clean
