# Licensed under the Apache License 2.0; see LICENSE.
# The front door. `make` alone prints the verbs. A line with `##` behind a verb is its line there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# As shipped: no Swift libraries needed on the machine that runs it, and debug information that valgrind can read.
RELEASE := swift build -c release --static-swift-stdlib -Xcc -gdwarf-4
# What is formatted: our own Swift, wherever it is.
SWIFT_FILES := Package.swift Sources Tests examples/tools \
    $(wildcard Benchmarks/Package.swift Benchmarks/Sources Fuzz/Package.swift Fuzz/Sources)

.PHONY: help
help: ## prints these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## installs what building and running needs; does nothing when it is there
	@scripts/setup

.PHONY: tools
tools: setup ## builds the example tools from source into examples/tools/build
	@scripts/build-tools

.PHONY: build
build: setup target ## builds the release executables, as shipped; ./target/release/mcp-gateway is one
	@echo "make: release build (a few minutes the first time, seconds after that)"
	@$(RELEASE) --product mcp-gateway
	@$(RELEASE) --product validate-config

.PHONY: run
run: setup target tools ## builds what is needed and serves on 127.0.0.1:8080 with config/default.toml
	@echo "make: release build (a few minutes the first time, seconds after that)"
	@$(RELEASE) --product mcp-gateway
	@exec .build/release/mcp-gateway serve

.PHONY: test
test: target ## runs all tests: Swift's, then real MCP clients and servers against the built executable
	@scripts/setup --test
	@scripts/build-tools
	@echo "make: debug build (a few minutes the first time)"
	@swift build --build-tests
	@swift build
	@# One at a time: they start real servers and processes, and a busy machine must not make them late.
	@swift test --skip-build --no-parallel
	@echo "make: interop tests"
	@Tests/interop/run
	@$(MAKE) --no-print-directory deb
	@echo "make: the package on a machine of its own"
	@Tests/playbook/run

.PHONY: check
check: ## looks at the source without building: format, layers, documents
	@swift format lint --strict -r -p $(SWIFT_FILES)
	@scripts/check-layers --self-test
	@scripts/check-layers
	@scripts/check-docs

.PHONY: fmt
fmt: ## formats the Swift source in place
	@swift format format -i -r -p $(SWIFT_FILES)

ifneq ($(wildcard Benchmarks/run),)
.PHONY: bench
bench: target tools ## measures against nginx and writes docs/PERFORMANCE.md
	@scripts/setup --bench
	@echo "make: release build (a few minutes the first time, seconds after that)"
	@$(RELEASE) --product mcp-gateway
	@Benchmarks/run
	@python3 Benchmarks/queue.py
endif

ifneq ($(wildcard Fuzz/run),)
.PHONY: fuzz
fuzz: setup ## feeds mutated messages to the parsers
	@Fuzz/run
endif

.PHONY: deb
deb: build ## builds the Debian package out of the release build into .build/deb, and looks at it
	@scripts/setup --package
	@packaging/build-deb
	@packaging/check "$$(ls -t .build/deb/mcp-gateway_*.deb | head -1)"

.PHONY: soak
soak: target tools ## ten minutes of many clients and ten upstreams, two of them misbehaving
	@scripts/setup --test
	@swift build
	@cd Tests/interop && ./setup && PYTHONDONTWRITEBYTECODE=1 ../../.venv/mcp1/bin/python soak.py

.PHONY: torture
torture: target tools ## kills gateway and upstream at random instants under stored calls, then counts
	@scripts/setup --test
	@swift build
	@cd Tests/interop && ./setup && PYTHONDONTWRITEBYTECODE=1 ../../.venv/mcp1/bin/python torture.py --restores

.PHONY: clean
clean: ## removes what was built here; fetched packages, vendor/ and var/ stay
	@swift package clean
	@rm -rf examples/tools/build

# The operators' playbook says ./target/release/mcp-gateway.
target:
	@ln -sfn .build target
