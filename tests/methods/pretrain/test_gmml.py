"""Groups of voxels are spoilt as the sheet of GMML says, and restored."""

import pytest
import torch
from scipy.ndimage import label

from medssl.methods.method import Progress
from medssl.methods.pretrain.gmml import draw_boxes, others, restored_loss, spoil
from medssl.methods.registry import settings_class
from medssl.methods.settings.gmml import Corruption
from medssl.train.update import make_update
from tests.contract.killing import constant
from tests.methods.pretrain.scans import build, pair_batch, scan_batch, terms


def scans(count=6, side=20):
    return torch.randn(count, 1, side, side, side, generator=torch.Generator().manual_seed(0))


def spoilt(seed=0, given=None, **settings):
    clean = scans() if given is None else given
    generator = torch.Generator().manual_seed(seed)
    partner = others(clean, generator)
    return clean, partner, *spoil(clean, partner, Corruption(**settings), generator)


def test_the_loss_by_hand():
    clean, restored = torch.tensor([0.0, 1, 2, 3]), torch.tensor([1.0, 1, 0, 3])
    mask = torch.tensor([True, False, True, False])
    assert float(restored_loss(restored, clean, mask, "spoilt")) == 1.5
    assert float(restored_loss(restored, clean, mask, "all")) == 0.75
    restored.requires_grad_()
    restored_loss(restored, clean, mask, "spoilt").backward()
    assert restored.grad.tolist() == [0.5, 0, -0.5, 0]


@pytest.mark.parametrize("fill", ["noise", "zeros", "shuffled"])
def test_scans_are_as_they_were_outside_of_the_boxes(fill):
    clean, _, found, mask = spoilt(fills=[fill], alien=False)
    assert torch.equal(found[~mask], clean[~mask])
    changed = (found != clean)[mask].double().mean()
    assert float(changed) > 0.99
    if fill == "zeros":
        assert not found[mask].any()


def test_boxes_cover_their_share_and_little_more():
    for seed in range(5):
        mask = spoilt(seed, alien=False, align=1)[3].double().mean((1, 2, 3, 4))
        assert float(mask.min()) >= 0.5
        assert float(mask.max()) <= 0.75 + 0.3**3


def test_alien_boxes_show_the_partner_at_the_same_place():
    clean, partner, found, mask = spoilt(fills=[], alien=True, align=1)
    assert torch.equal(found[mask], partner[mask])
    share = mask.double().mean((1, 2, 3, 4))
    assert float(share.min()) >= 0.3
    assert float(share.max()) <= 0.3 + 0.3**3
    assert torch.equal(found[~mask], clean[~mask])


def test_half_of_the_scans_are_alien():
    clean = scans(400, 10)
    _, partner, found, mask = spoilt(given=clean, align=1)
    alien = [torch.equal(found[i][mask[i]], partner[i][mask[i]]) for i in range(400)]
    assert sum(alien) / 400 == pytest.approx(0.5, abs=0.075)  # three deviations


def test_no_scan_is_its_own_partner():
    clean = torch.arange(5.0).view(5, 1, 1, 1, 1)
    seen = set()
    for seed in range(50):
        found = others(clean, torch.Generator().manual_seed(seed)).flatten().tolist()
        assert all(one != other for one, other in enumerate(found))
        seen |= set(enumerate(found))
    assert len(seen) == 20


def test_boxes_are_groups_and_not_single_cells():
    mask = spoilt(alien=False, align=1, share=[0.5, 0.5])[3][0, 0]
    alone = torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    edges = [sum(float((part != part.roll(1, axis)).double().mean()) for axis in range(3))
             for part in (mask, alone)]  # fmt: skip
    assert edges[0] < edges[1] / 2
    assert label(mask.numpy())[1] < 20


def test_boxes_begin_and_end_at_cells():
    mask = spoilt(alien=False, align=4)[3]
    cells = mask.view(6, 5, 4, 5, 4, 5, 4).movedim((2, 4, 6), (-3, -2, -1)).flatten(-3)
    assert torch.equal(cells.all(-1), cells.any(-1))


def test_the_last_cells_are_reached():
    masks = torch.stack([spoilt(seed, alien=False, share=[0.2, 0.2])[3] for seed in range(20)])
    rates = masks.double().mean((0, 1, 2, 4, 5))
    assert float(rates[-1]) > 0.05


def test_noise_is_like_the_scan_and_stays_in_its_range_where_asked():
    clean = scans() * 3 + 7
    found, mask = spoilt(given=clean, alien=False)[2:]
    assert float(found[mask].mean()) == pytest.approx(7, abs=0.2)
    assert float(found[mask].std()) == pytest.approx(3, abs=0.2)
    clean = clean.clamp(5, 8)
    found, mask = spoilt(given=clean, alien=False, clip=True)[2:]
    assert float(found.min()) >= 5
    assert float(found.max()) <= 8


def test_equal_generators_spoil_alike_and_scans_differ():
    one, same, other = spoilt(0), spoilt(0), spoilt(1)
    assert torch.equal(one[2], same[2])
    assert not torch.equal(one[3], other[3])
    assert not torch.equal(one[3][0], one[3][1])


def test_more_boxes_are_drawn_until_they_cover_enough():
    like = scans(1, 32)
    mask = draw_boxes(like, torch.tensor([0.95]), Corruption(largest=0.1), torch.Generator())
    assert float(mask.double().mean()) >= 0.95


def test_one_scan_is_learnt_by_heart():
    method = build("gmml", masking=None, corruption={"align": 2, "alien": False})
    given = {"scans": scan_batch((1,))}
    update = make_update(method, constant(200, rate=3e-3), 0, torch.device("cpu"))
    losses = [update(given, Progress(step, 200))["loss"] for step in range(1, 201)]
    assert sum(losses[-20:]) < 0.4 * 20 * losses[0]


def test_matched_scans_show_each_other():
    method = build("gmml", masking=None, corruption={"align": 2, "alien_source": "matched"})
    assert method.streams == ("pairs",)
    assert bool(terms(method, {"pairs": pair_batch()})["restored"].isfinite())
    assert method.settings.pairs_of_patients() is not None
    assert method.settings.needs() is not None
    plain = settings_class("gmml")()
    assert plain.pairs_of_patients() is None
    assert plain.needs() is None
