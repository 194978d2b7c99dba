"""Does the guard know phases of a contrast agent in CT? A model of one phase is asked about others.

    MEDSSL_RUNS=... MEDSSL_CACHE=... python -m tests.benchmarks.guard_phases

The CT are simulated (tests.benchmarks.simulated_ct), as none was at hand: 24 bodies, of which a
supervised model sees 16 per seed in the portal venous phase. Its guard judges the other 8 in that
phase, in the late arterial one and without agent. Prints what tests.benchmarks.guard prints.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import yaml

from tests.benchmarks.guard import show, told
from tests.benchmarks.guard_agent import judged
from tests.benchmarks.simulated_ct import PHASES, simulate


def pipeline(folder: Path, phase: str) -> Path:
    """A pipeline on all bodies in one phase."""
    spec = {
        "title": "CT", "modality": "CT", "channels": ["ct"],
        "labels": [{"value": 1, "name": "lesion"}],
        "root": str(folder / phase), "licence": "none", "citation": "none",
        "layout": {"kind": "glob", "images": {"ct": "images/{case}.nii.gz"},
                   "label": "labels/{case}.nii.gz"},
    }  # fmt: skip
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    pipeline = {
        "title": "CT in one phase", "data": str(folder / "spec.yaml"), "plan": "auto",
        "preprocess": "ct", "split": {"labels": 16, "validation": 0, "test": 8},
        "method": "supervised", "train": {"device": "cpu"},
    }  # fmt: skip
    (folder / "phase.yaml").write_text(yaml.safe_dump(pipeline))
    return folder / "phase.yaml"


def in_phase(image: Path, phase: str) -> Path:
    """The file of the same body in another phase."""
    return image.parents[2] / phase / "images" / image.name


def main() -> None:
    """Print a table of means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--known", choices=PHASES, default="portal venous")
    options = parser.parse_args()
    others = [phase for phase in PHASES if phase != options.known]
    kinds = {phase: partial(in_phase, phase=phase) for phase in (options.known, *others)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for phase in PHASES:
            simulate(folder / phase, 24, phase)
        path = pipeline(folder, options.known)
        show([told(*judged(path, "ct", kinds, seed, options.steps)) for seed in options.seeds])


if __name__ == "__main__":
    main()
