"""The JSON schema takes what medssl takes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import medssl
from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.file_kinds import FILES
from medssl.pipeline.schema import schema_text

ROOT = Path(medssl.__file__).parents[1]
SHIPPED = sorted([*ROOT.glob("pipelines/**/*.yaml"), *ROOT.glob("data_specs/*.yaml")])


@pytest.fixture(scope="module")
def any_file() -> Draft202012Validator:
    return checker("")


def checker(name: str) -> Draft202012Validator:
    schema: dict[str, Any] = json.loads(schema_text(name))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_all_that_is_shipped_fits(any_file: Draft202012Validator, path: Path) -> None:
    assert any_file.is_valid(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_has_a_schema_and_refuses_unknown_keys(name: str) -> None:
    kind = checker(name)
    assert kind.is_valid({"extends": "another"})
    assert not kind.is_valid({"extends": "another", "colour": "red"})


def test_a_shipped_pipeline_fits_the_schema_of_its_family() -> None:
    for name in ("hippocampus", "knee", "mil", "ms_lesions"):
        (path,) = ROOT.glob(f"pipelines/**/{name}.yaml")
        assert checker(load_config(name).family.name).is_valid(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({"data": "mine"}, True),
        ({"title": "no data"}, False),
        ({"data": "mine", "method": "tracoco"}, True),
        ({"data": "mine", "method": "semixup"}, False),
        ({"data": "mine", "method": {"name": "tracoco", "noise": {"amplitude": 0.1}}}, True),
        ({"data": "mine", "method": {"name": "tracoco", "preset": "cps"}}, True),
        ({"data": "mine", "method": {"name": "tracoco", "preset": "paper"}}, False),
        ({"data": "mine", "method": {"name": "tracoco", "ramp": 3}}, False),
        ({"extends": "mine", "method": {"noise": {"amplitude": 0.1}}}, True),
        ({"data": "mine", "network": "unet3d"}, True),
        ({"data": "mine", "network": "unet"}, False),
        ({"data": "mine", "network": {"width": 8}}, True),
        ({"data": "mine", "pretrain": "some_encoder"}, True),
        ({"data": "mine", "pretrain": {"pipeline": "some_encoder"}}, True),
        ({"data": "mine", "train": {"steps": 0}}, False),
        ({"data": "mine", "train": {"patch": [8, 8, 8]}}, True),
        ({"data": "mine", "train": {"patch": [8, 8]}}, True),
        ({"data": "mine", "train": {"patch": [8]}}, False),
    ],
)
def test_a_pipeline_fits_as_medssl_takes_it(given: dict[str, Any], fits: bool) -> None:
    assert checker("segment").is_valid(given) is fits


def test_a_data_spec_has_the_keys_of_its_layout() -> None:
    spec = {
        "title": "t", "modality": "CT", "channels": ["ct"], "root": "r", "licence": "l",
        "citation": "c", "labels": [{"value": 1, "name": "liver"}],
    }  # fmt: skip
    kind = checker("data")
    assert kind.is_valid(spec | {"layout": {"kind": "table", "file": "a.csv"}})
    assert not kind.is_valid(spec | {"layout": {"kind": "nnunet", "file": "a.csv"}})
    assert not kind.is_valid(spec | {"layout": {"kind": "nnunet"}, "labels": [{"value": 1}]})


def test_a_study_takes_one_reference_without_brackets() -> None:
    study: dict[str, Any] = {"pipeline": "mine", "arms": {"a": []}, "labels": [4]}
    assert checker("study").is_valid(study | {"reference": "a"})
    assert checker("study").is_valid(study | {"reference": ["a"]})
    assert not checker("study").is_valid(study | {"reference": 3})


def test_only_whole_files_have_a_schema() -> None:
    with pytest.raises(UsageError, match=r"no schema of 'segmnt', .*; did you mean 'segment'"):
        schema_text("segmnt")
