"""The Siamese grader of Semixup (sheet, section 7), its variants, and the cumulative head."""

from math import log

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from medssl.errors import DataError
from medssl.methods.method import GradeTask
from medssl.methods.registry import implementation, settings_class
from medssl.networks.grader import CumulativeHead, build_grader
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.resnet import ResNet18
from medssl.transforms.radiograph_chain import RadiographAugment

SMALL = GraderSettings(width=2, init="he", dropout=0.0)
VARIANTS = [
    {"pooling": "horizontal_vertical"},
    {"pooling": "vertical_horizontal"},
    {"pooling": "average"},
    {"head": "cumulative"},
]


def images(count: int = 3, views: int = 2, side: int = 24) -> torch.Tensor:
    return torch.randn(count, views, side, side, generator=torch.Generator().manual_seed(0))


def small(views: int = 2, seed: int = 0, **more):
    return build_grader(SMALL.model_copy(update=more), views, 5, seed)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_check_10_the_published_size_and_shape():
    network = build_grader(GraderSettings(), 2, 5, 0)
    assert parameters(network) == 1_248_032
    assert parameters(network.encoder) == 1_245_472
    assert network(images(2, side=32)).shape == (2, 5)
    assert [m.p for m in network.modules() if isinstance(m, nn.Dropout)] == [0.35] * 4
    assert all(m.bias is None for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))
    assert not any(m.affine for m in network.modules() if isinstance(m, nn.InstanceNorm2d))


