#!/bin/sh
# Installs the PyTorch that fits the machine, before anything else can pull in the wrong one:
#   an NVIDIA GPU is present       the ordinary build, with CUDA
#   a CPU wheel is offered locally that one
#   otherwise, on Linux            PyTorch's own CPU wheels, instead of gigabytes of CUDA libraries
#   where their server is barred   the ordinary build, unless MEDSSL_TORCH=cpu forbids it
# Usage: install_torch.sh PYTHON          MEDSSL_TORCH=cuda or cpu overrides the choice.
set -eu
python=$1
version=2.13.0

choice=${MEDSSL_TORCH:-}
if [ -z "$choice" ]; then
    if command -v nvidia-smi >/dev/null 2>&1; then choice=cuda; else choice=cpu; fi
fi

if [ "$choice" = cuda ] || [ "$(uname -s)" != Linux ]; then
    echo "Installing PyTorch $version for this machine ($choice)."
    exec "$python" -m pip install "torch==$version"
fi

echo "No GPU: installing the CPU build of PyTorch $version (about 200 MB)."
if "$python" -m pip install "torch==$version+cpu" 2>/dev/null; then exit 0; fi
if "$python" -m pip install "torch==$version+cpu" --index-url https://download.pytorch.org/whl/cpu; then exit 0; fi
if [ "${MEDSSL_TORCH:-}" = cpu ]; then exit 1; fi
echo "download.pytorch.org cannot be reached: installing the ordinary build, several GB that also run on a CPU."
exec "$python" -m pip install "torch==$version"
