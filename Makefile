# One target a step. `make` alone prints help. ARGS passes Hydra overrides (or pytest arguments) through unchanged.

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
CAUSE ?=
SEVERITY ?=
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
export FROM TO IMAGES VIDEO VERSION WHY ALARM SOURCE HOURS BASKET FILE CAUSE

# Without quotes around ARGS make would take its other words for variables that nobody reads. Variables of make have
# capitals only.
LETTERS := . + a b c d e f g h i j k l m n o p q r s t u v w x y z
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
ASTRAY := $(strip $(foreach name,$(GIVEN),$(if $(strip $(foreach letter,$(LETTERS),$(findstring $(letter),$(name)))),$(name))))
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
ENVIRONMENT = $(if $(wildcard .env),$(VENV)/bin/dotenv --file .env run --no-override --)
MODULE = $(ENVIRONMENT) $(PYTHON) -m drift_detector_pipeline
# The shell would stumble over interval(1e-4,1e-1): parentheses are escaped, unless ARGS brings quotes of its own.
OPEN := (
CLOSE := )
QUOTED = $(or $(findstring ',$(ARGS)),$(findstring ",$(ARGS)),$(findstring \,$(ARGS)))
FOR_THE_SHELL = $(if $(QUOTED),$(ARGS),$(subst $(CLOSE),\$(CLOSE),$(subst $(OPEN),\$(OPEN),$(ARGS))))

.DEFAULT_GOAL := help

##@ Start
.PHONY: quickstart verify create_environment requirements requirements_dev
quickstart: ## Install, train on handwritten digits, show the result (no account, no download but packages)
	@start=$$(date +%s); $(MAKE) --silent requirements && \
	INSTALL_SECONDS=$$(( $$(date +%s) - start )) $(MODULE).quickstart $(ARGS)

create_environment: ## Make .venv (or VENV=PATH), empty
	$(PYTHON_INTERPRETER) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON_INTERPRETER=python3.11")'
	$(PYTHON_INTERPRETER) -m venv $(VENV)

verify: $(INSTALLED) ## Try every stage, data to drift, on digits and say what works on this machine (a few minutes)
	@$(MODULE).verify

requirements: $(INSTALLED) ## Install the hash-pinned lock into .venv: all that running needs

requirements_dev: $(DEVELOPED) ## ... and what tests, style, types, documentation and the views of profiles need

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
dvc_pull: $(INSTALLED) ## Fetch the raw data that the .dvc files name from the DVC remote
	@$(MODULE).raw.remote pull $(ARGS)

dvc_push: $(INSTALLED) ## Send the raw data to the DVC remote
	@$(MODULE).raw.remote push $(ARGS)

dvc_status: $(INSTALLED) ## Compare the raw data with the .dvc files, the cache and the remote
	@$(MODULE).raw.remote status $(ARGS)

process_data: $(INSTALLED) ## Raw archive or folder to packed images: ARGS="data=cifar10"
	@$(MODULE).dataset $(ARGS)

convert: $(INSTALLED) ## Boxes of one layout as a folder of another: FROM=PATH TO=yolo, coco, voc or kitti; ARGS="out=PATH"
	@$(MODULE).convert "$$FROM" "$$TO" $(ARGS)

data_report: process_data ## What the data holds: counts, balance, samples, images that appear twice, as one page
	@$(MODULE).processed.data_report $(ARGS)

##@ Model
.PHONY: train sweep reproduce summary known_bits profile tensorboard bench gpu_check bench_accuracy bench_boxes bench_clips bench_peers bench_scale bench_storage
train: process_data ## Train: ARGS="data=folder data.raw_path=PATH training.epochs=5"
	@$(MODULE).modeling.train $(ARGS)

sweep: $(INSTALLED) ## Try values: ARGS="data=digits training.learning_rate=1e-3,1e-2", or with Optuna: conf/sweep.yaml
	@$(MODULE).modeling.sweep.data $(FOR_THE_SHELL)
	@$(MODULE).modeling.sweep $(FOR_THE_SHELL)

reproduce: $(INSTALLED) ## Do a finished run again and compare the weights: RUN=outputs/DATE/TIME; only if signed: SIGNED_BY=ID.pub
	@$(if $(SIGNED_BY),$(MODULE).runs.signature check "$(RUN)" "$(SIGNED_BY)")
	@$(MODULE).modeling.reproduce $(RUN)

evaluate: $(INSTALLED) ## Measure a finished run, as numbers and one page: RUN=outputs/DATE/TIME ARGS="split=val weights=best"
	@$(MODULE).modeling.evaluate "$(RUN)" $(ARGS)

predict: $(INSTALLED) ## Label images: RUN=outputs/DATE/TIME IMAGES="photos/*.jpg", or a folder, an archive, or VIDEO=street.mp4
	@$(if $(VIDEO),$(MODULE).video "$(RUN)" "$$VIDEO",$(MODULE).modeling.predict "$(RUN)" "$$IMAGES") $(ARGS)

summary: $(INSTALLED) ## Several finished runs as one JSON with mean and spread: ARGS="reports/NAME.json RUN RUN"
	@$(MODULE).modeling.summary $(ARGS)

known_bits: $(INSTALLED) ## Keep which bits the newest run has on this processor, beside those of others: RUN=outputs/DATE/TIME
	@$(MODULE).runs.known_bits $(RUN)

profile: process_data ## Where a training step's time goes: ARGS="+experiment=imagenette_fast", as for train
	@$(MODULE).modeling.profile $(ARGS)

tensorboard: $(INSTALLED) ## Curves and profiles in the browser, of RUN=outputs/DATE/TIME or of all runs
	@test -d "$(or $(RUN),outputs)" || { echo "error: $(or $(RUN),outputs): no such folder; train first: make train" >&2; exit 1; }
	@$(PYTHON) -c 'import torch_tb_profiler' 2>/dev/null || \
		echo "curves only: what shows profiles, torch-tb-profiler, is missing; this adds it: make requirements_dev" >&2
	@TORCH_PROFILER_LOG_LEVEL=WARNING $(PYTHON) -m tensorboard.main --logdir "$(or $(RUN),outputs)" $(ARGS)

bench: $(INSTALLED) ## Measure training speed on this machine: reports/training_speed.json
	@$(MODULE).proof.training_speed $(ARGS)

gpu_check: $(INSTALLED) ## Does all that is promised hold on this GPU, in eight minutes? reports/gpu_check.json; small on a CPU
	@$(MODULE).proof.gpu_check $(ARGS)

bench_accuracy: $(INSTALLED) ## What the fast precision costs in accuracy, 3 seeds on Imagenette: reports/precision_accuracy.json
	@$(MODULE).dataset +experiment=imagenette_fast $(ARGS)
	@$(MODULE).proof.precision_accuracy $(ARGS)

bench_boxes: $(INSTALLED) ## What the networks for boxes learn and cost on blood cells: reports/boxes_bccd.json; ARGS="yolox seed=1"
	@$(MODULE).proof.box_networks $(ARGS)

bench_clips: $(INSTALLED) ## What a split by clip claims too much beside one by source: ARGS="data.raw_path=fight300.tgz", to reports/clips_*.json
	@$(MODULE).proof.clips $(ARGS)

bench_peers: $(INSTALLED) ## What an image costs to train on, beside the loops people use: reports/peers.json; ARGS="timm=SCRIPT"
	@$(MODULE).proof.peers $(ARGS)

bench_scale: $(INSTALLED) ## Do time an image and memory stay flat from 1,000 to 100,000 images? reports/scale.json; ARGS="1000 10000"
	@$(MODULE).proof.scale $(ARGS)

bench_storage: $(INSTALLED) ## Images as pixels or as JPEGs: bytes, speed beside two peers, accuracy: reports/storage.json; ARGS="data=imagenette"
	@$(MODULE).proof.storage $(ARGS)

include docker.mk

##@ Drift
.PHONY: drift_demo drift_reference drift watch drift_study cause_study bench_drift corruptions
drift_demo: $(INSTALLED) ## See it in one picture: a fault, fog, unseen content; of the newest run, or of digits
	@$(MODULE).drift.demo "$(RUN)" $(ARGS)

drift_reference: $(INSTALLED) ## Learn what a run's training world looks like: RUN=outputs/DATE/TIME
	@$(MODULE).cli drift-reference "$(RUN)" $(ARGS)

# Statuses 3, 4 and 5 are verdicts: notice, alert, too few images. Ask the module itself to act on them.
A_VERDICT_IS_SUCCESS = || case $$? in 3|4|5) ;; *) exit 1;; esac
drift: $(INSTALLED) ## Do images look like the training world, how accurate is the model on them? IMAGES=FOLDER RUN=...
	@$(MODULE).cli drift "$(RUN)" "$$IMAGES" $(ARGS) $(A_VERDICT_IS_SUCCESS)

