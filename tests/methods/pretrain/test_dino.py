"""DINO against its paper, its released code's formulas and Snuffy's numbers."""

from math import log

import pytest
import torch
from pydantic import ValidationError

from medssl.methods.method import Progress
from medssl.methods.pretrain.dino import (
    dino_loss,
    draw_plan,
    teacher_momentum,
    teacher_temperature,
)
from medssl.methods.settings.dino import Settings, Teacher
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.tile_settings import TileEncoderSettings


def copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_loss_of_a_hand_example():
    """Two global crops and one local, two prototypes: four pairs, a crop never with itself."""
    student = torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]], [[0.9, 0.1]]], dtype=torch.float64)
    target = torch.tensor([[[1.0, 0.0]], [[0.2, 0.8]]], dtype=torch.float64)
    pairs = [
        -log(0.25),
        -log(0.9),
        -log(0.5),
        -(0.2 * log(0.9) + 0.8 * log(0.1)),
    ]
    found = dino_loss(student.log(), target).item()
    assert found == pytest.approx(sum(pairs) / 4, abs=1e-12)
    assert found == pytest.approx(1.0119855, abs=1e-6)


def test_the_loss_is_the_mean_over_tiles():
    g = torch.Generator().manual_seed(0)
    student = torch.randn(5, 3, 4, generator=g, dtype=torch.float64).log_softmax(2)
    target = torch.randn(2, 3, 4, generator=g, dtype=torch.float64).softmax(2)
    each = [dino_loss(student[:, [b]], target[:, [b]]) for b in range(3)]
    torch.testing.assert_close(dino_loss(student, target), torch.stack(each).mean())


def test_a_step_is_the_released_formula(build, tiles, terms):
    """Pair by pair, with a centre and both temperatures."""
    method = build(drop_path=0.0, teacher={"temperature": 0.05, "warmup_temperature": 0.05})
    torch.nn.init.normal_(method.centre, std=0.1, generator=torch.Generator().manual_seed(3))
    given = tiles()
    found = terms(method, given)["dino"]
    crops = method._draw(given["tiles"].image, torch.Generator().manual_seed(0))
    losses = []
    for t in range(2):
        score = method.teacher.head(method.teacher.encoder.embed(crops[t]))
        target = ((score - method.centre) / 0.05).softmax(1)
        for v, crop in enumerate(crops):
            if v != t:
                answer = method.student.head(method.student.encoder.embed(crop)) / 0.1
                losses.append(-(target * answer.log_softmax(1)).sum(1).mean())
    assert len(losses) == 6
    torch.testing.assert_close(found, torch.stack(losses).mean())


@pytest.mark.parametrize("start", [0.996, 0.9995])
def test_the_teachers_momentum_climbs_along_a_cosine_to_one(start):
    found = [teacher_momentum(start, Progress(step, 100)) for step in (1, 51, 100, 101)]
    rest = 1 - start  # (1 + cos(pi 99 / 100)) / 2 = 0.000246720
    expected = [start, 1 - rest / 2, 1 - rest * 0.000246720, 1]
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_teachers_temperature_is_constant_or_warms_up_linearly():
    assert teacher_temperature(Teacher(), 1) == teacher_temperature(Teacher(), 9) == 0.04
    warm = Teacher(warmup_temperature=0.04, temperature=0.07, warmup_steps=30)
    found = [teacher_temperature(warm, step) for step in (1, 11, 31, 100)]
    assert found == pytest.approx([0.04, 0.05, 0.07, 0.07])


def test_the_centre_is_the_running_mean_of_the_scores(build, tiles, terms):
    method = build()
    expected = torch.zeros(24)
    for number in range(3):
        terms(method, tiles(number))
        assert torch.equal(method.centre, expected) or number
        expected = 0.9 * expected + 0.1 * method._answers.scores.mean(0)
        method.after_step(Progress(1, 100))
        torch.testing.assert_close(method.centre, expected)
    assert expected.abs().max() > 0.01


def test_centring_takes_what_all_answers_share(build, tiles, terms):
    method = build()
    terms(method, tiles())
    before = method._answers
    method.centre += 0.7
    terms(method, tiles())
    torch.testing.assert_close(method._answers.target, before.target)  # equal for all prototypes
    method.centre[3] += 0.5
    terms(method, tiles())
    assert (method._answers.target[:, 3] < before.target[:, 3]).all()


@pytest.mark.parametrize("adapters", [False, True])
def test_gradients_reach_all_that_is_trained_and_never_the_teacher(build, tiles, terms, adapters):
    method = build(adapters=adapters)
    for name, parameter in method.student.named_parameters():
        if ".adapter.up." in name:  # 0 at first, which stops the gradient of what is before it
            torch.nn.init.normal_(parameter, std=0.1)
    terms(method, tiles())["dino"].backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained)
    assert all(p.grad.abs().max() > 0 for p in trained)
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    held = [id(p) for n in method.networks() for p in n.parameters() if p.requires_grad]
    assert sorted(held) == sorted(id(p) for p in trained)


def test_the_teacher_follows_what_is_trained(build, tiles, terms):
    method = build(teacher={"momentum": 0.75})
    old, new = copy(method.teacher), copy(method.student)
    with torch.no_grad():
        for parameter in method.student.parameters():
            parameter.add_(1)
    terms(method, tiles())
    method.after_step(Progress(1, 100))
    for name, value in method.teacher.state_dict().items():
        torch.testing.assert_close(value, 0.75 * old[name] + 0.25 * (new[name] + 1))


