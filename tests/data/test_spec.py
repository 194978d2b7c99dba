import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import medssl
from medssl.data.layout_choice import LayoutChoice
from medssl.data.layouts import data_folder, find_cases
from medssl.data.layouts.glob import Options
from medssl.data.spec import list_specs, load_spec
from medssl.errors import DataError, UsageError
from tests.data.conftest import declare

MINIMAL = """
title: Mine
modality: CT
channels: [ct]
root: mine
layout: {kind: table}
licence: CC0
citation: none
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_every_shipped_spec_is_valid_and_says_where_it_is_from() -> None:
    for name in list_specs():
        spec = load_spec(name)
        assert spec.name == name
        assert spec.licence
        assert spec.citation
        assert spec.homepage.startswith("http") or spec.layout.kind == "planted"


def test_shipped_codes_are_those_of_the_dicom_standard() -> None:
    from pydicom.sr._concepts_dict import concepts

    known = {code for codes in concepts["SCT"].values() for code in codes}
    labels = [label for name in list_specs() for label in load_spec(name).labels]
    for label in labels:
        for code in (label.code, label.category):
            assert code is None or (code.scheme == "SCT" and code.value in known)


def test_classes_and_values_put_background_first(tmp_path: Path) -> None:
    spec = declare(tmp_path, labels=[{"value": 7, "name": "b"}, {"value": 3, "name": "a"}])
    assert spec.classes == ("background", "b", "a")
    assert spec.label_values == (0, 7, 3)


def test_a_spec_is_named_after_its_file(tmp_path: Path) -> None:
    assert load_spec(write(tmp_path / "mine.yaml", MINIMAL)).name == "mine"


def test_the_working_directory_comes_before_what_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data_specs" / "hippocampus.yaml", MINIMAL)
    assert load_spec("hippocampus").title == "Mine"
    assert load_spec("left_atrium").title != "Mine"


def test_a_wheel_brings_its_specs_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "medssl"
    write(package / "_data_specs" / "mine.yaml", MINIMAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(medssl, "__file__", str(package / "__init__.py"))
    assert list_specs() == ["mine"]


def test_a_misspelt_data_set_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'hippocampus'"):
        load_spec("hipocampus")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MINIMAL + "chanels: [t1]", "unknown key 'chanels'.*did you mean 'channels'"),
        (MINIMAL.replace("licence", "license"), "unknown key 'license'.*did you mean 'licence'"),
        (MINIMAL.replace("[ct]", "ct"), "channels='ct' in .* give a list of texts.*\\[\"ct\"\\]"),
        (MINIMAL.replace("[ct]", "[]"), "channels=\\[\\] in .* at least 1"),
        (MINIMAL.replace("CT", "'?'"), "modality='\\?' in .* is wrong; a modality is a short word"),
        (MINIMAL + "labels: [{value: a, name: b}]", "labels.0.value='a' in .* a whole number"),
        (MINIMAL + "labels: [{value: true, name: b}]", "labels.0.value=true in .* a whole number"),
        (MINIMAL + "labels: {a: 1}", "labels={.* give a list of values, each keys of its own"),
        (MINIMAL + "layout: {kind: table}", "line 9, column 1.*'layout' .* second time"),
        (MINIMAL.replace("title: Mine", "title: Mine: x"), "line 2, column 12"),
        (MINIMAL.replace("title: Mine", "title: 3"), "title=3 in .* a text, e.g. '3'"),
        (MINIMAL.replace("title: Mine", ""), "'title' is missing"),
        (MINIMAL.replace("CT", "[CT]"), "modality"),
        (MINIMAL + "labels: [{value: 1, name: a}, {value: 1, name: b}]", "one value"),
        (MINIMAL + "labels: [{value: 1, name: a}, {value: 2, name: a}]", "one name"),
        (MINIMAL + "patient: sub", "no group"),
        (MINIMAL + "name: ../up", "name='../up' in .* is wrong"),
        (MINIMAL + "name: con", "Windows keeps it"),
        (MINIMAL.replace("[ct]", "[]"), "channels"),
        (MINIMAL.replace("[ct]", "[ct, ct]"), "one name"),
        (MINIMAL.replace("[ct]", "['']"), "it is empty"),
        (MINIMAL.replace("[ct]", "['a#2']"), "has the character #"),
        (MINIMAL.replace("[ct]", "[a/b]"), "one of the characters"),
        (MINIMAL + "labels: [{value: 0, name: a}]", r"labels\.0\.value"),
        (MINIMAL + "labels: [{value: -1, name: a}]", r"labels\.0\.value"),
        (MINIMAL + "labels: [{value: 256, name: a}]", r"labels\.0\.value"),
        (MINIMAL + "labels: [{value: 1.0, name: a}]", r"labels\.0\.value"),
        (MINIMAL + "labels: [{value: yes, name: a}]", r"labels\.0\.value"),
        (MINIMAL + "labels: [{value: 1, name: ../a}]", "starts with a dot"),
        (MINIMAL + "labels: [{value: 1, name: background}]", "one name"),
        (MINIMAL + "labels: [{value: [1, 2], name: a}]", "name unions of values under `regions`"),
        (MINIMAL + "regions: {all: [1, 2]}", "'all' has the value 1, which is no label's"),
        (MINIMAL + "patient: '('", "the expression for the patient is wrong"),
        (MINIMAL.replace("root: mine", 'root: ""'), "root"),
        (MINIMAL.replace("root: mine", 'root: "a\\0b"'), "root is too long or has a control"),
        (MINIMAL.replace("kind: table", "kind: table, file: " + "x" * 300), "too long"),
        ("- 1", "holds no keys"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "mine.yaml", text)
    with pytest.raises(UsageError, match=message) as caught:
        load_spec(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_layout_refuses_keys_of_other_kinds() -> None:
    layout = LayoutChoice.model_validate({"kind": "glob", "images": {}, "labels": "x"})
    with pytest.raises(UsageError, match=r"'labels'.*did you mean 'label'"):
        layout.options(Options)


def test_the_patient_is_read_from_the_name_of_the_case(tmp_path: Path) -> None:
    spec = declare(tmp_path, patient=r"^(sub-\d+)_")
    assert spec.patient_of("sub-07_ses-2") == "sub-07"
    with pytest.raises(DataError, match=re.escape("case x is unknown")):
        spec.patient_of("x")


def test_without_an_expression_each_case_is_a_patient(tmp_path: Path) -> None:
    assert declare(tmp_path).patient_of("case_1") == "case_1"


@pytest.mark.parametrize(
    ("given", "known"),
    [
        *((word, word) for word in ("MR", "CT", "PT", "DX", "CR", "US", "ES", "MG", "XA", "OCT")),
        *(("SM", "SM"), ("mri", "MR"), ("PET", "PT"), ("x-ray", "DX"), ("Ultrasound", "US")),
        *(("mammography", "MG"), ("angiography", "XA"), ("endoscopy", "ES"), ("WSI", "SM")),
        *(("optical coherence tomography", "OCT"), ("Raman", "Raman")),
    ],
)
def test_a_modality_is_any_word_and_known_ones_have_synonyms(given: str, known: str) -> None:
    assert declare(Path(), modality=given).modality == known


@pytest.mark.parametrize("given", ["", "a/b", "x" * 40])
def test_what_is_no_word_is_no_modality(given: str) -> None:
    with pytest.raises(ValidationError, match="a modality is a short word"):
        declare(Path(), modality=given)


def test_label_values_fit_a_byte(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        declare(tmp_path, labels=[{"value": 256, "name": "a"}])


@pytest.mark.parametrize(
    ("aliases", "words"),
    [
        ({"t9": ["x"]}, "aliases are given for 't9', which is no channel"),
        ({"t1": ["t2"]}, "the alias 't2' of t1 already has a meaning"),
        ({"t1": ["x"], "t2": ["x"]}, "the alias 'x' of t2 already has a meaning"),
    ],
)
def test_aliases_are_other_names_of_one_channel_each(aliases: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        declare(Path(), channels=["t1", "t2"], aliases=aliases)


def test_the_session_is_found_in_the_name_and_may_be_absent() -> None:
    spec = declare(Path(), session=r"(?:_(\d{4}))?$")
    assert [spec.session_of(name) for name in ("a_2019", "b")] == ["2019", ""]
    assert declare(Path()).session_of("a_2019") == ""
    with pytest.raises(DataError, match="the session of case b is unknown"):
        declare(Path(), session=r"_(\d{4})$").session_of("b")
    with pytest.raises(ValueError, match="the expression for the session has no group"):
        declare(Path(), session="x")


def test_a_name_whose_patient_is_empty_has_an_unknown_patient(tmp_path: Path) -> None:
    spec = declare(tmp_path, patient="^p?([0-9]*)")
    assert spec.patient_of("p7_scan") == "7"
    with pytest.raises(DataError, match="the patient of case scan is unknown"):
        spec.patient_of("scan")


def test_hidden_files_are_no_data_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data_specs" / "mine.yaml", MINIMAL)
    (tmp_path / "data_specs" / "._mine.yaml").write_bytes(b"\x00\x05\x16\x07")
    assert "mine" in list_specs()
    assert not [name for name in list_specs() if name.startswith(".")]


def test_a_root_in_the_home_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="~nobody_of_this_name/x"):
        data_folder(declare(Path("~nobody_of_this_name/x")))


def test_a_spec_may_extend_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data_specs" / "mine.yaml", MINIMAL)
    text = "extends: mine\ntitle: Yours\nroot: yours\nlayout: {file: list.csv}\n"
    write(tmp_path / "data_specs" / "yours.yaml", text)
    spec = load_spec("yours")
    assert (spec.name, spec.title, spec.root, spec.modality) == ("yours", "Yours", "yours", "CT")
    assert spec.layout == LayoutChoice.model_validate({"kind": "table", "file": "list.csv"})


def test_a_wrong_key_is_told_of_the_spec_in_which_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "data_specs" / "mine.yaml", MINIMAL + "modalty: MR\n")
    write(tmp_path / "data_specs" / "yours.yaml", "extends: mine\ntitle: Yours\n")
    with pytest.raises(UsageError, match=r"key 'modalty' in the data spec data_specs/mine\.yaml"):
        load_spec("yours")
    write(tmp_path / "data_specs" / "mine.yaml", MINIMAL)
    write(tmp_path / "data_specs" / "yours.yaml", "extends: mine\n")
    with pytest.raises(UsageError, match=r"'title' is missing in the data spec data_specs/yours"):
        load_spec("yours")


@pytest.mark.parametrize("mine_is_wrong", [True, False])
def test_a_wrong_key_of_a_layout_is_told_of_the_spec_in_which_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mine_is_wrong: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path))
    (tmp_path / "mine").mkdir()
    more, over = ("{kind: table, fiel: x}", "") if mine_is_wrong else ("{kind: table}", "{fiel: x}")
    write(tmp_path / "data_specs" / "mine.yaml", MINIMAL.replace("{kind: table}", more))
    yours = "extends: mine\ntitle: Yours\n" + (f"layout: {over}\n" if over else "")
    write(tmp_path / "data_specs" / "yours.yaml", yours)
    file = "mine" if mine_is_wrong else "yours"
    with pytest.raises(UsageError, match=rf"'fiel' in the layout .* data_specs/{file}\.yaml"):
        find_cases(load_spec("yours"))
