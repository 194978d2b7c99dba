"""nnssl's collections: sessions, subjects that count within a dataset, variables in paths."""

import json
from pathlib import Path
from typing import Any

import pytest

from medssl.data.layouts import find_cases
from medssl.data.layouts.nnssl import cases
from medssl.data.spec import Case
from medssl.errors import DataError
from tests.data.conftest import declare


def image(path: str, modality: str | None, **more: Any) -> dict[str, Any]:
    return {"name": path, "image_path": path, "modality": modality, **more}


def collection(**datasets: dict[str, dict[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """As `Collection.to_dict()` of nnssl writes it: subjects and sessions by id."""
    return {
        "collection_index": 745,
        "collection_name": "toy",
        "datasets": {
            index: {
                "dataset_index": index,
                "name": None,
                "dataset_info": {"doi": "x"},
                "subjects": {
                    subject: {
                        "subject_id": subject,
                        "subject_info": {"age": 30},
                        "sessions": {
                            session: {"session_id": session, "session_info": None, "images": images}
                            for session, images in sessions.items()
                        },
                    }
                    for subject, sessions in subjects.items()
                },
            }
            for index, subjects in datasets.items()
        },
    }


def found(root: Path, plain: Any, **keys: Any) -> list[Case]:
    (root / "pretrain_data.json").write_text(json.dumps(plain))
    return cases(declare(root, layout={"kind": "nnssl"}, labels=[], **keys), root)


def test_a_session_is_a_case_with_its_scans_by_contrast(tmp_path: Path) -> None:
    masks = {"anonymization_mask": "m.nii.gz", "anatomy_mask": None}
    session = [
        image("a/t2.nii.gz", "T2w", image_info={"quality": 3}, associated_masks=masks),
        image("a/t1.nii.gz", "T1w", image_info=None, associated_masks=None),
    ]
    (case,) = found(
        tmp_path,
        collection(d1={"sub-1": {"2019-05": session}}),
        channels=["t1", "t2"],
        aliases={"t1": ["T1w", "t1_mprage"], "t2": ["T2w"]},
    )
    assert (case.id, case.patient, case.session) == ("d1_sub-1_2019-05", "d1_sub-1", "2019-05")
    assert list(case.images.items()) == [
        ("t1", tmp_path / "a/t1.nii.gz"),
        ("t2", tmp_path / "a/t2.nii.gz"),
    ]
    assert case.label is None


def test_subjects_of_two_datasets_are_two_patients_and_sessions_of_one_stay_one(
    tmp_path: Path,
) -> None:
    scans = [image("x.nii.gz", "t1")]
    plain = collection(
        d1={"1": {"a": scans, "b": scans}, "2": {"a": scans}}, d2={"1": {"a": scans}}
    )
    assert [case.patient for case in found(tmp_path, plain)] == ["d1_1", "d1_1", "d1_2", "d2_1"]


def test_an_expression_may_name_the_patient_instead(tmp_path: Path) -> None:
    scans = [image("x.nii.gz", "t1")]
    plain = collection(d1={"p7": {"a": scans}}, d2={"p7": {"a": scans}})
    both = found(tmp_path, plain, patient=r"_(p\d+)_")
    assert [case.patient for case in both] == ["p7", "p7"]


def test_sequences_may_be_missing_unknown_and_repeated(tmp_path: Path) -> None:
    session = [
        image("a.nii.gz", "PET"),
        image("b.nii.gz", "t2"),
        image("c.nii.gz", "t2"),
        image("d.nii.gz", None),
    ]
    (case,) = found(tmp_path, collection(d={"s": {"1": session}}), channels=["t1", "t2"])
    assert list(case.images) == ["t2", "t2#2", "PET", "scan"]


def test_paths_may_start_with_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnssl_raw", "/raw/")
    paths = ["$nnssl_raw/a/x.nii.gz", "/abs/y.nii.gz", "z.nii.gz"]
    session = [image(path, f"c{i}") for i, path in enumerate(paths)]
    (case,) = found(tmp_path, collection(d={"s": {"1": session}}))
    expected = [Path("/raw/a/x.nii.gz"), Path("/abs/y.nii.gz"), tmp_path / "z.nii.gz"]
    assert list(case.images.values()) == expected


def test_a_variable_that_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnssl_raw", raising=False)
    plain = collection(d={"s": {"1": [image("$nnssl_raw/x.nii.gz", "t1")]}})
    with pytest.raises(DataError, match=r"nnssl_raw is not set; .*x\.nii\.gz; set nnssl_raw to"):
        found(tmp_path, plain)


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"datasets": {"d": {"name": "x"}}}, r"no datasets\.d\.subjects"),
        ({"collection_name": "x"}, "it has no datasets"),
        (collection(d={"s": {"1": [{"modality": "t1"}]}}), r"images\.0\.image_path"),
        ([], "no JSON object"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, plain: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"pretrain_data\.json.*{words}"):
        found(tmp_path, plain)


def test_names_that_fall_together_are_refused(tmp_path: Path) -> None:
    scans = [image("x.nii.gz", "t1")]
    plain = collection(d={"a b": {"1": scans}, "a_b": {"1": scans}})
    (tmp_path / "pretrain_data.json").write_text(json.dumps(plain))
    with pytest.raises(DataError, match="first d_a-b_1"):
        find_cases(declare(tmp_path, layout={"kind": "nnssl"}))


def test_the_file_may_have_another_name(tmp_path: Path) -> None:
    plain = collection(d={"s": {"1": [image("x.nii.gz", "t1")]}})
    (tmp_path / "mine.json").write_text(json.dumps(plain))
    spec = declare(tmp_path, layout={"kind": "nnssl", "file": "mine.json"})
    assert len(cases(spec, tmp_path)) == 1
