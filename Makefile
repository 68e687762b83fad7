# Every target works from a bare clone: the first one makes .venv and installs the versions of constraints.txt into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet -c constraints.txt
ARGS ?=

# threads that wait sleep: on a machine that is busy with something else, spinning is slower by a factor of ten
export OMP_WAIT_POLICY ?= PASSIVE
PYTEST_ARGS ?= -q -n auto --dist worksteal
MKDOCS := OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
TESTS ?=

.PHONY: demo test lint bench train docs docs-serve docs-check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/entropyprune-ref demo $(ARGS)

# one thread a worker: pytest runs as many workers as there are cores
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 MPLBACKEND=Agg HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/.runtime
	$(BIN)/python -m benchmarks $(ARGS)

train: $(VENV)/.runtime
	$(BIN)/entropyprune-ref train --out runs/train $(ARGS)

# the site, in site/: every dead link, bad formula, failing tutorial or unknown name is an error
docs: $(VENV)/.docs
	$(MKDOCS) build --strict $(ARGS)

docs-serve: $(VENV)/.docs
	$(MKDOCS) serve $(ARGS)

# every page in a browser: offline, rendered, accessible
docs-check: $(VENV)/.dev docs
	MPLBACKEND=Agg $(BIN)/python -m pytest -q -n 0 tests/docs/check_*.py

clean:
	rm -rf $(VENV) build dist out site .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find entropyprune_ref tests benchmarks docs tutorials -name __pycache__ -prune -exec rm -rf {} +

# Stamps: a target that is there and newer than the pins is not installed again. The build runs without isolation, in
# the environment with the pinned setuptools, so that it downloads nothing of its own.
$(VENV)/.runtime: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, got " + sys.version.split()[0])'
	@echo "[1/3] virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "[2/3] torch (large: up to some minutes)"
	@$(INSTALL) setuptools torch
	@echo "[3/3] entropyprune-ref and what else it needs"
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

$(VENV)/.docs: $(VENV)/.runtime
	@echo "[+] tools for the documentation"
	@$(INSTALL) --no-build-isolation -e ".[docs]"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "[+] tools for tests and checks"
	@$(INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@
