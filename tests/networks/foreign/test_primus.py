"""Files of nnssl's Primus: what their plan must say, and encoders that are not imported."""

import json
import sys
from math import isfinite

import pytest
import torch

from medssl.errors import DataError, UsageError
from medssl.methods.method import Progress
from medssl.networks.build import build_network
from medssl.networks.foreign.families import recognise
from medssl.networks.monai_settings import _chosen
from medssl.networks.transfer import PretrainedEncoder
from medssl.train.imported import rebuilt
from medssl.train.update import make_update
from tests.networks.foreign.originals import original, saved

PLAN = {
    "architecture_plans": {"arch_class_name": "PrimusS", "arch_kwargs": None},
    "pretrain_plan": {"configurations": {"onemmiso": {"patch_size": [32, 32, 16]}}},
    "recommended_downstream_patchsize": [160, 160, 160],
}


def tensors(tokens=32, depth=12, width=396):
    """Names and shapes of Primus-S, as far as they are looked at."""
    blocks = {f"eva.blocks.{n}.norm1.weight": torch.ones(width) for n in range(depth)}
    return {
        "down_projection.proj.weight": torch.ones(width, 1, 8, 8, 8),
        "eva.pos_embed": torch.ones(1, tokens, width),
        **blocks,
        "up_projection.decode.weight": torch.ones(3),
        "mask_token": torch.ones(1, 1, width),
    }


def checkpoint(place, plan=PLAN, **sizes):
    held = {"network_weights": tensors(**sizes)}
    return saved(place / "primus.pth", held | ({"nnssl_adaptation_plan": plan} if plan else {}))


def changed(**keys):
    return {**PLAN, **keys}


def test_the_plan_says_heads_and_the_grid_of_positions(tmp_path):
    found = recognise(checkpoint(tmp_path))
    assert found.family == "primus"
    assert found.network == {
        "name": "primus", "width": 396, "depth": 12, "heads": 6, "cell_side": 8,
        "input_shape": [32, 32, 16],
    }  # fmt: skip
    assert found.left_out == ("up_projection.decode.weight", "mask_token")
    assert found.facts.licence == "CC BY 4.0"
    assert found.facts.patch == (32, 32, 16)


def test_a_plan_of_the_first_version_beside_the_file_will_do(tmp_path):
    said = {"architecture_name": "PrimusS", "input_patch_size": [16, 32, 32]}
    (tmp_path / "adaptation_plan.json").write_text(json.dumps(said))
    assert recognise(checkpoint(tmp_path, None)).network["input_shape"] == [16, 32, 32]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (None, "does not say which Primus it is"),
        (changed(architecture_plans={}), "does not say which Primus it is"),
        (
            changed(pretrain_plan={}),
            r"size its 32 positions are; its plan says \[\[160, 160, 160\]\]",
        ),
    ],
)
def test_what_the_plan_leaves_open_is_asked_for(tmp_path, plan, told):
    with pytest.raises(UsageError, match=rf"{told}.*put its adaptation_plan\.json beside it"):
        recognise(checkpoint(tmp_path, plan))


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (
            changed(architecture_plans={"arch_class_name": "PrimusM"}),
            "names PrimusM, and its 12 blocks are 396 wide",
        ),
        (changed(architecture_plans={"arch_class_name": "PrimusX"}), "known are PrimusS, PrimusB"),
        (changed(architecture_plans=3), "architecture_plans: "),
        (changed(pretrain_plan={"configurations": {"x": {"patch_size": [8]}}}), "patch_size: "),
    ],
)
def test_a_plan_of_another_network_is_refused(tmp_path, plan, told):
    with pytest.raises(DataError, match=told):
        recognise(checkpoint(tmp_path, plan))


def test_registers_are_of_the_encoder_and_never_left_out(tmp_path):
    held = {"network_weights": tensors() | {"register_tokens": torch.ones(1, 4, 396)}}
    path = saved(tmp_path / "p.pth", held | {"nnssl_adaptation_plan": PLAN})
    assert "register_tokens" in recognise(path).weights  # no place for it: the import is refused


def test_without_its_package_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dynamic_network_architectures.architectures", None)
    with pytest.raises(UsageError, match=r"cannot be imported.*pip install 'medssl\[primus\]'"):
        rebuilt(checkpoint(tmp_path))


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"heads": 5}, "864 numbers a token, which 5 heads do not share out in multiples of 6"),
        ({"cell_side": 6}, "cells of 6 voxels: give a power of 2"),
        ({"levels": 3}, "levels"),
    ],
)
def test_sizes_that_cannot_be_built_are_refused(keys, told):
    with pytest.raises(ValueError, match=told):
        _chosen({"name": "primus", **keys})


def test_its_positions_are_for_the_patch():
    plain = _chosen("primus")
    sized = plain.sized((32, 32, 16))
    assert sized.input_shape == (32, 32, 16)
    assert sized.unsized() == plain
    with pytest.raises(ValueError, match="of one size: set train"):
        sized.sized((32, 32, 32))


def test_it_is_pre_trained_and_segments_with_any_decoder():
    original("dynamic_network_architectures.architectures.primus")
    from tests.contract import test_pretrain_methods as pretrain
    from tests.contract.killing import constant

    small = _chosen({"name": "primus", "width": 48, "depth": 2, "heads": 4, "cell_side": 4})
    network = small.sized(pretrain.PATCH)
    method = pretrain.make("masked_image_modelling", network=network)
    update = make_update(method, constant(1), 0, torch.device("cpu"))
    assert isfinite(update(pretrain.first_batches(method), Progress(1, 1))["loss"])
    given = PretrainedEncoder(method.encoder().state_dict())
    for decoder in ("own", "linear", "skip"):
        found = build_network(network.model_copy(update={"decoder": decoder}), 1, 3, 0, given)
        assert found(torch.zeros(2, 1, *pretrain.PATCH)).shape == (2, 3, *pretrain.PATCH)
        weights = found.encoder.state_dict()
        assert all(torch.equal(weights[name], one) for name, one in given.weights.items())


def test_its_places_are_resized_to_another_patch():
    original("dynamic_network_architectures.architectures.primus")
    small = _chosen({"name": "primus", "width": 48, "depth": 2, "heads": 4, "cell_side": 4})
    learnt = build_network(small.sized((16, 16, 16)), 1, 2, 0).encoder
    given = PretrainedEncoder(learnt.state_dict(), sides=(16, 16, 16))
    network = build_network(small.sized((32, 16, 8)), 1, 3, 1, given)
    places = network.encoder.eva.pos_embed
    assert places.shape == (1, 8 * 4 * 2, 48)
    ends = places.reshape(8, 4, 2, 48)[[0, 7]].mean((1, 2))
    own = learnt.eva.pos_embed.reshape(4, 4, 4, 48)[[0, 3]].mean((1, 2))
    torch.testing.assert_close(ends, own)  # along the longer axis the outermost cells stay
    assert network(torch.zeros(1, 1, 32, 16, 8)).shape == (1, 3, 32, 16, 8)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("conv_blocks_context.0.0.conv1.weight", "STU-Net, which is not imported; no package"),
        ("module.backbone.down_tr64.ops.0.conv1.weight", "SuPreM and of Models .* of each batch"),
    ],
)
def test_what_could_not_be_compared_or_has_no_features_of_its_own_is_refused(tmp_path, name, told):
    path = saved(tmp_path / "w.pth", {"net": {name: torch.ones(2)}})
    with pytest.raises(DataError, match=told):
        recognise(path)
