# make run    sets up, then runs the taxi pipeline on real data
# make test   sets up, then lints, type-checks and tests
# make test-cluster  applies what is written to Kubernetes' API server (see tests/cluster)
# make test-images   builds the container images with Docker and tests them (see images/README.md)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test-cluster test-images test-updates test lint types unit fuzz docs screenshot lock clean

run: $(VENV)/ready
	$(BIN)/edgeline run taxi

test: lint types unit

lint: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/ready
	$(BIN)/mypy -p edgeline

# two files of tests at a time; each needs up to 4 GB
WORKERS ?= 2
unit: $(VENV)/ready
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile

# 10,000 malformed requests, and 10,000 made from the OpenAPI document (about five minutes)
fuzz: $(VENV)/ready
	$(BIN)/python tests/server/fuzzing.py 10000
	$(BIN)/python tests/server/openapi_fuzzing.py 10000

IMAGES ?= pipeline train compile edge-server

test-images: $(VENV)/ready
	tests/images/build.sh $(IMAGES)
	tests/images/publish.sh edge-server
	PATH="/usr/bin:$$PATH" $(BIN)/pytest -m images tests/images

# builds Kubernetes' API server once, with Go; needs Debian's etcd-server
test-cluster: $(VENV)/ready
	tests/cluster/build_api_server.sh
	$(BIN)/pytest -m cluster tests/cluster

# a minute of updates below eight clients, then 100 updates: nothing lost, nothing grown
test-updates: $(VENV)/ready
	$(BIN)/python benchmarks/updates.py

docs: $(VENV)/ready
	$(BIN)/python -m edgeline.docs

# needs Chromium
screenshot: $(VENV)/ready
	$(BIN)/edgeline run taxi
	$(BIN)/python docs/screenshot.py

# the same versions on every machine; the tool that resolves them comes from PyPI
$(VENV)/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --editable '.[test]'
	touch $@

# the images' lists hold the same versions; edge-server's has hashes, and not what only the
# command line and the reports use
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url \
  --no-header --no-annotate setup.cfg
LOCK_IMAGE := $(LOCK) --constraints constraints.txt
NOT_SERVING := colorama jinja2 markdown-it-py markupsafe mdurl pyarrow pygments pyyaml rich

lock:
	$(LOCK) --extra test --output-file constraints.txt
	$(LOCK_IMAGE) --extra pipelines --extra serve --output-file images/pipeline/requirements.txt
	$(LOCK_IMAGE) --extra quantise --output-file images/train/requirements-cpu.txt
	$(LOCK_IMAGE) --extra quantise --extra gpu --output-file images/train/requirements-gpu.txt
	$(LOCK_IMAGE) --extra targets --output-file images/compile/requirements.txt
	$(LOCK_IMAGE) --extra serve --generate-hashes $(NOT_SERVING:%=--no-emit-package %) \
	  --output-file images/edge-server/requirements.txt

clean:
	rm -rf $(VENV) .cache build dist *.egg-info
