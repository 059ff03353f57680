# Everything runs in a virtual environment inside the checkout, which the first target that needs it makes.
# Needs Python 3.11 or newer (PYTHON=... to choose one), make, and a package registry that pip reaches.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= mnist-mlp
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test golden lint bench bench-full clean

help:  ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|' 2>/dev/null || \
	  grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST)

run: $(VENV)/installed  ## Train the main job; CONFIG=... and ARGS="--set ..." to change it
	$(BIN)/ampsim run $(CONFIG) $(ARGS)

test: $(VENV)/installed-dev  ## Run the tests
	$(BIN)/python -m pytest $(ARGS)

golden: $(VENV)/installed-dev  ## Rewrite the expected output of tests; read the difference before committing it
	AMPSIM_REWRITE_GOLDEN=1 $(BIN)/python -m pytest -k golden $(ARGS)

lint: $(VENV)/installed-dev  ## Check style, types and the layers of the architecture
	$(BIN)/ruff check ampsim tests benchmarks
	$(BIN)/ruff format --check ampsim tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed  ## Run every benchmark at a small size: does it run at all? ARGS=... for options
	$(BIN)/ampsim bench all --quick $(ARGS)

bench-full: $(VENV)/installed  ## Run every benchmark at full size, on a machine left alone; ARGS="--json FILE" for the rows
	$(BIN)/ampsim bench all $(ARGS)

clean:  ## Remove the environment and what tools left
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ampsim needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/installed
