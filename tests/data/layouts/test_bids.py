"""BIDS folders: a session is a case, whatever sequences it has."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medssl.data.layouts.bids import cases
from medssl.data.spec import Case
from tests.data.conftest import declare

Touch = Callable[[str], Path]


def found(root: Path, keys: dict[str, Any] | None = None, **more: Any) -> list[Case]:
    spec = declare(root, layout={"kind": "bids", **(keys or {})}, labels=[], **more)
    return cases(spec, root)


def test_sessions_are_cases_and_patients_keep_theirs(tmp_path: Path, touch: Touch) -> None:
    for name in (
        "sub-1/ses-a/anat/sub-1_ses-a_T1w.nii.gz",
        "sub-1/ses-a/anat/sub-1_ses-a_T1w.json",
        "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii",
        "sub-1/ses-b/anat/sub-1_ses-b_T1w.nii.gz",
        "sub-2/anat/sub-2_T2w.nii.gz",
        "sub-3/func/sub-3_task-rest_bold.nii.gz",
        "derivatives/x/sub-1/anat/sub-1_T1w.nii.gz",
        "participants.tsv",
    ):
        touch(name)
    one, two, three = found(
        tmp_path, channels=["t1", "flair"], aliases={"t1": ["T1w"], "flair": ["FLAIR"]}
    )
    assert (one.id, one.patient, one.session) == ("sub-1_ses-a", "sub-1", "ses-a")
    assert list(one.images) == ["t1", "flair"]
    assert one.images["flair"] == tmp_path / "sub-1/ses-a/anat/sub-1_ses-a_FLAIR.nii"
    assert (two.id, two.patient, list(two.images)) == ("sub-1_ses-b", "sub-1", ["t1"])
    assert (three.id, three.patient, three.session) == ("sub-2", "sub-2", "")
    assert list(three.images) == ["T2w"]


def test_runs_and_acquisitions_are_further_scans_of_their_contrast(
    tmp_path: Path, touch: Touch
) -> None:
    files = [
        touch(f"sub-1/anat/sub-1_{name}.nii.gz")
        for name in ("acq-low_T1w", "acq-mprage_run-1_T1w", "acq-mprage_run-2_T1w")
    ]
    (case,) = found(tmp_path, channels=["T1w"])
    assert case.images == dict(zip(("T1w", "T1w#2", "T1w#3"), files, strict=True))


def test_a_contrast_agent_makes_another_contrast(tmp_path: Path, touch: Touch) -> None:
    touch("sub-1/anat/sub-1_ce-gd_T1w.nii.gz")
    touch("sub-1/anat/sub-1_T1w.nii.gz")
    (case,) = found(tmp_path, channels=["T1w", "t1c"], aliases={"t1c": ["ce-gd_T1w"]})
    assert case.images["t1c"].name == "sub-1_ce-gd_T1w.nii.gz"
    assert list(case.images) == ["T1w", "t1c"]


def test_masks_and_parts_of_complex_images_are_no_scans(tmp_path: Path, touch: Touch) -> None:
    for name in ("part-phase_T2w", "part-mag_T2w", "T1w_mask", "desc-brain_mask", "dseg"):
        touch(f"sub-1/anat/sub-1_{name}.nii.gz")
    (case,) = found(tmp_path)
    assert [path.name for path in case.images.values()] == ["sub-1_part-mag_T2w.nii.gz"]


def test_derivatives_are_taken_by_their_space(tmp_path: Path, touch: Touch) -> None:
    touch("sub-1/anat/sub-1_T1w.nii.gz")
    touch("sub-1/anat/sub-1_space-MNI_T1w.nii.gz")
    (native,) = found(tmp_path)
    (mni,) = found(tmp_path, {"space": "MNI"})
    assert [path.name for path in native.images.values()] == ["sub-1_T1w.nii.gz"]
    assert [path.name for path in mni.images.values()] == ["sub-1_space-MNI_T1w.nii.gz"]


def test_other_folders_may_be_read(tmp_path: Path, touch: Touch) -> None:
    touch("sub-1/anat/sub-1_T1w.nii.gz")
    touch("sub-1/pet/sub-1_pet.nii.gz")
    (case,) = found(tmp_path, {"folders": ["anat", "pet"]}, channels=["T1w"])
    assert list(case.images) == ["T1w", "pet"]
