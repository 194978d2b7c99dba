"""A pipeline file with overrides, and what is said of a wrong one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from medssl.errors import UsageError
from medssl.families.segment.config import SegmentPipeline
from medssl.methods.registry import method_names, settings_class
from medssl.overrides import NAMED
from medssl.pipeline.config import Config, load_config, pipeline_names, refuse_without_encoder
from medssl.pipeline.family import family_names, find_family
from medssl.pipeline.sections import method_settings
from medssl.section import Section, digest, is_named
from medssl.settings import MethodChoice
from medssl.transforms.chain import Augment


def hippocampus(*overrides: str) -> Config[Any]:
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
    config = hippocampus("method=supervised")
    assert config.method.model_dump() == {"members": 1, "noise": 0.0}
    with pytest.raises(UsageError, match="has no effect"):
        hippocampus("method.unsupervised.weight=0.7", "method=supervised")


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
        ("train.steps=many", ["train.steps='many'", "a whole number of at least 1"]),
        ("train.steps=0", ["train.steps=0", "a whole number of at least 1"]),
        ("train.patch=[8]", ["train.patch=[8]", "three sizes, or two in 2-D, e.g. [32, 32, 32]"]),
        ("preprocess.mr.intensity=zsocre", ["mr.intensity", "'robust_zscore'", "'zscore'"]),
        ("method=tracco", ["no method is called 'tracco'", "did you mean 'tracoco'?"]),
        ("method.preset=released", ["no preset 'released'", "tracoco_released"]),
        ("method.pseudo.positive_threshold=2", ["method.pseudo.positive_threshold", "2"]),
        ("train.steps", ["'train.steps' is not of the form key=value"]),
        ("train.patch=[8,", ["the value of 'train.patch=[8,'", "column 4", "not valid YAML"]),
        ("train.=3", ["'train.=3' is not of the form key=value"]),
        (
            "train.patch=32",
            ["train.patch=32 is wrong; give three sizes, or two in 2-D, e.g. [32, 32, 32]"],
        ),
        ("train.patch=[0,33,90000]", ["multiples of 8", "train.patch=[8, 32, 4096]"]),
        ("preprocess.mr.spacing=[1,0,1]", ["mr.spacing=[1, 0, 1]", "three numbers above 0"]),
        ("predict.stride=[16,33,16]", ["leave gaps", "predict.stride=[16, 32, 16]"]),
        ("preprocess.mr.orientation=RAR", ["mr.orientation='RAR'", "e.g. RAS"]),
        ("preprocess.ct.window=[3,1]", ["ct.window=[3, 1]", "a larger one"]),
        ("preprocess=rm", ["no transform is called 'rm'", "did you mean 'mr'?"]),
        (
            "preprocess.spacing=[1,1,1]",
            ["spacing is a key of mr, ct, ultrasound", "{mr: {spacing: ...}}"],
        ),
        ("preprocess=[{Spacngd: {pixdim: 1}}]", ["'Spacngd'", "did you mean 'Spacingd'?"]),
        ("preprocess=[{Spacingd: {pixdm: 1}}]", ["no argument 'pixdm'", "did you mean 'pixdim'?"]),
        ("preprocess=[Spacingd]", ["the transform Spacingd needs pixdim"]),
        ("preprocess=RandFlipd", ["RandFlipd moves voxels at random", "write it under augment"]),
        ("augment.flip=half", ["flip is a key of basic", "{basic: {flip: ...}}"]),
        ("augment.basic.flip=hlaf", ["basic.flip='hlaf'", "'half'"]),
        ("augment=standrad", ["no transform is called 'standrad'", "did you mean 'standard'?"]),
        ("augment=[{RandAffined: {keys: image}}]", ["leaves the label behind"]),
        ("train.augment_on=tpu", ["train.augment_on='tpu'", "'gpu'"]),
        ("network.width=10000000", ["network.width=10000000", "at most 1024"]),
        ("network=unet", ["network.name='unet'", "did you mean 'unet3d'?"]),
        ("train=adam", ["train='adam' is wrong; give keys of its own (steps, "]),
        ("train.optimiser.betas=[0.9,-0.9]", ["betas=[0.9, -0.9]", "of at least 0 and below 1"]),
        ("train.learning_rate=1", ["did you mean 'train.optimiser.learning_rate'?"]),
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


def test_a_part_with_a_name_is_chosen_by_it_alone() -> None:
    assert hippocampus("network=unet3d").pipeline.network.name == "unet3d"
    changed = hippocampus("network=unet3d", "network.width=8").pipeline.network
    # The file's other keys of the network stay, as with network.name=unet3d.
    assert (changed.name, changed.width, changed.levels) == ("unet3d", 8, 4)
    assert hippocampus("train.optimiser=adam").pipeline.train.optimiser.name == "adam"


def test_which_network_predicts_is_a_word_and_no_part() -> None:
    for first in ("predict.network=first", "predict={network: first}"):
        assert hippocampus(first, "predict.flips=true").pipeline.predict.network == "first"


def test_a_part_with_a_name_is_chosen_by_it_alone_in_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("data: hippocampus\nnetwork: unet3d\ntrain: {optimiser: adamw}\n")
    pipeline = load_config(str(path)).pipeline
    assert (pipeline.network.name, pipeline.train.optimiser.name) == ("unet3d", "adamw")
    assert load_config(str(path), ["network.width=8"]).pipeline.network.name == "unet3d"
    assert load_config(str(path), ["network.width=8"]).pipeline.network.width == 8


def test_every_part_with_a_name_is_known_to_overrides() -> None:
    for family in family_names():
        find_family(family)
    for method in method_names():
        settings_class(method)
    waiting: list[type[BaseModel]] = [Section]
    named = set()
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            for key, field in kind.model_fields.items():
                for inner in get_args(field.annotation) or [field.annotation]:
                    if isinstance(inner, type) and issubclass(inner, BaseModel) and is_named(inner):
                        named.add(key)
    assert named == NAMED


def test_keys_given_in_braces_lie_over_those_of_the_file() -> None:
    assert hippocampus("train={steps: 9}") == hippocampus("train.steps=9")
    given = hippocampus("method={unsupervised: {weight: 0.5}}")
    assert given.method == hippocampus("method.unsupervised.weight=0.5").method


def test_a_method_or_an_encoder_in_braces_is_chosen_anew() -> None:
    config = hippocampus("method={name: supervised, members: 2}")
    assert config.method.model_dump() == {"members": 2, "noise": 0.0}
    again = hippocampus("pretrain=some_encoder", "pretrain={checkpoint: /a/b}").pipeline.pretrain
    assert again is not None
    assert (again.checkpoint, again.pipeline) == ("/a/b", None)


def test_keys_of_a_method_lie_over_what_the_method_itself_says() -> None:
    config = hippocampus("method=cps", "method.pseudo.train_mode=false")
    assert config.method.model_dump()["pseudo"]["kind"] == "cross_entropy"
    config = hippocampus("method=cps", "method.cutmix.alpha=2")
    assert config.method.model_dump()["cutmix"]["networks"] == ()


def test_keys_lie_over_a_preset_and_a_preset_over_the_method() -> None:
    chosen = MethodChoice.model_validate(
        {"name": "joint2d3d", "preset": "small", "volumes": {"heads": 2}}
    )
    volumes = method_settings(chosen).model_dump()["volumes"]
    assert volumes == {"prototypes": 16, "heads": 2, "queue": 1024, "freeze_steps": 20}
    images = method_settings(chosen).model_dump()["images"]
    assert images == {"prototypes": 32, "heads": 3, "queue": 1024, "freeze_steps": 20}


@pytest.mark.parametrize("name", pipeline_names())
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


def test_a_pipeline_that_trains_no_encoder_is_refused_where_one_is_wanted() -> None:
    with pytest.raises(UsageError, match=r"hippocampus trains no encoder .*family 'segment'"):
        refuse_without_encoder(hippocampus())


@pytest.mark.parametrize(
    ("pipeline", "overrides", "family"),
    [("hippocampus", [], "segment"), ("mil", [], "slide"), ("slides_dino", [], "pretrain")],
)
def test_the_family_of_a_pipeline_is_that_of_its_method(
    pipeline: str, overrides: list[str], family: str
) -> None:
    assert load_config(pipeline, overrides).family.name == family


def test_a_pipeline_may_extend_another_one_and_keeps_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines" / "ours").mkdir(parents=True)
    mine = tmp_path / "pipelines" / "ours" / "mine.yaml"
    mine.write_text(
        "extends: hippocampus\ntrain: {optimiser: adam}\nmethod: {cutmix: {alpha: 2}}\n"
    )
    found, base = load_config("mine", ["train.steps=9"]), load_config("hippocampus")
    assert (found.pipeline.name, found.pipeline.title) == ("mine", "")
    assert found.pipeline.train.steps == 9
    assert found.pipeline.train.optimiser.name == "adam"
    assert found.pipeline.train.optimiser.learning_rate == 0.05
    assert found.method.model_dump()["cutmix"]["alpha"] == 2
    assert found.method.model_dump()["noise"] == base.method.model_dump()["noise"]
    assert "extends" not in found.resolved()
    mine.write_text("extends: hippocampus\nmethod: mean_teacher\n")
    assert load_config("mine").method == method_settings(MethodChoice(name="mean_teacher"))


@pytest.fixture
def extending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """What is said of pipelines/top.yaml, which extends pipelines/base.yaml, of these keys."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipelines").mkdir()

    def refusal(top: str, base: str, *overrides: str) -> str:
        (tmp_path / "pipelines/base.yaml").write_text(f"extends: hippocampus\n{base}\n")
        (tmp_path / "pipelines/top.yaml").write_text(f"extends: base\n{top}\n")
        with pytest.raises(UsageError) as caught:
            load_config("top", overrides)
        return str(caught.value)

    return refusal


