"""Wrong keys are told from a list, in the words of the classes that the list stands for."""

import json

import pytest

from medssl.errors import UsageError
from medssl.named_files import PIPELINES
from medssl.pipeline.config import load_config, pipeline_names
from medssl.pipeline.known_keys import LIST, OPEN, as_text, refuse_unknown_keys

LISTED = json.loads(LIST.read_text(encoding="utf-8"))
OF_FILE = {
    "segment": "hippocampus",
    "grade": "knee",
    "slide": "slides",
    "pretrain": "hippocampus_encoder",
    "pretrain_tiles": "slides_dino",
}
"""A shipped pipeline of each kind."""


def said(call, *given: object) -> str:
    with pytest.raises(UsageError) as caught:
        call(*given)
    return str(caught.value)


def parts(tree: dict, prefix: str = "") -> list[str]:
    """Dotted names of the parts that take no other keys, with their final dots."""
    found = [prefix]
    for key, part in tree.items():
        if part and OPEN not in part:
            found += parts(part, f"{prefix}{key}.")
    return found


def test_the_list_is_that_of_the_classes() -> None:
    """Otherwise: python -m medssl.pipeline.known_keys."""
    assert LIST.read_text(encoding="utf-8") == as_text()


@pytest.mark.parametrize("file", LISTED["files"])
def test_a_wrong_key_of_every_part_is_told_as_its_class_tells_it(file: str) -> None:
    pipeline = OF_FILE[file]
    inside = parts(LISTED["files"][file])
    assert "train.optimiser." in inside
    for before in inside:
        for key in ("stepz", "xyzzy", "labls"):
            given = pipeline, [f"{before}{key}=1"]
            assert said(refuse_unknown_keys, *given) == said(load_config, *given), given


@pytest.mark.parametrize("method", LISTED["methods"])
def test_a_wrong_key_of_every_method_is_told_as_its_class_tells_it(method: str) -> None:
    file, tree = LISTED["methods"][method]
    for before in parts(tree):
        for key in ("xyzzy", "weigth"):
            given = OF_FILE[file], [f"method={method}", f"method.{before}{key}=1"]
            found = said(refuse_unknown_keys, *given)
            assert found.startswith(f"unknown key 'method.{before}{key}'")
            theirs = said(load_config, *given)
            assert theirs == found or "unknown key" not in theirs


def test_a_key_of_a_file_is_told_with_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below.yaml").write_text("method: cps\ntrain: {stepz: 3}\n")
    (tmp_path / "above.yaml").write_text("extends: below.yaml\nmethod: {nois: 3}\n")
    assert said(refuse_unknown_keys, "above.yaml", []) == (
        "unknown key 'train.stepz' in the pipeline below.yaml; did you mean 'train.steps'?"
    )
    (tmp_path / "below.yaml").write_text("method: cps\n")
    assert said(refuse_unknown_keys, "above.yaml", []) == (
        "unknown key 'method.nois' in the pipeline above.yaml; did you mean 'method.noise'?"
    )


def test_a_list_that_is_older_than_the_code_refuses_no_key(tmp_path, monkeypatch) -> None:
    older = json.loads(LIST.read_text(encoding="utf-8"))
    del older["files"]["segment"]["train"]["patch"]
    (tmp_path / "older.json").write_text(json.dumps(older))
    monkeypatch.setattr("medssl.pipeline.known_keys.LIST", tmp_path / "older.json")
    refuse_unknown_keys("hippocampus", ["train.patch=[16, 16, 16]"])


@pytest.mark.parametrize("name", pipeline_names())
def test_every_shipped_pipeline_passes(name: str) -> None:
    refuse_unknown_keys(name, [])


@pytest.mark.parametrize(
    "override", ["method=of_another_package", "network.xyzzy=1", "preprocess.xyzzy=1"]
)
def test_what_the_list_does_not_know_is_left_to_the_classes(override: str) -> None:
    refuse_unknown_keys("hippocampus", [override])
    with pytest.raises(UsageError):
        load_config("hippocampus", [override])


def test_keys_of_earlier_versions_have_a_sentence_of_their_own() -> None:
    refuse_unknown_keys("knee", ["crop.side=20"])
    assert "the keys of `crop` belong to words" in said(load_config, "knee", ["crop.side=20"])


def test_a_file_that_is_not_there_is_told_at_once() -> None:
    assert "did you mean 'hippocampus'?" in said(refuse_unknown_keys, "hipocampus", [])
    assert PIPELINES.find("hippocampus").is_file()
