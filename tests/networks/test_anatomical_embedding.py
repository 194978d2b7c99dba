"""The network that gives every place of a volume a vector."""

import pytest
import torch

from medssl.networks.anatomical_embedding import build_embedder, on_fine_grid
from medssl.networks.embedder_settings import EmbedderSettings

LITE = EmbedderSettings(width=4, features=6)
RESNET = EmbedderSettings(name="resnet18", width=4, features=6)


@pytest.mark.parametrize(
    ("settings", "coarse"), [(LITE, (4, 4, 2)), (RESNET, (2, 2, 4))], ids=["lite", "resnet18"]
)
def test_both_maps_have_unit_vectors_at_their_strides(settings, coarse):
    found = build_embedder(settings, 0)(torch.randn(2, 1, 32, 32, 16))
    assert found.fine.shape == (2, 6, 16, 16, 8)
    assert found.coarse.shape == (2, 6, *coarse)
    for vectors in found:
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(vectors[:, 0].shape))


def test_the_small_network_has_the_sheets_size_and_the_published_one_its_widths():
    small = build_embedder(EmbedderSettings(), 0)
    assert 0.5e6 < sum(p.numel() for p in small.parameters()) < 0.7e6
    paper = build_embedder(EmbedderSettings(name="resnet18", width=64, features=128), 0)
    assert [stage[1].body[3].out_channels for stage in paper.stages] == [64, 128, 256, 512]
    assert paper.stem[0].kernel_size == (7, 7, 3)
    assert paper.coarse_head.out_channels == 128


def test_equal_seeds_give_equal_weights_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    one, same, other = (build_embedder(LITE, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_the_coarse_map_lies_over_the_fine_one():
    coarse = torch.zeros(1, 2, 2, 1, 1)
    coarse[0, 0, 0], coarse[0, 1, 1] = 1, 1
    found = on_fine_grid(coarse, (7, 4, 4), (4, 4, 4))
    assert found.shape == (1, 2, 7, 4, 4)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(1, 7, 4, 4))
    assert torch.equal(found[0, 0, :2, 0, 0], torch.ones(2))
    assert torch.equal(found[0, 1, 6:, 0, 0], torch.ones(1))
    assert (found[0, 0, 1:6, 0, 0].diff() <= 0).all()
