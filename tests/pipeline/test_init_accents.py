"""Names with accents, which some disks keep as letter and accent, name what they read."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from medssl.pipeline.init import initialise
from medssl.pipeline.progress import QuietReporter
from tests.pipeline.test_init import fill, written


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def apart(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/Größe_{}.nii.gz", "masks/Größe_{}.nii.gz"),
        ("Größe_{}.nii.gz", "Größe_{}_seg.nii.gz"),
        ("Zoë_{}/t1_é.nii.gz", "Zoë_{}/mask_é.nii.gz"),
        ("imagesTr/Größe_{}_0000.nii.gz", "labelsTr/Größe_{}.nii.gz"),
    ],
)
@pytest.mark.parametrize(("scans", "masks"), [(apart, composed), (composed, apart)])
def test_scans_and_masks_may_be_named_either_way(
    directory: Path,
    image: str,
    mask: str,
    scans: Callable[[str], str],
    masks: Callable[[str], str],
) -> None:
    root = directory / "scans"
    fill(root, [scans(image.format(n)) for n in range(3)], [masks(mask.format(n)) for n in (0, 1)])
    if image.startswith("imagesTr"):
        declared = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2}}
        text = json.dumps(declared | {"numTraining": 2, "file_ending": ".nii.gz"})
        (root / "dataset.json").write_text(text)
    initialise(root, QuietReporter())
    _, cases = written()
    assert [case.label is not None for case in cases] == [True, True, False]
    assert [case.id for case in cases] == [composed(case.id) for case in cases]
