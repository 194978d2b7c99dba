import torch
from torch import nn

from medssl.data.patches import SinglePatch
from medssl.methods.segment.losses import supervised_loss
from medssl.methods.settings.supervised import Settings
from medssl.networks.ensemble import Ensemble


def test_it_learns_from_labelled_cases_alone(build, batches, terms):
    method = build("supervised")
    given = {"labelled": batches(starts=[[0, 0, 0]])["labelled"]}
    assert method.streams == ("labelled",)
    expected = supervised_loss(
        method.members[0](given["labelled"].image[:, 0]), given["labelled"].truth
    )
    found = terms(method, given)
    assert set(found) == {"supervised_1"}
    torch.testing.assert_close(found["supervised_1"], expected)


def test_members_train_apart_on_the_same_batches(build, batches, terms):
    method, given = build("supervised", members=3), batches()
    assert method.parts == len(list(method.networks())) == 3
    found = terms(method, given, parts=[1])
    assert set(found) == {"supervised_2"}
    found["supervised_2"].backward()
    touched = [all(p.grad is not None for p in m.parameters()) for m in method.members]
    assert touched == [False, True, False]
    assert len({tuple(m.head.weight.flatten().tolist()) for m in method.members}) == 3


def test_members_start_like_the_networks_of_tracoco(build):
    """So that arms of a study compare."""
    members, pair = build("supervised", members=2, seed=3).members, build("tracoco", seed=3).pair
    for member, network in zip(members, pair, strict=True):
        for first, second in zip(member.parameters(), network.parameters(), strict=True):
            assert torch.equal(first, second)


def test_noise_is_uniform_and_only_where_asked_for(build, batches, terms):
    met = []

    class Watching(nn.Conv3d):
        def forward(self, image):
            met.append(image)
            return super().forward(image)

    for noise in (0.0, 0.2):
        method = build("supervised", noise=noise)
        method.members = nn.ModuleList([Watching(1, 2, 1)]).double()
        terms(method, batches())
    clean = batches()["labelled"].image[:, 0]
    assert torch.equal(met[0], clean)
    assert 0.19 < (met[1] - clean).abs().max().item() <= 0.2


def test_one_patch_is_drawn(build):
    assert build("supervised").sampler((4, 4, 4)) == SinglePatch((4, 4, 4))


def test_members_answer_together(build):
    method = build("supervised", members=2)
    predictor = method.predictor()
    assert isinstance(predictor, Ensemble)
    assert list(predictor.members) == list(method.members)
    assert Settings().members == 1
