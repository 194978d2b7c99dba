"""Training from a pre-trained encoder: one pipeline, any method; what is refused, what is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from medssl.data.split import patient_key
from medssl.errors import DataError, UsageError
from medssl.families.segment.train import train
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job, cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.stage import Stage
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import WEIGHTS, weights_hash
from medssl.train.track import Tracker
from tests.told import Told
from tests.train.volume_encoder import NETWORK, write_encoder

STEM = "encoder.blocks.0.0.weight"


@pytest.fixture
def encoder(balls: Path) -> Path:
    """A pre-trained encoder that fits the network of `balls` and saw none of its patients."""
    return write_encoder(balls / "encoder", seen=[patient_key("others", "p1")])


def config(encoder, *overrides):
    return load_config("balls", [f"pretrain={encoder}", *overrides])


def trained(folder, chosen, reporter=None):
    plan = replace(make_plan(chosen), stages={"train": Stage("train", "0", folder)})
    with Tracker(folder, "balls", "train", None, {}, {}) as tracker:
        train(Job(plan, reporter or QuietReporter()), tracker)
    return folder / "checkpoint" / "last"


def split_of(chosen):
    return cohort_of(chosen).split


def test_tracoco_from_a_pretrained_encoder_is_one_pipeline(balls, encoder):
    chosen = config(
        encoder, "method=tracoco", "train.steps=3", "fine_tune.schedule=frozen_then_whole",
        "fine_tune.frozen=0.9",
    )  # fmt: skip
    done = run(chosen, QuietReporter())
    assert done["report"].is_file()
    weights = load_file(done["model"] / WEIGHTS)
    given = load_file(encoder / WEIGHTS)
    for member in (0, 1):
        for name, value in given.items():
            assert torch.equal(weights[f"members.{member}.encoder.{name}"], value)
    assert not torch.equal(weights["members.0.head.weight"], weights["members.1.head.weight"])
    _, found = load_checkpoint(done["model"])
    assert found.encoder.weights == weights_hash(encoder)
    assert found.encoder.method == {"name": "masked_image_modelling"}
    assert [card.name for card in found.encoder.data] == ["unlabelled"]


def test_the_encoder_learns_with_the_rest_by_default(balls, encoder):
    weights = load_file(trained(balls / "run", config(encoder)) / WEIGHTS)
    assert not torch.equal(weights[f"members.0.{STEM}"], load_file(encoder / WEIGHTS)[STEM[8:]])
    lines = (balls / "run" / "metrics.jsonl").read_text().splitlines()
    assert "encoder_learning_rate" in json.loads(lines[-1])


def test_a_frozen_encoder_is_what_it_was_and_the_rest_learns(balls, encoder):
    chosen = config(encoder, "network.frozen=true", "train.steps=3", "fine_tune.encoder_rate=1")
    weights = load_file(trained(balls / "frozen", chosen) / WEIGHTS)
    given = load_file(encoder / WEIGHTS)
    assert all(torch.equal(weights[f"members.0.encoder.{name}"], given[name]) for name in given)


def test_without_an_encoder_fine_tuning_does_nothing(balls):
    plain = trained(balls / "plain", load_config("balls"))
    unused = ["fine_tune.schedule=sawtooth", "fine_tune.encoder_rate=0.5"]
    same = trained(balls / "same", load_config("balls", unused))
    assert (plain / WEIGHTS).read_bytes() == (same / WEIGHTS).read_bytes()
    assert load_checkpoint(plain)[1].encoder is None
    assert (
        make_plan(load_config("balls", unused)).stages["train"]
        == make_plan(load_config("balls")).stages["train"]
    )


def test_it_is_told_what_fits_and_that_images_look_otherwise(balls):
    folder = write_encoder(balls / "encoder", spacing=(1.0, 1.0, 1.0), intensity="zscore")
    told = Told()
    trained(balls / "run", config(folder), told)
    assert any("100.0% of the parameters matched" in line for line in told.notes)
    (warning,) = [line for line in told.notes if line.startswith("warning")]
    assert "images that look otherwise" in warning
    assert "FieldSpacingd" in warning
    assert '"clip": [0.5, 99.5]' in warning


def test_no_warning_where_images_look_alike(balls, encoder):
    told = Told()
    trained(balls / "run", config(encoder, "preprocess.mr.crop_foreground=true"), told)
    assert not any(line.startswith("warning") for line in told.notes)


def test_a_test_patient_that_pretraining_saw_is_refused(balls):
    """When training, and whenever the run is planned: to predict and to evaluate it too."""
    split = split_of(load_config("balls"))
    leaked = write_encoder(balls / "leaked", seen=[patient_key("balls", split.test[0])])
    with pytest.raises(DataError, match="pre-trained on the patients of 1 of the 3 test") as caught:
        make_plan(config(leaked))
    assert split.test[0] in caught.value.what
    others = [patient_key("balls", name) for name in (*split.labelled, *split.unlabelled)]
    make_plan(config(write_encoder(balls / "fair", seen=others)))


def test_an_encoder_found_to_have_leaked_later_stops_the_evaluation(balls, encoder):
    run(config(encoder), QuietReporter())
    split = split_of(load_config("balls"))
    write_encoder(encoder, seen=[patient_key("balls", split.test[0])])
    with pytest.raises(DataError, match="scores would be too good"):
        run(config(encoder), QuietReporter())


@pytest.mark.parametrize(
    ("other", "do"),
    [
        ({"width": 4}, "set network.width=4"),
        ({"levels": 3}, "set network.levels=3"),
        ({"norm": "group"}, "set network.norm=group"),
        ({"name": "unet3d"}, "set network.name=unet3d"),
        (
            {"name": "swin_fpn", "width": 6, "levels": 3, "depths": (1, 1), "heads": (1, 2)},
            "set network.name=swin_fpn network.width=6 network.levels=3 network.embed_stride=2 "
            "network.depths=[1,1] network.heads=[1,2] network.window=7",
        ),
    ],
)
def test_an_encoder_of_another_network_is_refused_with_the_keys_to_set(balls, other, do):
    network = NetworkSettings(**{**NETWORK.model_dump(), **other})
    folder = write_encoder(balls / "other", network)
    with pytest.raises(UsageError, match="does not fit the pipeline's network") as caught:
        make_plan(config(folder))
    assert caught.value.do == do
    overrides = [word.removeprefix("set ") for word in do.split() if "=" in word]
    make_plan(config(folder, *overrides))


def test_dropout_may_differ(balls, encoder):
    make_plan(config(encoder, "network.dropout=0.4"))


def test_a_network_without_an_encoder_is_refused(balls, encoder):
    with pytest.raises(UsageError, match="monai_unet has no encoder"):
        make_plan(config(encoder, "network.name=monai_unet"))


def test_another_encoder_is_another_run_wherever_it_lies(balls, encoder):
    plain = make_plan(load_config("balls")).stages["train"].key
    first = make_plan(config(encoder)).stages["train"].key
    moved = encoder.rename(balls / "moved")
    assert make_plan(config(moved)).stages["train"].key == first != plain
    write_encoder(moved, seed=10)
    assert make_plan(config(moved)).stages["train"].key != first
    assert make_plan(config(moved, "fine_tune.layer_decay=0.5")).stages["train"].key not in {
        plain,
        first,
    }


def test_an_encoder_that_lacks_its_last_block_trains_only_where_less_may_match(balls, encoder):
    weights = load_file(encoder / WEIGHTS)
    kept = {name: one for name, one in weights.items() if name.startswith("blocks.0.")}
    save_file(kept, encoder / WEIGHTS)
    with pytest.raises(DataError, match="is damaged"):
        trained(balls / "run", config(encoder))
    (encoder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="at least 100% are wanted"):
        trained(balls / "run", config(encoder))
    assert not (balls / "run" / "checkpoint").exists()
    trained(balls / "run", config(encoder, "pretrain.matched=0.05"))


def test_an_encoder_that_lacks_a_part_of_a_block_is_refused(balls, encoder):
    weights = load_file(encoder / WEIGHTS)
    del weights["blocks.1.3.weight"]
    save_file(weights, encoder / WEIGHTS)
    (encoder / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"blocks\.1\.3\.weight"):
        trained(balls / "run", config(encoder, "pretrain.matched=0.05"))


def test_images_of_more_channels_repeat_the_stem_or_are_refused(balls, encoder):
    spec = yaml.safe_load((balls / "data_specs" / "balls.yaml").read_text())
    spec["channels"] = ["T1", "again"]
    spec["layout"]["images"]["again"] = "again/{case}.nii.gz"
    folder = balls / "data" / "balls"
    (folder / "again").mkdir()
    for path in folder.glob("c?.nii.gz"):
        (folder / "again" / path.name).write_bytes(path.read_bytes())
    (balls / "data_specs" / "balls.yaml").write_text(yaml.safe_dump(spec))
    with pytest.raises(UsageError, match="on 1 channel and the images have 2"):
        trained(balls / "run", config(encoder, "pretrain.channels=same"))
    still = ["fine_tune.schedule=frozen_then_whole", "fine_tune.frozen=0.9"]
    weights = load_file(trained(balls / "run", config(encoder, *still)) / WEIGHTS)
    given = load_file(encoder / WEIGHTS)["blocks.0.0.weight"]
    np.testing.assert_array_equal(weights[f"members.0.{STEM}"], torch.cat([given, given], 1) / 2)


def test_a_text_is_a_checkpoint_if_it_is_a_path_and_else_a_pipeline(balls, encoder):
    def chosen(text, *overrides):
        return load_config("balls", [f"pretrain={text}", *overrides]).pipeline.pretrain

    for text in (str(encoder), "encoder", "nowhere/last"):
        assert (chosen(text).checkpoint, chosen(text).pipeline) == (text, None)
    for text in ("ms_lesions", "pipelines/ms.yaml"):
        assert (chosen(text).checkpoint, chosen(text).pipeline) == (None, text)
    more = chosen("encoder", "pretrain.matched=0.5")
    assert (more.checkpoint, more.matched) == ("encoder", 0.5)
    assert chosen("ms", "pretrain.set=[train.steps=5]").set == ("train.steps=5",)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["pretrain=nowhere/last"], "nowhere/last is not a checkpoint"),
        (["pretrain=ms"], "the encoder of pretrain.pipeline=ms is not there yet"),
        (["pretrain.matched=0.5"], "pretrain is wrong; give either checkpoint or pipeline"),
        (["pretrain=encoder", "pretrain.set=[seed=1]"], "pretrain is wrong; set changes a"),
        (["pretrain.chekpoint=x"], "did you mean 'pretrain.checkpoint'"),
        (["fine_tune.schedule=valley"], "fine_tune.schedule"),
    ],
)
def test_mistakes_are_told_in_one_sentence(balls, encoder, overrides, words):
    with pytest.raises(UsageError, match=words) as caught:
        make_plan(load_config("balls", overrides))
    assert "\n" not in str(caught.value)


def test_a_pipeline_with_an_encoder_is_written_down_whole(balls, encoder):
    chosen = config(encoder, "pretrain.matched=0.9")
    path = balls / "again.yaml"
    path.write_text(yaml.safe_dump(chosen.resolved()))
    assert load_config(str(path)).resolved() == chosen.resolved()
