"""The demo goes the way of a stranger: a folder of scans, of which a few have masks."""

from pathlib import Path

import pytest

from medssl.data.volume import read_mask
from medssl.families.segment import demo
from medssl.pipeline.progress import QuietReporter

TINY = (
    "split.folds=2",
    "method=supervised",
    "network={name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}",
    "train={steps: 2, patch: [8, 8, 8], device: cpu}",
)


@pytest.fixture
def small(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(demo, "PATIENTS", 3)
    monkeypatch.setattr(demo, "MASKS", 2)
    monkeypatch.setattr(demo, "KEYS", TINY)
    return directory


def test_a_folder_of_scans_ends_in_scores_masks_and_pictures(small: Path) -> None:
    said = demo.demo(QuietReporter())
    assert sorted(path.name for path in Path("demo/brains").iterdir()) == [
        "scan_01.nii.gz", "scan_02.nii.gz", "scan_03.nii.gz", "seg_01.nii.gz", "seg_02.nii.gz",
    ]  # fmt: skip
    assert "2 have a mask, 1 has none; seg_(.+) belongs to scan_(.+)" in said
    for structure in ("cortical grey matter", "white matter", "deep grey matter"):
        assert structure in said
    assert "The 1 other brains have a mask now" in said
    lines = dict(line.split(maxsplit=1) for line in said.splitlines()[-5:])
    assert read_mask(Path(lines["masks"]) / "03.nii.gz").array.shape[0] == 1
    for word in ("pictures", "report", "model"):
        assert Path(lines[word]).exists()
    assert {path.name for path in small.iterdir()} == {"demo"}  # nothing lies beside it

    again = demo.demo(QuietReporter())
    assert said.splitlines()[-5:] == again.splitlines()[-5:]
