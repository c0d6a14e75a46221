# One target per step. `make` alone prints help. ARGS passes Hydra overrides (or pytest arguments) through unchanged.

PYTHON_INTERPRETER ?= python3
VENV ?= .venv
ARGS ?=
RUN ?=
IMAGES ?=
VIDEO ?=
FROM ?=
TO ?=
VERSION ?=
WHY ?=
ALARM ?=
SOURCE ?=
HOURS ?=
BASKET ?=
FILE ?=
ENGINE ?=
CAUSE ?=
SEVERITY ?=
SIGNED_BY ?=
KEY ?= $(HOME)/.ssh/id_ed25519
CI_MODE ?= false
WANDB_API_KEY ?=

# A dollar in a path is a dollar, none of make's own names.
override ARGS := $(value ARGS)
override RUN := $(value RUN)
override IMAGES := $(value IMAGES)
override VIDEO := $(value VIDEO)
override FROM := $(value FROM)
override VERSION := $(value VERSION)
override WHY := $(value WHY)
override SOURCE := $(value SOURCE)
override BASKET := $(value BASKET)
override FILE := $(value FILE)
override CAUSE := $(value CAUSE)
override SIGNED_BY := $(value SIGNED_BY)
# The key that checks a signature is the public one, unless one is named.
PUBLIC_KEY := $(if $(filter file,$(origin KEY)),$(KEY).pub,$(value KEY))
ifneq ($(origin KEY),file)
override KEY := $(value KEY)
endif
export RUN KEY PUBLIC_KEY SIGNED_BY FROM TO IMAGES VIDEO VERSION WHY ALARM SOURCE HOURS BASKET FILE CAUSE SEVERITY

# Without quotes around ARGS make would take its other words for variables that nobody reads. Variables of make have
# capitals only.
LETTERS := . + a b c d e f g h i j k l m n o p q r s t u v w x y z
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
ASTRAY := $(strip $(foreach name,$(GIVEN),$(if $(strip $(foreach letter,$(LETTERS),$(findstring $(letter),$(name)))),$(name))))
IN_SMALL := $(filter run images video from to version why alarm source hours basket file cause severity engine key,$(ASTRAY))
ifneq ($(IN_SMALL),)
$(error $(firstword $(IN_SMALL))=... is written in capitals here, as are RUN=, IMAGES=, VIDEO=, VERSION= and WHY=: make help)
endif
ifneq ($(ASTRAY),)
$(error $(firstword $(ASTRAY))=... stands outside ARGS and would not be read. One pair of quotes holds all words: ARGS="$(firstword $(ASTRAY))=... KEY=VALUE")
endif

export CI_MODE
# An empty key would hide the one in .env.
ifeq ($(WANDB_API_KEY),)
unexport WANDB_API_KEY
else
export WANDB_API_KEY
endif
# Kept bytecode: pytest rewrites each file of tests once, not in every process (16 of 38 CPU seconds of collecting them).
unexport PYTHONDONTWRITEBYTECODE
# Threads that wait a little, then sleep: as fast on an idle machine, and not a hundred times slower on a busy one.
export GOMP_SPINCOUNT ?= 1000
export HF_HUB_DISABLE_TELEMETRY := 1
export ORT_DISABLE_TELEMETRY := 1

