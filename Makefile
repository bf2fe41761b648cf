# make demo, make test: from a bare machine with Python >= 3.11 to results. Everything else is for working on the project.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-ecosystem test-kernels test-slow test-cuda gpu-check gpu-study lint format bench notebooks docs clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all]'
	touch $@

install: $(STAMP)  ## a virtual environment with everything in it

demo: $(STAMP)  ## verify the theorems, train a small LLaMA with the same algorithm and one that they speak of, write the report
	$(BIN)/frugal-theory verify simulations/demo.toml
	$(BIN)/frugal-gpu train simulations/demo.toml
	$(BIN)/frugal-theory verify simulations/practice.toml
	$(BIN)/frugal-gpu train simulations/practice.toml
	$(BIN)/frugal-theory report runs/demo runs/practice

# Each process takes its share of the tests in the order of the files, so that what a file shares is made once, and then helps out.
PYTEST := $(BIN)/python -m pytest -n auto --dist worksteal

# Tests start this package in hundreds of processes, which compile it anew where a shell forbids to keep what is compiled.
unexport PYTHONDONTWRITEBYTECODE

# One arithmetic thread a process: the tests run side by side, and small matrices gain nothing from more.
test test-ecosystem test-kernels test-slow: export OMP_NUM_THREADS = 1
test test-ecosystem test-kernels test-slow: export OPENBLAS_NUM_THREADS = 1

# Sums in another order: the kernels that OpenBLAS has for every x86-64 processor, and PyTorch without vector instructions.
WORDS := --ignore-glob='*/test_report_*' --ignore=tests/theory/test_notebooks.py --ignore=tests/theory/test_layers.py
test-kernels: export OPENBLAS_CORETYPE = Prescott
test-kernels: export ATEN_CPU_CAPABILITY = default

test: $(STAMP)  ## the tests, in six minutes
	$(PYTEST) -m "not slow and not ecosystem"

test-kernels: $(STAMP)  ## the numerical tests once more, with the arithmetic kernels of another processor
	$(PYTEST) -m "not slow and not ecosystem" tests/theory tests/parity $(WORDS)

test-ecosystem: $(STAMP)  ## what needs a cluster, several processes, a browser or a wheel; the self-test; long tests
	$(PYTEST) -m "ecosystem and not slow"

test-slow: $(STAMP)  ## the slow studies
	$(BIN)/python -m pytest -m slow

test-cuda: $(STAMP)  ## the PyTorch tests and the parity suite on a GPU
	$(BIN)/python -m pytest tests/gpu tests/parity -m "not slow"

# On a machine with a GPU and its own PyTorch nothing is installed: its Python runs the checkout (docs/gpu.md).
PIECE ?= 1
SECONDS ?= 270
gpu-check gpu-study: export PYTHONPATH := .:$(PYTHONPATH)
gpu-check gpu-study: export PYTHONUNBUFFERED = 1
gpu-check: OUT ?= runs/gpu-check
gpu-study: OUT ?= runs/gpu-study

gpu-check:  ## times, memory and tests on a GPU, with PYTHON as it is: OUT=DIR, SECONDS=270
	$(PYTHON) -m benchmarks.gpu.check --out $(OUT) --seconds $(SECONDS)

gpu-study:  ## a piece of the training study on a GPU, with PYTHON as it is: PIECE=1 to 6, OUT=DIR, SECONDS=270
	$(PYTHON) -m benchmarks.gpu.study --out $(OUT) --piece $(PIECE) --seconds $(SECONDS)

lint: $(STAMP)  ## ruff (lint and format), mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## benchmarks: ratios measured in one run
	$(BIN)/python -m benchmarks

notebooks: $(STAMP)  ## run every notebook from top to bottom; STORE=1 keeps the outputs in them
	$(BIN)/python notebooks/execute.py $(if $(STORE),--store)

docs: $(STAMP)  ## the site, in build/docs; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -E -b html -c docs -d build/doctrees . build/docs
	@echo "build/docs/index.html"

clean:  ## remove the virtual environment and the results
	rm -rf $(VENV) runs build
