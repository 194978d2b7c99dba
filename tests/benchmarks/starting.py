"""What a process takes that predicts, before and beside predicting, and one that ends at once.

    python -m tests.benchmarks.starting [--rounds ROUNDS] [--short]

CPU seconds of whole processes, in turn, least and median: `medssl --help`; `medssl run` with a
wrong key (with `--short` no more than these); Python that imports torch alone; MONAI alone, which
imports torch; what `medssl predict` imports; and `medssl predict` of one scan of 12x12x12 voxels.
What the last takes more than the import of MONAI is medssl's own. Modules are compiled beforehand,
as an installer does it.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import numpy as np

from tests.drivers.toys import TOYS, write_nifti

ROOT = Path(__file__).resolve().parents[2]
IMPORTS = "import medssl.cli, medssl.families.segment.asked, medssl.families.segment.report"


def cpu_seconds(command: list[str], place: Path, code: int = 0) -> float:
    """Of a process and what it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=place, check=False, capture_output=True)
    assert done.returncode == code, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--rounds", type=int, default=5)
    reader.add_argument("--short", action="store_true")
    chosen = reader.parse_args()
    python, medssl = [sys.executable, "-c"], [sys.executable, "-m", "medssl"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in ("DATA", "RUNS", "CACHE"):
            os.environ[f"MEDSSL_{name}"] = name.lower()
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        TOYS["balls"](place)
        write_nifti(place / "scan.nii.gz", np.random.default_rng(0).normal(100, 20, (12, 12, 12)))
        commands = {
            "help": [*medssl, "--help"],
            "wrong key": [*medssl, "run", "balls", "trian.steps=3"],
        }
        if not chosen.short:
            cpu_seconds([*medssl, "train", "balls", "train.steps=2", "-q"], place)
            (model,) = place.glob("runs/*/*/checkpoint/last")
            commands |= {
                "torch": [*python, "import torch"],
                "MONAI": [*python, "import monai"],
                "imports of a prediction": [*python, IMPORTS],
                "prediction": [
                    *medssl,
                    "predict",
                    str(model),
                    "scan.nii.gz",
                    "-o",
                    "out",
                    "-q",
                ],
            }
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(chosen.rounds + 1):
            for name, command in commands.items():
                shutil.rmtree(place / "out", ignore_errors=True)
                seconds = cpu_seconds(command, place, 2 if name == "wrong key" else 0)
                taken[name] += [seconds] if number else []  # the first compiles
    for name, found in taken.items():
        print(f"{name:24} {min(found):5.2f} s  {statistics.median(found):5.2f} s")


if __name__ == "__main__":
    main()
