# One target a step. `make` alone prints help. ARGS passes Hydra overrides (or pytest arguments) through unchanged.

PYTHON_INTERPRETER ?= python3
ARGS ?=
RUN ?=
CI_MODE ?= false

export CI_MODE
# Threads that wait a little, then sleep: as fast on an idle machine, and not a hundred times slower on a busy one.
export GOMP_SPINCOUNT ?= 1000

PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
DEVELOPED := .venv/.installed-dev
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
# .env is optional; quotes are tolerated, and what is already set wins.
ENVIRONMENT = $(if $(wildcard .env),.venv/bin/dotenv --file .env run --no-override --)
MODULE = $(ENVIRONMENT) $(PYTHON) -m drift_detector_pipeline

.DEFAULT_GOAL := help

##@ Start
.PHONY: quickstart create_environment requirements requirements_dev
quickstart: ## Install, train on handwritten digits, show the result (no account, no download but packages)
	@start=$$(date +%s); $(MAKE) --silent requirements && \
	INSTALL_SECONDS=$$(( $$(date +%s) - start )) $(MODULE).quickstart $(ARGS)

create_environment: ## Make .venv, empty
	$(PYTHON_INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON_INTERPRETER=python3.11")'
	$(PYTHON_INTERPRETER) -m venv .venv

requirements: $(INSTALLED) ## Install the hash-pinned lock into .venv: all that running needs

requirements_dev: $(DEVELOPED) ## ... and what tests, style, types and documentation need

$(INSTALLED): requirements.txt pyproject.toml
	@test -x $(PYTHON) || $(MAKE) --no-print-directory create_environment
	$(PIP) --require-hashes -r requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPED): requirements-dev.txt $(INSTALLED)
	$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

##@ Data
.PHONY: dvc_pull dvc_push dvc_status process_data
dvc_pull: $(INSTALLED) ## Fetch the raw data that the .dvc files name from the DVC remote
	@$(MODULE).remote pull $(ARGS)

dvc_push: $(INSTALLED) ## Send the raw data to the DVC remote
	@$(MODULE).remote push $(ARGS)

dvc_status: $(INSTALLED) ## Compare the raw data with the .dvc files, the cache and the remote
	@$(MODULE).remote status $(ARGS)

process_data: $(INSTALLED) ## Raw archive or folder to packed images: ARGS="data=cifar10"
	@$(MODULE).dataset $(ARGS)

##@ Model
.PHONY: train reproduce summary bench
train: process_data ## Train: ARGS="data=folder data.raw_path=PATH training.epochs=5"
	@$(MODULE).modeling.train $(ARGS)

reproduce: $(INSTALLED) ## Do a finished run again from its receipt and compare the bits: RUN=outputs/DATE/TIME
	@$(MODULE).modeling.reproduce $(RUN)

summary: $(INSTALLED) ## Several finished runs as one JSON with mean and spread: ARGS="reports/NAME.json RUN RUN"
	@$(MODULE).modeling.summary $(ARGS)

bench: $(INSTALLED) ## Measure training speed on this machine: reports/training_speed.json
	@$(MODULE).bench $(ARGS)

##@ Code
.PHONY: test lint format check lock clean help
test: $(DEVELOPED) ## Run the tests that take seconds; ARGS="-m ''" runs all, ARGS="-k resume" some
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(ARGS)

lint: $(DEVELOPED) ## Style and types: ruff and mypy
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

format: $(DEVELOPED) ## Put the code into shape
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

check: lint ## What CI runs: style, types, all tests
	@$(ENVIRONMENT) $(PYTHON) -m pytest -m ""

LOCK := --universal --python-version 3.11 --generate-hashes --no-header --quiet
lock: ## Make requirements.txt and requirements-dev.txt from pyproject.toml again, with the newest versions
	$(PYTHON_INTERPRETER) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv==0.13.8
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --upgrade --extra test --extra dev --output-file requirements-dev.txt
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --extra test --constraint requirements-dev.txt --output-file requirements.txt
	rm -rf .venv-lock

clean: ## Remove caches and partial files; data, runs and the environment stay
	rm -rf .mypy_cache .pytest_cache .ruff_cache data/processed/.*.partial data/processed/.*.old data/raw/*.part
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## This text
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z_]+:.*## / { printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nTwo commands to start:  git clone ... && cd ...,  then  make quickstart\n'
