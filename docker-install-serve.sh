#!/bin/sh
# Inside `docker build`: installs /tmp/requirements-serve.txt, every wheel by its hash, into /opt/venv, which gets no pip.
set -eu

index=$(cat /run/secrets/pip_index_url 2>/dev/null || true) # only for this command: neither in the image nor its history
if [ -n "$index" ]; then export PIP_INDEX_URL="$index"; fi
python -m venv --without-pip /opt/venv
python -m pip --python /opt/venv/bin/python install --quiet --disable-pip-version-check --no-compile --require-hashes \
    -r /tmp/requirements-serve.txt

# What no answer needs: the packages' own tests, C sources and stubs, and ONNX Runtime's tools for whoever makes models.
packages=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$packages" -type d \( -name tests -o -name testing_data -o -name sample_data \) -prune -exec rm -rf {} +
find "$packages" -type f \( -name '*.c' -o -name '*.pyx' -o -name '*.pyi' -o -name '*.h' -o -name '*.pyc' \) -delete
rm -rf "$packages/onnxruntime/transformers" "$packages/onnxruntime/quantization" "$packages/onnxruntime/tools"
