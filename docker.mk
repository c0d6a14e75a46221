# The container: one recipe runs the docker_* targets that work inside. Included by the Makefile; needs a Docker client and make, no Python.

IMAGE_NAME ?= drift-detector-pipeline
IMAGE_TAG ?= latest
DOCKER ?= docker
DOCKER_MEMORY_OPTS ?= --shm-size=2g
DOCKER_OPTS ?=
DOCKER_BUILD_OPTS ?=
BASE_IMAGE ?= python:3.11-slim-bookworm
TORCH_INDEX ?=
MARKDOWN ?= $(GITHUB_STEP_SUMMARY)
HOST_DVC_CACHE_DIR ?= .dvc/cache
HOST_SERVICE_ACCOUNT_KEY_PATH ?= .secrets/gdrive-dvc-service-account.json

COMMA := ,

export DOCKER_BUILDKIT := 1
# What the Dockerfile needs, in a client: buildx, or Docker 18.09 to 22, which have it within; podman answers, too.
CLIENT_MUST_BUILD = command -v $(firstword $(DOCKER)) >/dev/null || \
	{ echo "error: $(firstword $(DOCKER)): no such program; install Docker, or name another: DOCKER=podman" >&2; exit 1; }; \
	$(DOCKER) buildx version >/dev/null 2>&1 || case "$$($(DOCKER) version --format '{{.Client.Version}}' 2>/dev/null)" in \
	18.09*|19.*|20.*|21.*|22.*) ;; \
	*) echo "error: this Docker client has no BuildKit, which the image is built with; install its component buildx, e.g." \
	"apt-get install docker-buildx-plugin, or brew install docker-buildx" >&2; exit 1;; esac
IMAGE := $(IMAGE_NAME):$(IMAGE_TAG)
BUILT := .image-built-$(subst /,_,$(IMAGE_NAME))-$(IMAGE_TAG)
IMAGE_FILES := $(shell find Dockerfile .dockerignore docker-entrypoint.sh docker-install.sh requirements.txt pyproject.toml \
	conf drift_detector_pipeline tests -type f ! -name '*.pyc')

# What each target runs inside: the modules that the host's targets run, and of the tests what an image can break.
PACKAGE := python -m drift_detector_pipeline
COMMAND_shell := bash
COMMAND_dvc_pull := $(PACKAGE).raw.remote pull
COMMAND_process_data := $(PACKAGE).dataset
COMMAND_train := $(PACKAGE).modeling.train
COMMAND_evaluate = $(PACKAGE).modeling.evaluate "$$RUN"
COMMAND_predict = $(PACKAGE).modeling.predict "$$RUN" "$$IMAGES"
COMMAND_profile := $(PACKAGE).modeling.profile
COMMAND_drift_reference = $(PACKAGE).drift.build_reference "$$RUN"
COMMAND_drift = $(PACKAGE).drift "$$RUN" "$$IMAGES"
COMMAND_test = python -m pytest -o cache_dir=/tmp/pytest $(SIDE_BY_SIDE) -m "" $(BREAKABLE)
COMMAND_quickstart := $(PACKAGE).quickstart
COMMAND_receipt = $(PACKAGE).modeling.summary "$$RUN"

# Of the tests what an image can break: decoders, downloads and archives, the processes and memory that loaders share,
# credentials, all imports, and the whole road once. `make check` has asked for the rest.
BREAKABLE := tests/images/test_decoder.py tests/images/test_stored_jpeg.py tests/raw/test_archives.py tests/raw/test_fetch.py \
	tests/raw/test_remote.py tests/deploy/test_entrypoint.py tests/modeling/test_loaders.py tests/runs/test_machine.py \
	tests/test_verify.py tests/test_map.py::test_importing_all_modules_prints_nothing_and_leaves_nothing

# Environment variables that are handed on if they are set; secrets are better kept in .env and the key file, which
# `docker inspect` does not show.
HANDED_ON := CI_MODE DVC_PARALLEL_JOBS GOMP_SPINCOUNT OMP_NUM_THREADS MKL_NUM_THREADS TZ WANDB_API_KEY WANDB_MODE HF_TOKEN \
	GDRIVE_CREDENTIALS_DATA GDRIVE_CREDENTIALS_DATA_CONTENT GDRIVE_KEY_FILE_PATH_IN_CONTAINER \
	AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_DEFAULT_REGION AWS_ENDPOINT_URL

