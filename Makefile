# Every target works from a bare clone: the first one makes .venv and installs the versions of constraints.txt into it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet -c constraints.txt
ARGS ?=

# threads that wait sleep: on a machine that is busy with something else, spinning is slower by a factor of ten
export OMP_WAIT_POLICY ?= PASSIVE
# as many workers as there are cores, of about 1 GB each, so at most 8; each takes whole groups of tests (tests/conftest.py)
PYTEST_ARGS ?= -q -n auto --maxprocesses 8 --dist loadgroup --no-loadscope-reorder
MKDOCS := OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
TESTS ?=
ROOMS ?=
QUICK := tests/test_numerics.py tests/test_gram.py tests/test_entropy.py tests/test_entropy_laws.py tests/test_scoring.py \
	tests/test_collapse.py tests/test_pruning.py tests/test_flops.py tests/test_scorers.py tests/test_arguments.py tests/llava
# one thread a worker; compiled modules are kept for the next process
TESTING := OMP_NUM_THREADS=1 MPLBACKEND=Agg HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=
OLDEST := .venv-oldest

.PHONY: demo test test-quick test-explore test-oldest mutate lint bench train docs docs-serve docs-check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.runtime
	$(BIN)/entropyprune-ref demo $(ARGS)

# everything, on the same examples on every machine and in every run
test: $(VENV)/.dev
	$(TESTING) $(BIN)/python -m pytest $(PYTEST_ARGS) $(TESTS)

# the mathematics, the scorers and the model, on few examples: for every save
test-quick: $(VENV)/.dev
	HYPOTHESIS_PROFILE=quick $(TESTING) $(BIN)/python -m pytest $(PYTEST_ARGS) $(QUICK)

# every property, and nothing else, on 500 examples that are drawn anew: hours
test-explore: $(VENV)/.dev
	HYPOTHESIS_PROFILE=explore $(TESTING) $(BIN)/python -m pytest $(PYTEST_ARGS) -m hypothesis $(TESTS)

# on the oldest versions that pyproject.toml allows, in an environment of its own; old versions warn of new ones
test-oldest: $(OLDEST)/.test
	$(TESTING) $(OLDEST)/bin/python -m pytest $(PYTEST_ARGS) -W ignore::DeprecationWarning --ignore tests/docs $(TESTS)

# changes the source, spot by spot, and tells what no test notices; goes on where it was stopped (ROOMS="gram llava", or
# ROOMS="every=5 llava" for each fifth change of a room)
mutate: $(VENV)/.mutate
	$(BIN)/python -m tests.mutation run $(ROOMS)

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
	rm -rf $(VENV) $(OLDEST) build dist out site .cache *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

$(VENV)/.mutate: $(VENV)/.dev
	@echo "[+] mutation tester"
	@$(INSTALL) --no-build-isolation -e ".[mutate]"
	@touch $@

$(OLDEST)/.test: pyproject.toml constraints-oldest.txt
	@echo "[1/2] virtual environment in $(OLDEST)"
	@test -x $(OLDEST)/bin/python || $(PYTHON) -m venv $(OLDEST)
	@echo "[2/2] the oldest versions that are allowed (torch is large: some minutes)"
	@$(OLDEST)/bin/python -m pip install --quiet --no-input -c constraints-oldest.txt setuptools torch
	@$(OLDEST)/bin/python -m pip install --quiet --no-input -c constraints-oldest.txt --no-build-isolation -e ".[test]"
	@touch $@
