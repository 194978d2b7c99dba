"""Every method that learns from 2-D images, on the encoder of every 2-D network."""

from dataclasses import replace
from math import isfinite

import pytest
import torch

from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.registry import implementation, settings_class
from medssl.networks.build import build_encoder, build_network, encoder_of
from medssl.networks.flat import FlatEncoder
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder
from medssl.networks.unet_settings import UNetSettings
from medssl.train.update import make_update
from tests.contract.killing import check_that_a_kill_changes_nothing, constant, equal, trained
from tests.contract.test_pretrain_methods import METHODS, SMALLER
from tests.methods.pretrain.scans import CONTRASTS, SIDE, pair_batch, scan_batch

FLAT = [name for name in METHODS if settings_class(name).in_2d]
PATCH = (SIDE, SIDE, 1)
NETWORKS = [
    *(NetworkSettings(name=name, width=4, levels=3) for name in ("vnet", "unet3d")),
    *(UNetSettings(name=name, features=(4, 8, 16)) for name in ("plain_unet", "residual_unet")),
    MonaiSettings(name="monai:AttentionUnet", channels=[4, 4, 8], strides=[[2, 1], 2]),
    MonaiSettings(name="monai:BasicUNet", features=[4, 4, 8, 8, 8, 4]),
    MonaiSettings(name="monai:BasicUNetPlusPlus", features=[4, 4, 8, 8, 8, 4]),
    MonaiSettings(
        name="monai:DynUNet",
        kernel_size=[[3, 1], 3, 3],
        strides=[1, [2, 1], 2],
        upsample_kernel_size=[[2, 1], 2],
        filters=[4, 4, 8],
    ),
    MonaiSettings(name="monai:MedNeXt", init_filters=4, kernel_size=3),
    MonaiSettings(name="monai:SegResNet", init_filters=8),
    MonaiSettings(name="monai:SwinUNETR", feature_size=12, depths=[1, 1, 1, 1]),
    MonaiSettings(name="monai:UNETR", feature_size=4, hidden_size=24, mlp_dim=24, num_heads=2),
]
"""Encoders of voxels, and of cells of 2 and of 16 pixels."""
LARGER = {
    **dict.fromkeys(("monai:BasicUNet", "monai:BasicUNetPlusPlus", "monai:MedNeXt"), 32),
    **dict.fromkeys(("monai:SwinUNETR", "monai:UNETR"), 64),
}
"""Sides of windows that they need, where 16 are too few."""


def side_of(network):
    return LARGER.get(network.name, SIDE)


def flat_batch(batch, side=SIDE):
    """The slice in the middle, as a scan one voxel thick, repeated up to the side."""
    source = batch.source[..., SIDE // 2 : SIDE // 2 + 1]
    source = source.repeat(1, 1, 1, side // SIDE, side // SIDE, 1)
    return replace(batch, source=source, patch=(side, side, 1))


def make(name, network, seed=5, **given):
    side = side_of(network)
    settings = settings_class(name)(**{**SMALLER.get(name, {}), **given})
    if network.name == "monai:UNETR" and "masking" in type(settings).model_fields:
        settings = settings.model_copy(
            update={"masking": settings.masking.model_copy(update={"cell": 16})}
        )
    flat = network.sized((side, side, 1))
    assert flat.is_flat
    return implementation(settings)(
        settings, PretrainTask(flat, (side, side, 1), CONTRASTS, 6), seed
    ), flat


def batches(method, side=SIDE):
    made = {"pairs": pair_batch((1, 2, 3)), "scans": scan_batch((1, 2, 3))}
    return {kind: flat_batch(made[kind], side) for kind in method.streams}


def test_the_methods_are_those_that_were_promised():
    assert {*FLAT} == {
        "masked_image_modelling", "modality_invariant", "gmml", "decoupled_contrastive",
        "whitening", "all4one", "barlow_twins", "vicreg",
    }  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_every_flat_encoder_learns_and_is_handed_on(name, network):
    method, flat = make(name, network)
    method.train()
    given = batches(method, side_of(network))
    before = {key: value.clone() for key, value in method.encoder().state_dict().items()}
    assert equal(before, build_encoder(flat, 1, 5000).state_dict())
    update = make_update(method, constant(1), 0, torch.device("cpu"))
    assert isfinite(update(given, Progress(1, 1))["loss"])
    after = method.encoder().state_dict()
    assert not equal(before, after)
    started = build_network(flat, 3, 2, 0, PretrainedEncoder(after))
    own = encoder_of(started, flat).state_dict()
    stems = set(encoder_of(started, flat).stems)
    assert stems <= after.keys()
    for key, value in after.items():
        taken = value.repeat_interleave(3, 1) / 3 if key in stems else value
        assert torch.equal(own[key], taken), key


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_a_flat_encoder_says_its_own_sizes(network):
    side = side_of(network)
    encoder = build_encoder(network.sized((side, side, 1)), 1, 0).eval()
    assert isinstance(encoder, FlatEncoder)
    image = torch.randn(2, 1, side, side, 1)
    with torch.no_grad():
        embedded, features = encoder.embed(image), encoder(image)
    cells = side // encoder.embed_stride
    assert embedded.shape == (2, encoder.embed_width, cells, cells, 1)
    for width, (x, y, z), one in zip(encoder.widths, encoder.strides, features, strict=True):
        assert z == 1
        assert one.shape == (2, width, side // x, side // y, 1)
    counted = sum(p.numel() for level in encoder.layers() for p in level.parameters())
    assert counted == sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("name", FLAT)
def test_probes_of_flat_encoders_are_answered(name):
    method, _ = make(name, NETWORKS[0])
    image = flat_batch(scan_batch((1, 2, 3))).windows()[:, 0]
    with torch.no_grad():
        method.eval()
        found = {"": method.predictor()(image), **method.parts_of(image)}
        filled = method.reconstruct(image, torch.Generator())
    assert all(
        part.ndim == 2 and len(part) == 3 and part.isfinite().all() for part in found.values()
    )
    assert filled is None or filled.prediction.shape == image.shape == filled.mask.shape


@pytest.mark.parametrize("name", FLAT)
def test_a_killed_training_of_a_flat_encoder_ends_with_the_same_bits(name, tmp_path):
    class Toys:
        def __init__(self, kind):
            self._make = pair_batch if kind == "pairs" else scan_batch

        def batch(self, number):
            return flat_batch(self._make(tuple((number + k) % 6 + 1 for k in range(3))))

    def train(seed, state, last):
        method, _ = make(name, NETWORKS[0], seed)
        streams = {kind: Toys(kind) for kind in method.streams}
        return trained(method, streams, constant(4), state, last, seed=0)

    check_that_a_kill_changes_nothing(train, tmp_path, 3)


def test_contrast_alone_learns_from_one_scan_twice():
    method, _ = make("modality_invariant", NETWORKS[0], arm="cl")
    assert method.streams == ("pairs",)
    assert method.pairs().kind == "same_scan"
    update = make_update(method.train(), constant(1), 0, torch.device("cpu"))
    assert isfinite(update(batches(method), Progress(1, 1))["loss"])


def test_rows_that_are_places_are_found_in_the_plane():
    method, _ = make("whitening", NETWORKS[0], rows="tokens")
    update = make_update(method.train(), constant(1), 0, torch.device("cpu"))
    assert isfinite(update(batches(method), Progress(1, 1))["loss"])