TO_MARKDOWN = $(if $(MARKDOWN),>>"$(MARKDOWN)")
absolute = $(if $(filter /%,$1),$1,$(CURDIR)/$1)
inside = $(if $(filter /%,$1),$1,/app/$1)
read_only = --volume "$(call absolute,$1):$2:ro"
if_there = $(if $(wildcard $1),$(call read_only,$1,$2))
MOUNTS = $(foreach folder,data models outputs,--volume "$(CURDIR)/$(folder):/app/$(folder)") \
	--volume "$(call absolute,$(HOST_DVC_CACHE_DIR)):/app/.dvc/cache" \
	$(call if_there,.env,/run/pipeline/.env) \
	$(call if_there,.dvc/config,/run/pipeline/config) $(call if_there,.dvc/config.local,/run/pipeline/config.local) \
	$(call if_there,$(HOST_SERVICE_ACCOUNT_KEY_PATH),$(or $(GDRIVE_KEY_FILE_PATH_IN_CONTAINER),/run/pipeline/gdrive-service-account.json))
# What ARGS and IMAGES name outside the folders above; of an image the folder it lies in, so that patterns work.
given = $(patsubst $1=%,%,$(filter $1=%,$(ARGS)))
NAMED = $(call given,data.raw_path) $(call given,model.pretrained_path) \
	$(foreach path,$(IMAGES),$(or $(patsubst %/,%,$(filter-out ./,$(dir $(path)))),$(path)))
MOUNTS += $(foreach path,$(sort $(filter-out data data/% models models/% outputs outputs/%,$(NAMED))),$(call \
	if_there,$(path),$(call inside,$(path))))

##@ Container
.PHONY: docker_build docker_sbom docker_image ensure_host_dvc_cache
docker_build: ## Build the image and print the size of its layers; fails above 600 MB without base, PyTorch and CUDA
	@$(CLIENT_MUST_BUILD)
	@commit=$$(git rev-parse HEAD 2>/dev/null) || commit=; \
	[ -z "$$commit" ] || [ -z "$$(git status --porcelain)" ] || commit=$$commit-dirty; \
	$(DOCKER) build --tag $(IMAGE) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg TORCH_INDEX=$(TORCH_INDEX) \
		--build-arg IMAGE=$(IMAGE) --build-arg PIPELINE_COMMIT=$$commit \
		$(if $(PIP_INDEX_URL),--secret id=pip_index_url$(COMMA)env=PIP_INDEX_URL) $(DOCKER_BUILD_OPTS) .
	@$(DOCKER) history --no-trunc --human=false --format '{{.Size}}\t{{.CreatedBy}}' $(IMAGE) | \
		$(DOCKER) run --rm --interactive --entrypoint python $(IMAGE) -m drift_detector_pipeline.deploy.container_size
	@touch $(BUILT)

docker_sbom: docker_image ## List all Python and Debian packages in the image as CycloneDX JSON: reports/sbom_image.json, or ARGS=FILE
	@mkdir -p "$(dir $(or $(ARGS),reports/sbom_image.json))"
	@$(DOCKER) run --rm --entrypoint python $(IMAGE) -m drift_detector_pipeline.deploy.sbom installed >"$(or $(ARGS),reports/sbom_image.json)"
	@echo "$(or $(ARGS),reports/sbom_image.json)"

docker_image: ## Build the image if it is missing or older than the code
	@if $(DOCKER) image inspect $(IMAGE) >/dev/null 2>&1; then $(MAKE) --silent $(BUILT); else $(MAKE) --silent docker_build; fi

$(BUILT): $(IMAGE_FILES)
	@echo "building the image again: the code is newer"
	@$(MAKE) --silent docker_build DOCKER_BUILD_OPTS="$(DOCKER_BUILD_OPTS) --quiet" >/dev/null

ensure_host_dvc_cache: ## Create the folders that containers share with the host, owned by you
	@mkdir -p "$(HOST_DVC_CACHE_DIR)" data models outputs

