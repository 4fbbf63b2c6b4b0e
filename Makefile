PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test check long lint types types-package types-beside unit fast fuzz test-cluster test-images test-updates \
  docs site screenshot notebooks lock clean

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "make %-14s %s\n", $$1, $$2}'

run: $(VENV)/ready ## set up, then run the taxi pipeline on real data
	$(BIN)/edgeline run taxi

test: lint types unit ## set up, then lint, check types and run the tests (about 20 minutes)

check: lint types fast ## lint, types and the fast tests (at most 3 minutes)

# an hour or more; figures in benchmarks/results
long: $(VENV)/ready ## what takes longer: fuzzing, soaks, large tables and trainings
	$(BIN)/python benchmarks/long.py

lint: $(VENV)/ready ## style, and which room imports which
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

# side by side, each with a cache of its own: neither could use what the other's options left
types: $(VENV)/ready ## mypy: strict, and what `make test` does not run
	$(MAKE) --no-print-directory --jobs 2 types-package types-beside

types-package:
	$(BIN)/mypy -p edgeline

types-beside:
	$(BIN)/mypy --config-file tests/mypy.ini --cache-dir .mypy_cache/beside \
	  tests/cluster tests/images benchmarks charts

# files of tests at a time: one more than cores, as tests wait much; each needs up to 4 GB
WORKERS ?= 3
SIDE_BY_SIDE = --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
unit: $(VENV)/ready
	$(BIN)/pytest $(SIDE_BY_SIDE) $(PYTEST)

FAST := not slow and not long and not images and not cluster
fast: $(VENV)/ready
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "$(FAST)" $(PYTEST)

# about five minutes
fuzz: $(VENV)/ready ## 10,000 malformed requests and files of each kind, and 10,000 from the OpenAPI document
	$(BIN)/python tests/server/fuzzing.py 10000
	$(BIN)/python tests/server/openapi_fuzzing.py 10000

IMAGES ?= pipeline train compile edge-server

test-images: $(VENV)/ready ## build the container images with Docker and test them
	tests/images/build.sh $(IMAGES)
	tests/images/publish.sh edge-server
	PATH="/usr/bin:$$PATH" $(BIN)/pytest -m images tests/images

# builds Kubernetes' API server once, with Go; needs Debian's etcd-server
test-cluster: $(VENV)/ready ## apply what is written to Kubernetes' API server
	tests/cluster/build_api_server.sh
	$(BIN)/pytest -m cluster tests/cluster

test-updates: $(VENV)/ready ## updates below eight clients, then 100 more: nothing lost or grown
	$(BIN)/python benchmarks/updates.py

docs: $(VENV)/ready ## write the components' READMEs from their faces, and the Helm chart
	$(BIN)/python -m edgeline.docs
	$(BIN)/python charts/write_chart.py

site: $(VENV)/ready ## write the documentation to build/site, with the reference
	$(BIN)/sphinx-build -q -W --keep-going -b html -c docs . build/site

# needs Chromium
screenshot: $(VENV)/ready ## take README's picture of a run again
	$(BIN)/edgeline run taxi
	$(BIN)/python docs/screenshot.py

notebooks: $(VENV)/ready ## execute the notebooks and write their outputs
	$(BIN)/python tests/notebooks/execute_notebooks.py

# the same versions on every machine; the tool that resolves them comes from PyPI
$(VENV)/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[test]'
	touch $@

# the images' lists hold the same versions with hashes; edge-server's has not what only the
# command line and the reports use
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url \
  --no-header --no-annotate setup.cfg
LOCK_IMAGE := $(LOCK) --constraints constraints.txt --generate-hashes
NOT_SERVING := colorama jinja2 markdown-it-py markupsafe mdurl pygments pyyaml rich

lock: ## resolve constraints.txt and the images' lists again
	$(LOCK) --extra test --output-file constraints.txt
	$(LOCK_IMAGE) --extra pipelines --extra serve-updates --extra mqtt --extra sources --extra mlflow --extra registry --output-file images/pipeline/requirements.txt
	$(LOCK_IMAGE) --extra quantise --extra mlflow --output-file images/train/requirements-cpu.txt
	$(LOCK_IMAGE) --extra quantise --extra gpu --extra mlflow --output-file images/train/requirements-gpu.txt
	$(LOCK_IMAGE) --extra targets --extra mlflow --extra tune --output-file images/compile/requirements.txt
	$(LOCK_IMAGE) --extra serve-updates --extra mqtt $(NOT_SERVING:%=--no-emit-package %) \
	  --output-file images/edge-server/requirements.txt

clean: ## remove what was built
	rm -rf $(VENV) .cache build dist *.egg-info
