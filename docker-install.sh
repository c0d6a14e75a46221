#!/bin/sh
# Inside `docker build`: installs what /tmp/requirements.txt pins, all but one package, every wheel by its hash, into
# /opt/venv. With TORCH_INDEX set, torch and torchvision come from that index, by version, and the rest by hash.
set -eu

# ONNX Runtime, 78 MB, answers and does not train: models are packed on the host and served from an image of its own.
awk '/^[^ #]/ { answers = /^onnxruntime==/ } !answers' /tmp/requirements.txt >/tmp/lock.txt
lock=/tmp/lock.txt
index=$(cat /run/secrets/pip_index_url 2>/dev/null || true) # only for this command: neither in the image nor its history
if [ -n "$index" ]; then export PIP_INDEX_URL="$index"; fi
python -m venv /opt/venv
PATH=/opt/venv/bin:$PATH
install() { pip install --quiet --disable-pip-version-check --no-compile "$@"; }

if [ -n "${TORCH_INDEX:-}" ]; then
    # shellcheck disable=SC2046  # two words are meant
    install --index-url "$TORCH_INDEX" $(sed -nE 's/^(torch|torchvision)==([^ ;]+).*/\1==\2/p' "$lock")
    awk '/^[^ #]/ { of_torch = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)(\[.*\])?==/ } !of_torch' "$lock" >/tmp/rest.txt
    install --no-deps --require-hashes -r /tmp/rest.txt
    rm /tmp/rest.txt
else
    install --require-hashes -r "$lock"
fi

# What no run reads: the packages' own tests and C sources, programs that look at runs (they are the host's), and the
# descriptions of the interfaces of Google and Amazon but those of Drive and S3.
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages/googleapiclient/discovery_cache/documents" -type f ! -name 'drive.v*' -delete
find "$packages/botocore/data" -mindepth 1 -maxdepth 1 -type d ! -name 's3*' ! -name 'sts' ! -name 'sso*' -exec rm -rf {} +
for name in scipy sklearn numpy matplotlib networkx sympy fontTools joblib dulwich tornado; do
    [ -d "$packages/$name" ] || continue
    find "$packages/$name" -type d -name tests -prune -exec rm -rf {} +
    find "$packages/$name" -type f \( -name '*.c' -o -name '*.pyx' \) -delete
done
rm -rf "$packages/onnx/backend/test"
rm -f /tmp/lock.txt "$packages/wandb/bin/wandb-symon" "$packages/tensorboard_data_server/bin/server"
find "$packages" -name '*.pyc' -delete
# Bytecode of what a training and a pull import: without it each start of a container would compile for seconds.
python -c 'import torch.utils.tensorboard, torchvision, timm, wandb, hydra, pydantic, dvc.repo, dvc_gdrive, pydrive2.fs, dotenv'
