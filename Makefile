# The only entry points for a developer; `make` alone lists them. Every target sets up what it needs in a fresh clone.
PYTHON ?= python3.11
DOCKER ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
ALGORITHMS := $(patsubst algorithms/%/__init__.py,%,$(wildcard algorithms/*/__init__.py))
ALGORITHM ?= $(firstword $(ALGORITHMS))
IMAGE = inbuilt-$(subst _,-,$(ALGORITHM))
TAGS = $(VERSION)$(EXTRAS:%=-%) latest$(EXTRAS:%=-%)
KERNELS := $(shell find formats algorithms -name '_*.px[dy]')
BIN := .venv/bin
export INBUILT_MXNET_PYTHON ?= $(CURDIR)/.venv-mxnet/bin/python
export INBUILT_SAGEMAKER_PYTHON ?= $(CURDIR)/.venv-sagemaker/bin/python

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

dev: .venv/.ready ## a virtual environment with the project, its kernels compiled, and all development tools

demo: .venv/.ready-demo ## train k-means on handwritten digits, serve it, ask it, draw what it found
	$(BIN)/python demo/demo.py

test: .venv/.ready .venv-mxnet/.ready .venv-sagemaker/.ready ## the tests, but for those that need a container engine
	$(BIN)/python -m pytest --ignore=tests/images $(ARGS)

lint: .venv/.ready ## ruff and mypy --strict
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

format: .venv/.ready ## let ruff format the code
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

image: ## build inbuilt-ALGORITHM and print its size; EXTRAS=parquet adds an extra, to the image and to its tags
	$(DOCKER) build -f docker/Dockerfile --build-arg ALGORITHM=$(ALGORITHM) --build-arg VERSION=$(VERSION) \
	  --build-arg EXTRAS=$(EXTRAS) $(addprefix -t $(IMAGE):,$(TAGS)) .
	@$(DOCKER) image inspect -f '{{.Size}}' $(IMAGE):$(firstword $(TAGS)) \
	  | awk '{ printf "$(IMAGE):$(firstword $(TAGS)) has %.0f MB\n", $$1 / 1e6 }'

images: ## build the image of every algorithm; they share all large layers
	for algorithm in $(ALGORITHMS); do $(MAKE) image ALGORITHM=$$algorithm || exit; done

test-images: .venv/.ready .venv-sagemaker/.ready images ## all images in a container engine, driven by the SageMaker Python SDK
	INBUILT_IMAGE_TAG=$(firstword $(TAGS)) $(BIN)/python -m pytest tests/images $(ARGS)

bench: .venv-bench/.ready ## what is in benchmarks/, beside what a user would pick instead
	for benchmark in benchmarks/*.py; do echo "== $$benchmark"; .venv-bench/bin/python $$benchmark || exit; done

clean: ## remove environments and everything built
	rm -rf .venv .venv-* build dist *.egg-info demo-output
	find formats algorithms -name '*.so' -delete -o -name '_*.cpp' -delete

# The kernels are compiled by the editable install; a change to one of them, or to what builds them, installs again.
.venv/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu,test]'
	touch $@

.venv/.ready-demo: .venv/.ready
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu,demo]'
	touch $@

# MXNet was retired and cannot be imported beside a current NumPy: it reads our artifacts in an environment of its own.
.venv-mxnet/.ready:
	$(PYTHON) -m venv .venv-mxnet
	.venv-mxnet/bin/python -m pip install -q --disable-pip-version-check mxnet==1.9.1 numpy==1.23.5
	touch $@

# The client of most users: version 2 of the SDK has the built-in algorithms' estimators and local mode.
.venv-sagemaker/.ready:
	$(PYTHON) -m venv .venv-sagemaker
	.venv-sagemaker/bin/python -m pip install -q --disable-pip-version-check 'sagemaker<3'
	touch $@

# Peers are not development tools: they have an environment of their own.
.venv-bench/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q --disable-pip-version-check \
	  -e '.[cpu]' pandas pyarrow scikit-learn protobuf 'sagemaker<3'
	touch $@

.PHONY: help dev demo test lint format image images test-images bench clean
