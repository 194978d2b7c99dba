"""An encoder's weights in another network: what fits, what is refused, what channels become."""

from math import prod

import pytest
import torch
from torch import nn

from medssl.errors import DataError, UsageError
from medssl.methods.method import Task
from medssl.methods.registry import implementation, settings_class
from medssl.networks.build import build_encoder, build_network
from medssl.networks.settings import NetworkSettings
from medssl.networks.transfer import PretrainedEncoder, transfer, transfer_decoder
from medssl.networks.unet_settings import UNetSettings

NETWORKS = {
    "vnet": NetworkSettings(name="vnet", width=4, levels=3, norm="batch", dropout=0),
    "unet3d": NetworkSettings(name="unet3d", width=4, levels=3, norm="group", dropout=0),
    "swin_fpn": NetworkSettings(
        name="swin_fpn", width=12, levels=3, depths=(1, 1), heads=(2, 4), window=4, dropout=0
    ),
    "conv_fpn": NetworkSettings(name="conv_fpn", width=4, levels=3, dropout=0),
    "plain_unet": UNetSettings(name="plain_unet", features=(4, 8, 16)),
    "residual_unet": UNetSettings(name="residual_unet", features=(4, 8, 16)),
}
SMALL = NETWORKS["conv_fpn"]

every_network = pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS.keys())


def weights(settings, channels=1, seed=9):
    return build_encoder(settings, channels, seed).state_dict()


@every_network
def test_the_encoder_becomes_the_given_one_and_the_decoder_stays(settings):
    given = weights(settings)
    network = build_network(settings, 1, 2, 0, PretrainedEncoder(given))
    plain = build_network(settings, 1, 2, 0).state_dict()
    for name, value in network.state_dict().items():
        _, of_encoder, encoded = name.rpartition("encoder.")
        assert torch.equal(value, given[encoded] if of_encoder else plain[name]), name


@every_network
def test_equal_channels_give_the_one_channel_answer(settings):
    encoder = build_encoder(settings, 3, 0).eval()
    report = transfer(encoder, PretrainedEncoder(weights(settings)))
    assert report.share == 1
    single = build_encoder(settings, 1, 9).eval()
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, wanted = encoder(image.expand(-1, 3, -1, -1, -1)), single(image)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_another_number_of_channels_is_refused_where_it_must_be_the_same():
    with pytest.raises(
        UsageError, match="pre-trained on 1 channel and the images have 2"
    ) as caught:
        transfer(build_encoder(SMALL, 2, 0), PretrainedEncoder(weights(SMALL), channels="same"))
    assert caught.value.do == "set pretrain.channels=repeat"
    transfer(build_encoder(SMALL, 1, 0), PretrainedEncoder(weights(SMALL), channels="same"))


def test_only_a_kernel_of_one_channel_is_repeated():
    with pytest.raises(UsageError, match="pre-trained on 2 channels and the images have 3"):
        transfer(build_encoder(SMALL, 3, 0), PretrainedEncoder(weights(SMALL, channels=2)))


def test_too_few_matching_weights_are_refused_and_nothing_is_changed():
    given = weights(SMALL)
    del given["blocks.2.3.weight"]  # half of all
    encoder = build_encoder(SMALL, 1, 0)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(DataError, match=r"at least 100% are wanted.*blocks.2.3.weight"):
        transfer(encoder, PretrainedEncoder(given))
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_fewer_may_match_where_that_is_asked_for():
    """Whole blocks at the end; never a part of a block, nor one before others."""
    given = weights(SMALL)
    last = [name for name in given if name.startswith("blocks.2.")]
    less = {name: value for name, value in given.items() if name not in last}
    encoder = build_encoder(SMALL, 1, 0)
    before = encoder.blocks[2][3].weight.clone()
    report = transfer(encoder, PretrainedEncoder({**less, "head.weight": before}, matched=0.1))
    assert 0.1 < report.share < 0.95
    assert (set(report.missing), report.unexpected) == (set(last), ("head.weight",))
    assert torch.equal(encoder.blocks[2][3].weight, before)
    assert torch.equal(encoder.blocks[1][0].weight, given["blocks.1.0.weight"])
    for left_out in ("blocks.2.3.weight", "blocks.1."):
        part = {name: v for name, v in given.items() if not name.startswith(left_out)}
        with pytest.raises(DataError, match=f"lack, or have in another shape, {left_out}"):
            transfer(encoder, PretrainedEncoder(part, matched=0.1))


def test_weights_that_no_training_leaves_are_refused():
    for value, message in ((float("nan"), "not finite"), (0.0, "nothing but zeros")):
        given = weights(SMALL)
        given["blocks.1.0.weight"] = torch.full_like(given["blocks.1.0.weight"], value)
        with pytest.raises(DataError, match=rf"{message}.* blocks\.1\.0\.weight|{message}"):
            transfer(build_encoder(SMALL, 1, 0), PretrainedEncoder(given))


def test_names_of_another_network_load_nothing():
    """What the released SwinUNETR option did without a word (sheet, section 9.4)."""
    given = {f"swinViT.{name}": value for name, value in weights(SMALL).items()}
    with pytest.raises(DataError, match=r"hold 0\.0% of the encoder's parameters"):
        transfer(build_encoder(SMALL, 1, 0), PretrainedEncoder(given))


