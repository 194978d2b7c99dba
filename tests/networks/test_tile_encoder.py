"""Tile encoders as their settings ask for them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import interpolate

from medssl.networks.tile_encoder import TileEncoder, build_tile_encoder
from medssl.networks.tile_settings import AdapterSettings, TileEncoderSettings


def build(seed: int = 0, **settings) -> TileEncoder:
    chosen = {"name": "vit_tiny", "side": 32, **settings}
    return build_tile_encoder(TileEncoderSettings(**chosen), seed).eval()


def tiles(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize(
    ("name", "width"),
    [("vit_tiny", 128), ("vit_small_16", 384), ("vit_small_8", 384), ("resnet18_instance", 512)],
)
def test_every_encoder_maps_tiles_of_any_size_to_its_width(name, width):
    encoder = build(name=name, side=48)
    assert encoder.width == TileEncoderSettings(name=name, side=48).width == width
    for side in (40, 48):
        features = encoder(tiles(side))
        assert features.shape == (2, width)
        assert features.isfinite().all()


def test_the_base_network_has_width_768():
    assert TileEncoderSettings(name="vit_base_16").width == 768


def test_the_seed_decides_the_weights_and_torchs_generator_is_left_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    adapters = AdapterSettings(bottleneck=4)
    first, same, other = (build(seed, adapters=adapters).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["backbone.pos_embed"], other["backbone.pos_embed"])
    down = "backbone.blocks.0.adapter.down.weight"
    assert not torch.equal(first[down], other[down])


def test_tiles_are_resized_inside():
    encoder, image = build(), tiles(64)
    small = interpolate(image, size=(32, 32), mode="bilinear", antialias=True)
    assert torch.equal(encoder(image), encoder.embed(small))
    assert torch.equal(encoder(small), encoder.embed(small))
    assert not torch.equal(encoder.embed(image), encoder(image))


def test_imagenet_normalisation_is_inside():
    """Mean and standard deviation of ImageNet's channels, as DINO's evaluation uses them."""
    plain, normalised, image = build(), build(normalise="imagenet"), tiles(32)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(normalised(image), plain((image - mean) / std))


def test_the_weights_hold_the_network_alone():
    """So that a file fits with and without normalisation."""
    assert set(build().state_dict()) == set(build(normalise="imagenet").state_dict())
    assert all(name.startswith("backbone.") for name in build().state_dict())


def test_adapters_freeze_all_else_and_change_nothing_at_first():
    image, plain = tiles(32), build()
    adapted = build(adapters=AdapterSettings(bottleneck=4))
    names = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert names
    assert all(".adapter." in name for name in names)
    adapted.load_state_dict(plain.state_dict(), strict=False)
    assert torch.equal(adapted(image), plain(image))


def test_pooling_is_of_the_class_token_or_of_the_patches():
    assert not torch.equal(build()(tiles(32)), build(pooling="mean")(tiles(32)))


def test_the_weights_of_an_encoder_come_back(tmp_path: Path):
    path = tmp_path / "encoder.pth"
    source = build(seed=1, adapters=AdapterSettings(bottleneck=4))
    torch.save(source.state_dict(), path)
    again = build(seed=2, adapters=AdapterSettings(bottleneck=4), weights=str(path))
    assert again.report is not None
    assert again.report.share == 1
    assert torch.equal(again(tiles(32)), source(tiles(32)))
    assert build().report is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "vit_tiny", "side": 40}, "multiple of 16"),
        ({"name": "vit_small_8", "side": 36}, "multiple of 8"),
        ({"name": "resnet18_instance", "side": 32}, "at least 33"),
        ({"name": "resnet18_instance", "adapters": {}}, "no transformer blocks"),
        ({"name": "vit_huge"}, "vit_huge"),
        ({"sides": 3}, "sides"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TileEncoderSettings(**settings)


def test_the_smallest_tile_of_the_resnet_trains():
    build(name="resnet18_instance", side=33).train()(tiles(33))


def test_settings_are_read_without_torch():
    code = "import sys; import medssl.networks.tile_settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
