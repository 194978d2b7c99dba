"""MONAI's classification networks encode slices, with maps of every size."""

import pytest
import torch
from safetensors.torch import save_file

from medssl.errors import UsageError
from medssl.networks.build import build_encoder, build_network
from medssl.networks.grader import build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.monai_features import MonaiFeatures
from medssl.networks.monai_slice_settings import MonaiSliceSettings
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.slice_settings import SliceEncoderSettings
from medssl.networks.transfer import PretrainedEncoder

DENSE = {
    "name": "monai:DenseNet121",
    "init_features": 4,
    "growth_rate": 4,
    "block_config": [1, 1],
    "norm": ["group", {"num_groups": 2}],
}
RESIDUAL = {
    "name": "monai:ResNet",
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [4, 4, 8, 8],
}
SQUEEZED = {
    "name": "monai:SENet",
    "block": "se_resnet_bottleneck",
    "layers": [1, 1, 1, 1],
    "groups": 1,
    "reduction": 4,
}
EFFICIENT = {"name": "monai:EfficientNetBN", "model_name": "efficientnet-b0"}
NETWORKS = {"dense": DENSE, "residual": RESIDUAL, "squeezed": SQUEEZED, "efficient": EFFICIENT}
EXPECTED = {
    "dense": ((4, 4, 8), (2, 4, 8)),
    "residual": ((4, 4, 4, 8, 8), (1, 2, 4, 8, 16)),
    "squeezed": ((128, 256, 512, 1024, 2048), (2, 4, 8, 16, 32)),
    "efficient": ((96, 144, 240, 672, 1280), (2, 4, 8, 16, 32)),
}
every_network = pytest.mark.parametrize("case", NETWORKS)


def image(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def encoder(case: str, channels: int = 1) -> SliceEncoder:
    torch.manual_seed(0)
    return SliceEncoder(MonaiSliceSettings(**NETWORKS[case]), channels).eval()


def unet(given, **more) -> NetworkSettings:
    return NetworkSettings(
        name="slice_unet",
        slice_encoder=given,
        slice_transformer={"width": 8, "layers": 1, "heads": 2, "points": 2, "hidden": 8},
        decoder_width=4,
        dropout=0.0,
        **more,
    )


@every_network
def test_maps_have_the_announced_widths_and_halve(case):
    found = encoder(case)
    assert (found.widths, found.strides) == EXPECTED[case]
    maps = found.maps(image(2, 1, 64, 96))
    expected = [
        (2, width, 64 // stride, 96 // stride)
        for width, stride in zip(found.widths, found.strides, strict=True)
    ]
    assert [tuple(one.shape) for one in maps] == expected


@every_network
def test_the_last_map_is_that_which_the_network_averages(case):
    found = encoder(case)
    torch.manual_seed(0)
    plain = MonaiFeatures(MonaiSliceSettings(**NETWORKS[case]), 1, None).eval()
    last = found.maps(image(1, 1, 64, 64))[-1]
    torch.testing.assert_close(last, plain.maps(image(1, 1, 64, 64)))


@every_network
def test_levels_hold_all_that_has_weights_once_and_the_stem_alone_depends_on_channels(case):
    found = build_encoder(unet(NETWORKS[case]), 1, seed=0)
    layers = found.layers()
    assert len(layers) == len(found.widths)
    held = [id(p) for level in layers for part in level for p in part.parameters()]
    assert sorted(held) == sorted(id(p) for p in found.parameters())
    wider = build_encoder(unet(NETWORKS[case]), 2, seed=0).state_dict()
    differing = [k for k, one in found.state_dict().items() if one.shape != wider[k].shape]
    assert differing == [found.stem]


@every_network
def test_a_level_depends_on_no_deeper_one(case):
    found = encoder(case)
    with torch.no_grad():
        before = found.maps(image(1, 1, 64, 64))
        for part in found.backbone.layers()[-1]:
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter))
        after = found.maps(image(1, 1, 64, 64))
    same = [torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert same == [True] * (len(same) - 1) + [False]


@pytest.mark.parametrize("more", [{}, {"neighbours": 1}])
def test_a_u_net_of_slices_learns_with_it_and_starts_from_it(more):
    given = build_encoder(unet(DENSE), 1, seed=5)
    start = PretrainedEncoder(given.state_dict())
    network = build_network(unet(DENSE, **more), 2, 3, seed=0, encoder=start)
    for name, value in network.encoder.named_parameters():
        taken = given.get_parameter(name)
        if name == given.stem:
            taken = taken.expand_as(value) / value.shape[1]
        torch.testing.assert_close(value, taken)
    logits = network(image(2, 2, 19, 16, 3))
    assert logits.shape == (2, 3, 19, 16, 3)
    logits.square().mean().backward()
    assert all(p.grad is not None for p in network.decoder.parameters())
    assert network.encoder.get_parameter(network.encoder.stem).grad.any()
    assert unet(DENSE).packages.keys() == {"monai"}


def test_a_grader_of_crops_takes_it_from_a_file(tmp_path):
    given = build_encoder(unet(DENSE), 1, seed=5)
    path = tmp_path / "weights.safetensors"
    save_file(given.state_dict(), path)
    settings = GraderSettings(name="slices", slice_encoder=DENSE, weights=str(path))
    grader = build_grader(settings, 2, 5, seed=0)
    assert grader.report.share == 1
    own, taken = grader.encoder.slices.state_dict(), given.slices.state_dict()
    assert all(torch.equal(own[key], one) for key, one in taken.items())
    assert not settings.over_batch
    assert GraderSettings(name="slices", slice_encoder=RESIDUAL).over_batch


def test_keys_of_another_kind_give_way_and_those_of_old_files_stay():
    plain = NetworkSettings(name="slice_unet")
    assert isinstance(plain.slice_encoder, SliceEncoderSettings)
    assert plain.packages == {}
    again = NetworkSettings.model_validate_json(unet(DENSE).model_dump_json())
    assert again == unet(DENSE)
    assert again.slice_encoder.arguments["growth_rate"] == 4


@pytest.mark.parametrize(
    "given",
    [
        {"name": "monai:Classifier", "channels": [4, 4], "strides": [2, 2]},
        {"name": "monai:ViT", "patch_size": 8},
    ],
)
def test_networks_without_maps_are_refused(given):
    with pytest.raises(UsageError, match="has no maps that masks could be made of"):
        build_network(unet(given), 1, 2, seed=0)


def test_a_wrong_argument_is_refused_at_once():
    with pytest.raises(ValueError, match="has no such argument"):
        unet({**DENSE, "growth_rat": 4})
