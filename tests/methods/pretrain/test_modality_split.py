"""The split beyond the paper against the sheet of modality-invariant learning, section 12."""

from math import log

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss, normalize

from medssl.methods.method import Progress
from medssl.methods.pretrain.modality_invariant import pool
from medssl.methods.pretrain.modality_split import SplitHeads, covariance_penalty, dense_loss
from medssl.methods.settings.modality_invariant import Ramp, SplitParts
from medssl.networks.channel_groups import invariant_channels, invariant_group, specific_group
from tests.methods.pretrain.scans import STILL, both, build, pair_batch, scan_batch, terms

NAME = "modality_invariant"
ALIGNED = {"affine": {"rotation": 0, "scale": 0, "shear": 0}}
ALWAYS = {"alpha": Ramp(start=1, end=1, begin=0, stop=0)}
OFF = {"modality": 0, "covariance": 0}
ALL = {"enabled": True, "cross": 0.5, "reversal": 0.1, "dense": 1.0, "specific": 4}


def split(**parts):
    return build(NAME, split={"enabled": True, "specific": 4, **parts}, **ALIGNED, **STILL)


def seen(method, batch):
    """Features, z_inv and z_spec of a stack: all a, then all b."""
    features = method.encoder()(batch.windows().transpose(0, 1).flatten(0, 1))
    return features, method.embedder.project(features), method.heads.specific(pool(features))


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ({}, {"modality", "covariance"}),
        (OFF, set()),
        ({**OFF, "cross": 0.5}, {"cross"}),
        ({**OFF, "reversal": 0.1}, {"reversal"}),
        ({**OFF, "dense": 1.0}, {"dense"}),
        (ALL, {"modality", "covariance", "cross", "reversal", "dense"}),
    ],
)
def test_each_part_has_its_own_switch(parts, more):
    plain = {"contrast", "masked_pairs", "masked_scans"}
    assert set(terms(split(**parts), both())) == plain | more


def test_it_is_off_by_default_and_has_the_sheets_weights():
    assert build(NAME).heads is None
    assert set(terms(build(NAME), both())) == {"contrast", "masked_pairs", "masked_scans"}
    assert SplitParts() == SplitParts(
        enabled=False, specific=64, modality=0.5, covariance=0.05, cross=0, reversal=0, dense=0
    )


def test_without_weights_the_other_terms_are_those_of_no_split():
    """The split adds heads and changes nothing of what there was."""
    plain, parted = terms(build(NAME, **ALIGNED, **STILL), both()), terms(split(**OFF), both())
    assert all(torch.equal(plain[name], parted[name]) for name in plain)


@pytest.mark.parametrize("part", ["modality", "covariance", "cross", "reversal", "dense"])
def test_a_weight_scales_its_term(part):
    one, twice = (terms(split(**{**OFF, part: weight}), both())[part] for weight in (0.3, 0.6))
    torch.testing.assert_close(twice, 2 * one)
    assert one > 0


def test_the_specific_part_learns_to_tell_contrasts():
    method, batch = split(), pair_batch(contrast=[[0, 1], [1, 0], [0, -1], [-1, -1]])
    found = terms(method, {"pairs": batch})["modality"]
    with torch.no_grad():
        logits = method.heads.modality(seen(method, batch)[2])
    truth = torch.tensor([0, 1, 0, -1, 1, 0, -1, -1])
    torch.testing.assert_close(found, 0.5 * cross_entropy(logits[truth >= 0], truth[truth >= 0]))


