"""Folders and lists as other frameworks write them."""

from pathlib import Path

import pytest

from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases
from medssl.data.spec import load_spec
from tests.conftest import Medssl


def test_an_nnunet_v1_folder_is_recognised(inputs: Path, medssl: Medssl) -> None:
    folder = inputs / "nnunet_v1" / "Task500_x"
    code, out, _ = medssl("data", "check", folder, "-q")
    assert code == 0
    assert "errors 0" in out
    spec = guess_spec(folder)
    cases = find_cases(spec)
    assert [case.id for case in cases] == ["liver_000", "liver_001", "liver_002"]
    assert len(spec.channels) == 2
    assert all(len(case.images) == 2 and case.label for case in cases)


def test_regions_declare_the_labels_they_unite(inputs: Path, medssl: Medssl) -> None:
    folder = inputs / "nnunet_regions" / "Dataset900_x"
    code, out, _ = medssl("data", "check", folder, "-q")
    assert code == 0
    assert "errors 0" in out
    assert {label.value for label in guess_spec(folder).labels} == {1, 2, 3}


def test_a_label_that_is_a_list_of_one_path_is_read(
    inputs: Path, medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(inputs / "datalist_labels"))
    spec = inputs / "datalist_labels" / "label_list.yaml"
    cases = find_cases(load_spec(str(spec)))
    assert [case.label and case.label.name for case in cases] == [
        f"l{number}.nii.gz" for number in range(len(cases))
    ]
    _, out, error = medssl("data", "check", spec, "-q")
    assert "unexpected" not in out + error


@pytest.mark.parametrize("name", ["label_int", "label_dict"])
def test_a_label_that_is_no_path_gets_a_sentence(
    inputs: Path, medssl: Medssl, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(inputs / "datalist_labels"))
    code, out, error = medssl("data", "check", inputs / "datalist_labels" / f"{name}.yaml", "-q")
    assert code == 3
    assert "unexpected" not in out + error
    assert "label" in error
