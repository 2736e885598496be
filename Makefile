# The set-up commands of README.md. VENV names the virtual environment, which is made if it is not there.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
SOURCES := traces envs policies experiments tests benchmarks

.PHONY: compare test lint format train clean

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip

$(VENV)/base.stamp: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[train,dev]'
	touch $@

compare: $(VENV)/base.stamp  ## the main job on the bundled trace: a table, and the path of a figure
	$(BIN)/handrail compare

test: $(VENV)/dev.stamp  ## the test suite
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/dev.stamp  ## style and types
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/basedpyright --pythonpath $(BIN)/python

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf build dist *.egg-info
