#!/bin/sh
# First program of a container: settings and credentials, then the command in this process's place, so that it gets the signals.
set -eu

settings=$(python -m drift_detector_pipeline.deploy.entrypoint) || exit
eval "$settings"
exec "$@"