watch: $(INSTALLED) ## Watch a folder that fills, image by image, until stopped: IMAGES=FOLDER RUN=outputs/DATE/TIME
	@$(MODULE).drift.watch "$(RUN)" "$$IMAGES" $(ARGS) $(A_VERDICT_IS_SUCCESS)

drift_study: $(INSTALLED) ## How often drift is found or falsely reported, how far accuracy estimates are off: reports/
	@$(MODULE).proof.study "$(RUN)" $(ARGS)

cause_study: $(INSTALLED) ## How often the cause of a drift is named rightly, or rightly called unknown: reports/
	@$(MODULE).proof.cause_study "$(RUN)" $(ARGS)

bench_drift: $(INSTALLED) ## What a verdict costs beside the inference of its images: reports/drift_cost.json
	@$(MODULE).proof.drift_cost

corruptions: $(INSTALLED) ## Draw 15 kinds of corruption and measure them, with RUN=outputs/DATE/TIME what they cost its model
	@$(MODULE).proof.corruption_sheet "$(RUN)" $(ARGS)

##@ Answers
.PHONY: export serve load_test log_export
export: $(INSTALLED) ## A finished run as one folder that answers without PyTorch: RUN=... ARGS="export.precision=int8"
	@$(MODULE).release.export "$(RUN)" $(ARGS)

