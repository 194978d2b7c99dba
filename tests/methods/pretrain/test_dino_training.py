"""Training by DINO through the loop: what learns, what rests, what resumes, what is given up."""

from math import log

import pytest
import torch

from medssl.errors import MedsslError


class Killed(Exception):
    pass


def copy(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_last_layer_rests_at_first(build, training):
    method = build(head={"outputs": 24, "hidden": 16, "bottleneck": 8, "freeze_steps": 3})
    moved, start = [], copy(method.student.head.prototypes)

    def look(step):
        now = method.student.head.prototypes.state_dict()
        moved.append(any(not torch.equal(now[name], start[name]) for name in start))

    training(method, on_step=look).run(steps=5)
    assert moved == [False, False, False, True, True]


def test_continual_training_leaves_frozen_weights_bit_for_bit(build, training):
    method = build(adapters=True, teacher={"momentum": 0.5})
    before = {"student": copy(method.student), "teacher": copy(method.teacher)}
    training(method).run()
    for part, old in before.items():
        new = method.get_submodule(part).state_dict()
        changed = {name for name in old if not torch.equal(old[name], new[name])}
        assert {
            name for name in changed if "head." not in name and ".adapter." not in name
        } == set()
        for number in range(4):
            assert f"encoder.backbone.blocks.{number}.adapter.up.weight" in changed
        assert "head.prototypes.direction" in changed


@pytest.mark.parametrize("adapters", [False, True])
def test_the_student_learns_to_answer_as_its_teacher(build, training, tiles, terms, adapters):
    """A teacher that rests and crops that hardly differ: the loss falls below that of a guess.

    Before and after are measured on the same crops, with the same teacher and centre.
    """
    settings = {
        "teacher": {"momentum": 1.0, "temperature": 0.02, "warmup_temperature": 0.02},
        "global_crops": {"side": 32, "scale": (0.95, 1.0)},
        "local_crops": {"count": 0},
        "colour": {"jitter": 0.0, "grey": 0.0, "flip": 0.0, "sigma": (0.01, 0.02)},
    }
    trained, untrained = (build(adapters=adapters, **settings) for _ in range(2))
    optimiser = {"name": "adamw", "learning_rate": 3e-3, "schedule": "constant"}
    training(trained).run(steps=80, optimiser=optimiser)
    untrained.centre.copy_(trained.centre)
    assert all(
        torch.equal(a, b)
        for a, b in zip(trained.teacher.parameters(), untrained.teacher.parameters(), strict=True)
    )
    before, after = (
        sum(terms(method.eval(), tiles(n), seed=n)["dino"].item() for n in range(4)) / 4
        for method in (untrained, trained)
    )
    assert after < 0.6 * before
    assert after < log(24) - 0.05


def test_a_killed_training_continues_to_the_same_bits(build, training):
    unbroken = training(build(adapters=True))
    unbroken.run(checkpoint_every=2)
    unbroken.state_file.unlink()

    def kill(step):
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        training(build(adapters=True), on_step=kill).run(checkpoint_every=2)
    continued = training(build(adapters=True))
    continued.run(checkpoint_every=2)
    assert list(continued.losses) == [5, 6]
    assert continued.losses[6] == unbroken.losses[6]
    old, new = unbroken.method.state_dict(), continued.method.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("answer", ["uniform", "one prototype"])
def test_training_that_has_collapsed_is_given_up(build, training, answer):
    """Features without a difference: the centre makes the answer uniform or leaves it peaked."""
    method = build(
        adapters=True,
        teacher={"momentum": 1.0, "centre_momentum": 0.0 if answer == "uniform" else 0.999},
        collapse={"patience": 3},
    )
    for network in (method.student, method.teacher):
        torch.nn.init.zeros_(network.encoder.backbone.norm.weight)
        torch.nn.init.ones_(network.encoder.backbone.norm.bias)
    run = training(method)
    with pytest.raises(MedsslError, match=r"collapsed at step 3: for 3 steps .* 0\.01 nats"):
        run.run()
    assert list(run.losses) == [1, 2]
    found = method.monitor()
    assert found["teacher_information"] == pytest.approx(0, abs=1e-6)
    assert found["feature_deviation"] == pytest.approx(0, abs=1e-6)
    if answer == "uniform":
        assert found["teacher_entropy"] == pytest.approx(log(24), abs=1e-4)
    else:
        assert found["teacher_entropy"] < log(24) - 0.1


def test_healthy_training_goes_on(build, training):
    method = build(adapters=True, collapse={"patience": 2})
    run = training(method)
    run.run(steps=12)
    assert len(run.losses) == 12
    found = method.monitor()
    assert found["teacher_information"] > 0.01
    assert found["feature_deviation"] > 0.01
    assert found["feature_rank"] > 2


def test_half_precision_keeps_crops_and_loss_whole(build, training):
    run = training(build(adapters=True))
    run.run(steps=2, precision="bfloat16")
    assert run.method._answers.target.dtype == torch.float32
    exact = training(build(adapters=True))
    exact.state_file.unlink()
    exact.run(steps=2)
    assert run.losses[1] == pytest.approx(exact.losses[1], rel=0.05)
