# make run    sets up, then runs the taxi pipeline on real data
# make test   sets up, then lints, type-checks and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint types unit docs lock clean

run: $(VENV)/ready
	$(BIN)/edgeline run taxi

test: lint types unit

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# components/, pipelines/ and images/ are linked to where they are installed
types: $(VENV)/ready
	rm -rf .cache/types && mkdir -p .cache/types/edgeline
	for entry in edgeline/*; do ln -s "$(CURDIR)/$$entry" .cache/types/edgeline/; done
	for folder in components pipelines images; do ln -s "$(CURDIR)/$$folder" .cache/types/edgeline/; done
	cd .cache/types && MYPYPATH=. "$(CURDIR)/$(BIN)/mypy" --config-file "$(CURDIR)/pyproject.toml" -p edgeline

unit: $(VENV)/ready
	$(BIN)/pytest

docs: $(VENV)/ready
	$(BIN)/python -m edgeline.docs

# the same versions on every machine; the tool that resolves them comes from PyPI
$(VENV)/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[test]'
	touch $@

lock:
	$(BIN)/uv pip compile --universal --python-version 3.10 --no-emit-index-url --no-header \
	  --no-annotate --extra test --output-file constraints.txt setup.cfg

clean:
	rm -rf $(VENV) .cache build dist *.egg-info
