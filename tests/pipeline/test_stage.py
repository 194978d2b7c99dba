"""Stage folders: each key covers what influences the stage, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Plan, make_plan
from medssl.pipeline.stage import Stage, read_config, read_json, read_numbers
from medssl.transforms.chain import Augment


def plan(*overrides: str) -> Plan[Any, Any]:
    return make_plan(load_config("balls", overrides))


def keys(found: Plan[Any, Any]) -> tuple[str, str, str]:
    return found.stages["train"].key, found.stages["predict"].key, found.stages["evaluate"].key


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("train.threads=1", (False, False, False)),
        ("title=Other", (False, False, False)),
        ("predict.window_batch=1", (False, False, False)),
        ("evaluate.tolerance=2", (False, False, True)),
        ("predict.fill_holes=true", (False, True, True)),
        ("train.steps=3", (True, True, True)),
        ("seed=1", (True, True, True)),
        ("split.labels=3", (True, True, True)),
        ("method.noise=0.1", (True, True, True)),
    ],
)
def test_a_key_follows_what_influences_its_stage(
    balls: Path, override: str, changed: tuple[bool, bool, bool]
) -> None:
    pairs = zip(keys(plan()), keys(plan(override)), strict=True)
    assert tuple(one != other for one, other in pairs) == changed


def test_a_changed_test_image_repeats_prediction_but_not_training(balls: Path) -> None:
    before = plan()
    image = before.cohort.test[0].images["T1"]
    image.write_bytes(image.read_bytes() + b"\0")
    after = plan()
    assert before.stages["train"].key == after.stages["train"].key
    assert before.stages["predict"].key != after.stages["predict"].key


def test_a_changed_training_image_repeats_training(balls: Path) -> None:
    before = plan()
    image = balls / "data" / "balls" / f"{before.cohort.split.labelled[0]}.nii.gz"
    image.write_bytes(image.read_bytes() + b"\0")
    assert plan().stages["train"].key != before.stages["train"].key


def test_planning_writes_nothing(balls: Path) -> None:
    plan()
    assert not (balls / "runs").exists()


def test_a_stage_writes_down_its_configuration_and_split(balls: Path) -> None:
    found = plan("train.steps=3")
    found.stages["train"].begin(found.config.resolved(), found.cohort.split.to_json())
    written = yaml.safe_load((found.stages["train"].folder / "config.yaml").read_text())
    assert written["train"]["steps"] == 3
    assert read_json(found.stages["train"].folder / "split.json")["test"] == list(
        found.cohort.split.test
    )
    assert not found.stages["train"].done
    found.stages["train"].finish(cases=3)
    assert found.stages["train"].done
    assert read_json(found.stages["train"].folder / "done.json") == {"stage": "train", "cases": 3}


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    stage = Stage("train", "0", tmp_path)
    (stage.folder / "done.json").write_text("{")
    with pytest.raises(UsageError, match=r"delete .* and run again"):
        read_json(stage.folder / "done.json")


def test_mirrored_copies_are_refused_before_training_where_it_shows_none(balls: Path) -> None:
    with pytest.raises(
        UsageError, match=r"augment shows the network none.*augment\.basic\.flip=half"
    ):
        plan("predict.flips=true", "augment=basic")
    plan("predict.flips=true", "augment.basic.flip=half")
    plan("predict.flips=true")


@pytest.mark.parametrize(
    ("augment", "mirrored"),
    [
        ({}, ()),
        ({"rot90": True}, ()),  # a half turn mirrors both axes at once
        ({"flip": "half", "flip_axes": (1,)}, (1,)),
        ({"flip": "always", "flip_axes": (1, 0)}, (0, 1)),
        ({"flip": "half", "flip_axes": (0,), "rot90": True}, (0, 1)),
    ],
)
def test_training_mirrors_along_these_axes(augment: dict[str, Any], mirrored: Any) -> None:
    assert Augment.of({"basic": augment}).mirrored == mirrored


@pytest.mark.parametrize("text", ["", "[]", "3", '"a"', "[" * 100_000, '{"summary": [1]}', "{}"])
def test_what_medssl_wrote_and_something_damaged_is_named_with_the_remedy(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "done.json").write_text(text)
    with pytest.raises(UsageError, match=r"done\.json cannot be read; .*delete the folder .*again"):
        read_json(tmp_path / "done.json", "summary")


@pytest.mark.parametrize("text", ["", "- a", "method: cps", "method: [name]", "a: b: c"])
def test_a_damaged_configuration_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"config\.yaml cannot be read; .*delete the folder"):
        read_config(tmp_path, "method.name")


def test_groups_of_numbers_are_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "probes.json"
    assert read_numbers(path) == {}
    path.write_text('{"trained": {"dice": 0.5, "odd": null}}')
    assert read_numbers(path) == {"trained": {"dice": 0.5, "odd": None}}
    path.write_text('{"trained": [0.5]}')
    with pytest.raises(UsageError, match=r"probes\.json cannot be read"):
        read_numbers(path)
