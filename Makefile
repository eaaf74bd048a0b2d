# make help lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help venv check format test test-cluster conformance cluster-tools bench bench-cluster chart demo demo-chaos helm kind-demo
.PHONY: clean lock prometheus

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

venv: $(STAMP)  ## the environment alone, in .venv, with the `rollout` command

$(STAMP): requirements.lock pyproject.toml tools/make_venv.sh
	@tools/make_venv.sh $(PYTHON) $(VENV)
	@touch $@

check: $(STAMP)  ## formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)  ## format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: $(STAMP) prometheus  ## install what the tests need, and run them
	$(BIN)/pytest -n 4 --dist worksteal -m "not slow and not cluster"  # twice the cores: many tests wait for processes

cluster-tools: $(STAMP) prometheus  ## get what the next one needs: packages, Kubernetes, images (root, Go; ten minutes once)
	@tools/get_cluster.sh $(BIN)/python

test-cluster: cluster-tools  ## the tests on a real Kubernetes without Docker (CLUSTER=kind: on kind); needs root
	CLUSTER=$(or $(CLUSTER),own) $(BIN)/pytest -n 0 -m cluster tests/cluster

conformance: cluster-tools  ## the sandbox's API server and a real kube-apiserver, asked the same
	$(BIN)/pytest -n 2 --dist loadfile -m cluster tests/conformance

helm:  ## build helm into the user's cache, unless it is there (needs Go; a minute)
	@tools/get_helm.sh >/dev/null

chart: $(STAMP) helm  ## lint and render the charts, and run their tests (the slow ones, too)
	@$(BIN)/python tools/chart.py check
	@$(BIN)/python tools/image_lock.py check
	$(BIN)/pytest -n 2 tests/chart

prometheus: $(STAMP)  ## fetch Prometheus into the user's cache, unless it is there
	@tools/get_prometheus.sh

demo: $(STAMP)  ## three releases under load on this machine (KEEP=1 leaves it running)
	@$(BIN)/rollout demo $(if $(KEEP),--keep)

demo-chaos: $(STAMP)  ## releases in a storm: faults and load as gates, a halt, a schedule (KEEP=1)
	@$(BIN)/rollout demo --chaos $(if $(KEEP),--keep)

kind-demo: $(STAMP)  ## a release on kind; needs Docker and kind, so CI cannot run it
	@tools/kind_demo.sh

bench: $(STAMP) prometheus  ## measure, and write bench/RESULTS.md
	@$(BIN)/python -m bench

bench-cluster: cluster-tools  ## measure on a real control plane, and write bench/RESULTS.md
	@$(BIN)/python -m bench.cluster

lock:  ## make the lock file anew from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --group dev pyproject.toml -o requirements.lock

clean:  ## remove the environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
