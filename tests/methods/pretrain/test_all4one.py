"""All4One against hand-computed numbers; by its sheet."""

import pytest
import torch

from medssl.methods.method import Progress
from medssl.methods.pretrain.all4one import contrast, feature_loss, of_different, place_codes
from medssl.methods.registry import settings_class
from medssl.methods.settings.all4one import Feature
from tests.methods.pretrain.scans import build, pair_batch, terms

I = torch.eye(2, dtype=torch.float64)  # noqa: E741 - the sheet's name
B = torch.tensor([[1.0, 0], [0.6, 0.8]], dtype=torch.float64)
SMALL = {
    "hidden": 16, "outputs": 8, "predictor": 16, "queue": 24, "neighbours": 5,
    "centroid": {"hidden": 16, "dropout": 0.0, "layers": 1},
}  # fmt: skip


def made(**settings):
    return build("all4one", masking=None, decoder_width=None, **{**SMALL, **settings})


def test_the_contrast_with_neighbours():
    assert float(contrast(I, I, 0.2)) == pytest.approx(0.006715, abs=1e-6)
    assert float(contrast(I, I, 0.1)) == pytest.approx(0.0000454, abs=1e-7)
    assert float(contrast(I, B, 0.2)) == pytest.approx(0.072539, abs=1e-6)


def test_features_that_agree_one_by_one_cost_nothing():
    both = torch.stack([I, I])
    assert float(feature_loss(both, both, Feature())) == pytest.approx(0, abs=2e-5)


def test_features_that_are_all_alike_cost_five():
    eye, ones = torch.stack([I, I]), torch.ones(2, 2, 2, dtype=torch.float64)
    own = Feature(others=0, diagonal=1, scale=1)
    assert float(feature_loss(eye, ones, own)) == pytest.approx(0.292893, abs=1e-6)
    rest = Feature(others=1, diagonal=0, scale=1)
    assert float(feature_loss(eye, ones, rest)) == pytest.approx(0.707107, abs=1e-6)
    whole = float(feature_loss(eye, ones, Feature()))
    assert whole == pytest.approx(5.0, abs=1e-6)
    near, far = float(contrast(I, I, 0.2)), float(contrast(I, I, 0.1))
    assert 0.5 * (near + far + whole) == pytest.approx(2.503380, abs=1e-6)


def test_a_common_mean_is_taken_off_where_asked():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 64, 4, generator=generator, dtype=torch.float64) + 10
    plain = float(feature_loss(rows, rows, Feature()))
    assert plain > 4  # all cosines are near 1
    assert float(feature_loss(rows, rows, Feature(standardised=True))) < plain / 2


def test_all_but_the_diagonal():
    matrix = torch.arange(1, 10).view(3, 3)
    assert of_different(matrix).tolist() == [2, 3, 4, 6, 7, 8]
    assert of_different(matrix.expand(2, 3, 3)).shape == (2, 6)


def test_every_token_has_a_code_of_its_own():
    codes = place_codes(5, 16)
    assert codes.shape == (5, 16)
    assert torch.allclose(codes[0], torch.arange(16.0).sin())
    assert torch.allclose(codes[1], torch.arange(16.0).cos())
    assert torch.allclose(codes[2], (torch.arange(16) / 10_000 ** (1 / 3)).sin())
    assert min(float((codes[i] - codes[j]).norm()) for i in range(5) for j in range(i)) > 0.1


def test_the_nearest_rows_of_the_queue_come_best_first():
    method = made()
    key = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator()), dim=1)
    method.queue.keys[17] = key[0]
    near = method._neighbours(key, torch.tensor([1, 2]))
    assert torch.equal(near[0, 0], key[0])
    likeness = (near * key[:, None]).sum(2)
    assert bool((likeness.diff(dim=1) <= 1e-6).all())


@pytest.mark.parametrize("barred", [True, False])
def test_no_neighbour_is_of_the_same_patient(barred):
    method = made(other_patients=barred)
    key = torch.nn.functional.normalize(torch.ones(1, 8), dim=1)
    method.queue.keys[3], method.queue.patients[3] = key[0], 7
    found = method._neighbours(key, torch.tensor([7]))[0, 0]
    assert torch.equal(found, key[0]) != barred


def test_each_predictor_learns_from_one_term_and_the_average_from_none():
    batches = {"pairs": pair_batch()}
    for chosen, silent in (("neighbour", "centroid"), ("centroid", "neighbour")):
        method = made()
        terms(method, batches)[chosen].backward()
        own = getattr(method, f"{chosen}_predictor")
        assert all(p.grad is not None for p in own.parameters())
        assert all(p.grad is None for p in getattr(method, f"{silent}_predictor").parameters())
        assert all(p.grad is None for p in method.average.parameters())


def test_the_last_neighbour_changes_the_centroid_and_not_the_shifted_one():
    method = made().eval()
    near = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    ask = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    other = near.clone()
    other[:, 4] += 1
    whole = [method.summary(one) for one in (near, other)]
    shifted = [method.summary(torch.cat([ask[:, None], one[:, :-1]], 1)) for one in (near, other)]
    assert not torch.allclose(*whole)
    assert torch.equal(*shifted)


def test_first_views_are_stored_and_the_average_moves():
    method = made(momentum=0.5)
    terms(method, {"pairs": pair_batch()})
    before = next(method.average.parameters()).clone()
    with torch.no_grad():
        next(method.embedder.parameters()).add_(2)
    method.after_step(Progress(1, 10))
    own = next(method.embedder.parameters())
    assert torch.allclose(next(method.average.parameters()), (before + own) / 2)
    assert method.queue.patients[:4].tolist() == [1, 2, 3, 4]
    assert int(method.queue.pointer) == 4
    assert torch.allclose(method.queue.keys.norm(dim=1), torch.ones(24))


def test_the_transformer_learns_slower():
    method = made()
    (usual, rest), (slow, of_summary) = method.rate_factors()
    assert (usual, slow) == (1.0, 0.1)
    assert {id(p) for p in of_summary} == {id(p) for p in method.summary.parameters()}
    assert not {id(p) for p in rest} & {id(p) for p in of_summary}


@pytest.mark.parametrize("silent", ["neighbour", "centroid", "feature"])
def test_a_term_of_weight_0_is_left_out(silent):
    method = made(weights={silent: 0})
    found = terms(method, {"pairs": pair_batch()})
    assert set(found) == {"neighbour", "centroid", "feature"} - {silent}
    sum(found.values()).backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trained)


def test_what_cannot_be_is_refused():
    kind = settings_class("all4one")
    with pytest.raises(ValueError, match="cannot be divided among 4 heads"):
        kind(outputs=30)
    with pytest.raises(ValueError, match="nothing to learn from"):
        kind(weights={"neighbour": 0, "centroid": 0, "feature": 0})