serve: $(INSTALLED) ## Answer over HTTP until stopped, and watch for drift: ARGS="serving.port=8001 export.path=FOLDER"
	@$(MODULE).serving $(ARGS)

load_test: $(DEVELOPED) ## What the service costs under load, beside bare inference and others (PEERS=SITE_PACKAGES): reports/serving.json
	@$(MODULE).proof.serving_load $(ARGS)

log_export: $(INSTALLED) ## The request log as Parquet: ARGS="serving.database=sqlite:///PATH path=FOLDER"
	@$(MODULE).serving.log_export $(ARGS)

##@ Loop
.PHONY: monitor alarms acknowledge silence basket label labels heal retrain gate
.PHONY: promote rollback models models_push models_pull models_check runs autopilot simulate_year
monitor: $(INSTALLED) ## Watch the request log until stopped: ARGS="monitor.webhook=https://... monitor.database=sqlite:///PATH"
	@$(MODULE).lifecycle.watching.monitor $(ARGS)

alarms: $(INSTALLED) ## Which changes of the images were noticed: ARGS="source=gate-3 open=true json=true"
	@$(MODULE).lifecycle.watching.alarm_desk alarms $(ARGS)

acknowledge: $(INSTALLED) ## Settle an alarm, and let its stream begin anew: ALARM=7 WHY="lens cleaned"
	@$(MODULE).lifecycle.watching.alarm_desk acknowledge "alarm=$$ALARM" "why=$$WHY" $(ARGS)

silence: $(INSTALLED) ## Hold news of a source back, its alarms are kept: SOURCE=gate-3 HOURS=8 WHY=repairs
	@$(MODULE).lifecycle.watching.alarm_desk silence "source=$$SOURCE" "hours=$$HOURS" "why=$$WHY" $(ARGS)