docker_shell: ## Open a shell in the container
docker_dvc_pull: ## Download the raw data from the DVC remote
docker_process_data: ## Turn a raw archive or folder into packed images
docker_train: docker_process_data ## Train: the same weights as make train
docker_evaluate: ## Measure accuracy: RUN=outputs/DATE/TIME
docker_predict: ## Label images: IMAGES="photos/*.jpg"
docker_profile: docker_process_data ## Show where a training step's time goes
docker_drift_reference: ## Learn what a run's usual images look like: RUN=outputs/DATE/TIME
docker_drift: ## Check whether images look like the usual ones, and estimate the accuracy on them: IMAGES=FOLDER
docker_test: ## Run the tests that could fail only in the container
docker_quickstart: ## Train on handwritten digits
docker_receipt: ## Print a finished run as Markdown, or append it to the file MARKDOWN: RUN=outputs/DATE/TIME

##@ Published images
.PHONY: docker_sign docker_verify
docker_sign: ## Sign images in a registry by their digest, with the identity of this workflow: ARGS="ghcr.io/OWNER/NAME@sha256:..."
	@cosign sign --yes $(ARGS)

SIGNER ?= ^https://github.com/[^/]+/[^/]+/\.github/workflows/images\.yml@refs/tags/v
docker_verify: ## Check that an image was built and signed by this repository's workflow: ARGS=IMAGE SIGNER=PATTERN
	@cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com \
		--certificate-identity-regexp '$(SIGNER)' $(ARGS)

##@ What continuous integration runs
.PHONY: docker_check docker_bench smoke docker_smoke receipt
# It waits for servers, engine and dying machines; what containers compute is in no CPU seconds of tests/budget.py.
docker_check: $(DEVELOPED) docker_image ## Test the image: identical weights, signals, file owners, secrets, Drive, S3, two machines
	@DOCKER_TESTS=true $(ENVIRONMENT) $(PYTHON) -m pytest --numprocesses=2 --dist=loadfile --durations=20 -m "" tests/deploy/test_docker*.py $(ARGS)

# Real photographs where there is a key for the DVC remote; handwritten digits where there is none, as in a fork.
HAS_KEY = $(GDRIVE_CREDENTIALS_DATA)$(GDRIVE_CREDENTIALS_DATA_CONTENT)$(wildcard $(HOST_SERVICE_ACCOUNT_KEY_PATH))
SMOKE = $(if $(HAS_KEY),training.epochs=1,+experiment=quickstart training.epochs=2)
docker_bench: $(INSTALLED) docker_image ## Compare training speed in the container and on the host: reports/container_speed.json
	@$(MODULE).proof.container_speed $(ARGS)

smoke: ## Download the data if there is a key, then train briefly
	@$(if $(HAS_KEY),$(MAKE) --silent dvc_pull ARGS=)
	@$(MAKE) --silent train ARGS="$(or $(ARGS),$(SMOKE))"

docker_smoke: ## Download the data if there is a key, then train briefly, in the container
	@$(if $(HAS_KEY),$(MAKE) --silent docker_dvc_pull ARGS=)
	@$(MAKE) --silent docker_train ARGS="$(or $(ARGS),$(SMOKE))"

receipt: $(INSTALLED) ## Print a finished run as Markdown, or append it to the file MARKDOWN: RUN=outputs/DATE/TIME
	@$(MODULE).modeling.summary "$$RUN" $(TO_MARKDOWN)

RUNS := $(addprefix docker_,shell dvc_pull process_data train evaluate predict profile drift_reference drift test \
	quickstart receipt)
.PHONY: $(RUNS)
# Rootless engines and podman already map root to the caller. A narrower CPU affinity than the machine's is passed
# on: PyTorch then picks the host's number of threads, which decides the bits.
$(RUNS): docker_%: docker_image ensure_host_dvc_cache
	@terminal=; if [ -t 0 ] && [ -t 1 ]; then terminal=--tty\ --interactive; fi; \
	user="--user $$(id -u):$$(id -g)"; ! $(DOCKER) info 2>/dev/null | grep -Eiq '^ *rootless(: true)?$$' || user=; \
	gpus=; ! nvidia-smi -L >/dev/null 2>&1 || gpus=--gpus=all; \
	cpus=; [ "$$(env -u OMP_NUM_THREADS nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)" = "$$(getconf _NPROCESSORS_ONLN)" ] || \
		cpus="--cpuset-cpus $$(awk '/^Cpus_allowed_list/ { print $$2 }' /proc/self/status)"; \
	$(if $(filter drift,$*),,exec) $(DOCKER) run --rm --init --stop-timeout 60 --name "pipeline-$*-$$$$" $(if $(filter shell,$*),--interactive) \
		$$terminal $$user $$gpus $$cpus $(DOCKER_MEMORY_OPTS) $(HANDED_ON:%=--env %) \
		--env "PIPELINE_IMAGE=$(IMAGE) $$($(DOCKER) image inspect --format '{{.Id}}' $(IMAGE))" \
		$(MOUNTS) $(DOCKER_OPTS) $(IMAGE) $(COMMAND_$*) $(ARGS) $(if $(filter receipt,$*),$(TO_MARKDOWN)) \
		$(if $(filter drift,$*),$(A_VERDICT_IS_SUCCESS))

