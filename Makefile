# The main targets are `make serve` and `make test`. Each installs what it needs the first time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000
SOAK_S ?= 300
TEST_PROCESSES ?= 2
DATA ?= ../shared/cifar10/train.zip
IMAGE ?= lrpserve
IMAGE_ARGS ?=
PEERS := afternoon litserve torchserve bentoml
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help serve test coverage test-networks check fix soak audit train bench bench-networks bench-kinds bench-gpu bench-lone bench-service docs concrete deception image container-test clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/serve.stamp  ## Start the service on 127.0.0.1:8000
	@$(BIN)/lrpserve serve --host $(HOST) --port $(PORT)

test: $(VENV)/test.stamp $(VENV)/kserve/stamp $(VENV)/openapi-client/stamp  ## Run all tests, two files at a time; TEST_PROCESSES=0: one at a time, as --pdb and -s need
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

coverage: override PYTEST_ARGS += --cov
coverage: test  ## Run all tests more slowly, and list the lines and branches of the service that none reaches

test-networks: $(VENV)/test.stamp  ## Try every network of torchvision (an hour or more on two cores); PYTEST_ARGS='-k resnet'
	$(BIN)/python -m pytest -m networks -s tests/networks $(PYTEST_ARGS)

soak: $(VENV)/test.stamp  ## Test overload, mixed requests, damaged pictures and generated requests; SOAK_ARGS=--short SOAK_S=seconds
	LRP_SOAK_S=$(SOAK_S) $(BIN)/python -m pytest --hypothesis-profile=soak tests/api/test_properties.py tests/api/test_schemathesis.py
	$(BIN)/python -m benchmarks.soak $(SOAK_ARGS)

audit: $(VENV)/audit.stamp  ## Check all pinned packages for known vulnerabilities (needs the network)
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

check: $(VENV)/test.stamp  ## Check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(VENV)/test.stamp  ## Format, and apply the linter's fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

train: $(VENV)/test.stamp  ## Train the shipped weights again (hours on two cores); DATA=folder-or-zip
	$(BIN)/lrpserve train --recipe best --data $(DATA) --resume
	$(BIN)/lrpserve train --recipe conserving --start runs/best/minivgg-cifar10 --data $(DATA) --resume
	$(BIN)/lrpserve train --recipe masked --start runs/conserving/minivgg-cifar10 --data $(DATA) --resume

bench: $(VENV)/test.stamp  ## Measure the engine against Zennit and the forward pass alone
	$(BIN)/python -m benchmarks.relevance --write

bench-networks: $(VENV)/test.stamp  ## Measure explanations of ResNet-18, ViT-B/16 and ConvNeXt-T against forward passes and autoLRP
	$(BIN)/python -m benchmarks.networks --write $(BENCH_ARGS)

bench-kinds: $(VENV)/test.stamp  ## Measure explanations of texts and rows of tables against the networks alone and autoLRP
	$(BIN)/python -m benchmarks.kinds --write $(BENCH_ARGS)

bench-gpu: $(VENV)/test.stamp  ## Measure the same as bench and bench-networks on a GPU; fails without one
	$(BIN)/python -m benchmarks.relevance --device cuda --write
	$(BIN)/python -m benchmarks.networks --device cuda --write $(BENCH_ARGS)

bench-lone: $(VENV)/test.stamp  ## Measure where the time of a request goes while no other client sends any
	$(BIN)/python -m benchmarks.lone --write $(BENCH_ARGS)

bench-service: $(VENV)/test.stamp $(PEERS:%=.bench/%/stamp)  ## Measure the service against its peers (12 minutes); needs wrk and Java
	$(BIN)/python -m benchmarks.service $(BENCH_ARGS)

docs: $(VENV)/test.stamp  ## Draw the documentation's pictures, and write its tables
	$(BIN)/python -m docs.make_tables
	$(BIN)/python -m docs.make_pictures

deception: $(VENV)/test.stamp  ## Make the pictures of docs/deception.md again (minutes)
	$(BIN)/python -m docs.make_deception

concrete: $(VENV)/test.stamp  ## Compute the figures of docs/tables.md again (minutes)
	$(BIN)/python -m docs.make_concrete

image:  ## Build the image; IMAGE=name, IMAGE_ARGS='--build-arg TORCH_INDEX=...' for torch's CPU wheels
	docker build $(IMAGE_ARGS) --tag $(IMAGE) \
	  --build-arg VERSION=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) \
	  --build-arg REVISION=$$(git rev-parse HEAD) .

container-test: image $(VENV)/test.stamp  ## Run the image as docker-compose.yml does, and test it
	LRP_TEST_IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/test_container.py -s $(PYTEST_ARGS)

clean:  ## Remove the environment and the tools' caches
	rm -rf $(VENV) .bench .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage dist

$(VENV)/serve.stamp: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): this takes a few minutes the first time, because torch is large ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/serve.stamp
	@echo "Installing the tests' dependencies ..."
	@$(PIP) --editable '.[test,corelay]'
	@touch $@

# A peer's environment has its own releases first and shares all other packages with ours, which saves gigabytes of torch.
.bench/%/stamp: benchmarks/peers/%/requirements.txt $(VENV)/test.stamp
	@echo "Setting up the peer $* ..."
	@$(PYTHON) -m venv .bench/$*
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$(.bench/$*/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/ours.pth"
	@if .bench/$*/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<; \
		then touch $@; else echo "$* could not be installed; the benchmark leaves it out"; fi

# KServe's SDK excludes releases that the service uses. Without it, its tests are skipped.
$(VENV)/kserve/stamp: tests/api/kserve.txt $(VENV)/test.stamp
	@echo "Setting up KServe's SDK ..."
	@$(BIN)/python -m venv $(VENV)/kserve
	@if $(VENV)/kserve/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<; \
		then touch $@; else rm -rf $(VENV)/kserve; echo "KServe's SDK could not be installed; its tests are skipped"; fi

# The generator of clients excludes releases that the service uses, too. Without it, its tests are skipped.
$(VENV)/openapi-client/stamp: tests/api/openapi_client.txt $(VENV)/test.stamp
	@echo "Setting up the generator of clients ..."
	@$(BIN)/python -m venv $(VENV)/openapi-client
	@if $(VENV)/openapi-client/bin/python -m pip --disable-pip-version-check install --quiet --requirement $<; \
		then touch $@; else rm -rf $(VENV)/openapi-client; echo "It could not be installed; its tests are skipped"; fi

# In an environment of its own, so that the audit does not depend on the packages that it checks.
$(VENV)/audit.stamp: $(VENV)/serve.stamp
	@$(BIN)/python -m venv $(VENV)/audit
	@$(VENV)/audit/bin/python -m pip --disable-pip-version-check install --quiet pip-audit==2.10.1
	@touch $@
