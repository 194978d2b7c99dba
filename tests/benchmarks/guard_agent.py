"""Does the guard know the contrast agent? A model of T1 is asked about T1 after it, of like heads.

    MEDSSL_DATA=... MEDSSL_RUNS=... MEDSSL_CACHE=... python -m tests.benchmarks.guard_agent

Of the 24 patients with a lower-grade glioma (lgg_lesions) a supervised model sees the T1 of 16 per
seed; its guard judges the T1 of the other 8, their T1 with agent, and their FLAIR. Prints what
tests.benchmarks.guard prints.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from medssl.data.spec import load_spec
from medssl.data.volume import read_volume
from medssl.infer.checkpoint_guard import watch_of
from medssl.infer.guard import Verdict
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import train
from medssl.train.checkpoint import load_checkpoint
from medssl.transforms.compose import Preparation
from tests.benchmarks.guard import show, told

KINDS = {
    "T1, held out": lambda t1: t1,
    "T1 with contrast agent": lambda t1: t1.with_name("t1c.nii.gz"),
    "FLAIR": lambda t1: t1.with_name("flair.nii.gz"),
}


def pipeline(folder: Path) -> Path:
    """A pipeline on the T1 alone."""
    plain = load_spec("lgg_lesions").model_dump(mode="json", exclude={"name"}, exclude_none=True)
    plain["channels"] = ["t1"]
    plain["layout"]["images"] = {"t1": "{case}/t1.nii.gz"}
    (folder / "t1.yaml").write_text(yaml.safe_dump(plain))
    told = {
        "title": "T1 alone", "extends": "lgg_lesions", "data": str(folder / "t1.yaml"),
        "split": {"labels": 16, "validation": 0, "test": 8},
        "method": "supervised", "train": {"device": "cpu"},
    }  # fmt: skip
    (folder / "agent.yaml").write_text(yaml.safe_dump(told))
    return folder / "agent.yaml"


def judged(
    path: Path, channel: str, kinds: dict[str, Callable[[Path], Path]], seed: int, steps: int
) -> tuple[dict[str, list[Verdict]], float]:
    """Verdicts by kind on the files that stand for the test cases' own, and the guard's limit."""
    config = load_config(str(path), [f"seed={seed}", f"train.steps={steps}"])
    folder = train(config, QuietReporter())["model"]
    predictor, found = load_checkpoint(folder)
    watch = watch_of(folder, predictor, found, torch.device("cpu"))
    assert watch is not None
    prepare, verdicts = Preparation(found.preprocess), dict[str, list[Verdict]]()
    for kind, file in kinds.items():
        for case in make_plan(config).cohort.test:
            scan = read_volume(file(Path(case.images[channel])))
            verdicts.setdefault(kind, []).append(watch(scan, prepare(scan).image))
    return verdicts, watch.guard.limit(found.predict.guard)


def main() -> None:
    """Print a table of means over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = pipeline(Path(folder))
        show([told(*judged(path, "t1", KINDS, seed, options.steps)) for seed in options.seeds])


if __name__ == "__main__":
    main()
