# The only entry points for a developer; `make` alone lists them. Every target sets up what it needs in a fresh clone.
PYTHON ?= python3.11
DOCKER ?= docker
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
ALGORITHMS := $(patsubst algorithms/%/__init__.py,%,$(wildcard algorithms/*/__init__.py))
ALGORITHM ?= $(firstword $(ALGORITHMS))
DEVICE ?= cpu
FOR ?= $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
# where a GPU is, CuPy, NumPy and what tests need are the machine's own
GPU_ENV = $(if $(wildcard /proc/driver/nvidia/version /dev/nvidiactl),.venv-gpu,.venv)
IMAGE = inbuilt-$(subst _,-,$(ALGORITHM))
REPOSITORY = $(shell sed -n 's/^ *repository="\(.*\)",$$/\1/p' algorithms/$(ALGORITHM)/__init__.py 2>/dev/null)
KIND = $(EXTRAS:%=-%)$(filter-out -cpu,-$(DEVICE))
TAGS = $(VERSION)$(KIND) latest$(KIND)
# megabytes: an image with packages of its own may have more than the others
BOUND = $(if $(filter gpu,$(DEVICE)),4000,$(if $(EXTRAS)$(wildcard docker/$(name).lock),600,350))
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

image: ## build inbuilt-ALGORITHM and print its size; EXTRAS=parquet adds an extra, DEVICE=gpu CUDA, to the image and to its tags
	@case ' $(ALGORITHMS) ' in *' $(ALGORITHM) '*) ;; \
	  *) echo "ALGORITHM must be one of $(ALGORITHMS), got '$(ALGORITHM)'." >&2; exit 1;; esac
	@case '$(DEVICE)' in cpu|gpu) ;; *) echo "DEVICE must be cpu or gpu, got '$(DEVICE)'." >&2; exit 1;; esac
	$(DOCKER) build -f docker/Dockerfile --build-arg ALGORITHM=$(ALGORITHM) --build-arg DEVICE=$(DEVICE) \
	  --build-arg VERSION=$(VERSION) --build-arg EXTRAS=$(EXTRAS) \
	  $(foreach name,$(IMAGE) $(REPOSITORY),$(addprefix -t $(name):,$(TAGS))) .
	@$(DOCKER) image inspect -f '{{.Size}}' $(IMAGE):$(firstword $(TAGS)) \
	  | awk '{ printf "$(IMAGE):$(firstword $(TAGS)) has %.0f MB\n", $$1 / 1e6 }'

images: ## build the image of every algorithm, also named as the guide's repositories are, and print what they share
	for algorithm in $(ALGORITHMS); do $(MAKE) image ALGORITHM=$$algorithm || exit; done
	@DOCKER='$(DOCKER)' $(PYTHON) docker/sizes.py $(foreach name,$(ALGORITHMS),inbuilt-$(subst _,-,$(name)):$(firstword $(TAGS))=$(BOUND))

sbom: ## print the bill of materials of inbuilt-ALGORITHM, building the image if it is not built; CycloneDX JSON
	@$(DOCKER) image inspect $(IMAGE):$(firstword $(TAGS)) > /dev/null 2>&1 || $(MAKE) image >&2
	@$(DOCKER) run --rm --entrypoint cat $(IMAGE):$(firstword $(TAGS)) /opt/inbuilt/sbom.cdx.json

audit: .venv-audit/.ready ## ask a service of known vulnerabilities about every package in docker/'s locks
	.venv-audit/bin/python docker/audit.py $(wildcard docker/*.lock docker/tools/*.lock)

test-images: .venv/.ready .venv-sagemaker/.ready images ## all images in a container engine, driven by the SageMaker Python SDK
	INBUILT_IMAGE_TAG=$(firstword $(TAGS)) $(BIN)/python -m pytest tests/images $(ARGS)

bench: .venv-bench/.ready .venv-image/.ready .venv-mlserver/.ready .venv-mxnet/.ready ## Inbuilt beside what a user would pick instead; ALGORITHM=pca: one
	.venv-bench/bin/python -m benchmarks $(if $(filter command line environment,$(origin ALGORITHM)),--algorithm $(ALGORITHM)) $(ARGS)

bench-hosts: .venv-bench/.ready images ## training on one, two and four containers, into docs/hosts.md
	$(CURDIR)/.venv-bench/bin/python -m benchmarks.scale_hosts --page $(ARGS)

test-gpu: $(GPU_ENV)/.ready ## the tests of what computes on a GPU; on a machine without one most of them skip, and say so
	$(GPU_ENV)/bin/python -m pytest tests/gpu algorithms/*/tests/test_on_device.py $(ARGS)

bench-gpu: $(GPU_ENV)/.ready ## training cores on a GPU beside the CPU and the GPU's own limits
	$(GPU_ENV)/bin/python -m benchmarks.gpu_cores $(ARGS)

carry: ## wheels into dist/carry, for these two on a machine with a GPU and without a network; FOR=3.13: its Python
	rm -rf dist/carry && mkdir -p dist
	grep -hvE '^(#|numpy=|scipy=)' docker/requirements.lock docker/knn.lock > dist/carry.txt
	$(PYTHON) -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version $(FOR) \
	  $(addprefix --platform ,manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64) \
	  -d dist/carry -r dist/carry.txt 'setuptools>=80' 'Cython>=3.1'
	@du -sh dist/carry

clean: ## remove environments and everything built
	rm -rf .venv .venv-* build dist *.egg-info demo-output
	find formats algorithms -name '*.so' -delete -o -name '_*.cpp' -delete

# The kernels are compiled by the editable install; a change to one of them, or to what builds them, installs again.
.venv/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[cpu,test]'
	touch $@

# It sees the packages of the Python that made it, be that a virtual environment, too. Without a network all else is in dist/carry.
.venv-gpu/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv-gpu || $(PYTHON) -m venv --system-site-packages --without-pip .venv-gpu
	$(PYTHON) -c 'import site; print(*site.getsitepackages(), sep="\n")' \
	  > "$$(.venv-gpu/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/machine.pth"
	$(PYTHON) -m pip --python .venv-gpu/bin/python install -q --disable-pip-version-check \
	  $(if $(wildcard dist/carry/*.whl),--no-index --find-links dist/carry) -e '.[cpu]'
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

.venv-audit/.ready: docker/tools/audit.lock
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install -q --disable-pip-version-check --no-deps -r docker/tools/audit.lock
	touch $@

# MLServer's workers die with a newer uvloop ("no current event loop").
.venv-mlserver/.ready:
	$(PYTHON) -m venv .venv-mlserver
	.venv-mlserver/bin/python -m pip install -q --disable-pip-version-check \
	  mlserver mlserver-sklearn mlserver-xgboost 'uvloop<0.22'
	touch $@

# Peers are not development tools: they have an environment of their own.
.venv-bench/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv-bench || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -q --disable-pip-version-check \
	  -e '.[cpu]' pandas pyarrow scikit-learn protobuf 'sagemaker<3' gensim tomotopy rrcf myfm fastapi 'uvicorn[standard]'
	touch $@

# Our own programs, without the peers: xgboost imports scikit-learn and pandas where they are.
.venv-image/.ready: pyproject.toml setup.py $(KERNELS)
	test -d .venv-image || $(PYTHON) -m venv .venv-image
	.venv-image/bin/python -m pip install -q --disable-pip-version-check -e '.[cpu]'
	touch $@

.PHONY: help dev demo test test-gpu carry lint format image images sbom audit test-images bench bench-gpu bench-hosts clean
