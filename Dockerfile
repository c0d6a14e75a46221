# The pipeline in an image: `make docker_build`. By default it installs the host's locked packages, and so trains the
# host's weights. BASE_IMAGE and TORCH_INDEX give a CPU or another CUDA image, with other weights (docs/container.md).
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
# First instruction on top of the base: deploy/container_size.py counts from here.
WORKDIR /app
ARG TORCH_INDEX=""
# One layer that changes with the lock only. What no run reads is removed in it: see docker-install.sh.
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_index_url \
    --mount=type=bind,source=requirements.txt,target=/tmp/requirements.txt \
    --mount=type=bind,source=docker-install.sh,target=/tmp/docker-install.sh \
    sh /tmp/docker-install.sh
# Whoever the container runs as: a name, a home and temporary places it may write to.
RUN useradd --uid 1000 --no-create-home --home-dir /home/pipeline --shell /bin/bash pipeline \
    && mkdir -m 1777 /home/pipeline
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/home/pipeline \
    USER=pipeline \
    GOMP_SPINCOUNT=1000 \
    DVC_GLOBAL_CONFIG_DIR=/tmp/dvc-settings \
    DVC_SITE_CACHE_DIR=/tmp/dvc-site \
    DVC_NO_ANALYTICS=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    ORT_DISABLE_TELEMETRY=1 \
    GDRIVE_NON_INTERACTIVE=1 \
    GIT_PYTHON_REFRESH=quiet

# For .devcontainer: git, make and what developing needs on top; the working tree is mounted, not copied.
FROM dependencies AS development
RUN apt-get update && apt-get install --yes --no-install-recommends git make openssh-client \
    && rm -rf /var/lib/apt/lists/* && git config --system --add safe.directory '*'
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=secret,id=pip_index_url \
    --mount=type=bind,source=requirements-dev.txt,target=/tmp/requirements-dev.txt \
    export PIP_INDEX_URL="$(cat /run/secrets/pip_index_url 2>/dev/null)" \
    && [ -n "$PIP_INDEX_URL" ] || unset PIP_INDEX_URL \
    && /opt/venv/bin/pip install --quiet --no-compile --require-hashes -r /tmp/requirements-dev.txt \
    && find /opt/venv -type d -exec chmod a+rwx {} +
ENV VENV=/opt/venv
USER 1000

FROM dependencies AS runtime
COPY . .
# Modes as wanted here whatever the umask of the clone; places a run writes to when nothing is mounted over them.
RUN chmod -R a+rX . \
    && PYTHONDONTWRITEBYTECODE=1 pip install --quiet --no-deps --no-build-isolation --no-compile --editable . \
    && python -m compileall -q drift_detector_pipeline \
    && mkdir -p -m 1777 data/raw data/processed models outputs .dvc/tmp .dvc/cache \
    && chmod 1777 .dvc && chmod 666 .dvc/config
ENTRYPOINT ["/app/docker-entrypoint.sh"]
CMD ["python", "-m", "drift_detector_pipeline.quickstart"]
USER 1000
ARG IMAGE=""
ARG PIPELINE_COMMIT=""
ENV PIPELINE_IMAGE=${IMAGE} PIPELINE_COMMIT=${PIPELINE_COMMIT}
LABEL org.opencontainers.image.title="drift-detector-pipeline" \
      org.opencontainers.image.description="A vision model's whole life: reproducible training, drift" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${PIPELINE_COMMIT}"