basket: $(INSTALLED) ## Images of a change that are worth a label, as a folder: ALARM=7 IMAGES=FOLDER, or SOURCE=gate-3
	@$(MODULE).lifecycle.labelling.basket "$$IMAGES" $(if $(ALARM),alarm=$(ALARM)) $(if $(SOURCE),source=$(SOURCE)) $(ARGS)

label: $(INSTALLED) ## Label a basket in the browser, by keys: BASKET=data/baskets/DATE_TIME, or the newest
	@$(MODULE).lifecycle.labelling.label "$$BASKET" $(ARGS)

labels: $(INSTALLED) ## Take labels back and say how accurate the model was: FILE=basket.csv, or what Label Studio or CVAT wrote
	@$(MODULE).lifecycle.labelling.labels "$$FILE" "$$BASKET" $(ARGS)

OF_CAUSE = $(if $(CAUSE),"cause=$$CAUSE") $(if $(SEVERITY),severity=$(SEVERITY))
heal: $(INSTALLED) ## A version with statistics of recent images, whose looks have changed: ALARM=7, or IMAGES=FOLDER CAUSE=fog SEVERITY=3
	@$(MODULE).lifecycle.mending.heal "$$VERSION" "$$IMAGES" $(if $(ALARM),"alarm=$$ALARM") $(OF_CAUSE) $(ARGS)

retrain: $(INSTALLED) ## A version trained on, with images changed like that and what was labelled: CAUSE=fog SEVERITY=3
	@$(MODULE).lifecycle.mending.retrain "$$VERSION" $(OF_CAUSE) $(ARGS)

gate: $(INSTALLED) ## May a candidate replace the champion? On labelled images, claim by claim: VERSION=... CAUSE=fog SEVERITY=3
	@$(MODULE).lifecycle.gating.gate "$$VERSION" $(OF_CAUSE) $(ARGS)

promote: $(INSTALLED) ## Let a version, or an exported folder, answer from now on: VERSION=... WHY="..." ARGS="force=true"
	@$(MODULE).release.champions promote "$$VERSION" "$$WHY" $(ARGS)

rollback: $(INSTALLED) ## Let the version before answer again: WHY="..."; once more goes one further back
	@$(MODULE).release.champions rollback "$$WHY" $(ARGS)

models: $(INSTALLED) ## All versions: which one answers, accuracy, size, speed, what tests and the request log say; ARGS=--json
	@$(MODULE).serving.models $(ARGS)

models_push: $(INSTALLED) ## Send versions to the DVC remote and leave pointers that git keeps: ARGS="VERSION", or all
	@$(MODULE).release.shared push $(ARGS)

models_pull: $(INSTALLED) ## Fetch the versions whose pointers are here from the DVC remote, every byte checked
	@$(MODULE).release.shared pull $(ARGS)

