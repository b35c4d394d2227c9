PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out/demo

.PHONY: help demo test lint docs clean
help:  ## Say what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed  ## Set up on a fresh machine, then replay the shipped trace; OUT=DIR
	$(BIN)/simulate --trace azure-conv-2023 --policy phase-aware --policy min-edp \
	  --policy min-energy --output $(OUT)

test: $(VENV)/.installed-dev  ## Set up on a fresh machine, then run the test suite
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed-dev  ## ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev  ## Renew the outputs and pictures that the documentation shows
	$(BIN)/python docs/renew.py

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .venv-torch out build ./*.egg-info
