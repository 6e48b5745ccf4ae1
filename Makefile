# Two commands need nothing but Python 3.11 (with venv) and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.ok  ## the main job: digits to a trained CNN and a report, two photographs explained
	$(BIN)/ken demo

test: $(VENV)/.ok  ## the fast tests, under five minutes on two quiet cores
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow"

test-all: $(VENV)/.ok  ## all tests, with the slow ones
	$(BIN)/pytest -q -n 2 --dist loadfile

check: $(VENV)/.ok  ## format, lint, types, layers
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports
	$(BIN)/mypy

fix: $(VENV)/.ok  ## format, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ok  ## how the benchmarks are run
	@cat benchmarks/README.md

# The stamp is newer than what it was made from, so a changed pin makes the environment anew.
$(VENV)/.ok: constraints.txt pyproject.toml scripts/install_torch.sh
	@echo "Setting up $(VENV): one to four minutes, about 1.5 GB."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	scripts/install_torch.sh $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,heif,compress,gallery]'
	$(BIN)/pip check
	touch $@

.PHONY: help demo test test-all check fix bench
