"""Files of other projects that say something else than they should: one sentence for each."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from medssl.errors import DataError, MedsslError
from medssl.networks.foreign.families import recognise
from medssl.train.imported import rebuilt
from tests.drivers.fuzzing.encoders import SAMPLES
from tests.networks.foreign.test_vit import plain_vit
from tests.networks.foreign.volumes import bundle


@pytest.fixture
def plans(tmp_path):
    SAMPLES["plans"](tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([], "holds no object"),
        ({"configurations": []}, "configurations: input should be a valid dictionary"),
        (
            {"configurations": {"3d_fullres": [1]}},
            "configuration 3d_fullres of .* cannot be used",
        ),
        (
            {"configurations": {"3d_fullres": {"spacing": 3}}},
            "spacing: input should be",
        ),
        (
            {"configurations": {"3d_fullres": {"architecture": {"arch_kwargs": 1}}}},
            "architecture.arch_kwargs: ",
        ),
        (
            {"configurations": {"3d_fullres": {"normalization_schemes": 1}}},
            "schemes: ",
        ),
        ({"transpose_forward": 1}, "transpose_forward: "),
    ],
)
def test_plans_of_another_form_are_refused(plans, said, told):
    (plans / "plans.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=told):
        rebuilt(plans / "unet.safetensors")


def test_intensities_of_another_form_are_refused(plans):
    said = json.loads((plans / "plans.json").read_text())
    said["foreground_intensity_properties_per_channel"]["0"] = {"mean": "x"}
    (plans / "plans.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"the plans of .* cannot be used; mean: "):
        rebuilt(plans / "unet.safetensors")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads: input should be greater than"),
        ({"num_attention_heads": 3}, "128 features cannot be shared out among 3 heads"),
        ({"model_args": [1]}, "model_args: "),
        ({"num_attention_heads": 4, "layer_norm_eps": "x"}, "layer_norm_eps: "),
        ({"num_attention_heads": 4, "pretrained_cfg": 1}, "pretrained_cfg: "),
    ],
)
def test_a_config_of_another_form_is_refused(tmp_path, said, told):
    path = plain_vit(tmp_path, **said)
    with pytest.raises(DataError, match=told):
        recognise(path)


def test_means_that_are_no_numbers_are_refused(tmp_path):
    path = plain_vit(tmp_path, num_attention_heads=4)
    said = {"image_mean": 0.5, "image_std": [0.5, 0.5, 0]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    with pytest.raises(DataError, match=r"preprocessor_config.json cannot be used; image_mean: "):
        recognise(path)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("in_channels", "x", "in_channels: "),
        ("out_channels", 10**7, "out_channels: "),
        ("name", "x", "no network of MONAI has the argument name"),
        ("frozen", True, "no network of MONAI has the argument frozen"),
    ],
)
def test_a_bundle_of_another_form_is_refused(tmp_path, key, value, told):
    bundle(tmp_path)
    path = tmp_path / "configs" / "inference.json"
    said = json.loads(path.read_text())
    said["network_def"][key] = value
    path.write_text(json.dumps(said))
    with pytest.raises(DataError, match=told):
        rebuilt(tmp_path)


def test_references_of_a_bundle_may_be_missing_or_odd(tmp_path):
    bundle(tmp_path)
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps({"references": 3}))
    assert rebuilt(tmp_path).description.imported.citation == "not stated"


@pytest.mark.parametrize("family", [1, ["nnunet"], {}, None, "of nobody"])
def test_a_note_that_names_no_family_does_not_count(plans, family):
    (plans / "medssl_encoder.json").write_text(json.dumps({"family": family}))
    assert recognise(plans / "unet.safetensors").family == "nnunet"


@pytest.mark.parametrize("name", ["vit", "plans"])
@pytest.mark.parametrize("change", ["scalar", "empty", "gone", "longer"])
def test_every_tensor_of_another_shape_is_refused(tmp_path, name, change):
    SAMPLES[name](tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    whole = load_file(path)
    for key, old in whole.items():
        if key.startswith(("blocks.1.", "blocks.2.", "blocks.3.")):
            continue  # as those of blocks.0
        changed = dict(whole)
        changed[key] = {
            "scalar": torch.zeros(()),
            "empty": old[:0],
            "gone": None,
            "longer": torch.cat([old, old]),
        }[change]
        if changed[key] is None:
            del changed[key]
        save_file(changed, path)
        twin = ".all_modules." in key or key.replace(".conv.", ".all_modules.0.") in whole
        if change == "gone" and name == "plans" and twin:
            continue  # its twin stands for it
        with pytest.raises(MedsslError):
            rebuilt(path)
