"""Sparse attention by pieces against the dense formulas it stands for."""

import pytest
import torch
from torch.nn import functional

from medssl.networks.sparse_attention import build_attention
from medssl.networks.sparse_encoder import SparseBlock

N, E, H = 23, 12, 3
SELECTIONS = {
    "some": [5, 2, 19, 11, 7],
    "one": [13],
    "all": list(range(N)),
    "all but one": list(range(1, N)),
}

every_selection = pytest.mark.parametrize("selected", SELECTIONS.values(), ids=SELECTIONS)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make_block(mode, *, raw_keys=False, attend=True, chunk=4, width=E, heads=H, dropout=0.0):
    """A layer in double precision whose feed-forward is zero: only attention changes the rows."""
    torch.manual_seed(1)
    attention = build_attention(mode, width, heads, raw_keys, dropout, attend)
    block = SparseBlock(attention, width, 2, "relu", 0.0, chunk, recompute=True).double()
    torch.nn.init.zeros_(block.narrow.weight)
    torch.nn.init.zeros_(block.narrow.bias)
    torch.nn.init.normal_(block.attention.norm.weight, 1, 0.3, generator=seeded())
    return block


def bag(rows=N, width=E):
    return 2 * torch.randn(rows, width, generator=seeded(7), dtype=torch.float64)


def through(block, rows, selected):
    """The layer's output in the order of `rows`."""
    others = [index for index in range(len(rows)) if index not in set(selected)]
    order = torch.tensor([*selected, *others])
    found = torch.cat(block(rows[order], len(selected), lambda piece: piece))
    return torch.empty_like(found).index_copy(0, order, found)


def projected(block, rows):
    """Queries, keys and values of all rows: each [H, N, D]."""
    a = block.attention
    normed = a.norm(rows)
    maps = a.query(normed), a.key(rows if a.raw_keys else normed), a.value(normed)
    return [m.view(len(rows), a.heads, -1).transpose(0, 1) for m in maps]


def out(block, heads):
    return block.attention.out(heads.transpose(0, 1).flatten(1))


def pattern(rows, selected):
    """Diagonal, rows and columns of the selected."""
    mask = torch.eye(rows, dtype=torch.bool)
    mask[selected], mask[:, selected] = True, True
    return mask


@every_selection
@pytest.mark.parametrize("raw_keys", [False, True])
def test_mode_a_equals_dense_attention_under_the_paper_s_mask(selected, raw_keys):
    block, rows = make_block("A", raw_keys=raw_keys), bag()
    q, k, v = projected(block, rows)
    dense = functional.scaled_dot_product_attention(q, k, v, attn_mask=pattern(N, selected))
    expected = rows + out(block, dense)
    torch.testing.assert_close(through(block, rows, selected), expected, rtol=0, atol=1e-10)


def test_mode_a_in_single_precision_is_as_close_as_rounding_allows():
    block, rows = make_block("A").float(), bag().float()
    found = through(block, rows, SELECTIONS["some"])
    expected = through(make_block("A"), bag(), SELECTIONS["some"])
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)


def test_mode_a_with_all_selected_is_plain_attention():
    block, rows = make_block("A"), bag()
    dense = functional.scaled_dot_product_attention(*projected(block, rows))
    found = through(block, rows, SELECTIONS["all"])
    torch.testing.assert_close(found, rows + out(block, dense), rtol=0, atol=1e-10)


def test_mode_a_identity_changes_the_selected_rows_alone():
    rows, selected = bag(), SELECTIONS["some"]
    others = [index for index in range(N) if index not in selected]
    attending = through(make_block("A"), rows, selected)
    passing = through(make_block("A", attend=False), rows, selected)
    assert torch.equal(passing[others], rows[others])
    torch.testing.assert_close(passing[selected], attending[selected], rtol=0, atol=1e-10)
    assert not torch.allclose(attending[others], rows[others])


