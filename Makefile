# make run: the app on its bundled study.  make test: the whole test suite.  Both build .venv on first use.
# Another interpreter beside it: make test PYTHON=python3.12 VENV=.venv312 PYTEST_OPTIONS='-m "not slow"'
# The tests run in WORKERS processes, each of which takes up to 5 GB; a file's tests run in one of them.
PYTHON ?= python3
VENV ?= .venv
PYTEST_OPTIONS ?=
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: run test venv lint format clean

run: $(VENV)/.run-ready
	$(BIN)/streamlit run explorer/app.py

test: venv
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

venv: $(VENV)/.dev-ready

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.run-ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/.dev-ready: pyproject.toml $(VENV)/.run-ready
	$(BIN)/python -m pip install --quiet --editable '.[network,app,cluster,dev]'
	touch $@