##@ Service in containers
SERVE_IMAGE ?= drift-detector-service:latest
ARTEFACT ?= models/artefact
PORT ?= 8000
LOG_VOLUME ?= drift-detector-log
# Handed on if they are set; the image has a DATABASE_URL of its own.
SERVE_HANDED_ON := SERVING_API_KEYS SERVING_ADMIN_KEY DATABASE_URL
# What a service may: read its root and the artefact, write /log and /tmp, listen. Nothing else.
CONFINED := --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges
# The champion of models/ answers, and whoever becomes it; an ARTEFACT that is named answers whoever is champion.
NAMED_ARTEFACT := $(if $(filter command environment,$(firstword $(origin ARTEFACT))),$(ARTEFACT))
FOLLOWED = $(if $(NAMED_ARTEFACT),$(NAMED_ARTEFACT),models)
COMPOSE = IMAGE=$(SERVE_IMAGE) ARTEFACT="$(call absolute,$(or $(NAMED_ARTEFACT),$(wildcard $(ARTEFACT)),models))" MODELS="$(call absolute,$(FOLLOWED))" \
	PORT=$(PORT) $(DOCKER) compose --file deploy/compose.yaml
NEEDS_ARTEFACT = test -f "$(call absolute,$(ARTEFACT))/artefact.json" -o -f "$(call absolute,$(FOLLOWED))/champion.json" || \
	{ echo "error: $(ARTEFACT)/artefact.json: no such file; export a finished run: make export, or name another folder: ARTEFACT=PATH" >&2; exit 1; }

.PHONY: docker_serve_image docker_serve up down
docker_serve_image: ## Build the service image: no PyTorch, a fifteenth of the size of the training image
	@$(CLIENT_MUST_BUILD)
	@$(DOCKER) build --quiet --file Dockerfile.serve --tag $(SERVE_IMAGE) --build-arg BASE_IMAGE=$(BASE_IMAGE) \
		--build-arg PIPELINE_COMMIT=$$(git rev-parse HEAD 2>/dev/null) \
		$(if $(PIP_INDEX_URL),--secret id=pip_index_url$(COMMA)env=PIP_INDEX_URL) $(DOCKER_BUILD_OPTS) . >/dev/null

docker_serve: ## Run make serve in a confined container, with its log on a volume: ARTEFACT=FOLDER PORT=8000 ARGS="serving.window=512"
	@$(NEEDS_ARTEFACT)
	@$(MAKE) --silent docker_serve_image
	@exec $(DOCKER) run --rm --stop-timeout 90 --name "pipeline-serve-$$$$" $(CONFINED) \
		$(foreach name,$(SERVE_HANDED_ON),$(if $($(name)),--env $(name))) \
		--publish 127.0.0.1:$(PORT):8000 --volume $(LOG_VOLUME):/log $(call read_only,$(FOLLOWED),/models) \
		$(if $(NAMED_ARTEFACT),$(call read_only,$(ARTEFACT),/artefact),$(call if_there,$(ARTEFACT),/artefact)) \
		$(DOCKER_OPTS) $(SERVE_IMAGE) $(ARGS)

up: ## Start service, monitor, PostgreSQL, Prometheus, Alertmanager and Grafana: ARTEFACT=FOLDER
	@$(NEEDS_ARTEFACT)
	@$(DOCKER) compose version >/dev/null 2>&1 || { echo "error: $(DOCKER) has no component compose, which starts several" \
		"containers together; install it, e.g.: apt-get install docker-compose-plugin" >&2; exit 1; }
	@$(MAKE) --silent docker_serve_image
	@$(COMPOSE) up --detach --wait $(ARGS)
	@echo "service http://127.0.0.1:$(PORT)   Grafana http://127.0.0.1:3000   Prometheus http://127.0.0.1:9090"

down: ## Stop what make up started; log and measurements are kept, unless ARGS=--volumes
	@$(COMPOSE) down $(ARGS)
