"""A pipeline file with overrides, and what is said of a wrong one."""

from pathlib import Path

import pytest
import yaml

from medssl.errors import UsageError
from medssl.pipeline.config import (
    Config,
    digest,
    load_config,
    pipeline_family,
    pipeline_names,
    refuse_family,
)


def hippocampus(*overrides: str) -> Config:
    return load_config("hippocampus", overrides)


def refusal(*overrides: str) -> str:
    with pytest.raises(UsageError) as caught:
        hippocampus(*overrides)
    return str(caught.value)


def test_overrides_are_read_as_yaml_and_the_last_one_counts() -> None:
    config = hippocampus("train.steps=7", "train.patch=[16, 16, 16]", "train.steps=9")
    assert (config.pipeline.train.steps, config.pipeline.train.patch) == (9, (16, 16, 16))
    assert (
        hippocampus("train.optimiser.learning_rate=1e-3").pipeline.train.optimiser.learning_rate
        == 0.001
    )
    assert hippocampus("train.clip_norm=null").pipeline.train.clip_norm is None


def test_a_method_by_name_keeps_no_keys_of_the_one_before() -> None:
    config = hippocampus("method.unsupervised.weight=0.7", "method=supervised")
    assert config.method.model_dump() == {"members": 1, "noise": 0.0}


def test_a_preset_lies_under_the_users_own_keys() -> None:
    config = hippocampus("method=tracoco", "method.preset=cps", "method.pseudo.dice=true")
    chosen = config.method.model_dump()
    assert chosen["pseudo"]["kind"] == "cross_entropy"
    assert chosen["pseudo"]["dice"] is True
    assert chosen["translation"]["enabled"] is False


@pytest.mark.parametrize(
    ("override", "key", "near"),
    [
        ("trian.steps=5", "'trian'", "'train'"),
        ("train.setps=5", "'train.setps'", "'train.steps'"),
        ("train.optimiser.learnin_rate=1", "learnin_rate'", "'train.optimiser.learning_rate'"),
        ("method.unsupervized.weight=1", "'method.unsupervized'", "'method.unsupervised'"),
        ("method.unsupervised.wieght=1", "wieght'", "'method.unsupervised.weight'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(override: str, key: str, near: str) -> None:
    sentence = refusal(override)
    assert "unknown key" in sentence
    assert key in sentence
    assert f"did you mean {near}?" in sentence


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.steps=many", ["train.steps", "'many'", "integer"]),
        ("train.steps=0", ["train.steps", "0", "greater than or equal to 1"]),
        ("train.patch=[8,8]", ["train.patch has too few values"]),
        ("preprocess.intensity=zsocre", ["preprocess.intensity", "'robust_zscore'", "'zscore'"]),
        ("method=tracco", ["no method is called 'tracco'", "did you mean 'tracoco'?"]),
        ("method.preset=released", ["no preset 'released'", "tracoco_released"]),
        ("method.pseudo.positive_threshold=2", ["method.pseudo.positive_threshold", "2"]),
        ("train.steps", ["'train.steps' is not of the form key=value"]),
        ("train.patch=[8,", ["cannot be read"]),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(override: str, words: list[str]) -> None:
    sentence = refusal(override)
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_an_unknown_pipeline_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'hippocampus'"):
        load_config("hipocampus")


def test_a_pipeline_here_comes_before_the_one_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "hippocampus.yaml").write_text("data: hippocampus\nseed: 41\n")
    assert load_config("hippocampus").pipeline.seed == 41
    assert load_config("hippocampus").pipeline.name == "hippocampus"


@pytest.mark.parametrize("text", ["- a\n", "a: [", ""])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"bad\.yaml"):
        load_config(str(path))


SEGMENTING = [name for name in pipeline_names() if pipeline_family(name) == "segment"]


@pytest.mark.parametrize("name", SEGMENTING)
def test_the_resolved_configuration_is_itself_that_pipeline(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(yaml.safe_dump(config.resolved()))
    again = load_config(str(path))
    assert (again.method, again.pipeline.train) == (config.method, config.pipeline.train)
    assert again.resolved() == config.resolved()


def test_hashes_follow_what_counts_and_nothing_else() -> None:
    plain = hippocampus()
    assert plain.hash("train") == hippocampus("train.threads=1", "train.log_every=3").hash("train")
    assert plain.hash("network") == hippocampus("network.checkpointing=true").hash("network")
    assert plain.hash("train") != hippocampus("train.steps=3").hash("train")
    assert plain.hash("method") != hippocampus("method.pseudo.kind=mse").hash("method")
    assert plain.hash("train", "network") == hippocampus("predict.flips=true").hash(
        "train", "network"
    )


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert len(digest("x")) == 8


def test_a_stage_refuses_methods_of_another_family() -> None:
    with pytest.raises(UsageError, match=r"family 'segment'; .* 'pretrain'; choose one of: .*dino"):
        refuse_family("segment", "pretrain")


@pytest.mark.parametrize(
    ("pipeline", "overrides", "family"),
    [("hippocampus", [], "segment"), ("mil", [], "slide"), ("mil", ["method=dino"], "pretrain")],
)
def test_the_family_of_a_pipeline_is_that_of_its_method(
    pipeline: str, overrides: list[str], family: str
) -> None:
    assert pipeline_family(pipeline, overrides) == family
