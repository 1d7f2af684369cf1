# Two commands for a fresh machine: `make demo` and `make test`. Both set up .venv first, once.
.DEFAULT_GOAL := help
.PHONY: help demo baseline runs tables ablations test bench check setup clean

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
# what a commit needs for DVC to know a run by
RUN := dvc.lock params.yaml results/metrics.json
# columns of `make runs`: always shown, and never (deps, by path)
HEADLINE := accuracy$$|uar$$|macro_f1$$|ece$$|ap75$$|mean_iou$$
HIDDEN := .*/|annotations$$|.*\.csv$$|Created$$|State$$|Executor$$
# as in dvc.yaml
PRODUCTS := $(addprefix data/,inputs demo clips.csv frames.csv quarantine.csv truth voc audio \
  audio32k speech.csv annotation_metrics.json embeddings face_features face_embeddings)
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## list the commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

demo: $(READY) ## run the whole pipeline on the demo corpus, print the metrics
	@dvc repro
	@avemo summary
	@git ls-files --error-unmatch dvc.lock >/dev/null 2>&1 || \
	  echo "experiments: run \`make baseline\` first; see docs/experiments.md"

baseline: $(READY) ## commit this run, for `dvc metrics diff` and the like to compare with
	@dvc repro
	@git add $(RUN)
	@git diff --cached --quiet -- $(RUN) || git commit --quiet --message Baseline -- $(RUN)
	@git log -1 --format='baseline: %h %s' -- $(RUN)

runs: $(READY) ## table of the experiments: headline metrics, and the params that differ
	@dvc exp show --only-changed --keep '$(HEADLINE)' --drop '$(HIDDEN)'

tables: $(READY) ## every system of the paper beside each other; goes on where it was stopped
	@dvc repro
	@avemo tables

ablations: $(READY) ## what each part of the method is worth; goes on where it was stopped
	@dvc repro
	@avemo ablations

test: $(READY) ## run the tests
	@OMP_NUM_THREADS=1 pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

bench: $(READY) ## time the parts beside others, then the pipeline in a fresh clone
	@python -c 'from benchmarks.rivals import main; main()'
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

# recordings may lie in data, too
clean: ## remove products and the clip cache; .venv, recordings and what Git holds stay
	rm -rf .avemo $(PRODUCTS)
	git clean -fdqx results
