"""medssl against nnU-Net v2: the same labelled cases, the same test cases, the same CPU seconds.

    python -m tests.benchmarks.peers.nnunet [PIPELINE] [KEY=VALUE ...] [--methods supervised]
        [--times 1 6] [--seconds 0] [--widths own 8-64] [--seeds 0] [--folder .cache/peers/nnunet]

The pipeline is that of `hippocampus_planned.yaml` beside this file unless another is named. Its
methods are trained once a seed, on one thread, and the CPU seconds of the first one's training are
nnU-Net's, times each of `--times`; `--seconds` sets them instead. Preparing the cases counts for
neither. nnU-Net gets the labelled cases of the pipeline's own split, plans for them as it does, at
its own width and with features that begin at 8, and is installed into an environment of its own.
Arms that are in the folder already are not trained again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.spec import Case, DataSpec
from medssl.data.volume import read_mask, read_volume, write_mask, write_volume
from medssl.evaluate.segmentation import case_scores
from medssl.evaluate.statistics import bootstrap_interval
from medssl.families.segment.train import cache_cases, used_cases
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Cohort, cohort_of
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from tests.benchmarks.peers.nnunet_environment import environment

HERE = Path(__file__).parent
DATASET, PLANS = "Dataset001_medssl", "nnUNetPlans"
RESAMPLES = 10_000
FIRST_FEATURES = {"own": None, "8-64": 8}


@dataclass(frozen=True)
class Arm:
    """What one training gave.

    Attributes:
        dice: mean over classes of each test case, in order.
        seconds: of CPU that training took.
        about: in words.
    """

    name: str
    seed: int
    dice: list[float]
    seconds: float
    about: str

    def row(self) -> str:
        low, high = bootstrap_interval(self.dice, RESAMPLES, np.random.default_rng(0))
        mean = float(np.mean(self.dice))
        return (
            f"| {self.name} | {self.seed} | {mean:.3f} [{low:.3f}, {high:.3f}] | "
            f"{self.seconds:.0f} | {self.about} |"
        )


def kept(path: Path) -> Arm | None:
    """An arm that was trained before."""
    return Arm(**json.loads(path.read_text())) if path.is_file() else None


def write(arm: Arm, path: Path) -> Arm:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(vars(arm)))
    return arm


def of_medssl(pipeline: str, overrides: list[str], method: str, seed: int, folder: Path) -> Arm:
    """Train and score the pipeline with one of its methods."""
    path = folder / "arms" / f"medssl-{method}-{seed}.json"
    if (known := kept(path)) is not None:
        return known
    config = load_config(pipeline, [*overrides, f"method={method}", f"seed={seed}"])
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    cache_cases(config, used_cases(cohort.cases, cohort.split), QuietReporter())
    began = time.process_time()
    train(config, QuietReporter(), resume=False)
    seconds = time.process_time() - began
    masks = run(config, QuietReporter())["masks"]
    trained = config.pipeline.train
    about = (
        f"{trained.steps} steps, patch {list(trained.patch)}, "
        f"features {list(getattr(config.pipeline.network, 'features', ()))}"
    )
    dice = [score(case, masks, config.spec) for case in cohort.test]
    return write(Arm(f"medssl {method}", seed, dice, seconds, about), path)


def score(case: Case, masks: Path, spec: DataSpec, values: list[int] | None = None) -> float:
    """Mean Dice of the classes of a case; `values` of the mask are those of the spec by default."""
    assert case.label is not None
    truth = read_mask(case.label, spec.labels)
    found = read_mask(masks / f"{case.id}.nii.gz")
    assert found.geometry.matches(truth.geometry)
    pair = (classes(found.array[0], values or spec.label_values), indices(truth.array[0], spec))
    measured = case_scores(*pair, truth.geometry.spacing, spec.classes, tolerance=2.0)
    return float(np.mean([one.dice for one in measured]))


def classes(mask: np.ndarray, values: list[int] | tuple[int, ...]) -> np.ndarray:
    """Class indices of a mask's values, background first."""
    table = np.zeros(256, np.uint8)
    table[list(values)] = np.arange(len(values))
    return table[mask]


def indices(mask: np.ndarray, spec: DataSpec) -> np.ndarray:
    return classes(mask, spec.label_values)


def write_raw(cohort: Cohort, spec: DataSpec, raw: Path) -> None:
    """The cases in nnU-Net's raw format: the labelled ones with masks, and the test cases."""
    labelled = [case for case in cohort.cases if case.id in set(cohort.split.labelled)]
    for part, chosen in (("imagesTr", labelled), ("imagesTs", cohort.test)):
        for case in chosen:
            for number, channel in enumerate(spec.channels):
                volume = read_volume(case.images[channel])
                to = raw / part / f"{case.id}_{number:04}.nii.gz"
                to.parent.mkdir(parents=True, exist_ok=True)
                write_volume(volume.array[0], volume.geometry, to)
    for case in labelled:
        assert case.label is not None
        mask = read_mask(case.label, spec.labels)
        to = raw / "labelsTr" / f"{case.id}.nii.gz"
        to.parent.mkdir(parents=True, exist_ok=True)
        write_mask(indices(mask.array[0], spec), mask.geometry, to)
    channels = dict(enumerate("CT" if spec.modality == "CT" else name for name in spec.channels))
    labels = {name: number for number, name in enumerate(spec.classes)}
    described = {
        "channel_names": channels,
        "labels": labels,
        "numTraining": len(labelled),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(described))


