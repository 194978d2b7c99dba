"""The Swin V2 encoder against the sheet of modality-invariant learning, section 4."""

import pytest
import torch
from monai.networks.nets.swin_unetr import compute_mask
from torch import nn

from medssl.networks.build import build_encoder, build_network
from medssl.networks.settings import NetworkSettings
from medssl.networks.swin import attend

TINY = NetworkSettings(
    name="swin_fpn", width=12, levels=3, depths=(2, 1), heads=(2, 4), window=4, dropout=0
)


@pytest.fixture(scope="module")
def published():
    """Paper size, without memory: shapes alone are worked out."""
    return build_encoder(NetworkSettings(name="swin_fpn", width=48, dropout=0), 1, 0).to("meta")


def test_the_published_encoder_has_20_52_million_parameters(published):
    assert sum(p.numel() for p in published.parameters()) == 20_525_154


def test_the_published_maps_of_a_window_of_96(published):
    with torch.device("meta"):
        maps = published(torch.zeros(1, 1, 96, 96, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (48, 48, 48, 48),
        (96, 24, 24, 24),
        (192, 12, 12, 12),
        (384, 6, 6, 6),
        (768, 3, 3, 3),
    ]


def test_norms_of_convolutions_are_groups_of_eight(published):
    kinds = [type(module) for module in published.modules()]
    groups = [m.num_groups for m in published.modules() if isinstance(m, nn.GroupNorm)]
    assert nn.InstanceNorm3d not in kinds
    assert groups == [8] * 8  # two in each of the four blocks


def test_maps_are_normalised_over_channels():
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = build_encoder(TINY, 1, 0)(image)
    for one in maps:
        torch.testing.assert_close(one.mean(1), torch.zeros_like(one[:, 0]), rtol=0, atol=1e-5)
        torch.testing.assert_close(
            one.var(1, correction=0), torch.ones_like(one[:, 0]), rtol=0, atol=0.02
        )


def test_attention_reaches_beyond_a_window_where_windows_shift():
    """Windows of cells 0-3 and 4-7; the second block's, shifted by 2, joins cells 2-5."""

    def reached(depth):
        settings = TINY.model_copy(update={"depths": (depth,), "levels": 2})
        (stage,) = build_encoder(settings, 1, 0).swin.layers1
        cells = torch.randn(1, 12, 8, 4, 4, requires_grad=True)
        attend(stage, cells)[:, :, 1].square().sum().backward()  # merged from cells 2 and 3
        return cells.grad.abs().sum((0, 1, 3, 4)).nonzero().flatten().tolist()

    assert reached(1) == [0, 1, 2, 3]
    assert reached(2) == list(range(8))


def test_a_stage_is_that_of_monai_but_for_merging():
    """MONAI's own forward spelt out, with its masks."""
    stage = build_encoder(TINY, 1, 0).swin.layers1[0].eval()
    x = torch.randn(1, 12, 6, 8, 8)  # 6 is no multiple of the window
    mask = compute_mask([8, 8, 8], (4, 4, 4), (2, 2, 2), x.device)
    cells = x.movedim(1, -1)
    for block, one in zip(stage.blocks, (None, mask), strict=True):
        cells = block(cells, one)
    torch.testing.assert_close(attend(stage, x), stage.downsample(cells).movedim(-1, 1))


def test_merging_reads_all_eight_cells():
    encoder = build_encoder(TINY.model_copy(update={"levels": 2, "depths": (1,)}), 1, 0)
    (stage,) = encoder.swin.layers1
    cells = torch.randn(1, 2, 2, 2, 12, requires_grad=True)
    stage.downsample(cells).square().sum().backward()
    assert bool(cells.grad.abs().sum(-1).all())


def test_blocks_are_skipped_in_training_alone_and_more_often_the_deeper_they_lie():
    settings = TINY.model_copy(update={"drop_path": 0.2})
    dropping, plain = (build_encoder(one, 1, 0) for one in (settings, TINY))
    rates = [
        getattr(block.drop_path, "drop_prob", 0.0)
        for _, stage in dropping._stages()
        for block in stage.blocks
    ]
    assert rates == pytest.approx(torch.linspace(0, 0.2, len(rates)).tolist())
    image = torch.randn(8, 1, 16, 16, 16)
    seen, wanted = (one.eval()(image)[-1] for one in (dropping, plain))
    torch.testing.assert_close(seen, wanted)
    torch.manual_seed(0)
    assert not torch.allclose(dropping.train()(image)[-1], wanted, atol=1e-3)


def test_checkpointing_changes_memory_alone():
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for checkpointing in (False, True):
        settings = TINY.model_copy(update={"checkpointing": checkpointing})
        network = build_network(settings, 1, 2, 0).train()
        network(image).square().mean().backward()
        found.append({name: p.grad for name, p in network.named_parameters()})
        blocks = network.encoder.swin.layers1[0].blocks
        assert all(block.use_checkpoint == checkpointing for block in blocks)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_sides_are_multiples_of_32_at_paper_size():
    assert NetworkSettings(name="swin_fpn", width=48).side_multiple == 32
    assert TINY.side_multiple == 8
    logits = build_network(TINY, 1, 3, 0).eval()(torch.zeros(1, 1, 8, 16, 24))
    assert logits.shape == (1, 3, 8, 16, 24)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"levels": 6, "width": 48}, "5 levels at most"),
        ({"levels": 4, "depths": (1, 1)}, "needs 3 depths and heads"),
        ({"levels": 3, "width": 16}, "16 channels of stage 1 cannot be divided among 3 heads"),
    ],
)
def test_an_impossible_size_is_refused_at_once(keys, words):
    with pytest.raises(ValueError, match=words):
        NetworkSettings(name="swin_fpn", **keys)
