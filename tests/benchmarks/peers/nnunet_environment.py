"""An environment of its own for nnU-Net v2, with the CPU build of torch that medssl uses.

torchvision, which timm asks for, is left out: what PyPI has is built against CUDA and cannot be
imported beside a CPU build of torch, and nnU-Net imports neither timm nor torchvision.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

NNUNET = "nnunetv2==2.8.1"
LEFT_OUT = ("torch", "triton", "nvidia", "cuda")
"""Beginnings of names: torch is there already, and nothing else of these is for a CPU."""

INSTALL_TORCH = Path(__file__).parents[3] / "docker" / "install_torch.sh"


def environment(folder: Path) -> Path:
    """The Python of nnU-Net's environment in `folder`, which is made if need be."""
    python, done = folder / "bin" / "python", folder / "installed"
    if done.is_file() and done.read_text() == NNUNET:
        return python
    _call(sys.executable, "-m", "venv", "--clear", folder)
    _call("sh", INSTALL_TORCH, python, MEDSSL_TORCH="cpu")
    _call(python, "-m", "pip", "install", "--quiet", "--no-deps", *_needed(python, folder))
    _call(python, "-c", "import nnunetv2.run.run_training")
    done.write_text(NNUNET)
    return python


def _needed(python: Path, folder: Path) -> list[str]:
    """nnU-Net and what it needs, by exact version, less torch and what comes with it."""
    report = folder / "resolved.json"
    torch = f"torch=={version('torch').split('+')[0]}"
    how = ["--quiet", "--dry-run", "--report", report]
    _call(python, "-m", "pip", "install", *how, NNUNET, torch)
    found = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    return [
        f"{one['name']}=={one['version']}"
        for one in found
        if not one["name"].lower().startswith(LEFT_OUT)
    ]


def _call(*command: object, **variables: str) -> None:
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(list(map(str, command)), check=True, env=outside | variables)