PYTHON := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEVELOPED := $(VENV)/.installed-dev
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
# uv, where it is there, installs the same files by the same hashes in a fraction of the time. It reads no settings of
# pip's but this address; where it cannot install, pip does.
UV := $(shell command -v uv 2>/dev/null)
BY_UV = $${PIP_INDEX_URL:+env UV_DEFAULT_INDEX="$$PIP_INDEX_URL"} $(UV) pip install --quiet --compile-bytecode --python $(PYTHON)
install = $(if $(UV),$(BY_UV) $1 || { echo "uv could not install this; pip tries" >&2; $(PIP) $1; },$(PIP) $1)
# .env is optional; quotes are tolerated, and what is already set wins.
ENVIRONMENT = $(if $(wildcard .env),$(PYTHON) -m drift_detector_pipeline.dot_env)
MODULE = $(ENVIRONMENT) $(PYTHON) -m drift_detector_pipeline
# The shell would stumble over interval(1e-4,1e-1): parentheses are escaped, unless ARGS brings quotes of its own.
OPEN := (
CLOSE := )
QUOTED = $(or $(findstring ',$(ARGS)),$(findstring ",$(ARGS)),$(findstring \,$(ARGS)))
FOR_THE_SHELL = $(if $(QUOTED),$(ARGS),$(subst $(CLOSE),\$(CLOSE),$(subst $(OPEN),\$(OPEN),$(ARGS))))

# ENGINE=ray: predict or judge on all machines of the cluster at RAY_ADDRESS, or in processes on this machine (docs/growth.md).
BY_ENGINE = $(if $(ENGINE),engine=$(ENGINE))

.DEFAULT_GOAL := help

##@ Start
.PHONY: quickstart verify create_environment requirements requirements_dev
quickstart: STARTED := $(shell date +%s)
quickstart: ## Install, train on handwritten digits, show the result (no account; downloads only packages)
	@$(MAKE) --silent requirements
	@INSTALL_SECONDS=$$(( $$(date +%s) - $(STARTED) )) $(MODULE).quickstart $(ARGS)

create_environment: ## Create an empty .venv (or VENV=PATH)
	$(PYTHON_INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON_INTERPRETER=python3.11")'
	$(PYTHON_INTERPRETER) -m venv $(VENV)

verify: $(INSTALLED) ## Run every stage on digits, from data to drift, and report what works on this machine (a few minutes)
	@$(MODULE).verify

requirements: $(INSTALLED) ## Install the locked packages into .venv, checked by hash: all you need to run the pipeline

requirements_dev: $(DEVELOPED) ## ... and what tests, style, types, documentation and profile views need

$(INSTALLED): requirements.txt pyproject.toml
	@test -x $(PYTHON) || $(MAKE) --no-print-directory create_environment
	$(call install,--require-hashes -r requirements.txt)
	$(call install,--no-deps --no-build-isolation --editable .)
	@touch $@

$(DEVELOPED): requirements-dev.txt $(INSTALLED)
	$(call install,--require-hashes -r requirements-dev.txt)
	@touch $@

##@ Data
.PHONY: dvc_pull dvc_push dvc_status process_data convert data_report
dvc_pull: $(INSTALLED) ## Download the raw data that the .dvc files name from the DVC remote
	@$(MODULE).raw.remote pull $(ARGS)

dvc_push: $(INSTALLED) ## Upload the raw data to the DVC remote
	@$(MODULE).raw.remote push $(ARGS)

dvc_status: $(INSTALLED) ## Compare the raw data with the .dvc files, the cache and the remote
	@$(MODULE).raw.remote status $(ARGS)

process_data: $(INSTALLED) ## Turn a raw archive or folder into packed images: ARGS="data=cifar10"
	@$(MODULE).dataset $(ARGS)

convert: $(INSTALLED) ## Convert boxes to a different layout: FROM=PATH TO=yolo, coco, voc or kitti; ARGS="out=PATH"
	@$(MODULE).convert "$$FROM" "$$TO" $(ARGS)

data_report: process_data ## Describe the data on one page: counts, balance, samples, duplicates
	@$(MODULE).processed.data_report $(ARGS)

##@ Model
.PHONY: train sweep reproduce summary known_bits profile tensorboard bench gpu_check bench_accuracy bench_boxes bench_clips bench_peers bench_scale bench_storage
train: process_data ## Train: ARGS="data=folder data.raw_path=PATH training.epochs=5"
	@$(MODULE).modeling.train $(ARGS)

sweep: $(INSTALLED) ## Try values: ARGS="data=digits training.learning_rate=1e-3,1e-2", or with Optuna: conf/sweep.yaml
	@$(MODULE).modeling.sweep.data $(FOR_THE_SHELL)
	@$(MODULE).modeling.sweep $(FOR_THE_SHELL)

reproduce: $(INSTALLED) ## Repeat a finished run and compare the weights: RUN=outputs/DATE/TIME; first check a signature: SIGNED_BY=ID.pub
	@$(if $(SIGNED_BY),$(MODULE).runs.signature check "$$RUN" "$$SIGNED_BY")
	@$(MODULE).cli reproduce "$$RUN"

evaluate: $(INSTALLED) ## Measure accuracy, as numbers and one page: RUN=outputs/DATE/TIME ARGS="split=val weights=best"
	@$(MODULE).modeling.evaluate "$$RUN" $(ARGS)

predict: $(INSTALLED) ## Label images: RUN=outputs/DATE/TIME IMAGES="photos/*.jpg", a folder or an archive; or VIDEO=street.mp4; ENGINE=ray
	@$(if $(VIDEO),$(MODULE).video "$$RUN" "$$VIDEO",$(MODULE).modeling.predict "$$RUN" "$$IMAGES" $(BY_ENGINE)) $(ARGS)

summary: $(INSTALLED) ## Combine finished runs into one JSON with mean and spread: ARGS="reports/NAME.json RUN RUN"
	@$(MODULE).modeling.summary $(ARGS)

known_bits: $(INSTALLED) ## Record the hash of a run's weights on this processor, to compare with others: RUN=outputs/DATE/TIME
	@$(MODULE).runs.known_bits "$$RUN"

profile: process_data ## Show where a training step's time goes; settings as for train: ARGS="+experiment=imagenette_fast"
	@$(MODULE).modeling.profile $(ARGS)

tensorboard: $(INSTALLED) ## Show curves and profiles in the browser, for RUN=outputs/DATE/TIME or all runs
	@test -d "$${RUN:-outputs}" || { echo "error: $${RUN:-outputs}: no such folder; train first: make train" >&2; exit 1; }
	@$(PYTHON) -c 'import torch_tb_profiler' 2>/dev/null || \
		echo "curves only: what shows profiles, torch-tb-profiler, is missing; this adds it: make requirements_dev" >&2
	@TORCH_PROFILER_LOG_LEVEL=WARNING $(PYTHON) -m tensorboard.main --logdir "$${RUN:-outputs}" $(ARGS)

bench: $(INSTALLED) ## Measure training speed on this machine: reports/training_speed.json
	@$(MODULE).cli bench $(ARGS)

gpu_check: $(INSTALLED) ## Test all promises on this GPU in eight minutes (a smaller test on a CPU): reports/gpu_check.json
	@$(MODULE).proof.gpu_check $(ARGS)

bench_accuracy: $(INSTALLED) ## Measure what the fast precision costs in accuracy, 3 seeds on Imagenette: reports/precision_accuracy.json
	@$(MODULE).dataset +experiment=imagenette_fast $(ARGS)
	@$(MODULE).proof.precision_accuracy $(ARGS)

bench_boxes: $(INSTALLED) ## Measure accuracy and speed of the networks for boxes on blood cells: reports/boxes_bccd.json; ARGS="yolox seed=1"
	@$(MODULE).proof.box_networks $(ARGS)

bench_clips: $(INSTALLED) ## Measure how far a split by clip overstates accuracy, compared with one by source: ARGS="data.raw_path=PATH"; reports/clips_*.json
	@$(MODULE).proof.clips $(ARGS)

bench_peers: $(INSTALLED) ## Compare the training time per image with common training loops: reports/peers.json; ARGS="timm=SCRIPT"
	@$(MODULE).proof.peers $(ARGS)

bench_scale: $(INSTALLED) ## Measure time per image and memory from 1,000 to 100,000 images: reports/scale.json; ARGS="1000 10000"
	@$(MODULE).proof.scale $(ARGS)

bench_storage: $(INSTALLED) ## Compare images stored as pixels and as JPEGs: size, speed, accuracy: reports/storage.json; ARGS="data=imagenette"
	@$(MODULE).proof.storage $(ARGS)

include docker.mk

##@ Drift
.PHONY: drift_demo drift_reference drift watch drift_study cause_study bench_drift corruptions
drift_demo: $(INSTALLED) ## See drift detection in one picture (a fault, fog, unseen content), on the newest run or on digits
	@$(MODULE).cli drift-demo "$$RUN" $(ARGS)

drift_reference: $(INSTALLED) ## Learn what a run's usual images look like: RUN=outputs/DATE/TIME
	@$(MODULE).cli drift-reference "$$RUN" $(ARGS)

# Statuses 3, 4 and 5 are verdicts: notice, alert, too few images. Ask the module itself to act on them.
A_VERDICT_IS_SUCCESS = || case $$? in 3|4|5) ;; *) exit 1;; esac
drift: $(INSTALLED) ## Check whether images look like the usual ones, and estimate the accuracy on them: IMAGES=FOLDER RUN=...; ENGINE=ray
	@$(MODULE).cli drift "$$RUN" "$$IMAGES" $(BY_ENGINE) $(ARGS) $(A_VERDICT_IS_SUCCESS)

watch: $(INSTALLED) ## Watch a folder for new images and drift, until stopped: IMAGES=FOLDER RUN=outputs/DATE/TIME
	@$(MODULE).cli watch "$$RUN" "$$IMAGES" $(ARGS) $(A_VERDICT_IS_SUCCESS)

drift_study: $(INSTALLED) ## Measure how often drift is found or falsely reported, and how far accuracy estimates are off: reports/
	@$(MODULE).proof.study "$$RUN" $(ARGS)

cause_study: $(INSTALLED) ## Measure how often the cause of a drift is named correctly: reports/
	@$(MODULE).proof.cause_study "$$RUN" $(ARGS)

bench_drift: $(INSTALLED) ## Measure the time of a verdict, compared with inference: reports/drift_cost.json
	@$(MODULE).proof.drift_cost

corruptions: $(INSTALLED) ## Draw 15 kinds of corruption and measure them; with RUN=outputs/DATE/TIME also the accuracy they cost
	@$(MODULE).cli corruptions "$$RUN" $(ARGS)

##@ Serving
.PHONY: export serve load_test bench_service log_export
export: $(INSTALLED) ## Pack a finished run into one folder that needs no PyTorch: RUN=... ARGS="export.precision=int8"
	@$(MODULE).cli export "$$RUN" $(ARGS)

serve: $(INSTALLED) ## Answer requests over HTTP and watch for drift, until stopped: ARGS="serving.port=8001 export.path=FOLDER"
	@$(MODULE).serving $(ARGS)

load_test: $(DEVELOPED) ## Measure the service under load, compared with bare inference and other servers (PEERS=SITE_PACKAGES): reports/serving.json
	@$(MODULE).proof.serving_load $(ARGS)

bench_service: $(DEVELOPED) ## Count what the service loses through swaps, signals and odd requests: reports/endurance.json; ARGS="FOLDER FOLDER"
	@$(MODULE).proof.endurance $(ARGS)

log_export: $(INSTALLED) ## Export the request log as Parquet: ARGS="serving.database=sqlite:///PATH path=FOLDER"
	@$(MODULE).serving.log_export $(ARGS)

##@ After an alarm
.PHONY: monitor alarms acknowledge silence basket label labels heal retrain gate
.PHONY: promote rollback models models_push models_pull models_check runs autopilot simulate_year
monitor: $(INSTALLED) ## Watch the request log until stopped: ARGS="monitor.webhook=https://... monitor.database=sqlite:///PATH"
	@$(MODULE).lifecycle.watching.monitor $(ARGS)

alarms: $(INSTALLED) ## List the alarms of the monitor: ARGS="source=gate-3 open=true json=true"
	@$(MODULE).lifecycle.watching.alarm_desk alarms $(ARGS)

acknowledge: $(INSTALLED) ## Close an alarm and watch its stream again: ALARM=7 WHY="lens cleaned"
	@$(MODULE).lifecycle.watching.alarm_desk acknowledge "alarm=$$ALARM" "why=$$WHY" $(ARGS)

silence: $(INSTALLED) ## Send no alarms of a source for a while; they are still recorded: SOURCE=gate-3 HOURS=8 WHY=repairs
	@$(MODULE).lifecycle.watching.alarm_desk silence "source=$$SOURCE" "hours=$$HOURS" "why=$$WHY" $(ARGS)

basket: $(INSTALLED) ## Collect images worth labelling in a folder: ALARM=7 IMAGES=FOLDER, or SOURCE=gate-3
	@$(MODULE).lifecycle.labelling.basket "$$IMAGES" $(if $(ALARM),"alarm=$$ALARM") $(if $(SOURCE),"source=$$SOURCE") $(ARGS)

label: $(INSTALLED) ## Label a basket in the browser, one key per image: BASKET=data/baskets/DATE_TIME, or the newest
	@$(MODULE).lifecycle.labelling.label "$$BASKET" $(ARGS)

labels: $(INSTALLED) ## Read labels and report how accurate the model was: FILE=basket.csv, or a file of Label Studio or CVAT
	@$(MODULE).lifecycle.labelling.labels "$$FILE" "$$BASKET" $(ARGS)

OF_CAUSE = $(if $(CAUSE),"cause=$$CAUSE") $(if $(SEVERITY),"severity=$$SEVERITY")
heal: $(INSTALLED) ## Adapt the model to recent images without labels, as a new version: ALARM=7, or IMAGES=FOLDER CAUSE=fog SEVERITY=3
	@$(MODULE).cli heal "$$VERSION" "$$IMAGES" $(if $(ALARM),"alarm=$$ALARM") $(OF_CAUSE) $(ARGS)

retrain: $(INSTALLED) ## Retrain with imitated changes and new labels, as a new version: CAUSE=fog SEVERITY=3 IMAGES=FOLDER
	@$(MODULE).cli retrain "$$VERSION" "$$IMAGES" $(OF_CAUSE) $(ARGS)

gate: $(INSTALLED) ## Test on labelled images whether a candidate may replace the champion: VERSION=... CAUSE=fog SEVERITY=3
	@$(MODULE).lifecycle.gating.gate "$$VERSION" $(OF_CAUSE) $(ARGS)

promote: $(INSTALLED) ## Make a version, or an exported folder, the champion that answers: VERSION=... WHY="..." ARGS="force=true"
	@$(MODULE).release.champions promote "$$VERSION" "$$WHY" $(ARGS)

rollback: $(INSTALLED) ## Go back to the previous champion: WHY="..."; again: one further back
	@$(MODULE).release.champions rollback "$$WHY" $(ARGS)

models: $(INSTALLED) ## List all versions: the champion, accuracy, size, speed, tests, use; ARGS=--json
	@$(MODULE).serving.models $(ARGS)

models_push: $(INSTALLED) ## Upload versions to the DVC remote, and leave small pointer files for git: ARGS="VERSION", or all
	@$(MODULE).release.shared push $(ARGS)

models_pull: $(INSTALLED) ## Download the versions that the pointer files name from the DVC remote, checked by hash
	@$(MODULE).release.shared pull $(ARGS)

models_check: $(INSTALLED) ## Check that every version works and that the champion passed a gate; with a key, downloads them first
	@$(if $(HAS_KEY),$(if $(wildcard models/versions/*.dvc),$(MAKE) --silent models_pull ARGS=))
	@$(MODULE).release.verified

runs: $(INSTALLED) ## Compare finished runs: result, time, data, settings that differ; ARGS="RUN RUN", or all
	@$(MODULE).runs.listing $(ARGS)

autopilot: $(INSTALLED) ## Act on open alarms by a policy, and record each decision: ARGS="lifecycle=heal lifecycle.dry_run=true"
	@$(MODULE).lifecycle.autopilot $(ARGS)

simulate_year: $(INSTALLED) ## Simulate a year of changes with the real service, monitor and autopilot: RUN=..., or ARGS="data=digits" for a month
	@$(if $(filter data=%,$(ARGS)),$(MODULE).dataset $(filter data=%,$(ARGS)))
	@$(MODULE).proof.year "$$RUN" $(ARGS)

##@ Documents
card: $(INSTALLED) ## Write a model card for a finished run: RUN=outputs/DATE/TIME
	@$(MODULE).modeling.card "$$RUN" $(ARGS)

hub_push: $(INSTALLED) ## Upload weights, receipt and card to a private repository on the Hugging Face Hub: RUN=outputs/DATE/TIME ARGS="repo=OWNER/NAME"
	@$(MODULE).modeling.hub_push "$$RUN" $(ARGS)

croissant: process_data ## Describe the processed data as Croissant metadata: ARGS="data=cifar10"
	@$(MODULE).processed.croissant $(ARGS)

course_report: $(INSTALLED) ## Check a course report (word limits, figures, open questions) and write it as one page: FILE=reports/README.md
	@$(MODULE).course_report "$$FILE"

sbom: $(INSTALLED) ## List the locked packages as CycloneDX JSON: reports/sbom.json, or ARGS=FILE
	@$(MODULE).deploy.sbom $(or $(ARGS),reports/sbom.json)

sign: $(INSTALLED) ## Sign a run's receipt (with the hashes of its weights) with an SSH key: RUN=outputs/DATE/TIME KEY=~/.ssh/id_ed25519
	@$(MODULE).runs.signature sign "$$RUN" "$$KEY"

check_signature: $(INSTALLED) ## Check that receipt and weights are as the owner of a key signed them: RUN=outputs/DATE/TIME KEY=~/.ssh/id_ed25519.pub
	@$(MODULE).runs.signature check "$$RUN" "$$PUBLIC_KEY"

##@ Code
.PHONY: test lint format docs check check_ray fuzz coverage card hub_push croissant course_report sbom sign check_signature lock clean help
# A file's tests stay in one process, for what they share; files go out in the order of tests/conftest.py. One process more
# than cores: some tests wait for servers and programs.
SIDE_BY_SIDE := --numprocesses=$$(($$(getconf _NPROCESSORS_ONLN) + 1)) --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(DEVELOPED) ## Run the fast tests; ARGS="-m ''" runs all, ARGS="-k resume" some
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(DEVELOPED) ## Check style and types: ruff and mypy
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

format: $(DEVELOPED) ## Format the code
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: $(DEVELOPED) ## Build the documentation: site/index.html opens in a browser, no server needed
	@$(PYTHON) -m mkdocs build --quiet $(ARGS)
	@echo site/index.html

check: lint ## Style, types, all tests; CI walks make verify in the container instead
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) -m ""

check_ray: $(DEVELOPED) ## Install Ray and test ENGINE=ray: the same rows, a killed process, and whom Ray asks
	@$(PIP) --editable '.[ray]'
	@$(ENVIRONMENT) $(PYTHON) -m pytest -m "" tests/modeling/test_cluster.py $(ARGS)

fuzz: $(DEVELOPED) ## Fuzz decoders and readers, a minute each: ARGS="600" seconds, or one of them: ARGS="decode 600"
	@$(PYTHON) tests/fuzz_bytes.py $(ARGS)

# Not part of check: counting lines cost 38 % more processor time (465 tests, twice each, Python 3.11).
coverage: $(DEVELOPED) ## Run all tests and measure which lines they reach: reports/coverage.txt
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) -m "" --cov=drift_detector_pipeline --cov-report= $(ARGS)
	@$(PYTHON) -m coverage report --skip-covered >reports/coverage.txt; cat reports/coverage.txt

# An extra that a package asks for stays in its pin: pip would not take the pin for it, and asks for hashes of another.
LOCK := --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --quiet
lock: ## Write the three locks again from pyproject.toml, with the newest versions
	$(PYTHON_INTERPRETER) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv==0.13.8
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --upgrade --extra test --extra dev --output-file requirements-dev.txt
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --extra train --extra export --extra serve --extra test --constraint requirements-dev.txt --output-file requirements.txt
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --extra serve --extra postgres --constraint requirements-dev.txt --output-file requirements-serve.txt
	rm -rf .venv-lock

# Where a kill leaves what is half made; half a video is gone on with.
PLACES = $(wildcard data models outputs reports)
clean: ## Remove caches and partial files; data, runs and the environment stay
	rm -rf site .coverage .mypy_cache .pytest_cache .ruff_cache data/processed/.*.old data/raw/*.part
	$(if $(PLACES),find -H $(PLACES) \( -name '.*.partial' ! -name '.video_*' -o -name '.heal-*' -o -name '.retrain-*' \) -prune -exec rm -rf {} +)
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## Show this text
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z_]+:.*## / { printf "  \033[36m%-22s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nTo start: make quickstart\n'
