"""A vote of kept examples, and its network of a resting encoder."""

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from medssl.networks.build import build_network
from medssl.networks.fpn import LinearNetwork
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.neighbours import NeighbourNetwork, Neighbours, at
from medssl.networks.settings import NetworkSettings
from medssl.networks.unet_settings import UNetSettings

NETWORKS = [
    NetworkSettings(name="conv_fpn", width=2, levels=2),
    NetworkSettings(name="vnet", width=2, levels=2, norm="instance"),
    UNetSettings(name="residual_unet", features=(2, 4), blocks=(1, 1)),
    MonaiSettings(name="monai:UNet", channels=[2, 4], strides=[2]),
]


def test_the_vote_is_that_of_scikit_learn() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    rng = torch.Generator().manual_seed(0)
    features = torch.randn(60, 5, generator=rng)
    labels = torch.randint(3, (60,), generator=rng)
    asked = torch.randn(40, 5, generator=rng)
    vote = Neighbours(5, 3, 7)
    vote.keep(features, labels)
    spread, mean = torch.std_mean(features, 0, correction=0)
    known, queries = ((one - mean) / spread for one in (features, asked))
    theirs = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distances: np.exp(-distances / 0.07)
    ).fit(known.numpy(), labels.numpy())
    expected = torch.from_numpy(theirs.predict_proba(queries.numpy()))
    expected = expected.float().clamp_min(1e-6)
    torch.testing.assert_close(vote(asked).exp(), expected, rtol=1e-3, atol=1e-5)


def test_an_example_is_kept_once_and_a_state_brings_its_own_number_of_them() -> None:
    vote, again = Neighbours(3, 2, 5), Neighbours(3, 2, 5)
    vote.keep(torch.eye(3), torch.tensor([0, 1, 1]))
    vote.keep(torch.eye(3)[:2], torch.tensor([0, 1]))
    assert len(vote.examples) == 3
    again.load_state_dict(vote.state_dict())
    assert torch.equal(again(torch.eye(3)), vote(torch.eye(3)))


def test_without_examples_all_classes_are_alike() -> None:
    assert torch.equal(Neighbours(3, 2, 5)(torch.ones(4, 3)), torch.zeros(4, 2))


@pytest.mark.parametrize("shape", [(6, 8, 10), (6, 8)])
def test_features_of_single_voxels_are_those_of_the_enlarged_map(shape: tuple[int, ...]) -> None:
    maps = [torch.randn(1, 3, *shape), torch.randn(1, 2, *(side // 2 for side in shape))]
    mode = {2: "bilinear", 3: "trilinear"}[len(shape)]
    whole = torch.cat([interpolate(one, size=list(shape), mode=mode) for one in maps], 1)
    voxels = torch.randperm(torch.Size(shape).numel())[:50]
    torch.testing.assert_close(at(maps, shape, voxels), whole[0].flatten(1)[:, voxels].T)


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda one: one.name)
@pytest.mark.parametrize(("decoder", "kind"), [
    ("linear", LinearNetwork), ("neighbours", NeighbourNetwork)
])  # fmt: skip
def test_any_network_with_an_encoder_can_be_probed(settings, decoder, kind) -> None:
    whole = build_network(settings, 1, 3, 0)
    probed = build_network(settings.model_copy(update={"decoder": decoder}), 1, 3, 0)
    assert isinstance(probed, kind)
    own, theirs = probed.encoder.state_dict(), whole.encoder.state_dict()
    assert all(torch.equal(own[name], value) for name, value in theirs.items())
    if decoder == "neighbours":
        assert not any(weight.requires_grad for weight in probed.parameters())
    assert probed.eval()(torch.randn(2, 1, 8, 8, 8)).shape == (2, 3, 8, 8, 8)


def test_images_are_probed_too() -> None:
    settings = NetworkSettings(name="vnet", width=2, levels=2, norm="instance", spatial_dims=2)
    for decoder in ("linear", "neighbours"):
        probed = build_network(settings.model_copy(update={"decoder": decoder}), 1, 3, 0)
        assert probed.eval()(torch.randn(2, 1, 8, 8, 1)).shape == (2, 3, 8, 8, 1)


@pytest.mark.parametrize("key", [{"frozen": True}, {"decoder": "linear"}])
def test_a_network_without_an_encoder_is_not_probed(key: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"has no encoder of its own: leave .* out"):
        NetworkSettings.model_validate({"name": "monai_unet"} | key)