def test_a_network_without_an_encoder_takes_none():
    unet = NetworkSettings(name="monai_unet", width=2, levels=2, norm="batch")
    with pytest.raises(UsageError, match="monai_unet has no encoder"):
        build_network(unet, 1, 2, 0, PretrainedEncoder(weights(SMALL)))


@pytest.mark.parametrize("name", ["supervised", "mean_teacher", "cps", "tracoco"])
def test_every_network_of_every_method_starts_from_the_encoder(name):
    given = weights(SMALL)
    task = Task(("T1",), ("background", "ball"), (8, 8, 8), SMALL, PretrainedEncoder(given))
    kind = settings_class(name)
    settings = kind(members=2) if name == "supervised" else kind()
    method = implementation(settings)(settings, task, 0)
    stem = "blocks.0.0.weight"
    stems = [v for k, v in method.state_dict().items() if k.endswith(f"encoder.{stem}")]
    assert len(stems) == 2
    assert all(torch.equal(one, given[stem]) for one in stems)
    heads = [v for k, v in method.state_dict().items() if k.endswith("decoder.head.weight")]
    assert torch.equal(*heads) == (name == "mean_teacher")


def with_decoder(settings, classes=1, seed=9):
    """A network of the decoder that Alice trains, and what it hands on."""
    network = build_network(settings.model_copy(update={"decoder": "skip"}), 1, classes, seed)
    parts = network.encoder.state_dict(), network.decoder.state_dict()
    return network, PretrainedEncoder(parts[0], decoder=parts[1])


@every_network
def test_a_decoder_of_the_networks_kind_comes_along_but_for_its_last_convolution(settings):
    _, given = with_decoder(settings)
    skip = settings.model_copy(update={"decoder": "skip"})
    fresh = build_network(skip, 1, 3, 0).state_dict()
    found = build_network(skip, 1, 3, 0, given)
    for name, value in found.decoder.state_dict().items():
        here = f"decoder.{name}"
        kept = fresh[here] if name.startswith("voxels.") else given.decoder[name]
        assert torch.equal(value, kept), name
    report = transfer_decoder(found, given)
    assert report.share == 1
    assert report.unexpected == ("voxels.weight", "voxels.bias")
    assert found(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)


def test_a_decoder_of_another_kind_or_size_is_left_alone():
    _, given = with_decoder(SMALL)
    own = build_network(SMALL, 1, 2, 0, given)
    assert transfer_decoder(own, given) is None
    assert torch.equal(own.decoder.head.weight, build_network(SMALL, 1, 2, 0).decoder.head.weight)
    other = with_decoder(SMALL.model_copy(update={"width": 8}))[0]
    before = {name: value.clone() for name, value in other.decoder.state_dict().items()}
    assert transfer_decoder(other, given).share < 1
    assert all(torch.equal(other.decoder.state_dict()[name], one) for name, one in before.items())


def test_a_damaged_decoder_is_refused():
    network, given = with_decoder(SMALL)
    given.decoder["ups.0.weight"].fill_(float("nan"))
    with pytest.raises(DataError, match=r"decoder hold values in ups.0.weight that are not"):
        transfer_decoder(network, given)


def test_a_flat_network_takes_the_decoder_too():
    settings = NETWORKS["vnet"].model_copy(update={"decoder": "skip", "spatial_dims": 2})
    assert build_network(settings, 1, 2, 0)(torch.zeros(2, 1, 16, 16, 1)).shape == (2, 2, 16, 16, 1)


def test_a_network_without_an_encoder_takes_no_other_decoder():
    with pytest.raises(ValueError, match="no encoder of its own: leave decoder=skip out"):
        NetworkSettings(name="monai_unet", decoder="skip")


class Placed(nn.Module):
    """As much of an encoder as a transfer looks at: places of `grid`, of one number each."""

    stems, embed_stride = (), 8

    def __init__(self, grid):
        super().__init__()
        self.table = nn.Parameter(torch.rand(1, prod(grid), 1))
        self.positions = "table", grid


@pytest.mark.parametrize(
    ("sides", "learnt", "grid", "wanted"),
    [
        ((16, 8, 8), [0, 1], (4, 1, 1), [0, 0.25, 0.75, 1]),
        ((32, 8, 8), [0, 1, 2, 3], (2, 1, 1), [0.5, 2.5]),
        ((16, 16), [0, 1, 2, 3], (1, 2), [1, 2]),
        ((16, 16), [0, 1, 2, 3], (2, 2), [0, 1, 2, 3]),
    ],
)
def test_learnt_places_are_resized_linearly_between_the_centres_of_cells(
    sides, learnt, grid, wanted
):
    encoder = Placed(grid)
    weights = {"table": torch.tensor(learnt, dtype=torch.float32)[None, :, None]}
    report = transfer(encoder, PretrainedEncoder(weights, sides=sides))
    assert encoder.table[0, :, 0].tolist() == wanted
    assert report.share == 1
    assert bool(report.adapted) == (len(learnt) != len(wanted))


def test_places_of_images_of_unknown_size_are_not_resized():
    weights = {"table": torch.rand(1, 2, 1)}
    with pytest.raises(DataError, match="in another shape, table"):
        transfer(Placed((4, 1, 1)), PretrainedEncoder(weights))
