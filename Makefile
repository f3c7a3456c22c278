# The only commands: `make demo` and `make test`. Both set up what they need, from a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
PARALLEL := --numprocesses=2 --dist=loadfile --no-loadscope-reorder
INSTALLED := .venv/.installed
SOURCE ?= complete_journey
DATA ?=
FULL ?=
ROOT ?= run/$(SOURCE)$(if $(FULL),-full)

.PHONY: help demo test test-unit test-kill lint bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(INSTALLED) ## raw data to a served answer; SOURCE=..., DATA=path, FULL=1, ROOT=dir
	@$(PYTHON) -m benchmarks.demo --source="$(SOURCE)" --root="$(ROOT)" $(if $(DATA),--data="$(DATA)") $(if $(FULL),--full)

test: $(INSTALLED) ## all tests but `kill`
	@$(PYTHON) -m pytest $(PARALLEL) -m "not kill"

test-unit: $(INSTALLED) ## tests that start no pipeline and need no trained model
	@$(PYTHON) -m pytest $(PARALLEL) -m "not kill and not e2e and not model"

test-kill: $(INSTALLED) ## kill and resume in every component
	@$(PYTHON) -m pytest -m kill

lint: $(INSTALLED) ## format, style and types
	@.venv/bin/ruff format --check .
	@.venv/bin/ruff check .
	@.venv/bin/mypy

bench: $(INSTALLED) ## measured claims (hours); of training and peers on the run of `make demo`
	@test -f "$(ROOT)/metrics.json" || $(MAKE) demo
	@$(PYTHON) -m benchmarks.training --source="$(SOURCE)" --root="$(ROOT)"
	@$(PYTHON) -m benchmarks.step_graph --source="$(SOURCE)" --root="$(ROOT)"
	@$(PYTHON) -m benchmarks.peers --root="$(ROOT)"
	@$(PYTHON) -m benchmarks.examples
	@$(PYTHON) -m benchmarks.pipeline
	@$(PYTHON) -m benchmarks.serving
	@$(PYTHON) -m benchmarks.evaluation
	@$(PYTHON) -m benchmarks.index --num_items=500000

clean: ## removes the environment, caches and runs
	rm -rf .venv .venv-peers .venv-torch run .hypothesis .pytest_cache .mypy_cache .ruff_cache *.egg-info build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The lock's content decides: a second call installs nothing.
$(INSTALLED): requirements.lock setup.py .python-version
	@bash .ci/install
	@touch $@