FINE, TOP, BASE = "seed: 1", "pipelines/top.yaml", "pipelines/base.yaml"


@pytest.mark.parametrize(
    "wrong",
    [
        "train: {stps: 3}",
        "train: {steps: many}",
        "trian: {steps: 3}",
        "network: wnet",
        "network: {name: wnet}",
        "method: {name: cps, noize: 1}",
        "method: {name: cps, noise: {amplitude: -1}}",
        "method: {name: mean_teacher, preset: ua_tm}",
        "method: mean_techer",
        "predict: {save: [lables]}",
    ],
)
def test_a_wrong_key_is_told_with_the_file_that_it_stands_in(
    extending: Callable[..., str], wrong: str
) -> None:
    assert f" in the pipeline {BASE}" in extending(FINE, wrong)
    assert f" in the pipeline {TOP}" in extending(wrong, FINE)


def test_of_two_files_that_give_a_key_it_is_the_one_on_top(extending: Callable[..., str]) -> None:
    both = extending("network: wnet", "network: {name: vent, levels: 3}")
    assert both.startswith(f"network.name='wnet' in the pipeline {TOP} is wrong")


def test_a_key_that_is_missing_is_missing_in_the_file_that_was_named(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("seed: 1\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\n")
    with pytest.raises(UsageError, match=f"'data' is missing in the pipeline {tmp_path}/top"):
        load_config(str(tmp_path / "top.yaml"))


def test_an_override_stands_in_no_file(extending: Callable[..., str]) -> None:
    assert ".yaml" not in extending("train: {steps: 3}", "train: {steps: 4}", "train.steps=-1")
    assert ".yaml" not in extending("network: vnet", "network: {name: vnet}", "network=wnet")
    assert f" in the pipeline {BASE}" in extending(FINE, "train: {stps: 3}", "train.steps=9")


def test_a_run_that_aims_at_no_foreground_has_the_hash_of_before_there_was_any() -> None:
    none, third = (hippocampus(f"train.foreground={share}") for share in (0, 0.33))
    assert not [key for key in none.section("train") if key.startswith("foreground")]
    assert none.hash("train") == hippocampus("train.foreground_by=case").hash("train")
    assert none.hash("train") != third.hash("train")
    other = hippocampus("train.foreground=0.33", "train.foreground_by=case")
    assert third.hash("train") != other.hash("train")


def test_by_default_training_has_the_strength_of_nnunet() -> None:
    """Sheet of planning, sections 3.3 and 3.4."""
    pipeline = SegmentPipeline.model_validate({"name": "mine", "data": "mine"})
    assert pipeline.train.foreground == 0.33
    assert pipeline.augment == Augment.of("standard")
    assert pipeline.mirrored == (0, 1, 2)
