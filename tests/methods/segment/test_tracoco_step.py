"""One training step of the two networks (sheet 5.4 and 6; properties 15 to 19)."""

import copy

import pytest
import torch
from torch import Tensor, nn

RELEASED = {"norm": "batch", "dropout": 0.5}
PLAIN = {"norm": "instance", "dropout": 0.0}


def weights(method: nn.Module, part: int | None = None) -> Tensor:
    """All trained weights of the pair or of one network, in one row."""
    networks = method.pair if part is None else [method.pair[part]]
    return torch.cat([p.detach().flatten() for n in networks for p in n.parameters()])


@pytest.fixture
def trained(terms):
    """The method after a few steps of plain descent; part by part, as the training loop runs it."""

    def train(method, given, order=(0, 1), steps=1):
        for step in range(1, steps + 1):
            method.zero_grad()
            for part in order:
                sum(terms(method, given, parts=[part], step=step).values()).backward()
            with torch.no_grad():
                for parameter in method.parameters():
                    parameter.sub_(0.1 * parameter.grad)
        return method

    return train


@pytest.mark.parametrize("network", [RELEASED, PLAIN], ids=["batch norm", "instance norm"])
def test_labels_of_unlabelled_items_change_no_bit(build, batches, trained, network):
    """Property 15."""
    clean, leaky = batches(), batches()
    leaky["unlabelled"].label = torch.full((2, 8, 8, 8), 255, dtype=torch.uint8)
    found = [weights(trained(build("tracoco", **network), given)) for given in (clean, leaky)]
    assert torch.equal(*found)


def test_labels_of_labelled_items_do_change_the_weights(build, batches, trained):
    other = batches()
    other["labelled"].label = 1 - other["labelled"].label
    found = [weights(trained(build("tracoco"), given)) for given in (batches(), other)]
    assert not torch.equal(*found)


def other_pixels(batches):
    given = batches()
    given["unlabelled"].image = given["unlabelled"].image.flip(-1) * 1.5
    return given


@pytest.mark.parametrize(
    ("network", "weight", "used"),
    [(PLAIN, 0.3, True), (PLAIN, 0.0, False), (RELEASED, 0.3, True), (RELEASED, 0.0, True)],
    ids=["weighted", "unweighted", "weighted, batch norm", "unweighted, batch norm"],
)
def test_unlabelled_pixels_teach_when_they_have_weight(
    build, batches, trained, network, weight, used
):
    """Property 16; with batch normalisation also their statistics count."""
    found = [
        weights(trained(build("tracoco", unsupervised={"weight": weight}, **network), given))
        for given in (batches(), other_pixels(batches))
    ]
    assert torch.equal(*found) == (not used)


def test_each_unsupervised_term_alone_uses_unlabelled_pixels(build, batches, terms):
    method = build("tracoco")
    before, after = terms(method, batches()), terms(method, other_pixels(batches))
    changed = {name for name in before if before[name].item() != after[name].item()}
    assert changed == {f"{n}_{k}" for n in ("translation", "entropy", "pseudo") for k in (1, 2)}


def test_networks_start_apart_change_and_stay_apart(build, batches, trained):
    """Property 17."""
    method = build("tracoco", **PLAIN)
    before = [weights(method, part) for part in (0, 1)]
    trained(method, batches(), steps=20)
    after = [weights(method, part) for part in (0, 1)]
    assert (before[0] - before[1]).abs().mean() > 1e-2
    assert all((b - a).abs().mean() > 1e-3 for b, a in zip(before, after, strict=True))
    assert (after[0] - after[1]).abs().mean() > 1e-2


