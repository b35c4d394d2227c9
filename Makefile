PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_VENV := .venv-torch
OUT ?= out/demo

.PHONY: help demo test test-pages test-torch lint docs calibrations clean
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
	$(BIN)/simulate --trace azure-conv-2023 --policy phase-aware --policy fixed:1545 \
	  --policy fixed:1755 --output $(OUT)

test: $(VENV)/.installed-dev  ## Set up on a fresh machine, then run the test suite
	$(BIN)/python -m pytest -n 3 --dist worksteal --ignore tests/torchbench \
	  --ignore tests/pages

test-pages: $(VENV)/.installed-dev  ## Test the pages in a real browser: Debian's chromium and chromium-driver
	$(BIN)/python -m pytest tests/pages

# A torch built for the CPU is enough; where PyPI would send CUDA's libraries along, set
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu.
$(TORCH_VENV)/.installed: pyproject.toml constraints.txt constraints-torch.txt
	$(PYTHON) -m venv $(TORCH_VENV)
	$(TORCH_VENV)/bin/python -m pip install --quiet --constraint constraints-torch.txt torch
	$(TORCH_VENV)/bin/python -m pip install --quiet --constraint constraints.txt \
	  --constraint constraints-torch.txt --editable '.[gpu]' hypothesis pytest
	touch $@

test-torch: $(TORCH_VENV)/.installed  ## Test the torch engines on the CPU, in an environment of their own
	$(TORCH_VENV)/bin/python -m pytest tests/torchbench

lint: $(VENV)/.installed-dev  ## ruff, mypy --strict and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev  ## Renew the outputs and pictures that the documentation shows
	$(BIN)/python docs/renew.py

calibrations: $(VENV)/.installed  ## Fit the shipped calibrations again, from their logs and tables
	grep -h '^calibrate fit' model/shipped/README.md | PATH="$(CURDIR)/$(BIN):$$PATH" bash -e

clean:  ## Remove what the other targets made
	rm -rf $(VENV) $(TORCH_VENV) out build ./*.egg-info
