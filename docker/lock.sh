#!/bin/sh
# Writes docker/lock/*.txt anew: every package of the images, with its version and hashes.
#   sh docker/lock.sh [CONSTRAINTS]
# CONSTRAINTS, e.g. the output of `pip freeze`, holds versions at those that the tests have seen.
# Needs uv (`pip install uv`). For Linux on x86-64 and the Python of the images.
set -eu
cd "$(dirname "$0")/.."
constraints=${1:-/dev/null}
torch=$(sed -n 's/^version=//p' docker/install_torch.sh)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
echo "torch==$torch" > "$work/torch.txt"

lock() {
    uv pip compile --quiet --generate-hashes --no-header --no-annotate --only-binary :all: \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --constraints "$work/torch.txt" --constraints "$constraints" "$@"
}

# What needs CUDA stands apart, so that its layer stays where anything else changes; Triton is needed
# by torch.compile alone.
only() { awk -v names="^($1)==" '/^[a-z]/ { chosen = $0 ~ names } chosen' "$work/all.txt"; }
lock pyproject.toml --output-file "$work/all.txt"
only 'torch|cuda-.*|nvidia-.*' > docker/lock/cuda.txt
only triton > docker/lock/compile.txt
awk '/^[a-z]/ { chosen = $0 !~ /^(torch|triton|cuda-.*|nvidia-.*)==/ } chosen' "$work/all.txt" \
    > docker/lock/medssl.txt
echo hatchling | lock - --output-file docker/lock/build.txt
printf 'mlflow\npsycopg2-binary\nboto3\n' | lock - --output-file docker/lock/mlflow.txt
