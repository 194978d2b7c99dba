"""The keys of run folders, written down: a change of one means that finished runs are not found."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from medssl.environment import runs_root
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.stage import Stage

COMMON = "simulated: true\nlicence: CC0\ncitation: none\n"

SPECS = {
    "balls": "title: Balls\nmodality: MR\nchannels: [T1]\nlabels: [{value: 3, name: ball}]\n"
    'root: balls\nlayout: {kind: glob, images: {T1: "{case}.nii.gz"}, '
    'label: "{case}_seg.nii.gz"}\n',
    "joints": "title: Joints\nmodality: CR\nchannels: [radiograph]\nroot: joints\n"
    "layout: {kind: radiographs, classes: [none, mild, severe]}\n",
    "bags": "title: Bags\nmodality: OT\nchannels: [features]\nroot: planted\n"
    "layout: {kind: planted, bags: 24, classes: [negative, positive]}\n",
    "slides": "title: Slides\nmodality: SM\nchannels: [rgb]\nroot: slides\n"
    'layout: {kind: slides, table: labels.csv, pattern: "*.tiff", classes: [normal, tumour]}\n',
}

PIPELINES = {
    "balls": "data: balls\nsplit: {labels: 2, validation: 0.5, test: 3}\n"
    "network: {name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}\n"
    "method: supervised\ntrain: {steps: 2, patch: [8, 8, 8]}\n",
    "joints": "data: joints\nsplit: {labels: 4, validation: null}\n"
    "preprocess: {joint: {field: null, grid: 40, rows: [10, 30], columns: 20, side: 20}}\n"
    "method: supervised_grading\n",
    "bags": "data: bags\nsplit: {folds: 3, validation: 0.34}\nmethod: abmil\n",
    "slides": "data: slides\nencoder: {name: vit_tiny, side: 32}\nsplit: {folds: 2, validation: 0}"
    "\ntiles: {size: 32, mpp: 8}\nmethod: {name: snuffy, heads: 2, lambda_total: 8}\n",
    "encoder": "data: balls\nnetwork: {name: vnet, width: 2, levels: 2}\n"
    "method: {name: masked_image_modelling, masking: {cell: 4}}\n"
    "train: {patch: [8, 8, 8], steps: 2}\n",
    "tiles": "data: slides\nmethod: dino\nencoder: {name: vit_tiny, side: 32}\n",
}


@pytest.fixture
def planned(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with data sets whose files are never read as images."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    for name, text in SPECS.items():
        write(directory / "data_specs" / f"{name}.yaml", text + COMMON)
    for name, text in PIPELINES.items():
        write(directory / "pipelines" / f"{name}.yaml", text)
    data = directory / "data"
    for number in range(8):
        write(data / "balls" / f"c{number}.nii.gz", f"image {number}")
        write(data / "balls" / f"c{number}_seg.nii.gz", f"mask {number}")
        write(data / "slides" / f"s{number}.tiff", f"slide {number}")
    rows = [f"s{number},{number % 2}" for number in range(8)]
    write(data / "slides" / "labels.csv", "\n".join(["slide,label", *rows]) + "\n")
    rows = ["file,grade,patient,split"]
    for part, count in (("train", 24), ("val", 9), ("test", 12)):
        for number in range(count):
            write(data / "joints" / f"{part}{number}.png", f"{part} {number}")
            rows.append(f"{part}{number}.png,{number % 3},p{part}{number},{part}")
    write(data / "joints" / "labels.csv", "\n".join(rows) + "\n")
    return directory


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stages(name: str, overrides: Sequence[str]) -> Mapping[str, Stage]:
    """Stages of a pipeline by name."""
    return make_plan(load_config(name, overrides)).stages


KEYS: dict[tuple[str, ...], dict[str, str]] = {
    ("balls",): {
        "train": "4aa83459",
        "predict": "5810e8d6",
        "evaluate": "6623c3bf",
        "run": "6623c3bf",
    },
    ("balls", "train.foreground=0"): {
        "train": "3700d3f8",
        "predict": "5b8a0cac",
        "evaluate": "14dd1e5f",
        "run": "14dd1e5f",
    },
    ("balls", "seed=1"): {
        "train": "e8133097",
        "predict": "ba9ea509",
        "evaluate": "c86c7dcd",
        "run": "c86c7dcd",
    },
    ("balls", "method=tracoco", "augment.basic.flip=half", "predict.flips=true"): {
        "train": "50878339",
        "predict": "e2cd646b",
        "evaluate": "3211faaa",
        "run": "3211faaa",
    },
    ("balls", "predict.save=[entropy]"): {
        "train": "4aa83459",
        "predict": "e687a35a",
        "evaluate": "072295a2",
        "run": "072295a2",
    },
    ("joints",): {
        "train": "b40f2b99",
        "predict": "9ef43448",
        "evaluate": "191408d9",
        "run": "191408d9",
    },
    ("joints", "split.labels=2", "method=semixup"): {
        "train": "3b679035",
        "predict": "8033526b",
        "evaluate": "188a5a53",
        "run": "188a5a53",
    },
    ("joints", "evaluate.disease_from=1"): {
        "train": "b40f2b99",
        "predict": "9ef43448",
        "evaluate": "a8e7a4f7",
        "run": "a8e7a4f7",
    },
    ("bags",): {
        "train": "45eb5ab6",
        "predict": "a30b6f23",
        "evaluate": "a30b6f23",
        "run": "a30b6f23",
    },
    ("bags", "method=snuffy", "seed=2"): {
        "train": "6865edb6",
        "predict": "c453d8e7",
        "evaluate": "c453d8e7",
        "run": "c453d8e7",
    },
    ("slides",): {
        "train": "d994b07a",
        "predict": "e7181d87",
        "evaluate": "e7181d87",
        "run": "e7181d87",
    },
    ("encoder",): {"pretrain": "7eea9df1"},
    ("encoder", "probe.patients=1", "seed=3"): {"pretrain": "fbfd5b49"},
    ("tiles",): {"pretrain": "f851a3d9"},
    ("tiles", "train.per_slide=5"): {"pretrain": "29fa4b9b"},
}


@pytest.mark.parametrize("run", KEYS, ids=" ".join)
def test_a_run_has_the_folders_that_it_always_had(planned: Path, run: tuple[str, ...]) -> None:
    name, *overrides = run
    found = stages(name, overrides)
    assert {stage: one.key for stage, one in found.items()} == KEYS[run]
    for stage, one in found.items():
        assert one.folder == runs_root() / name / f"{stage}-{one.key}"
        assert one.name == stage


@pytest.mark.parametrize("name", ["balls", "joints", "bags"])
@pytest.mark.parametrize("override", ["train.device=cpu", "train.threads=1"])
def test_how_it_is_computed_does_not_change_which_run_it_is(
    planned: Path, name: str, override: str
) -> None:
    assert stages(name, [override]) == stages(name, [])
