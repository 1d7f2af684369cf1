# Two commands for a fresh machine: `make demo` and `make test`. Both set up .venv first, once.
.DEFAULT_GOAL := help
.PHONY: help demo tables ablations test bench check setup clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(READY) ## run the whole pipeline on the demo corpus, print the metrics
	@dvc repro
	@avemo summary

tables: $(READY) ## every system of the paper beside each other; goes on where it was stopped
	@dvc repro
	@avemo tables

ablations: $(READY) ## what each part of the method is worth; goes on where it was stopped
	@dvc repro
	@avemo ablations

test: $(READY) ## run the tests
	@pytest

bench: $(READY) ## time the parts, then the pipeline in a fresh clone
	@python -m benchmarks.components
	@python -m benchmarks.pipeline

check: $(READY) ## lint, format and types
	@ruff check .
	@ruff format --check .
	@mypy

setup: $(READY) ## make .venv and install into it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("avemo needs Python 3.11 or newer; set PYTHON=...") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean: ## remove products and the clip cache; .venv stays
	rm -rf data results .avemo