def test_student_and_teacher_begin_alike_and_the_seed_decides(build):
    first, same, other = (build(seed=seed) for seed in (0, 0, 1))
    student, teacher = copy(first.student), copy(first.teacher)
    assert all(torch.equal(student[name], teacher[name]) for name in student)
    assert all(torch.equal(value, student[n]) for n, value in same.student.state_dict().items())
    assert any(
        not torch.equal(value, student[n]) for n, value in other.student.state_dict().items()
    )


def test_the_teacher_sees_the_global_crops_alone(build, tiles, terms):
    method, seen = build(), {"student": [], "teacher": []}
    for name, shapes in seen.items():
        method.get_submodule(name).encoder.backbone.register_forward_pre_hook(
            lambda _, given, shapes=shapes: shapes.append(tuple(given[0].shape))
        )
    terms(method, tiles())
    assert seen == {
        "teacher": [(12, 3, 32, 32)],
        "student": [(12, 3, 32, 32), (12, 3, 16, 16)],
    }


def test_the_plan_of_crops_is_dinos():
    first, second, *local = draw_plan(Settings())
    assert len(local) == 8
    assert (first.side, first.scale, first.blur, first.solarise) == (224, (0.4, 1.0), 1.0, 0.0)
    assert (second.side, second.scale, second.blur, second.solarise) == (224, (0.4, 1.0), 0.1, 0.2)
    for view in local:
        assert (view.side, view.scale, view.blur, view.solarise) == (96, (0.05, 0.4), 0.5, 0.0)
    for view in (first, second, *local):
        assert (view.flip, view.jitter, view.grey) == (0.5, 0.8, 0.2)
        assert view.strengths == (0.4, 0.4, 0.2, 0.1)
        assert view.sigma == (0.1, 2.0)


def test_without_local_crops_the_global_ones_teach_each_other(build, tiles, terms):
    method = build(local_crops={"count": 0})
    assert terms(method, tiles())["dino"].isfinite()


def test_the_teacher_answers_without_dropout_and_stochastic_depth(build):
    method = build(adapters=True, drop_path=0.3)
    method.eval()
    method.train()
    assert method.student.training
    assert not any(module.training for module in method.teacher.modules())
    rates = [block.drop_path.rate for block in method.student.encoder.backbone.layers]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    assert all(block.drop_path.rate == 0 for block in method.encoder().backbone.layers)


def test_all_randomness_comes_from_what_is_handed_in(build, tiles, terms):
    method = build(adapters=True)
    given = tiles()
    before = given["tiles"].image.clone()
    first, same, other = (terms(method, given, seed)["dino"].item() for seed in (0, 0, 1))
    assert first == same != other
    assert torch.equal(given["tiles"].image, before)


def test_only_collapsed_steps_in_a_row_count(build, tiles, terms):
    method = build(collapse={"patience": 3})
    terms(method, tiles())
    healthy = method._answers.target
    uniform = torch.full_like(healthy, 1 / 24)
    for target in (uniform, uniform, healthy, uniform, uniform):
        method._answers = method._answers._replace(target=target)
        method.after_step(Progress(1, 10))
    assert method.collapsed == 2


def test_a_batch_of_one_tile_is_not_judged(build, tiles, terms):
    method = build(collapse={"patience": 1, "information": 100.0})
    given = tiles()
    given["tiles"].image = given["tiles"].image[:1]
    terms(method, given)
    method.after_step(Progress(1, 10))
    assert method.collapsed == 0


def test_the_monitor_stays_out_of_the_loss(build, tiles, terms):
    method = build()
    assert method.monitor() == {}
    assert set(terms(method, tiles())) == {"dino"}
    assert set(method.monitor()) == {
        "teacher_entropy", "teacher_information", "feature_deviation", "feature_rank",
    }  # fmt: skip


def test_what_is_handed_on_is_the_teachers_encoder(build, tmp_path):
    method = build(adapters=True)
    assert method.predictor() is method.encoder() is method.teacher.encoder
    torch.nn.init.normal_(method.teacher.encoder.backbone.layers[0].adapter.up.weight)
    torch.save(method.encoder().state_dict(), tmp_path / "encoder.pth")
    settings = TileEncoderSettings(
        side=32, adapters={"bottleneck": 4}, weights=str(tmp_path / "encoder.pth"), matched=1.0
    )
    again, image = build_tile_encoder(settings, seed=9).eval(), torch.rand(2, 3, 40, 40)
    assert torch.equal(again(image), method.encoder()(image))
    assert again(image).shape == (2, 128)


def test_the_resnet_learns_too(build, tiles, terms):
    method = build(
        name="resnet18_instance", local_crops={"side": 33, "count": 1}, global_crops={"side": 48}
    )
    terms(method, tiles())["dino"].backward()
    assert method.student.encoder.backbone.conv1.weight.grad.abs().max() > 0


def test_defaults_are_snuffys_continual_training():
    """Sheet of Snuffy, section 7, DINO adapter."""
    found = Settings()
    assert found.head.outputs == 65_536
    assert (found.teacher.momentum, found.teacher.temperature) == (0.9995, 0.04)
    assert (found.teacher.warmup_temperature, found.teacher.centre_momentum) == (0.04, 0.9)
    assert (found.student_temperature, found.drop_path) == (0.1, 0.1)
    assert (found.head.freeze_steps, found.head.fixed_gain) == (0, False)
    assert Settings.preset("continual") == found
    scratch = Settings.preset("scratch")
    assert (scratch.teacher.momentum, scratch.head.fixed_gain) == (0.996, True)
    assert scratch.head.freeze_steps > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"global_crops": {"scale": (0.9, 0.4)}},
        {"local_crops": {"scale": (0.0, 0.4)}},
        {"global_crops": {"blur": (1.5, 0.1)}},
        {"colour": {"sigma": (0.0, 2.0)}},
        {"colour": {"hue": 0.6}},
        {"teacher": {"centre_momentum": 1.0}},
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)
