"""Command lines: every verb with one argument that is missing, of another kind or nowhere."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import pick
from tests.drivers.fuzzing.format import Format, Step
from tests.drivers.fuzzing.trained import checkpoint, finished
from tests.drivers.toys import write_nifti

COMMANDS = (
    "data check balls -q",
    "data check data/balls -q",
    "data show balls -o out/sheet.png --cases 2",
    "data list",
    "data fetch balls -q",
    "predict checkpoint scan.nii.gz -o out -q",
    "predict checkpoint scan.nii.gz -o out -q --set flips=true --device cpu",
    "evaluate masks --data balls -o out -q",
    "export package checkpoint -o out/p.zip",
    "export package checkpoint -o out/p",
    "export dicom-seg mask.nii.gz --series data --meaning balls -o out/m.dcm",
    "run balls train.steps=2 -q",
    "train balls train.steps=2 -q",
    "pretrain balls train.steps=2 -q",
    "study balls --methods supervised --labels 2 --seeds 0 --only arm=none -q",
    "study balls_study --only arm=none -q",
    "compare balls --reference supervised",
    "methods",
)
WRONG = ("", " ", ".", "no", "no/file.nii.gz", "data", "scan.nii.gz", "checkpoint",
         "checkpoint/checkpoint.json", "data_specs/balls.yaml", "pipelines/balls.yaml", "empty",
         "empty.yaml", "empty.nii.gz", "/dev/null/x", "link", "x" * 300, "a\0b", "ä.yaml",
         "[b]x[/b]", "-1", "0", "1.5", "=", "a=b", "--no-such", "-o", "cuda", "cuda:7", "tpu",
         "train.device=cuda:0", "train.device=x", "out", "runs", "data_specs", "noread", "bin.yaml",
         "list.yaml", "../place/scan.nii.gz", "scan.nii.gz/x", "%s", "~nobody/x")  # fmt: skip
"""What is put in for a word. No device file: as root, results would replace it."""


def _make(place: Path) -> None:
    finished("balls", place, ("run", "balls", "train.steps=2", "evaluate.overlays=0", "-q"))
    checkpoint("balls", place)
    rng = np.random.default_rng(0)
    write_nifti(place / "scan.nii.gz", rng.normal(100, 20, (12, 12, 12)).astype(np.float32))
    write_nifti(place / "mask.nii.gz", np.zeros((12, 12, 12), np.uint8))
    write_nifti(place / "masks" / "c0.nii.gz", np.zeros((12, 12, 12), np.uint8), (2, 1, 1))
    (place / "empty").mkdir()
    for name, content in (("empty.yaml", b""), ("empty.nii.gz", b""), ("bin.yaml", b"\xff\xfe\0"),
                          ("list.yaml", b"- 1\n- 2\n")):  # fmt: skip
        (place / name).write_bytes(content)


def _damage(place: Path, rng: Generator) -> str:
    (place / "link").symlink_to("nowhere")
    words = pick(rng, COMMANDS).split(" ")
    at = int(rng.integers(len(words)))
    kind = pick(rng, ("wrong", "wrong", "wrong", "wrong", "drop", "twice", "more"))
    if kind == "wrong":
        words[at] = pick(rng, WRONG)
    elif kind == "drop":
        del words[at]
    elif kind == "twice":
        words.insert(at, words[at])
    else:
        words.append(pick(rng, WRONG))
    (place / "words").write_text(json.dumps(words))
    return f"medssl {' '.join(words)!r:.150}"


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    words = json.loads((place / "words").read_text())
    yield "command", lambda: medssl(*words)


FORMAT = Format("command", _make, _damage, _exercise, weight=1.5)
