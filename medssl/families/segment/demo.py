"""The demo: a folder of scans with a few masks, as a stranger has it, becomes a model and masks."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import chdir
from pathlib import Path

from medssl.data.csv_table import read_table
from medssl.data.layouts import find_cases
from medssl.data.spec import SPECS, load_spec
from medssl.environment import shown_uri, tracking_uri
from medssl.pipeline.config import load_config
from medssl.pipeline.init import pipeline_of
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.results import read_summary
from medssl.pipeline.run import Outcome, run

FOLDER, SCANS = "demo", "brains"
"""Where the demo works, and the folder of scans in it."""

PATIENTS, MASKS = 24, 8

KEYS = ("split.folds=2", "train.steps=300", "method=mean_teacher")
"""What keeps it within minutes on two cores; all else is as `medssl init` writes it."""

_FIRST = 3  # masks that are named as the most doubtful


def demo(reporter: QuietReporter) -> str:
    """From a folder of simulated brains to scores, masks and pictures, as text.

    Raises:
        Stopped: a signal asked for it; the same call continues.
    """
    place = Path(FOLDER)
    place.mkdir(exist_ok=True)
    with chdir(place):
        write_brains(Path(SCANS))
        reporter.note(f"{place / SCANS}: {PATIENTS} simulated brains, {MASKS} of them with a mask")
        reporter.note(f"medssl init {SCANS}")
        name, said = pipeline_of(Path(SCANS), reporter)
        if said:
            name_labels(name)
        command = " ".join(["medssl run", name, *KEYS])
        reporter.note(command)
        outcome = run(load_config(name, list(KEYS)), reporter)
        return "\n".join(
            [
                f"In the folder {place}: medssl init {SCANS}; {command}",
                *([said] if said else []),
                "",
                *_scores(outcome),
                "",
                *_doubt(outcome),
                "",
                *_places(place, outcome),
            ]
        )


def write_brains(folder: Path) -> None:
    """Simulated brains as plain files: scan_01.nii.gz ..., and seg_01.nii.gz ... for the first.

    What is there already stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(find_cases(load_spec("brain_cohort"))[:PATIENTS], start=1):
        files = {"scan": case.images["t1"]}
        if number <= MASKS and case.label is not None:
            files["seg"] = case.label
        for name, path in files.items():
            to = folder / f"{name}_{number:02}.nii.gz"
            if not to.exists():
                shutil.copy(path, to)


def name_labels(name: str) -> None:
    """Write what the labels are called into the drafted data spec, as a person would."""
    path = Path(SPECS.folder) / f"{name}.yaml"
    text = path.read_text(encoding="utf-8")
    for label in load_spec("brain_cohort").labels:
        text = text.replace(f"name: label_{label.value}", f'name: "{label.name}"')
    path.write_text(text, encoding="utf-8")


def _scores(outcome: Outcome) -> Iterator[str]:
    """Dice and distance of each structure."""
    found = read_summary(outcome["scores"].parent)
    yield f"Each of the {found['cases']:.0f} brains with a mask, outlined by a model that had not"
    yield "seen this mask (simulated, so this says nothing of real patients):"
    yield ""
    yield f"{'':22} {'Dice':>6} {'95 % interval':>16} {'HD95, mm':>9}"
    for key in found:
        word, _, structure = key.partition("/")
        if word == "dice" and structure:
            yield _row(structure, found)


def _row(structure: str, found: Mapping[str, float]) -> str:
    dice, low, high, distance = (
        found[f"{word}/{structure}"] for word in ("dice", "dice_low", "dice_high", "hd95")
    )
    return f"{structure:22} {dice:6.3f} {f'{low:.3f} to {high:.3f}':>16} {distance:9.1f}"


def _doubt(outcome: Outcome) -> Iterator[str]:
    """The masks that the model doubts most."""
    rows = read_table(outcome["volumes"])
    doubt = {row["case"]: float(row["doubt"]) for row in rows}  # the most doubtful come first
    yield f"The {len(doubt)} other brains have a mask now. To be looked at first:"
    yield ""
    for case in list(doubt)[:_FIRST]:
        volumes = [f"{row['structure']} {row['ml']} ml" for row in rows if row["case"] == case]
        yield f"scan_{case}: doubt {doubt[case]:.3f}; {', '.join(volumes)}"


def _places(place: Path, outcome: Outcome) -> Iterator[str]:
    words = {
        "masks": "unlabelled",
        "pictures": "pictures",
        "report": "report",
        "model": "model",
    }
    for word, key in words.items():
        yield f"{word:9} {place / outcome[key]}"
    store = shown_uri(tracking_uri())
    yield f"{'MLflow':9} mlflow ui --backend-store-uri {store}"
