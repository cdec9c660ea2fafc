# Everything that a developer types; `make help` lists it. What is more than a few lines is in tests/support/pipeline.py.
#
# The system tests and the demo run on a testbed that they bring up themselves, or, when KUBECONFIG (or SLKV_KUBECONFIG)
# and SLKV_KAFKA (host:port of a broker that the pods reach) are set, on that cluster; IMAGE must then be pullable there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
export IMAGE ?= localhost/sharedlogkv:dev
# Further arguments of pytest, as in `make unit ARGS="-k token -x"`.
export ARGS ?=
# KEEP=1 leaves the testbed of integration, e2e and test up, to look around in with `tests/testbed/testbed sh`. The next
# of these begins with a new one.
export KEEP ?=
# How long `make chaos` goes on, and which run it repeats.
SECONDS ?= 1800
export SEED ?=

VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
PIPELINE := $(PYTHON) -m tests.support.pipeline
TESTBED := tests/testbed/testbed
# What imports the replica and runs in one process.
COMPILED_TESTS = $(addprefix tests/unit/,core engine log peer replica server) tests/integration/http \
  $(shell grep -l sharedlogkv_replica tests/property/test_*.py)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up

.PHONY: venv
venv: $(VENV)/.installed ## Create .venv with the project and all that its tests need

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import ensurepip, venv' || tests/support/install-debian-packages python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check --progress-bar off -e '.[operator,replica,dev]' -c constraints.txt
	touch $@

##@ Without a cluster

.PHONY: demo-local
demo-local: compiled ## Three replicas on this machine and a log in a file: a leader, conditions, a crash
	command -v curl >/dev/null || tests/support/install-debian-packages curl
	$(BIN)/python -m tests.demo.local

.PHONY: check
check: format-check lint types layers unit property ## Format, lint, types, layers, unit and property tests: before every commit

.PHONY: format
format: venv ## Format the code
	$(BIN)/ruff format .

.PHONY: format-check
format-check: venv ## Check the format
	$(BIN)/ruff format --check .

.PHONY: lint
lint: venv ## Lint
	$(BIN)/ruff check .

.PHONY: types
types: venv ## Check the types
	$(BIN)/mypy operator replica tests

.PHONY: layers
layers: venv ## Check who may import whom
	$(BIN)/lint-imports

.PHONY: unit
unit: venv ## Run the unit tests
	$(PYTEST) tests/unit $(ARGS)

.PHONY: property
property: venv ## Run the property tests
	$(PYTEST) tests/property $(ARGS)

.PHONY: unit-compiled
unit-compiled: compiled ## Run the replica's unit, property and HTTP tests against its compiled build
	PYTHONPATH=build/compiled $(BIN)/python -c 'from sharedlogkv_replica.engine.replica import COMPILED; assert COMPILED'
	PYTHONPATH=build/compiled $(PYTEST) $(COMPILED_TESTS) $(ARGS)

.PHONY: simulate
simulate: venv ## Play the autoscaler's simulation, and write its table and picture into docs/
	$(BIN)/python -m tests.simulation

##@ On a cluster

.PHONY: integration
integration: ## Run the tests against a real Kafka and a real API server
	$(PIPELINE) integration

.PHONY: e2e
e2e: ## Run the tests of the real images on a real cluster
	$(PIPELINE) e2e

.PHONY: test
test: ## Run everything, quickest first, and say where the time went
	$(PIPELINE) test

.PHONY: chaos
chaos: ## Kill, freeze and cut off replicas and brokers for half an hour (SECONDS=, SEED=), and judge what clients saw
	ARGS="--seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)" $(PIPELINE) chaos

.PHONY: bench
bench: export TESTBED_JAVA_OPTS = # brokers that run fast, and start slowly
bench: ## Measure, beside its peers, on this machine
	$(PIPELINE) bench

.PHONY: demo
demo: ## From nothing to a running store, step by step; leaves it up
	command -v curl >/dev/null || tests/support/install-debian-packages curl
	$(PIPELINE) demo
	@$(PYTHON) -m tests.demo afterwards

.PHONY: demo-down
demo-down: ## Remove what `make demo` left up
	$(PYTHON) -m tests.demo down

##@ Parts

.PHONY: compiled
compiled: venv ## Compile the replica into build/compiled, as tests and benchmarks start it
	command -v gcc >/dev/null || tests/support/install-debian-packages gcc libc6-dev
	test -e "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
	  || tests/support/install-debian-packages libpython3-dev
	$(BIN)/python -m tests.support.replica_program

.PHONY: image
image: ## Build the image
	$(TESTBED) image --tag $(IMAGE)

.PHONY: chart-crds
chart-crds: ## Copy the CRD into the chart
	cp crds/*.yaml charts/sharedlogkv/files/crds/

.PHONY: testbed-build
testbed-build: ## Fetch and build all that a testbed needs (the first time: a quarter of an hour)
	$(TESTBED) build

.PHONY: verify-testbed
verify-testbed: venv testbed-build ## Check the testbed itself
	$(PYTEST) tests/testbed/verify $(ARGS)

.PHONY: clean
clean: ## Remove what was built here (not the testbed's cache)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
