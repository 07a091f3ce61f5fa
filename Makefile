# Everything sets itself up: `make demo` and `make test` work in a fresh clone.
# PYTHON=python3.12 make test   uses another interpreter.

# Tests start the program thousands of times: it is not to be compiled anew each time.
unexport PYTHONDONTWRITEBYTECODE
# Several tests run at a time: threads of one that wait in a loop for each other take it from others.
export OPENBLAS_NUM_THREADS := 1

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-slow test-recipes check coverage soak fuzz bench format vectors man hardware bundle clean

help:
	@echo 'make demo       a real file crosses a damaged one-way serial line'
	@echo 'make test       the tests'
	@echo 'make check      ruff and mypy'
	@echo 'make test-slow  tests that take minutes: a gigabyte, long soaks'
	@echo 'make test-recipes  the recipes, with the real programs from Debian (as root it installs them)'
	@echo 'make soak       both ends of the service over a bad line for an hour'
	@echo 'make fuzz       each fuzzing harness for a minute'
	@echo 'make bench      speeds and overheads, as ratios measured in one run'
	@echo 'make vectors    write tests/vectors anew from the code'
	@echo 'make bundle     dist/diode-offline-….tar, to install from without Internet; EXTRAS=audio,fast'
	@echo 'make hardware   netlists, drawings, simulations and tables of hardware/; wants graphviz and ngspice'
	@echo 'make man        write share/man anew from the command line and manual/'

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'diode needs Python 3.11 or later: PYTHON=python3.12 make $(MAKECMDGOALS)'; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo 'the venv module is missing: sudo apt install python3-venv'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --editable '.[dev]' \
	  || { echo; echo 'if a compiler or Python.h was missing above: sudo apt install build-essential python3-dev'; exit 1; }
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/diode demo

test: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 3 -m 'not slow'

test-slow: $(VENV)/installed
	$(BIN)/python -m pytest -q -m slow

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-recipes: $(VENV)/installed
	@recipes/install-packages
	@PATH="$(CURDIR)/$(BIN):$$PATH" recipes/run

coverage: $(VENV)/installed
	$(BIN)/python -m pytest -q -n 3 -m 'not slow' --cov=diode --cov-branch --cov-report=term

soak: $(VENV)/installed
	SOAK_FILES=$${SOAK_FILES:-6000} $(BIN)/python -m pytest -q -m slow tests/test_soak.py

fuzz: $(VENV)/installed
	@printf '%s\n' tests/fuzz/fuzz_*.py | xargs -P 2 -I{} sh -c \
	  'echo {}; exec $(BIN)/python {} -verbosity=0 -max_total_time=$${SECONDS_EACH:-60}'

bench: $(VENV)/installed
	@for bench in benches/*.py; do echo; $(BIN)/python $$bench || exit 1; done

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

vectors: $(VENV)/installed
	$(BIN)/python tests/make_vectors.py

EXTRAS ?= confine
bundle: $(VENV)/installed
	$(BIN)/python offline/bundle.py --extras '$(EXTRAS)'

man: $(VENV)/installed
	$(BIN)/python manual/make_pages.py

hardware: $(VENV)/installed
	@command -v dot >/dev/null && command -v ngspice >/dev/null \
	  || { echo 'sudo apt install graphviz ngspice'; exit 1; }
	$(BIN)/python hardware/make.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