@pytest.mark.parametrize("network", [RELEASED, PLAIN], ids=["batch norm", "instance norm"])
def test_term_by_term_backward_equals_one_backward_of_the_sum(build, batches, terms, network):
    """Property 18: by term, by part, and all at once."""
    ways = []
    for way in ("term", "part", "sum"):
        method = build("tracoco", **network)
        if way == "sum":
            sum(terms(method, batches()).values()).backward()
        for part in (0, 1) if way != "sum" else ():
            found = list(terms(method, batches(), parts=[part]).values())
            for term in found if way == "term" else [sum(found)]:
                term.backward(retain_graph=True)
        ways.append(torch.cat([p.grad.flatten() for p in method.parameters()]))
    torch.testing.assert_close(ways[0], ways[2], rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(ways[1], ways[2], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_the_order_of_the_networks_does_not_matter(build, batches, trained, norm):
    """Property 19: pseudo-labels come from the weights before the step; same noise and boxes."""
    found = [
        weights(trained(build("tracoco", norm=norm), batches(), order))
        for order in ((0, 1), (1, 0))
    ]
    assert torch.equal(*found)


def test_the_loss_is_the_sum_that_the_sheet_states(build, batches, terms):
    """L = L_sup + w(t) (L_cbc + w_s KL + w_h N): the three share w(t), supervision does not."""
    method = build("tracoco", noise={"amplitude": 0})
    early, late = terms(method, batches(), step=1), terms(method, batches(), step=160)
    ramp = 0.3 / 0.002151332
    for name, term in early.items():
        expected = 1 if name.startswith("supervised") else ramp
        assert late[name].item() / term.item() == pytest.approx(expected, rel=1e-6)
    doubled = build(
        "tracoco",
        noise={"amplitude": 0},
        translation={"weight": 0.6},
        entropy={"weight": 0.3},
    )
    ratios = {n: t.item() / late[n].item() for n, t in terms(doubled, batches(), step=160).items()}
    assert ratios == pytest.approx(
        {f"{n}_{k}": r for k in (1, 2) for n, r in
         [("supervised", 1), ("translation", 2), ("entropy", 3), ("pseudo", 1)]}
    )  # fmt: skip


class Counted(nn.Module):
    """Remembers the images it met, whether it was training, and whether gradients were kept."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.BatchNorm3d(1), nn.Conv3d(1, 2, 1))
        self.met: list[tuple[Tensor, bool, bool]] = []

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(image)
        self.met.append((image, self.training, logits.requires_grad))
        return logits


@pytest.fixture
def watched(build):
    def make(**settings):
        method = build("tracoco", **settings)
        method.pair = nn.ModuleList([Counted(), Counted()]).double()
        return method.train()

    return make


def test_a_step_takes_six_passes_with_gradient_and_two_without(watched, batches, terms):
    """Sheet section 6, each on four crops; all in training mode, pseudo-labels included."""
    method = watched()
    terms(method, batches())
    for network in method.pair:
        # With gradient: reference, shifted, pseudo; without: teaching the other network.
        assert sorted(kept for _, _, kept in network.met) == [False, True, True, True]
        assert all(training for _, training, _ in network.met)
        assert all(len(image) == 4 for image, _, _ in network.met)


def test_pseudo_labels_come_from_the_clean_image_and_every_other_pass_has_its_own_noise(
    watched, batches, terms
):
    method, given = watched(cutmix={"networks": []}), batches()
    terms(method, given)
    clean = torch.cat([given["labelled"].image, given["unlabelled"].image])
    for network in method.pair:
        taught = [image for image, _, kept in network.met if not kept]
        first, shifted, third = [image for image, _, kept in network.met if kept]
        assert torch.equal(taught[0], clean[:, 0])
        noises = [first - clean[:, 0], shifted - clean[:, 1], third - clean[:, 0]]
        for noise in noises:
            assert noise.abs().max() <= 0.2
            assert noise.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.05)
        assert (noises[0] - noises[2]).abs().max() > 0.1


def test_labelled_items_come_first(watched, batches, terms):
    """Property 20: rows 0-1 are the labelled ones."""
    method, given = watched(noise={"amplitude": 0}), batches()
    terms(method, given)
    for network in method.pair:
        assert torch.equal(network.met[0][0][:2], given["labelled"].image[:, 0])


def test_noisy_images_can_be_clipped(watched, batches, terms):
    method = watched(noise={"amplitude": 0.05, "clip": (0, 1)}, cutmix={"networks": []})
    terms(method, batches())
    for image, _, kept in method.pair[0].met:
        inside = bool(image.min() >= 0 and image.max() <= 1)
        assert inside == kept  # the clean image is left as it is


def test_teaching_in_evaluation_mode_is_a_choice(watched, batches, terms):
    method = watched(pseudo={"train_mode": False})
    terms(method, batches())
    for network in method.pair:
        assert [training for _, training, kept in network.met if not kept] == [False]
        assert all(training for _, training, kept in network.met if kept)
        assert network.training


def test_self_training_asks_the_network_itself(watched, batches, terms):
    method = watched(cotraining=False)
    terms(method, batches(), parts=[0])
    assert len(method.pair[0].met) == 4
    assert method.pair[1].met == []


@pytest.mark.parametrize("mixed", [[], [1, 2]])
def test_passes_that_change_nothing_are_left_out(build, batches, terms, mixed):
    """Without batch statistics labelled rows need no third pass: the same loss, fewer rows."""
    settings = {"noise": {"amplitude": 0}, "cutmix": {"networks": mixed}}
    short = build("tracoco", norm="instance", **settings)
    full = copy.deepcopy(short)
    for network in full.pair:  # an unused batch norm asks for all rows
        network.unused = nn.BatchNorm3d(1)
    rows: dict[str, list[int]] = {"short": [], "full": []}
    for name, method in (("short", short), ("full", full)):
        for network in method.pair:
            network.register_forward_pre_hook(lambda _, x, n=name: rows[n].append(len(x[0])))
    found, expected = terms(short, batches()), terms(full, batches())
    assert sum(rows["short"]) < sum(rows["full"]) == 8 * 4
    for name, term in expected.items():
        torch.testing.assert_close(found[name], term, rtol=1e-12, atol=0)


def test_equal_draws_give_equal_terms_and_others_do_not(build, batches, terms):
    method = build("tracoco", **RELEASED)
    first, again = terms(method, batches()), terms(method, batches())
    assert {n: t.item() for n, t in first.items()} == {n: t.item() for n, t in again.items()}
    other = build("tracoco", seed=1, **RELEASED)
    assert terms(other, batches())["supervised_1"].item() != first["supervised_1"].item()
