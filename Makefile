# Everything a person or CI does with Stackmill, by name. `make help` lists it.
#
# The first target that needs the product creates a virtual environment and installs into it, with the versions of
# constraints.txt; later calls find the stamp files and install nothing until pyproject.toml or constraints.txt change.
# Paths given on the command line (CONFIG, OUT, WORKDIR, ARCHIVE, PARENT) may contain spaces; VENV may not. OUT, WORKDIR,
# ARCHIVE and PARENT may each be an address s3://bucket/prefix (docs/s3.md).

PYTHON  ?= python3
VENV    ?= .venv
CONFIG  ?= configs/release-local.yaml
OUT     ?= releases
WORKDIR ?= work
PYTEST_ARGS ?=
TEST_PROCESSES ?= 2

# Three stamps: a release needs neither PyTorch nor the test tools, and must not wait for them.
BASE := $(VENV)/.installed-base
DEV  := $(VENV)/.installed-dev
BENCH := $(VENV)/.installed-bench
BIN  := $(VENV)/bin

# A file's tests stay in one process: they share its fixtures; files go out in the order of tests/conftest.py. Two processes need 6 GB of memory at most.
PYTEST_PARALLEL := --numprocesses "$(TEST_PROCESSES)" --dist loadfile --no-loadscope-reorder

PIP_INSTALL := "$(BIN)/python" -m pip --disable-pip-version-check install -qq --constraint constraints.txt

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help setup release test test-all lint format bench bench-data docs clean

ifneq ($(filter release,$(MAKECMDGOALS)),)
ifndef VERSION
$(error which version? For example: make release VERSION=2.1)
endif
endif

help: ## list the targets
	@printf 'Stackmill: make TARGET [NAME=value ...]\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nVariables: VENV=%s CONFIG=%s OUT=%s WORKDIR=%s RAY_ADDRESS=%s\n' \
	  '$(VENV)' '$(CONFIG)' '$(OUT)' '$(WORKDIR)' '$(or $(RAY_ADDRESS),(none: Ray starts locally))'
	@printf 'Also: PYTHON, WORKERS, ARCHIVE (a path or URI), PARENT (the release before this one)\n'
	@printf '      TEST_PROCESSES (0: one after the other), PYTEST_ARGS\n'

setup: $(DEV) ## install the product with its training and test extras into VENV

release: $(BASE) ## make a release: make release VERSION=2.1
	@"$(BIN)/pipeline" release --config "$(CONFIG)" --version "$(VERSION)" --out "$(OUT)" --workdir "$(WORKDIR)" \
	  $(if $(ARCHIVE),--archive "$(ARCHIVE)") $(if $(PARENT),--parent "$(PARENT)") \
	  $(if $(WORKERS),--workers "$(WORKERS)") $(if $(RAY_ADDRESS),--address "$(RAY_ADDRESS)")

test: $(DEV) ## run the tests, without those marked slow
	@"$(BIN)/python" -m pytest -m 'not slow' $(PYTEST_PARALLEL) $(PYTEST_ARGS)

test-all: $(DEV) ## run all tests, the slow ones too
	@"$(BIN)/python" -m pytest $(PYTEST_PARALLEL) $(PYTEST_ARGS)

lint: $(DEV) ## check style, types, the import contracts and the documentation
	@"$(BIN)/ruff" check --quiet .
	@"$(BIN)/ruff" format --quiet --check . || { echo 'Not formatted: run make format' >&2; exit 1; }
	@"$(BIN)/mypy" --no-error-summary
	@"$(BIN)/lint-imports" --no-cache >"$(VENV)/lint-imports.log" || { cat "$(VENV)/lint-imports.log"; exit 1; }
	@"$(BIN)/python" scripts/cli_reference.py --check
	@"$(BIN)/python" scripts/secret_rules.py --check
	@"$(BIN)/python" scripts/training_settings.py --check
	@"$(BIN)/python" scripts/check_docs.py
	@echo 'lint: all checks passed'

format: $(DEV) ## rewrite the sources in the house format
	@"$(BIN)/ruff" check --quiet --fix .
	@"$(BIN)/ruff" format --quiet .

bench: $(BENCH) ## run every benchmark of benchmarks/, beside its peers, on the installed packages
	@for file in benchmarks/bench_*.py benchmarks/dedup.py benchmarks/secrets.py benchmarks/training.py benchmarks/training_memory.py; do \
	  [ -e "$$file" ] || { echo 'no benchmark in benchmarks/'; break; }; \
	  echo "== $$file"; "$(BIN)/python" "$$file" || exit 1; \
	done

bench-data: $(BASE) ## fetch a bigger input of many languages into bench-data/ (needs pip and npm)
	@"$(BIN)/python" scripts/fetch_bench_data.py --out bench-data

docs: $(DEV) ## write the generated parts of the documentation: docs/cli.md, docs/secrets-rules.md, docs/training-settings.md, the cases of docs/explain.md
	@"$(BIN)/python" scripts/cli_reference.py
	@"$(BIN)/python" scripts/secret_rules.py
	@"$(BIN)/python" scripts/training_settings.py
	@"$(BIN)/python" scripts/explain_cases.py

clean: ## remove caches and build leftovers; VENV, WORKDIR, OUT and bench-data stay
	@rm -rf build dist ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name '__pycache__' -type d -not -path './.venv*' -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Stackmill needs Python 3.11 or newer. Name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -m venv "$(VENV)"

# setuptools first and then no build isolation: so that the build tool, too, is the pinned one.
$(BASE): pyproject.toml constraints.txt | $(BIN)/python
	@echo 'Installing Stackmill into $(VENV) (the first time takes a few minutes)' >&2
	@$(PIP_INSTALL) setuptools
	@$(PIP_INSTALL) --no-build-isolation --editable .
	@touch "$@"

$(BENCH): pyproject.toml constraints.txt $(DEV)
	@echo 'Installing the peers of the benchmarks into $(VENV)' >&2
	@$(PIP_INSTALL) --no-build-isolation --editable '.[dev,bench]'
	@touch "$@"

$(DEV): pyproject.toml constraints.txt $(BASE)
	@echo 'Installing the training and test extras into $(VENV)' >&2
	@$(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@touch "$@"
