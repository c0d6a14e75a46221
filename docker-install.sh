#!/bin/sh
# Inside `docker build`: installs /tmp/requirements.txt, every wheel by its hash, into /opt/venv. With TORCH_INDEX set,
# torch and torchvision come from that index, by version, and the rest by hash.
set -eu

lock=/tmp/requirements.txt
index=$(cat /run/secrets/pip_index_url 2>/dev/null || true) # only for this command: neither in the image nor its history
if [ -n "$index" ]; then export PIP_INDEX_URL="$index"; fi
python -m venv /opt/venv
PATH=/opt/venv/bin:$PATH
install() { pip install --quiet --disable-pip-version-check --no-compile "$@"; }

if [ -n "${TORCH_INDEX:-}" ]; then
    # shellcheck disable=SC2046  # two words are meant
    install --index-url "$TORCH_INDEX" $(sed -nE 's/^(torch|torchvision)==([^ ;]+).*/\1==\2/p' "$lock")
    awk '/^[^ #]/ { of_torch = /^(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z]+)==/ } !of_torch' "$lock" >/tmp/rest.txt
    install --no-deps --require-hashes -r /tmp/rest.txt
    rm /tmp/rest.txt
else
    install --require-hashes -r "$lock"
fi

# What no run reads: the packages' own tests, and of Google's 500 interface descriptions all but Drive's.
packages=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages/googleapiclient/discovery_cache/documents" -type f ! -name 'drive.v*' -delete
for name in pandas scipy sklearn numpy matplotlib networkx sympy fontTools joblib dulwich tornado; do
    [ ! -d "$packages/$name" ] || find "$packages/$name" -type d -name tests -prune -exec rm -rf {} +
done
# Bytecode of what every command imports: without it each start of a container would compile for seconds.
python -c 'import torch, torchvision, timm, sklearn.datasets, hydra, pydantic, tensorboard, dvc.cli, dotenv'
