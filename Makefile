# make run: the app on its bundled study.  make test: the whole test suite.  make test-fast: a part, within a minute.  Both build .venv on first use.
# make test-torch: what needs PyTorch.  make api: the reference of core's public names, in the folder api.
# Another interpreter beside it: make test PYTHON=python3.12 VENV=.venv312 PYTEST_OPTIONS='-m "not slow"'
# The tests run in WORKERS processes, each of which takes up to 5 GB; a file's tests run in one of them.
PYTHON ?= python3
VENV ?= .venv
PYTEST_OPTIONS ?=
WORKERS ?= 2
BIN := $(VENV)/bin

# Tests of functions, which end within a minute: no network, no worker process, no page.
FAST_TESTS := tests/core/data tests/core/measures tests/core/search/test_neighbors.py tests/core/search/test_tiled.py \
	tests/core/report/test_findings.py tests/core/report/test_changes.py tests/core/analysis/test_neighborhoods.py \
	tests/core/analysis/test_planted_labels.py tests/core/analysis/test_small_classes.py tests/core/study/test_options.py \
	tests/core/commands/test_help.py tests/core/test_options_in_messages.py tests/core/data/test_label_text.py

# Tests of PyTorch networks, in an environment of their own without TensorFlow; that of JAX's tensors is there, too.
TORCH_VENV ?= .venv-torch
TORCH_PACKAGES := torch==2.14.1 torchvision==0.29.1 jax==0.10.2 'pillow>=11,<14' 'pytest>=8.3' 'pytest-timeout>=2.3'
TORCH_TESTS := tests/core/network/torch_models tests/core/study/from_torch tests/core/study/test_torch_recipe.py \
	tests/core/search/test_tensors.py tests/core/analysis/test_without_network.py

.PHONY: run test test-fast test-torch test-keras-hub venv lint format api clean

run: $(VENV)/.run-ready
	$(BIN)/streamlit run explorer/app.py

test: venv
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile $(PYTEST_OPTIONS)

test-fast: venv
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile -m "not slow and not shared" $(FAST_TESTS)

# KerasHub brings the whole of TensorFlow, so that it has an environment of its own.
test-keras-hub: .venv-keras-hub/.ready
	.venv-keras-hub/bin/python -m pytest tests/core/study/test_keras_hub.py

.venv-keras-hub/.ready: requirements.txt
	$(PYTHON) -m venv .venv-keras-hub
	.venv-keras-hub/bin/python -m pip install --quiet -r requirements.txt keras-hub pytest pytest-timeout
	touch $@

test-torch: $(TORCH_VENV)/.ready
	REQUIRE_TORCH=1 $(TORCH_VENV)/bin/python -m pytest -m torch $(PYTEST_OPTIONS) $(TORCH_TESTS)

venv: $(VENV)/.dev-ready

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

api: venv
	$(BIN)/python -m tests.api_reference api

clean:
	rm -rf api $(VENV) $(TORCH_VENV) .venv-keras-hub .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.run-ready: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(TORCH_VENV)/.packages:
	$(PYTHON) -m venv $(TORCH_VENV)
	$(TORCH_VENV)/bin/python -m pip install --quiet --upgrade pip
	$(TORCH_VENV)/bin/python -m pip install --quiet $(TORCH_PACKAGES)
	touch $@

$(TORCH_VENV)/.ready: pyproject.toml $(TORCH_VENV)/.packages
	$(TORCH_VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev-ready: pyproject.toml $(VENV)/.run-ready
	$(BIN)/python -m pip install --quiet --editable '.[network,app,cluster,dev]'
	touch $@
