"""Masked image modelling against its sheet: what is hidden, what is scored, what learns."""

import pytest
import torch

from medssl.methods.pretrain.masked_image_modelling import masked_loss, share_of_mean
from medssl.methods.pretrain.masking import draw_cells, enlarge
from medssl.methods.settings.masked_image_modelling import Settings
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from tests.methods.pretrain.scans import NETWORK, STILL, build, scan_batch, terms

NAME = "masked_image_modelling"
SWIN = NetworkSettings(name="swin_fpn", width=8, levels=2, depths=(1,), heads=(2,), window=4)
ANY = torch.Size((16, 16, 16))


def cells_of(image, method, seed=0):
    return draw_cells(image, method.settings.masking, torch.Generator().manual_seed(seed))


def test_the_loss_of_a_hand_example():
    """Two voxels hidden, off by 1 and by 3: (1 + 9) / 2."""
    target = torch.zeros(1, 1, 1, 1, 4)
    prediction = torch.tensor([1.0, 3.0, 7.0, 7.0]).view(1, 1, 1, 1, 4)
    hidden = torch.tensor([True, False]).view(1, 1, 1, 1, 2)
    assert masked_loss(prediction, target, hidden).item() == 5
    assert masked_loss(prediction, target, ~hidden).item() == 49


def test_the_loss_is_the_mean_over_hidden_voxels_whatever_their_share():
    cells = torch.tensor([[True, True], [True, False]]).view(2, 1, 1, 1, 2)
    error = torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 5.0, 0.0, 0.0]]).view(2, 1, 1, 1, 4)
    found = masked_loss(error, torch.zeros_like(error), cells).item()
    assert found == pytest.approx((4 * 1 + 2 * 25) / 6)


def test_predictions_at_visible_voxels_do_not_matter():
    target = scan_batch().windows()[:, 0]
    cells = cells_of(target, build(NAME))
    prediction = torch.randn(target.shape, generator=torch.Generator().manual_seed(1))
    hidden = enlarge(cells, ANY)
    before = masked_loss(prediction, target, cells)
    assert torch.equal(masked_loss(prediction + 9 * ~hidden, target, cells), before)
    assert masked_loss(prediction + 9 * hidden, target, cells) > before + 1


@pytest.mark.parametrize("network", [NETWORK, SWIN], ids=["conv", "swin"])
def test_what_is_hidden_is_never_seen(network):
    method = build(NAME, network=network).eval()
    image = scan_batch().windows()[:, 0]
    cells = cells_of(image, method)
    hidden = enlarge(cells, ANY)
    with torch.no_grad():
        before = method.filler(image, cells)
        assert torch.equal(method.filler(torch.where(hidden, 7.0, image), cells), before)
        assert not torch.equal(method.filler(torch.where(hidden, image, 7.0), cells), before)


@pytest.mark.parametrize("network", [NETWORK, SWIN], ids=["conv", "swin"])
def test_a_token_is_learnt_in_place_of_what_is_hidden(network):
    method = build(NAME, network=network)
    token = method.filler.token
    assert token.numel() == method.encoder().embed_width
    terms(method, {"scans": scan_batch()})["masked"].backward()
    assert token.grad.abs().max() > 0
    with torch.no_grad():
        image = scan_batch().windows()[:, 0]
        cells = cells_of(image, method)
        before = method.filler(image, cells)
        token += 1
        assert not torch.equal(method.filler(image, cells), before)


def test_the_token_begins_as_truncated_normal_of_0_02():
    network = NetworkSettings(
        name="swin_fpn", width=48, levels=2, depths=(1,), heads=(3,), window=4
    )
    tokens = torch.cat([build(NAME, network=network, seed=n).filler.token for n in range(8)])
    assert tokens.std().item() == pytest.approx(0.02, rel=0.15)
    assert tokens.abs().max() < 0.1


def test_the_input_is_changed_and_the_target_is_not():
    """Without changes input and target are one; noise on the input alone makes them differ."""
    noisy = {"scale_chance": 0, "noise": 1.0, "noise_chance": 1, "artefact_chance": 0,
             "gamma_or_zoom_chance": 0}  # fmt: skip
    batch, given = scan_batch(), []
    clean = batch.windows()[:, 0].clone()
    for intensity in (STILL["intensity"], noisy):
        method = build(NAME, intensity=intensity)
        method.filler.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
        loss = terms(method, {"scans": batch})["masked"]
        image, cells = given[-1]
        with torch.no_grad():
            expected = masked_loss(method.filler(image, cells), clean, cells)
        torch.testing.assert_close(loss, expected)
    assert torch.equal(given[0][0], clean)
    assert (given[-1][0] - clean).std().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(batch.source[:, 0], clean)


def test_the_monitor_compares_the_error_with_that_of_the_mean():
    target = torch.tensor([0.0, 2.0, 9.0, 9.0]).view(1, 1, 1, 1, 4)
    cells = torch.tensor([True, False]).view(1, 1, 1, 1, 2)
    perfect, mean = target, torch.ones_like(target)
    for prediction, share in ((perfect, 0), (mean, 1), (mean + 1, 2)):
        loss = masked_loss(prediction, target, cells)
        assert share_of_mean(loss, target, cells).item() == pytest.approx(share)
    method = build(NAME)
    assert method.monitor() == {}
    terms(method, {"scans": scan_batch()})
    assert method.monitor()["masked_error"] > 0


def test_reconstructions_say_what_was_hidden():
    method = build(NAME, masking={"cell": 4, "ratio": (0.5, 0.5)}).eval()
    image = scan_batch().windows()[:, 0]
    with torch.no_grad():
        found, same, other = (
            method.reconstruct(image, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
    assert found.prediction.shape == found.mask.shape == image.shape
    assert found.mask.float().mean((1, 2, 3, 4)).tolist() == [0.5, 0.5]
    assert torch.equal(found.prediction, same.prediction)
    assert not torch.equal(found.mask, other.mask)


def test_the_encoder_is_the_networks_own():
    method = build(NAME, seed=3)
    expected = build_encoder(NETWORK, 1, 3000).state_dict()
    found = method.encoder().state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    image = scan_batch().windows()[:, 0]
    torch.testing.assert_close(
        method.predictor()(image), method.encoder()(image)[-1].mean((2, 3, 4))
    )


def test_defaults_and_the_papers_cubes():
    """Sheet, section 13: cubes of 16 by default, of 32 as published."""
    assert (Settings().masking.cell, Settings().masking.ratio) == (16, (0.5, 0.75))
    assert (Settings().decoder_width, Settings.preset("paper").masking.cell) == (32, 32)
