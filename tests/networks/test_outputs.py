"""What the channels of a network say: classes, or regions (sheet of partial labels, section 5)."""

from itertools import product

import pytest
import torch

from medssl.data.regions import regions_of, written
from medssl.networks.ensemble import Ensemble
from medssl.networks.outputs import Outputs, plain

CLASSES = ("background", "necrosis", "oedema", "enhancing")
LABELS = [("necrosis", 1), ("oedema", 2), ("enhancing", 4)]
BRATS = Outputs(CLASSES, regions_of({"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}, LABELS))
PROBABILITIES = torch.tensor([[0.1, 0.8, 0.9, 0.7], [0.2, 0.3, 0.6, 0.9], [0.05, 0.1, 0.4, 0.8]])


def test_the_sheets_example_is_decoded_as_the_sheet_says():
    logits = PROBABILITIES.logit().reshape(3, 4, 1, 1)
    assert BRATS.labels(logits).flatten().tolist() == [0, 2, 1, 3]


def test_what_is_encoded_is_decoded():
    label = torch.arange(4).reshape(1, 4, 1, 1)
    logits = 2.0 * BRATS.targets(label) - 1
    assert BRATS.labels(logits[0]).flatten().tolist() == [0, 1, 2, 3]
    inside = BRATS.targets(label).int()
    assert (inside[:, 0] >= inside[:, 1]).all()
    assert (inside[:, 1] >= inside[:, 2]).all()


def test_the_likeliest_label_is_that_which_is_written_where_regions_are_those_of_a_label():
    """And otherwise a later region is written, nested or not."""
    for signs in product((-1.0, 1.0), repeat=3):
        z = torch.tensor(signs) * torch.tensor([1.3, 0.7, 0.4])
        found = int(BRATS.as_classes(z.reshape(1, 3, 1, 1, 1)).argmax(1))
        decoded = written(BRATS.regions, (sign > 0 for sign in signs))
        nested = signs[0] >= signs[1] >= signs[2]
        assert int(BRATS.labels(z.reshape(3, 1, 1, 1))) == decoded
        assert found == decoded or not nested


def test_probabilities_of_classes_are_sigmoids_given_that_regions_are_those_of_a_label():
    z = torch.randn(3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = z.sigmoid()
    joint = []
    for index in range(4):
        inside = torch.tensor([index in region.classes for region in BRATS.regions])
        joint.append(torch.where(inside, p, 1 - p).prod())
    expected = torch.stack(joint) / sum(joint)
    found = BRATS.as_classes(z.reshape(1, 3, 1, 1, 1)).softmax(1).flatten()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(BRATS.of_classes(p.reshape(3, 1, 1, 1)).flatten(), expected)


def test_an_ensemble_answers_with_the_mean_of_sigmoids():
    members = [torch.nn.Conv3d(1, 3, 1) for _ in range(3)]
    image = torch.randn(2, 1, 2, 2, 2)
    mean = torch.stack([member(image).sigmoid() for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members, BRATS)(image).sigmoid(), mean)


def test_logits_have_the_probabilities_that_they_are_of():
    p = torch.tensor([0.0, 0.2, 0.999, 1.0])
    for outputs in (BRATS, plain(CLASSES)):
        logits = outputs.logits(p)
        assert logits.isfinite().all()
    torch.testing.assert_close(BRATS.logits(p).sigmoid(), p)


def test_entropy_of_regions_is_the_sum_of_theirs():
    half = torch.full((1, 3, 1, 1, 1), 0.5)
    assert float(BRATS.entropy(half, 0)) == pytest.approx(BRATS.most_entropy)
    assert plain(CLASSES).most_entropy == pytest.approx(torch.tensor(4.0).log().item())