def test_check_10_the_maps_of_128_pixels():
    network = build_grader(GraderSettings(width=1), 2, 5, 0)
    shapes = []
    for stage in network.encoder.stages:
        stage.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    network.encoder.between.register_forward_hook(
        lambda _, __, out: shapes.append(tuple(out.shape[1:]))
    )
    network(images(1, side=128))
    kept = [
        shape for shape, after in zip(shapes, [*shapes[1:], None], strict=True) if shape != after
    ]
    assert kept == [(1, 128, 128), (2, 64, 64), (4, 32, 32), (8, 16, 16), (8, 16, 1)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_check_10_the_sides_of_the_joint_are_told_apart(variant):
    network, image = small(**variant).eval(), images()
    assert not torch.allclose(network(image), network(image.flip(1)), atol=1e-6)
    weight = network.head.score.weight if "head" in variant else network.head.weight
    half = weight.shape[1] // 2
    with torch.no_grad():
        weight[:, half:] = weight[:, :half]
    torch.testing.assert_close(network(image), network(image.flip(1)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_check_10_without_dropout_training_and_evaluation_agree(variant):
    network, image = small(**variant), images()
    torch.testing.assert_close(network.train()(image), network.eval()(image))


def test_check_10_with_dropout_they_do_not():
    network, image = build_grader(SMALL.model_copy(update={"dropout": 0.35}), 2, 5, 0), images()
    assert not torch.allclose(network.train()(image), network.eval()(image), atol=1e-4)
    assert torch.equal(network(image), network(image))


@pytest.mark.parametrize("variant", [*VARIANTS, {"name": "resnet", "width": 32, "init": "normal"}])
def test_check_10_an_image_s_logits_do_not_depend_on_the_others(variant):
    network, image = small(**variant).train(), images(3, side=40)
    others = torch.cat([image[:1], 5 * images(2, side=40)[1:] + 1])
    torch.testing.assert_close(network(image)[0], network(others)[0])
    assert not torch.allclose(network(image)[1], network(others)[1], atol=1e-4)


def test_the_same_encoder_reads_every_crop():
    network, image = small().eval(), images(2)
    features = network.features(image)
    assert features.shape == (2, network.width) == (2, 32)
    torch.testing.assert_close(features[:, :16], network.encoder(image[:, :1]))
    torch.testing.assert_close(features[:, 16:], network.encoder(image[:, 1:]))
    torch.testing.assert_close(network(image), network.head(features))


@pytest.mark.parametrize("views", [1, 3])
def test_any_number_of_crops(views):
    assert small(views=views)(images(2, views)).shape == (2, 5)


@pytest.mark.parametrize(
    ("pooling", "shape"), [("horizontal_vertical", (3, 1)), ("vertical_horizontal", (1, 4))]
)
def test_the_axis_that_is_pooled_first(pooling, shape):
    encoder = small(pooling=pooling).encoder
    seen = []
    encoder.between.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    maps = torch.randn(2, 16, 3, 4)
    encoder.pool(maps)
    assert seen[0].shape[2:] == shape
    torch.testing.assert_close(seen[0], maps.amax(3 if shape == (3, 1) else 2, keepdim=True))


def test_average_pooling_is_the_mean_and_has_no_further_layer():
    network = small(pooling="average")
    maps = torch.randn(2, 16, 3, 4)
    torch.testing.assert_close(network.encoder.pool(maps), maps.mean((2, 3)))
    assert parameters(small()) - parameters(network) == 16 * 16


def test_published_weights_are_normal_with_deviation_0_02():
    network = build_grader(GraderSettings(), 2, 5, 0)
    for parameter in network.parameters():
        assert parameter.std().item() == pytest.approx(0.02, rel=0.1)
        assert parameter.mean().item() == pytest.approx(0, abs=0.004)


def test_he_weights_keep_the_variance_of_leaky_relus_and_the_head_is_small():
    network = build_grader(GraderSettings(init="he"), 2, 5, 0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            expected = (2 / (1.04 * fan_in)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.12)
    assert network.head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_the_seed_decides_the_weights_and_the_global_generator_stays():
    before = torch.random.get_rng_state()
    one, same, other = (small(seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not any(torch.equal(one[key], other[key]) for key in one)


def test_the_cumulative_head_begins_uniform_and_adds_up():
    head = CumulativeHead(3, 5)
    features = torch.randn(40, 3) * 8
    with torch.no_grad():
        head.score.weight.fill_(1.0)
    torch.testing.assert_close(head(torch.zeros(1, 3)).exp(), torch.full((1, 5), 0.2))
    found = head(features)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.exp().sum(1), torch.ones(40))


def test_the_cumulative_head_by_hand():
    """P(grade <= k) = sigmoid(t_k - score), thresholds of uniform grades."""
    head = CumulativeHead(1, 3)
    with torch.no_grad():
        head.score.weight.fill_(1.0)
    torch.testing.assert_close(head.thresholds(), torch.tensor([log(1 / 2), log(2)]))
    below = torch.sigmoid(head.thresholds() - 0.7)
    expected = torch.stack([below[0], below[1] - below[0], 1 - below[1]])
    torch.testing.assert_close(head(torch.tensor([[0.7]]))[0].exp(), expected)


def test_a_higher_score_never_lowers_the_expected_grade():
    head = CumulativeHead(1, 5)
    with torch.no_grad():
        head.score.weight.fill_(1.0)
        head.gaps.copy_(torch.tensor([-3.0, 2.0, 0.5]))
    answers = head(torch.linspace(-40, 40, 101)[:, None]).exp()
    expected = answers @ torch.arange(5.0)
    assert (expected.diff() >= -1e-6).all()
    assert answers[0].argmax() == 0
    assert answers[-1].argmax() == 4


def test_a_score_far_out_still_has_gradients():
    """Where sigmoid(a) - sigmoid(b) would be 0 in single precision."""
    head = CumulativeHead(1, 5)
    with torch.no_grad():
        head.score.weight.fill_(1.0)
    loss = -head(torch.tensor([[60.0]]))[0, 2]
    loss.backward()
    assert loss.item() == pytest.approx(60, abs=3)
    assert head.score.weight.grad.item() == pytest.approx(60, rel=0.05)


def test_two_grades_suffice():
    found = CumulativeHead(2, 2)(torch.randn(3, 2))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3))


def test_a_pre_trained_encoder_is_read_from_its_file(tmp_path):
    donor = ResNet18()
    save_file(donor.state_dict(), tmp_path / "resnet.safetensors")
    settings = GraderSettings(name="resnet", weights=str(tmp_path / "resnet.safetensors"))
    network = build_grader(settings, 2, 5, 0)
    assert network.report.share == 1
    own = network.encoder.backbone.state_dict()
    assert all(torch.equal(own[key], value) for key, value in donor.state_dict().items())
    image = images(2, side=40)
    colour = image[:, :1].expand(-1, 3, -1, -1)
    torch.testing.assert_close(network.eval().features(image)[:, :512], donor.eval()(colour))


def test_the_siamese_encoder_s_own_weights_are_read(tmp_path):
    donor = small(seed=9).encoder
    save_file(donor.state_dict(), tmp_path / "encoder.safetensors")
    network = small(weights=str(tmp_path / "encoder.safetensors"))
    assert all(
        torch.equal(network.encoder.state_dict()[k], v) for k, v in donor.state_dict().items()
    )
    with pytest.raises(DataError, match=r"0\.0% of the encoder's parameters"):
        build_grader(
            GraderSettings(name="resnet", weights=str(tmp_path / "encoder.safetensors")), 2, 5, 0
        )
    partly = GraderSettings(
        name="resnet", weights=str(tmp_path / "encoder.safetensors"), matched=0.0
    )
    with pytest.raises(DataError, match="lack, or have in another shape, conv1"):
        build_grader(partly, 2, 5, 0)


def test_settings_of_the_other_network_are_refused():
    with pytest.raises(ValidationError, match="pooling is of the siamese network"):
        GraderSettings(name="resnet", pooling="average")


def grader_of(side: int, network: GraderSettings):
    settings = settings_class("supervised_grading")()
    task = GradeTask(("lateral",), ("KL0", "KL1"), side, network, RadiographAugment.of("semixup"))
    return implementation(settings)(settings, task, 0)


@pytest.mark.parametrize(("name", "least"), [("siamese", 17), ("resnet", 33)])
def test_the_smallest_crops_still_differ(name, least):
    settings = GraderSettings(name=name)
    assert settings.smallest_side == least
    answers = grader_of(least, settings).eval().network(images(2, 1, least))
    assert not torch.equal(answers[0], answers[1])


def test_two_rows_tell_nothing_once_normalised():
    """Why 16 pixels are too few: two values less their mean, by their deviation, are 1 and -1."""
    found = small().eval().encoder(images(4, 1, 16))
    torch.testing.assert_close(found, torch.ones_like(found), atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("keys", "over_batch"),
    [
        ({"name": "siamese"}, False),
        ({"name": "resnet"}, False),
        ({"name": "slices", "slice_encoder": {"name": "conv", "norm": "batch"}}, True),
        ({"name": "slices", "slice_encoder": {"name": "conv", "norm": "group"}}, False),
    ],
)
def test_a_network_that_normalises_over_the_batch_says_so(keys, over_batch):
    settings = GraderSettings(**keys)
    modules = list(build_grader(settings, 2, 3, 0).modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in modules) == over_batch
    assert settings.over_batch == over_batch
