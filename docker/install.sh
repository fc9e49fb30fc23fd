#!/bin/sh
# Install Assay from ROOT/source into ROOT/venv, at the versions that were tested together.
#   install.sh ROOT          TORCH_INDEX: a further package index, for a build of PyTorch; EXTRAS: as pyproject.toml
set -eu
root=$1
python3 -m venv "$root/venv"
# Editable, for the migrations stay beside the source. Byte code is written here because nobody may write it later.
"$root/venv/bin/python" -m pip install --quiet --no-cache-dir --compile \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
    --constraint "$root/source/constraints.txt" --editable "$root/source${EXTRAS:+[$EXTRAS]}"
"$root/venv/bin/python" -m compileall -q "$root/source/service" "$root/source/trainer" "$root/source/evaluation"