@every_selection
@pytest.mark.parametrize("raw_keys", [False, True])
@pytest.mark.parametrize("normalised", [False, True])
def test_mode_b_equals_the_full_formula_and_leaves_other_rows_bit_for_bit(
    selected, raw_keys, normalised
):
    rows = bag()
    block = make_block("B_normalised" if normalised else "B", raw_keys=raw_keys)
    q, k, v = projected(block, rows)
    spread = (q @ k[:, selected].mT / (E // H) ** 0.5).softmax(-1)  # [H, N, S]
    mass = spread.sum(1)
    torch.testing.assert_close(mass.sum(1), torch.full((H,), float(N), dtype=torch.float64))
    update = spread.mT @ v
    if normalised:
        update = update / mass.unsqueeze(-1)
    expected = rows.index_add(0, torch.tensor(selected), out(block, update))
    found = through(block, rows, selected)
    others = [index for index in range(N) if index not in selected]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert torch.equal(found[others], rows[others])


@pytest.mark.parametrize("mode", ["A", "B", "B_normalised"])
@pytest.mark.parametrize("chunk", [1, 2, 7, 23, 1000])
def test_the_size_of_the_pieces_changes_neither_answer_nor_gradients(mode, chunk):
    found = []
    for size in (5, chunk):
        block, rows = make_block(mode, chunk=size), bag().requires_grad_()
        answer = through(block, rows, SELECTIONS["some"])
        answer.square().sum().backward()
        gradients = [p.grad for p in block.attention.parameters()]
        found.append([answer.detach(), rows.grad, *gradients])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("mode", ["A", "B", "B_normalised"])
def test_gradients_are_those_of_finite_differences(mode):
    block = make_block(mode, width=4, heads=2, chunk=2)
    torch.nn.init.normal_(block.narrow.weight, generator=seeded(5))
    rows = bag(6, 4).requires_grad_()
    weights = list(block.parameters())

    def run(rows, *weights):
        return through(block, rows, [4, 1])

    assert torch.autograd.gradcheck(run, (rows, *weights), fast_mode=True)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_attention_dropout_is_the_same_when_a_piece_is_computed_again(mode):
    """With equal dropout, the recomputed gradients are those of the kept graph, bit for bit."""
    found = []
    for recompute in (False, True):
        block, rows = make_block(mode, dropout=0.4), bag().requires_grad_()
        block.recompute = recompute
        torch.manual_seed(3)
        answer = through(block, rows, SELECTIONS["some"])
        answer.square().sum().backward()
        found.append([answer.detach(), rows.grad, *(p.grad for p in block.attention.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    torch.manual_seed(4)
    assert not torch.equal(through(block, rows, SELECTIONS["some"]), found[0][0])


def test_attention_dropout_keeps_the_mean_and_acts_on_weights_alone():
    """Mode A, values all one: an output is the sum of kept weights / (1 - p), 1 on average."""
    block = make_block("A", dropout=0.25, width=4, heads=2)
    attention = block.attention
    for weight, bias, value in (
        (attention.value.weight, attention.value.bias, 1.0),
        (attention.out.weight, attention.out.bias, 0.0),
    ):
        torch.nn.init.zeros_(weight)
        torch.nn.init.constant_(bias, value)
    torch.nn.init.eye_(attention.out.weight)
    rows = bag(6, 4)
    torch.manual_seed(0)
    with torch.no_grad():
        changes = torch.stack([through(block, rows, [4, 1]) - rows for _ in range(2000)])
    assert changes.std(0).min() > 0.1
    torch.testing.assert_close(changes.mean(0), torch.ones(6, 4).double(), rtol=0, atol=0.06)
    block.eval()
    torch.testing.assert_close(through(block, rows, [4, 1]), rows + 1)


def test_mode_a_core_by_hand():
    """Sheet section 13: q = k = v = LN(X), S = {0}."""
    block = make_block("A", width=2, heads=1)
    attention = block.attention
    torch.nn.init.ones_(attention.norm.weight)
    for linear in (attention.query, attention.key, attention.value, attention.out):
        torch.nn.init.eye_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    rows = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.5]], dtype=torch.float64)
    found = through(block, rows, [0]) - rows
    expected = torch.tensor([[0.78856, -0.78856], [-0.88838, 0.88838], [-0.88827, 0.88827]])
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["A", "B"])
def test_large_logits_do_not_overflow(mode):
    block, rows = make_block(mode).float(), 1e4 * bag().float()
    torch.nn.init.constant_(block.attention.query.weight, 30.0)
    assert bool(through(block, rows, SELECTIONS["some"]).isfinite().all())


@pytest.mark.parametrize("mode", ["A", "B"])
def test_sums_over_rows_stay_in_single_precision_under_autocast(mode):
    block, rows = make_block(mode, chunk=64).float(), torch.randn(4096, E, generator=seeded())
    selected = list(range(8))
    exact = through(block, rows, selected)
    with torch.autocast("cpu", torch.bfloat16):
        found = through(block, rows, selected)
        part = block.attention.gather(rows, block.attention.selected(rows[:8]))
    assert found.dtype == torch.float32
    assert part.total.dtype == part.mass.dtype == torch.float32
    change, expected = found[:8] - rows[:8], exact[:8] - rows[:8]
    assert float(((change - expected).norm() / expected.norm()).detach()) < 0.02
