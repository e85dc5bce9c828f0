# make demo   run the main job on the embedded model (makes its environment first)
# make test   all default tests (makes the development environment first)
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test slow lint types check bench clean

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

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check src tests training benchmarks examples
	$(BIN)/ruff check src tests training benchmarks examples

types: $(VENV)/installed-dev
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) demo
