"""Alice's network: sheet of Alice, section 14, no. 10."""

import pytest
import torch

from medssl.networks.alice import AliceNetwork
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings

SWIN = NetworkSettings(
    name="swin_fpn", width=48, levels=4, depths=(1, 1, 1), heads=(6, 12, 24), window=4
)
SMALL = NetworkSettings(name="conv_fpn", width=4, levels=3)


@pytest.mark.parametrize("batch", [1, 3])
def test_10_shapes_of_the_papers_size(batch):
    """Crops of 64: the sheet's 384, (64, 512), (512, 512), 1 x 64^3; three crops are small ones."""
    paper = batch == 1
    side, settings = (64, SWIN) if paper else (16, SMALL)
    network = AliceNetwork(build_encoder(settings, 1, 0), 32, 16, 512, seed=1).eval()
    with torch.no_grad():
        found = network(torch.randn(batch, 1, side, side, side))
    assert found.pooled.shape == (batch, 384 if paper else 16)
    assert found.unit.shape == (batch, 16)
    assert found.scores.shape == (batch, 512)
    assert found.tokens.shape == (batch, 64, 512)
    assert found.context.shape == (batch, 512, 512)
    assert found.values.shape == (batch, 1, side, side, side)
    torch.testing.assert_close(found.unit.norm(dim=1), torch.ones(batch))
    for cosines in (found.scores, found.tokens, found.context):
        assert cosines.abs().max() <= 1 + 1e-5


def test_the_head_has_the_sheets_size():
    """5.99 million: projections 384 and 192 to 384, MLP 384-2048-2048-256, two maps to 512."""
    from medssl.networks.alice import AliceHead

    head = AliceHead(384, 192, 2048, 256, 512)
    trained = sum(p.numel() for p in head.parameters() if p.requires_grad)
    assert round(trained / 1e6, 2) == 5.99


def test_what_is_not_asked_for_is_not_made_and_changes_nothing():
    network = AliceNetwork(build_encoder(SMALL, 1, 0), 32, 16, 8, seed=1).eval()
    image = torch.randn(2, 1, 16, 16, 16)
    every, little = network(image), network(image, context=False, values=False)
    assert little.context is None
    assert little.values is None
    assert torch.equal(little.scores, every.scores)
    assert torch.equal(network(image, context=False).values, every.values)
    assert torch.equal(network.filled(image), every.values)


def test_frozen_prototypes_take_no_gradient():
    network = AliceNetwork(build_encoder(SMALL, 1, 0), 32, 16, 8, seed=1)
    found = network(torch.randn(2, 1, 16, 16, 16), frozen=True)
    (found.scores.sum() + found.tokens.sum() + found.context.sum()).backward()
    assert network.head.crops.direction.grad is None
    assert network.head.patches.direction.grad is None
    assert network.head.mlp[0].weight.grad is not None


@pytest.mark.parametrize("name", ["conv_fpn", "swin_fpn", "unet3d"])
def test_every_encoder_of_the_package_fits(name):
    width = 8
    settings = NetworkSettings(
        name=name, width=width, levels=3, norm="group", dropout=0, depths=(1, 1), heads=(2, 2)
    )
    network = AliceNetwork(build_encoder(settings, 1, 0), 16, 8, 8, seed=1)
    assert network(torch.randn(1, 1, 16, 16, 16)).values.shape == (1, 1, 16, 16, 16)
