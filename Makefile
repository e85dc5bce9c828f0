# make demo   run the main job on the embedded model (makes its environment first)
# make test   all default tests (makes the development environment first)
# make test-torch   the tests of models that torch runs, in an environment of their own
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-torch slow lint types check bench clean

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/dwell demo --out demo

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest

slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m slow

TORCH := .venv-torch/bin/python

.venv-torch/installed: pyproject.toml
	$(PYTHON) -m venv .venv-torch
	$(TORCH) -m pip install --quiet --disable-pip-version-check -e '.[dev,training]'
	touch $@

test-torch: .venv-torch/installed
	$(TORCH) -m pytest tests/generators/test_transformers_generator.py \
	  tests/generators/test_transformers_families.py tests/verifiers/test_transformers_process.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests training benchmarks examples
	$(BIN)/ruff check src tests training benchmarks examples

types: $(VENV)/installed-dev
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) demo