def test_unknown_contrasts_alone_cost_nothing():
    method = split(reversal=0.5)
    found = terms(method, {"pairs": pair_batch(contrast=[[-1, -1]] * 4)})
    assert found["modality"].item() == found["reversal"].item() == 0
    sum(found.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_the_covariance_of_hand_examples():
    """One column equal to another of three: 1 of 3 squares is 1. Uncorrelated columns: 0."""
    one = torch.tensor([[1.0], [1.0], [-1.0], [-1.0]])
    other = torch.tensor([[2.0, 1.0, 1.0], [2.0, -1.0, -1.0], [0.0, -1.0, 1.0], [0.0, 1.0, -1.0]])
    assert covariance_penalty(one, other).item() == pytest.approx(1 / 3)
    assert covariance_penalty(one, other[:, 1:]).item() == pytest.approx(0)
    assert covariance_penalty(3 * one + 7, other).item() == pytest.approx(1 / 3)  # standardised
    half = torch.tensor([[1.0], [1.0], [-1.0], [1.0]])  # correlation 1 / sqrt(3)
    assert covariance_penalty(one, half).item() == pytest.approx(1 / 3)


def test_the_covariance_of_features_without_spread_is_0_and_teaches_nothing_wrong():
    features = torch.ones(4, 3, requires_grad=True)
    found = covariance_penalty(features, torch.randn(4, 2))
    found.backward()
    assert found.item() == 0
    assert features.grad.isfinite().all()


def test_the_covariance_is_of_the_projected_and_the_specific_part():
    method, batch = split(), pair_batch()
    found = terms(method, {"pairs": batch})["covariance"]
    with torch.no_grad():
        _, invariant, specific = seen(method, batch)
    torch.testing.assert_close(found, 0.05 * covariance_penalty(invariant, specific))


def test_channels_are_parted_two_to_one():
    assert [invariant_channels(width) for width in (2, 3, 16, 48, 96, 384)] == [
        1,
        2,
        11,
        32,
        64,
        256,
    ]
    features = torch.randn(2, 48, 2, 2, 2)
    assert torch.equal(
        torch.cat([invariant_group(features), specific_group(features)], 1), features
    )


def test_the_heads_share_no_layer():
    """z_inv and z_spec come out of last linear layers of their own."""
    method = split(**{key: ALL[key] for key in ("cross", "reversal", "dense")})
    invariant = {id(p) for p in method.embedder.projector.parameters()}
    assert not invariant & {id(p) for p in method.heads.parameters()}
    assert method.heads.specific.out_features == 4
    assert method.embedder.projector[-1].out_features == 8


def test_the_reversed_head_learns_and_the_encoder_unlearns():
    """The head's own gradient is that of the cross-entropy; what is before it gets the opposite."""
    heads = SplitHeads(SplitParts(reversal=1.0), (3, 3, 6), 2)
    features = [torch.randn(4, 3, 2, 2, 2, requires_grad=True) for _ in range(2)]
    contrast = torch.tensor([0, 1, 0, 1])
    heads.hidden([*features, torch.zeros(4, 6, 1, 1, 1)], contrast).backward()
    turned = [level.grad.clone() for level in features]
    own = heads.reversal.weight.grad.clone()
    for level in features:
        level.grad = None
    heads.reversal.weight.grad = None
    pooled = torch.cat([level[:, :2].mean((2, 3, 4)) for level in features], 1)
    cross_entropy(heads.reversal(pooled), contrast).backward()
    torch.testing.assert_close(own, heads.reversal.weight.grad)
    for level, gradient in zip(features, turned, strict=True):
        torch.testing.assert_close(gradient, -level.grad)
        assert gradient[:, 2:].abs().max() == 0  # the specific channels are left alone


def test_a_head_that_guesses_costs_log_2():
    heads = SplitHeads(SplitParts(), (3, 6), 2)
    nn.init.zeros_(heads.modality.weight)
    nn.init.zeros_(heads.modality.bias)
    found = heads.told(torch.randn(4, 64), torch.tensor([0, 1, 1, 0]))
    assert found.item() == pytest.approx(log(2))


def test_the_loss_per_location_is_the_contrastive_loss_of_its_voxels():
    """All eight voxels of both levels but the coarsest; negatives are other patients' voxels."""
    generator = torch.Generator().manual_seed(0)
    query, key = (
        [torch.randn(3, 3, 2, 2, 2, generator=generator) for _ in range(3)] for _ in range(2)
    )
    patient = torch.tensor([1, 2, 2])
    found = dense_loss(query, key, patient, 8, 0.2, torch.Generator().manual_seed(1))
    levels = []
    for one, other in zip(query[:2], key[:2], strict=True):
        rows = []
        for item in range(3):
            for x, y, z in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
                at = normalize(one[item, :2, x, y, z], dim=0)
                own = normalize(other[item, :2, x, y, z], dim=0)
                rest = normalize(other[patient != patient[item], :2].transpose(1, 4).reshape(-1, 2))
                scores = torch.cat([own[None], rest]) @ at / 0.2
                rows.append(-scores.log_softmax(0)[0])
        levels.append(torch.stack(rows).mean())
    torch.testing.assert_close(found, torch.stack(levels).mean())


def test_locations_are_drawn_without_repeats_and_alike_in_all_scans():
    """Of two patients: one is its places, the other their opposites, so that alike means equal."""
    place = normalize(torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    level = torch.cat([place, -place])
    found = [
        dense_loss([level] * 2, [level] * 2, torch.tensor([1, 2]), 64, 0.2,
                   torch.Generator().manual_seed(seed)).item()
        for seed in range(3)
    ]  # fmt: skip
    assert found[0] == pytest.approx(found[1])  # all 64 of 64, in whatever order
    assert found[0] == pytest.approx(found[2])
    few = dense_loss([level] * 2, [level] * 2, torch.tensor([1, 2]), 5, 0.2, torch.Generator())
    assert few != pytest.approx(found[0])


def test_the_loss_per_location_goes_both_ways():
    """Half of a's queries for b's keys, and half of b's for a's."""
    method, batch = split(**OFF, dense=1.0, locations=6), pair_batch()
    stack = batch.windows().transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        found = method._see(stack, method.momentum, Progress(1, 10))
        both_ways = method._dense(found, batch.patient, torch.Generator().manual_seed(0))
        generator, losses = torch.Generator().manual_seed(0), []
        for half in (0, 1):
            query = [level.chunk(2)[half] for level in found.features]
            key = [level.chunk(2)[1 - half] for level in found.key_features]
            losses.append(dense_loss(query, key, batch.patient, 6, 0.2, generator))
    assert losses[0] != losses[1]
    torch.testing.assert_close(both_ways, sum(losses) / 2)


def test_a_scan_is_filled_in_from_the_others_features_and_its_own_specific_part():
    """yhat_a = D(F_inv(x_b), z_spec(x_a)); over all voxels."""
    method, batch = split(**OFF, cross=0.5), pair_batch()
    found = terms(method, {"pairs": batch})["cross"]
    with torch.no_grad():
        features, _, specific = seen(method, batch)
        swapped = [torch.cat([level[4:], level[:4]]) for level in features]
        mixed = method.heads.inject(swapped, specific)
        for level, own, other in zip(mixed[:-1], method.heads.injections, swapped, strict=False):
            kept = invariant_channels(level.shape[1])
            assert torch.equal(level[:, :kept], other[:, :kept])
            injected = own(specific)
            assert torch.equal(level[:, kept:, 0, 0, 0], injected)
            assert torch.equal(level.amax((2, 3, 4))[:, kept:], injected)
        assert torch.equal(mixed[-1], swapped[-1])
        expected = 0.5 * mse_loss(
            method.filler.decoder(mixed), batch.windows().transpose(0, 1).flatten(0, 1)
        )
    torch.testing.assert_close(found, expected)


def test_gradients_reach_every_head():
    method = split(**ALL)
    sum(terms(method, both()).values()).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


def test_probes_are_given_both_parts():
    parts = split().eval().parts_of(scan_batch().windows()[:, 0])
    assert {name: tuple(part.shape) for name, part in parts.items()} == {
        "z_inv": (2, 8), "z_spec": (2, 4),
    }  # fmt: skip
    torch.testing.assert_close(parts["z_inv"].norm(dim=1), torch.ones(2))


def test_half_precision_keeps_every_term_whole():
    with torch.autocast("cpu", torch.bfloat16):
        found = terms(split(**ALL), both())
    exact = terms(split(**ALL), both())
    for name, value in found.items():
        assert value.dtype == torch.float32, name
        assert value.item() == pytest.approx(exact[name].item(), rel=0.06), name


def test_one_patient_alone_has_finite_terms():
    """No negatives, and two rows for the covariance."""
    found = terms(split(**ALL), {"pairs": pair_batch((1,))})
    assert all(value.isfinite() for value in found.values())
    assert found["contrast"].item() == found["dense"].item() == 0
    sum(found.values()).backward()
