"""Defaults, presets and schedule of TraCoCo (sheet sections 7 and 11)."""

import pytest
from pydantic import ValidationError

from medssl.data.patches import OverlappingPatches, SinglePatch
from medssl.methods.segment.tracoco import unsupervised_weight
from medssl.methods.settings.cps import Settings as Cps
from medssl.methods.settings.tracoco import Settings
from medssl.networks.ensemble import Ensemble


@pytest.mark.parametrize(
    ("step", "weight", "labels", "expected"),
    [
        (1, 0.3, 8, 0.002151332),
        (80, 0.3, 8, 0.085951439),
        (160, 0.3, 8, 0.3),
        (9000, 0.3, 8, 0.3),
        (160, 1.0, 16, 0.286504797),
    ],
)
def test_ramp_up_of_the_unsupervised_weight(step, weight, labels, expected):
    """T = 40 x floor(labels / 2) steps."""
    found = unsupervised_weight(step, weight, rampup_steps=40 * (labels // 2))
    assert found == pytest.approx(expected, abs=5e-10)


def test_defaults_are_the_left_atrium_with_8_labels():
    """Quirk 6: 40 passes over 8 labelled cases in pairs are 160 steps."""
    found = Settings()
    assert (found.unsupervised.weight, found.unsupervised.rampup_steps) == (0.3, 40 * (8 // 2))
    assert (found.translation.weight, found.entropy.weight) == (0.3, 0.1)
    assert (found.pseudo.positive_threshold, found.pseudo.negative_threshold) == (0.65, 0.1)
    assert (found.noise.amplitude, found.noise.clip) == (0.2, None)
    assert (found.cutmix.networks, found.cutmix.axes, found.cutmix.alpha) == ((2,), "xy", 4)
    assert (found.translation.sampler, found.translation.repair) == ("released", "left_atrium")
    assert (found.cotraining, found.pseudo.train_mode) == (True, True)
    assert (found.translation.rows, found.translation.stop_gradient) == ("all", False)
    assert found.translation.min_overlap == 0


def test_the_method_as_described_and_as_released_differ_in_axis_and_clamp():
    ours, released = Settings.preset("tracoco"), Settings.preset("tracoco_released")
    assert (ours.translation.axis, ours.translation.logit_clamp) == ("class", None)
    assert (released.translation.axis, released.translation.logit_clamp) == ("x", (1e-6, 1.0))
    same = {"axis": "class", "logit_clamp": None}
    assert released.translation.model_copy(update=same) == ours.translation
    assert released.model_copy(update={"translation": ours.translation}) == ours == Settings()


def test_the_supervised_preset_learns_from_labels_alone(build, batches, terms):
    method = build("tracoco", **Settings.presets["supervised"])
    assert set(terms(method, batches())) == {"supervised_1", "supervised_2"}
    assert method.settings.unsupervised.weight == 0


def test_the_cps_preset_is_the_method_cps(build, batches, terms):
    method, cps = build("tracoco", **Settings.presets["cps"]), build("cps")
    assert Settings.preset("cps").model_dump() == Cps().model_dump()
    first, second = terms(method, batches()), terms(cps, batches())
    assert set(first) == {"supervised_1", "pseudo_1", "supervised_2", "pseudo_2"}
    assert {n: t.item() for n, t in first.items()} == {n: t.item() for n, t in second.items()}


def test_two_views_are_drawn_only_for_translation_consistency(build):
    patch = (8, 8, 8)
    assert build("tracoco").sampler(patch) == OverlappingPatches(patch)
    assert build("tracoco", translation={"enabled": False}).sampler(patch) == SinglePatch(patch)
    chosen = {"sampler": "first_release", "repair": "none", "min_overlap": 0.2}
    expected = OverlappingPatches(patch, "first_release", "none", 0.2)
    assert build("tracoco", translation=chosen).sampler(patch) == expected


def test_the_two_networks_have_seeds_of_their_own(build):
    def heads(**more):
        return [network.head.weight.detach().flatten().tolist() for network in build(**more).pair]

    chosen = heads(name="tracoco", seeds=(5, 9), seed=0)
    assert chosen == heads(name="tracoco", seeds=(5, 9), seed=1)
    assert heads(name="tracoco", seeds=(9, 5)) == chosen[::-1]
    four = [*heads(name="tracoco", seed=0), *heads(name="tracoco", seed=1)]
    assert len({tuple(head) for head in four}) == 4


def test_equal_seeds_are_refused():
    with pytest.raises(ValidationError, match="different seeds"):
        Settings(seeds=(3, 3))


def test_both_networks_answer_and_are_clipped_apart(build):
    method = build("tracoco")
    predictor = method.predictor()
    assert isinstance(predictor, Ensemble)
    assert list(predictor.members) == list(method.networks()) == list(method.pair)
