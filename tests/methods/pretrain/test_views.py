"""Two views of a scan: rows of both show the same place, whatever affine each has."""

import pytest
import torch

from medssl.data.scan.batch import ScanBatch
from medssl.methods.pretrain.views import draw_views, scan_rows, token_rows
from medssl.methods.registry import settings_class
from tests.methods.pretrain.scans import PATCH, STILL, pair_batch

DCL = settings_class("decoupled_contrastive")


def turned(shift: float) -> ScanBatch:
    """A ramp along the first axis, seen plainly and moved by `shift` of the window's half."""
    ramp = torch.linspace(0, 1, 16)[:, None, None].expand(16, 16, 16)
    source = ramp.expand(2, 2, 1, 16, 16, 16).contiguous()
    affine = torch.eye(3, 4).repeat(2, 2, 1, 1)
    affine[:, 1, 2, 3] = shift  # the last row is the first axis
    return ScanBatch(
        source, affine, PATCH, torch.tensor([1, 2]), torch.full((2, 2), -1), ("a", "b")
    )


def test_second_windows_are_looked_up_where_the_first_show_the_same_place():
    batch = turned(0.25)  # two of 16 voxels
    first, second = batch.windows().unbind(1)
    found, shown = batch.onto_first(second)
    assert torch.allclose(found[:, 0][shown], first[:, 0][shown], atol=1e-6)
    assert shown[0, :, 0, 0].tolist() == [False] * 2 + [True] * 14


def test_turned_windows_meet_too():
    angle = torch.tensor(0.3)
    batch = turned(0.0)
    batch.affine[:, 1, :2, :2] = torch.tensor(
        [[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]]
    )
    batch.affine[:, 0, :3, :3] *= 0.7
    generator = torch.Generator().manual_seed(0)
    batch.source = torch.nn.functional.avg_pool3d(
        torch.randn(2, 1, 16, 16, 16, generator=generator), 5, 1, 2
    )[:, None].repeat(1, 2, 1, 1, 1, 1)
    first, second = batch.windows().unbind(1)
    found, shown = batch.onto_first(second)
    apart = (found - first)[:, 0][shown].abs()
    assert apart.mean() < 0.1 * first.std()
    assert (second - first)[:, 0][shown].abs().mean() > 5 * apart.mean()


def test_without_an_affine_both_show_everything():
    batch = pair_batch()
    found, shown = batch.onto_first(batch.windows()[:, 1])
    assert torch.equal(found, batch.windows()[:, 1])
    assert bool(shown.all())


def test_tokens_are_the_same_places_of_both_views():
    batch = turned(0.25)
    views = batch.windows().unbind(1)
    rows = token_rows(batch, views, 500, torch.Generator().manual_seed(0))
    assert torch.allclose(rows.features[0], rows.features[1], atol=1e-6)
    assert float(rows.place[:, 0].min()) == 2.0  # voxels that the second does not show are left out
    assert torch.allclose(rows.features[0, :, 0], rows.place[:, 0] / 15, atol=1e-6)
    assert torch.equal(rows.patient, torch.tensor([1, 2])[rows.item])


def test_of_too_few_shared_cells_some_are_taken_twice():
    batch = turned(1.75)
    rows = token_rows(batch, batch.windows().unbind(1), 2000, torch.Generator().manual_seed(0))
    assert len(rows.place) == 2000
    assert float(rows.place[:, 0].min()) == 14.0


def test_a_scan_is_a_row():
    batch = pair_batch()
    rows = scan_rows(batch, batch.windows().unbind(1))
    assert torch.allclose(rows.features[1, :, 0], batch.windows()[:, 1].mean((1, 2, 3, 4)))
    assert torch.equal(rows.place, torch.full((4, 3), 7.5))


@pytest.mark.parametrize("count", [2, 4])
def test_of_four_views_two_share_an_affine(count):
    batch = turned(0.25)
    views = draw_views(batch, DCL(**STILL), count, torch.Generator())
    assert len(views) == count
    for number, view in enumerate(views):
        assert torch.equal(view, batch.windows()[:, number % 2])


def test_tokens_of_two_contrasts_need_no_affine():
    with pytest.raises(ValueError, match=r"set affine\.rotation, scale and shear to 0"):
        DCL(rows="tokens", kind="modalities")
    DCL(rows="tokens", kind="modalities", affine={"rotation": 0, "scale": 0, "shear": 0})
