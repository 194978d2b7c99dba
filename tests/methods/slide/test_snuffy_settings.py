"""Snuffy's presets, sizes and initial weights."""

import pytest
import torch

from medssl.errors import UsageError
from medssl.methods.method import Progress
from medssl.methods.settings.snuffy import Settings
from medssl.methods.slide.snuffy import SnuffyNetwork

NO_DROPOUT = {"block_dropout": 0.0, "attn_dropout": 0.0}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def step(method, batches, seed=0):
    return method(batches, Progress(1, 10), seeded(seed))


def features(batches):
    return batches["bags"].features


@pytest.mark.parametrize(
    ("width", "depth", "heads", "parameters"),
    [
        (384, 1, 4, 1_776_002),
        (768, 1, 4, 7_090_946),
        (512, 5, 2, 15_763_970),
        (166, 1, 2, 333_496),
        (230, 1, 2, 638_712),
    ],
)
def test_parameters_are_counted_as_in_the_release(width, depth, heads, parameters):
    with torch.device("meta"):
        network = SnuffyNetwork(Settings(depth=depth, heads=heads), width, 1)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize("width", [166, 230, 384, 512, 708, 768])
def test_the_default_heads_fit_every_published_width(width):
    with torch.device("meta"):
        SnuffyNetwork(Settings(), width, 1)


def test_heads_that_do_not_fit_are_refused_with_those_that_do(build):
    with pytest.raises(UsageError, match=r"heads=6 .* width 166.*one of: 1, 2$"):
        build("snuffy", width=166, heads=6)


def test_published_columns():
    found = {name: Settings.preset(name) for name in Settings.presets}
    assert found["snuffy"] == Settings()
    assert (Settings().mode, Settings().nonselected, Settings().key_norm) == (
        "A",
        "attend",
        "ln",
    )
    released = [name for name in found if name != "snuffy"]
    assert all((found[n].mode, found[n].key_norm) == ("B", "raw") for n in released)
    columns = {
        name: (s.lambda_total, s.heads, s.depth, s.activation, s.block_dropout, s.l2_features)
        for name, s in found.items()
    }
    assert columns["dino_scratch"] == (900, 4, 1, "relu", 0.1, True)
    assert columns["dino_adapter"] == (500, 4, 1, "relu", 0.1, True)
    assert columns["mae_adapter"] == (500, 4, 1, "relu", 0.0, False)
    assert columns["heat_map"] == (900, 2, 5, "gelu", 0.2, False)
    assert columns["classical"] == (200, 2, 1, "relu", 0.0, False)


@pytest.mark.parametrize(
    ("init", "deviation", "largest"),
    [
        # xavier: variance 2 / (in + out); of a uniform distribution the largest is sqrt(3) sd.
        ("xavier_uniform", 64**-0.5, (3 / 64) ** 0.5),
        ("xavier_normal", 64**-0.5, 1.0),
        ("truncated", 0.8796, 2.0),  # of a standard normal cut at 2
    ],
)
def test_initialisations(build, init, deviation, largest):
    network = build("snuffy", width=64, init=init, init_head="xavier_uniform").network
    weights = network.encoder.blocks[0].attention.query.weight
    assert weights.std().item() == pytest.approx(deviation, rel=0.05)
    assert weights.abs().max().item() <= largest
    assert network.head.weight.abs().max().item() <= (6 / 65) ** 0.5
    assert not bool(network.encoder.blocks[0].widen.bias.any())
    assert bool((network.encoder.norm.weight == 1).all())


def test_features_of_any_length_give_one_answer_after_division_by_the_norm(build, bag):
    method, rows = build("snuffy", l2_features=True).eval(), features(bag(9))
    lengths = torch.rand(9, 1, generator=seeded()) + 0.5
    one, other = (method.predictor()(given).probability for given in (rows, lengths * rows))
    torch.testing.assert_close(one, other)
    plain = build("snuffy").eval().predictor()
    assert not torch.allclose(plain(rows).probability, plain(lengths * rows).probability)


def test_positive_bags_can_weigh_more(build, bag):
    plain = build("snuffy", counts=(30, 10), **NO_DROPOUT)
    weighed = build("snuffy", counts=(30, 10), positive_weight=True, **NO_DROPOUT)
    for label, factor in ((0, 1.0), (1, 3.0)):
        one, other = (step(method, bag(9, label=label)) for method in (plain, weighed))
        torch.testing.assert_close(other["bag"], factor * one["bag"])
        torch.testing.assert_close(other["max"], factor * one["max"])
