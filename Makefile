# Every target makes its own environment first; a second call finds it ready.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if command -v $$name >/dev/null 2>&1 && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then echo $$name; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
APP ?= 1
BENCHMARKS ?= $(shell grep -l __main__ benchmarks/*.py)
FAST := not slow and not gpu and not browser and not database and not shared_data and not wheel

.PHONY: help demo app test lint types bench clean

help:
	@echo "make demo    scan sample folders with the shipped models and open the review app (APP=0: without it)"
	@echo "make app     open the review app"
	@echo "make test    run the fast tests"
	@echo "make lint    check style and format"
	@echo "make types   check types"
	@echo "make bench   run every benchmark (BENCHMARKS=benchmarks/swin3d.py: one)"

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then echo "medvit needs Python 3.11 or newer, and none was found; name one with PYTHON=/path/to/python3" >&2; exit 2; fi
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/medvit demo $(if $(filter 0,$(APP)),--no-app)

app: $(VENV)/.installed
	$(BIN)/medvit app

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --dist worksteal -m "$(FAST)"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	@for file in $(BENCHMARKS); do echo "$$file"; $(BIN)/python "$$file"; done

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