models_check: $(INSTALLED) ## Every version whole and answering, the champion let in by a gate? Fetches them first if there is a key
	@$(if $(HAS_KEY),$(if $(wildcard models/versions/*.dvc),$(MAKE) --silent models_pull ARGS=))
	@$(MODULE).release.verified

runs: $(INSTALLED) ## Finished runs side by side: result, time, data, settings that differ; ARGS="RUN RUN", or all
	@$(MODULE).runs.listing $(ARGS)

autopilot: $(INSTALLED) ## What the policy says about every open alarm, done and written down: ARGS="lifecycle=heal lifecycle.dry_run=true"
	@$(MODULE).lifecycle.autopilot $(ARGS)

simulate_year: $(INSTALLED) ## A year of changes through the real service, monitor and autopilot: RUN=..., or ARGS="data=digits" for a month
	@$(if $(filter data=%,$(ARGS)),$(MODULE).dataset $(filter data=%,$(ARGS)))
	@$(MODULE).proof.year "$(RUN)" $(ARGS)

##@ Papers
card: $(INSTALLED) ## A finished run as a model card, from its receipt and what lies beside it: RUN=outputs/DATE/TIME
	@$(MODULE).modeling.card "$(RUN)" $(ARGS)

hub_push: $(INSTALLED) ## Weights, receipt and card to the Hugging Face Hub, private: RUN=outputs/DATE/TIME ARGS="repo=OWNER/NAME"
	@$(MODULE).modeling.hub_push "$(RUN)" $(ARGS)

croissant: process_data ## The processed data as Croissant metadata, for catalogues and mlcroissant: ARGS="data=cifar10"
	@$(MODULE).processed.croissant $(ARGS)

course_report: $(INSTALLED) ## A report from a course's template: word limits, figures, open questions, and one page: FILE=reports/README.md
	@$(MODULE).course_report "$$FILE"

sbom: $(INSTALLED) ## What the lock pins, as CycloneDX JSON: reports/sbom.json, or ARGS=FILE
	@$(MODULE).deploy.sbom $(or $(ARGS),reports/sbom.json)

sign: $(INSTALLED) ## Sign a run's receipt, and so its weights' hashes, with an SSH key: RUN=outputs/DATE/TIME KEY=~/.ssh/id_ed25519
	@$(MODULE).runs.signature sign "$(RUN)" "$(KEY)"

check_signature: $(INSTALLED) ## Are receipt and weights what the owner of a key signed? RUN=outputs/DATE/TIME KEY=~/.ssh/id_ed25519.pub
	@$(MODULE).runs.signature check "$(RUN)" "$(if $(filter file,$(origin KEY)),$(KEY).pub,$(KEY))"

##@ Code
.PHONY: test lint format docs check fuzz coverage card hub_push croissant course_report sbom sign check_signature lock clean help
# A file's tests stay in one process, for what they share; files go out in the order of tests/conftest.py.
SIDE_BY_SIDE := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: $(DEVELOPED) ## Run the tests that take seconds; ARGS="-m ''" runs all, ARGS="-k resume" some
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) $(ARGS)

lint: $(DEVELOPED) ## Style and types: ruff and mypy
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

format: $(DEVELOPED) ## Put the code into shape
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

docs: $(DEVELOPED) ## The documentation as a site: site/index.html opens in a browser, no server needed
	@$(PYTHON) -m mkdocs build --quiet $(ARGS)
	@echo site/index.html

check: lint ## What CI runs: style, types, all tests
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) -m ""

fuzz: $(DEVELOPED) ## Bytes led through decoders and readers by the lines they reach, a minute each: ARGS="600", ARGS="decode 600"
	@$(PYTHON) tests/fuzz_bytes.py $(ARGS)

# Not part of check: counting lines cost 38 % more processor time (465 tests, twice each, Python 3.11).
coverage: $(DEVELOPED) ## All tests once more, and which lines they reached: reports/coverage.txt
	@$(ENVIRONMENT) $(PYTHON) -m pytest $(SIDE_BY_SIDE) -m "" --cov=drift_detector_pipeline --cov-report= $(ARGS)
	@$(PYTHON) -m coverage report --skip-covered >reports/coverage.txt; cat reports/coverage.txt

# An extra that a package asks for stays in its pin: pip would not take the pin for it, and asks for hashes of another.
LOCK := --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --quiet
lock: ## Make the three locks from pyproject.toml again, with the newest versions
	$(PYTHON_INTERPRETER) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet uv==0.13.8
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --upgrade --extra test --extra dev --output-file requirements-dev.txt
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --extra train --extra export --extra serve --extra test --constraint requirements-dev.txt --output-file requirements.txt
	.venv-lock/bin/uv pip compile pyproject.toml $(LOCK) --extra serve --extra postgres --constraint requirements-dev.txt --output-file requirements-serve.txt
	rm -rf .venv-lock

clean: ## Remove caches and partial files; data, runs and the environment stay
	rm -rf site .coverage .mypy_cache .pytest_cache .ruff_cache data/processed/.*.partial data/processed/.*.old data/raw/*.part
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

help: ## This text
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z_]+:.*## / { printf "  \033[36m%-22s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nTwo commands to start:  git clone ... && cd ...,  then  make quickstart\n'