def prepared(python: Path, cohort: Cohort, spec: DataSpec, folder: Path) -> dict[str, str]:
    """nnU-Net's variables, once it has planned and prepared the cases in `folder`."""
    places = {name: str(folder / name.lower()) for name in ("raw", "preprocessed", "results")}
    variables = {f"nnUNet_{name}": place for name, place in places.items()}
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # A planner with no process to augment crashes; in training none is wanted beside the one.
    alone = {"OMP_NUM_THREADS": "1", "nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1"}
    variables = outside | alone | variables
    plans = Path(places["preprocessed"]) / DATASET / f"{PLANS}.json"
    if not (folder / "prepared").is_file():
        write_raw(cohort, spec, Path(places["raw"]) / DATASET)
        command = [str(python.parent / "nnUNetv2_plan_and_preprocess"), "-d", "1"]
        how = ["-c", "3d_fullres", "-npfp", "1", "-np", "1"]
        subprocess.run([*command, *how], check=True, env=variables)
        (folder / "prepared").touch()
    for width, first in FIRST_FEATURES.items():
        if first is not None:
            narrow(plans, first).replace(plans.with_name(f"{PLANS}_{width}.json"))
    return variables | {"nnUNet_n_proc_DA": "0"}


def narrow(plans: Path, first: int) -> Path:
    """The same plans with features that begin at `first`, in a file beside them."""
    plain = json.loads(plans.read_text())
    network = plain["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    own = network["features_per_stage"]
    network["features_per_stage"] = [one * first // own[0] for one in own]
    changed = plans.with_suffix(".new")
    changed.write_text(json.dumps(plain))
    return changed


def of_nnunet(
    python: Path,
    variables: dict[str, str],
    cohort: Cohort,
    spec: DataSpec,
    asked: tuple[str, float, int],
    folder: Path,
) -> Arm:
    """Train and score nnU-Net of one width, for so many CPU seconds, from one seed."""
    width, seconds, seed = asked
    name = f"nnunet-{width}-{seconds:.0f}-{seed}"
    path, out = folder / "arms" / f"{name}.json", folder / "masks" / name
    if (known := kept(path)) is not None:
        return known
    plans = PLANS if FIRST_FEATURES[width] is None else f"{PLANS}_{width}"
    scans = Path(variables["nnUNet_raw"]) / DATASET / "imagesTs"
    command = [python, HERE / "nnunet_training.py", DATASET, plans, seconds, seed, scans, out]
    subprocess.run([str(one) for one in command], check=True, env=variables, stdout=sys.stderr)
    took = json.loads((out / "took.json").read_text())
    values = list(range(len(spec.classes)))
    dice = [score(case, out, spec, values) for case in cohort.test]
    about = (
        f"{took['steps']} steps of {took['batch']}, patch {took['patch']}, "
        f"{took['parameters'] / 1e6:.2f} M weights; masks in {took['prediction']:.0f} CPU s"
    )
    label = f"nnU-Net, {'own width' if width == 'own' else f'features {width}'}"
    return write(Arm(label, seed, dice, took["training"], about), path)


def main() -> None:
    """Print the table, a row whenever an arm is done."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("words", nargs="*", metavar="PIPELINE or KEY=VALUE")
    parser.add_argument("--methods", nargs="+", default=["supervised"])
    parser.add_argument("--times", nargs="+", type=float, default=[1.0, 6.0])
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--widths", nargs="+", choices=[*FIRST_FEATURES], default=[*FIRST_FEATURES])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--folder", type=Path, default=Path(".cache/peers/nnunet"))
    asked = parser.parse_intermixed_args()
    names = [word for word in asked.words if "=" not in word]
    pipeline = names[0] if names else str(HERE / "hippocampus_planned.yaml")
    overrides = [word for word in asked.words if "=" in word]
    folder = asked.folder.resolve()
    os.environ["MEDSSL_RUNS"] = str(folder / "runs")
    python = environment(folder / "environment")
    print("| arm | seed | Dice (95 % over test cases) | training, CPU s | |\n|---|---|---|---|---|")
    for seed in asked.seeds:
        config = load_config(pipeline, [*overrides, f"seed={seed}"])
        cohort, place = cohort_of(config), folder / f"seed-{seed}"
        seconds = asked.seconds
        for method in asked.methods:
            arm = of_medssl(pipeline, overrides, method, seed, place)
            print(arm.row(), flush=True)
            seconds = seconds or arm.seconds
        variables = prepared(python, cohort, config.spec, place)
        for factor in asked.times:
            for width in asked.widths:
                given = (width, round(seconds * factor), seed)
                arm = of_nnunet(python, variables, cohort, config.spec, given, place)
                print(arm.row(), flush=True)


if __name__ == "__main__":
    main()
