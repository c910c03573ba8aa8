# Each target sets up what it needs; `make help` lists the targets.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# On a machine with an NVIDIA card: make setup EXTRAS=demo,dev,gpu
EXTRAS := demo,dev,faiss
STAMP := $(VENV)/.installed
RAY_STAMP := $(STAMP)-ray

# A shortened demo has a project of its own: another number of samples would rewrite the files of the full one.
DEMO_HOME = $(CURDIR)$(if $(DEMO_LIMIT),/data/demo-$(DEMO_LIMIT))

DEV_OPTIONS = $(if $(DEMO_LIMIT), DEMO_LIMIT=$(DEMO_LIMIT))

export DAGSTER_HOME := $(CURDIR)
export CURATION_HOME := $(CURDIR)
export CURATION_STATE ?= $(CURDIR)/data/dagster

# PyTorch's ordinary build for Linux on x86 brings 4.5 GB of CUDA. Without a GPU its CPU build is taken, which uv finds;
# where it is out of reach, the ordinary one is. CUDA=1 asks for that one.
ifndef CUDA
CPU_TORCH = if test "$$(uname -sm)" = "Linux x86_64" && ! nvidia-smi > /dev/null 2>&1 \
	&& ! $(BIN)/python -m pip show --quiet torch > /dev/null 2>&1; then \
	echo "No GPU answers: installing the CPU build of PyTorch"; \
	{ $(BIN)/python -m pip install --quiet uv && UV_HTTP_RETRIES=0 $(BIN)/uv pip install --quiet \
	--python $(BIN)/python --torch-backend=cpu torch torchvision; } > /dev/null 2>&1 \
	|| echo "It is out of reach: the ordinary build is installed, which takes 4.5 GB more"; \
	$(BIN)/python -m pip uninstall --quiet --yes uv > /dev/null 2>&1; true; fi
endif

.PHONY: help setup setup-ray demo demo-text demo-ray test test-ray test-ui test-postgres test-s3 test-cluster test-gpu test-kills test-wheel fuzz check reference dev

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP) ## Create the virtual environment in .venv (again only if pyproject.toml changed)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(CPU_TORCH),@$(CPU_TORCH))
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS)]'
	rm -f $(VENV)/.installed-*
	touch $@

ifdef DEMO_LIMIT
demo demo-text demo-ray dev: export CURATION_HOME = $(DEMO_HOME)
demo demo-text demo-ray dev: export CURATION_STATE = $(DEMO_HOME)/data/dagster
demo demo-text demo-ray dev: export CURATION_STORAGE = $(DEMO_HOME)/data/curated
endif

demo: setup ## Curate 4,495 images, from raw files to the report (DEMO_LIMIT=600 is a quick look)
	$(BIN)/curation-assets prepare openmoji $(if $(DEMO_LIMIT),--limit $(DEMO_LIMIT))
	$(BIN)/curation-assets run --pool emoji
	@echo
	@echo "Open the report above in a browser, or the graph with: make dev$(DEV_OPTIONS)"

demo-text: setup ## Curate 20,000 docstrings of the installed packages (DEMO_LIMIT=600 is a quick look)
	$(BIN)/curation-assets prepare docstrings $(if $(DEMO_LIMIT),--limit $(DEMO_LIMIT))
	$(BIN)/curation-assets run --pool docstrings
	@echo
	@echo "Open the report above in a browser, or the graph with: make dev$(DEV_OPTIONS)"

setup-ray: $(RAY_STAMP)

$(RAY_STAMP): $(STAMP)
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS),ray]'
	touch $@

demo-ray: demo setup-ray ## Curate the demo pool on a simulated Ray cluster of three nodes, one of which is killed
	$(BIN)/curation-assets ray-demo --pool emoji

test: setup ## Run the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-ray: setup-ray ## Test the Ray engine on a simulated cluster (SHORT=1 leaves out slow tests)
	$(BIN)/python -m pytest -m 'ray$(if $(SHORT), and not slow)' curation_assets_tests/engines/ray

test-ui: setup ## Test the Dagster UI in an installed Chromium (CURATION_SCREENSHOTS=FOLDER keeps the pictures; LONG=1)
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS),ui]'
	$(BIN)/python -m pytest -m 'ui$(if $(LONG),, and not slow)' curation_assets_tests/wrong_clicks curation_assets_tests/ui

test-postgres: setup ## Test Dagster's storage in PostgreSQL (needs Debian's package postgresql)
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS),postgres]'
	$(BIN)/python -m pytest -m postgres curation_assets_tests/postgres

# datasets says which fsspec fits; with all other extras too, pip searches for minutes.
test-s3: setup ## Test outputs on an S3 server that the tests start
	$(BIN)/python -m pip install -qq --editable '.[s3]' datasets 'moto[server]>=5.0'
	$(BIN)/python -m pytest -m s3 curation_assets_tests/s3

test-cluster: setup ## Test runs and steps as Ray jobs, through dagster-ray
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS),cluster]'
	$(BIN)/python -m pytest -m cluster curation_assets_tests/cluster

test-gpu: setup ## Test kernels, fits, encoders and whole pools on this machine's CUDA card; fails without one
	$(BIN)/python -m pytest -m 'gpu or kernel'

fuzz: setup ## Read 100,000 odd and damaged files (INPUTS=500000; FIRST=200 goes on from another round)
	CURATION_FUZZ_INPUTS=$(or $(INPUTS),100000) CURATION_FUZZ_FIRST=$(or $(FIRST),1) \
	$(BIN)/python -m pytest -n 2 curation_assets_tests/fuzz

test-wheel: setup ## Build the wheel, install it in an environment of its own, and use it in empty folders
	$(BIN)/python -m pytest -m wheel curation_assets_tests/test_wheel.py

test-kills: setup ## Kill commands at random moments and compare what they store (TRIALS=200 kills, SEED=0)
	$(BIN)/python -m pytest -m kills -n 2 --dist loadgroup curation_assets_tests/kills

check: setup ## Check lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

reference: setup ## Write docs/pool_reference.md and docs/pool.schema.json from the descriptions of the settings
	$(BIN)/curation-assets schema --markdown > docs/pool_reference.md
	$(BIN)/curation-assets schema > docs/pool.schema.json

dev: setup ## Open the Dagster UI on http://localhost:3000, and serve the reports that it links to
	exec $(BIN)/curation-assets dev
