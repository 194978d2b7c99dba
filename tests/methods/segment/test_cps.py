"""Cross pseudo supervision (Chen et al., CVPR 2021)."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from medssl.data.patches import SinglePatch
from medssl.methods.registry import settings_class
from medssl.methods.segment.losses import supervised_loss

WHOLE = {"noise": {"amplitude": 0}, "unsupervised": {"weight": 0.5, "rampup_steps": 1}}


@pytest.mark.parametrize("part", [0, 1])
def test_each_network_learns_the_others_hard_labels(build, batches, terms, part):
    method, given = build("cps", **WHOLE), batches(starts=[[0, 0, 0]])
    images = {name: batch.image[:, 0] for name, batch in given.items()}
    network, other = method.pair[part], method.pair[1 - part]
    with torch.no_grad():
        chosen = other(images["unlabelled"]).argmax(1)
    pseudo = 0.5 * cross_entropy(network(images["unlabelled"]), chosen)
    truth = supervised_loss(network(images["labelled"]), given["labelled"].truth)
    found = terms(method, given, parts=[part])
    assert set(found) == {f"supervised_{part + 1}", f"pseudo_{part + 1}"}
    torch.testing.assert_close(found[f"pseudo_{part + 1}"], pseudo)
    torch.testing.assert_close(found[f"supervised_{part + 1}"], truth)


def test_one_view_without_mixing_is_enough(build):
    method = build("cps")
    assert method.sampler((4, 4, 4)) == SinglePatch((4, 4, 4))
    assert method.settings.cutmix.networks == ()


def test_it_is_cited_under_its_own_name():
    settings = settings_class("cps")
    assert settings.paper != settings_class("tracoco").paper
    assert settings.presets == {}
