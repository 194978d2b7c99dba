"""Clusters against the numbers of the sheet of joint 2D-3D pre-training, section 11, 1 to 5."""

from math import log, sqrt
from typing import Any

import pytest
import torch
from torch.nn.functional import normalize

from medssl.methods.pretrain.cluster_use import ClusterUse
from medssl.methods.pretrain.clustering import DeepClusters, Items, SwavClusters, swav_loss
from medssl.methods.pretrain.sinkhorn import sinkhorn
from medssl.methods.pretrain.spherical_kmeans import first_centroids, spherical_kmeans
from medssl.methods.settings.joint2d3d import DeepCluster, Level, Swav

EPSILON = 0.05


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return normalize(draw(*shape, seed=seed), dim=-1)


def swav(queue: int = 0, queue_from: int = 0, sources: int = 1, **level: Any) -> SwavClusters:
    torch.manual_seed(0)
    chosen = Level(**{"prototypes": 6, "queue": queue, "freeze_steps": 0, **level})
    return SwavClusters(chosen, Swav(queue_from=queue_from), 0.1, 8, sources)


def items(count: int, step: int = 1, source: torch.Tensor | None = None) -> Items:
    """Items 0, 1, ... of one data set unless given."""
    of_one = torch.zeros(count, dtype=torch.int64)
    return Items(torch.arange(count), of_one if source is None else source, step)


def deep(items: int = 12, drift: bool = False, **settings: int) -> DeepClusters:
    torch.manual_seed(0)
    level = Level(prototypes=3, heads=3, freeze_steps=0)
    chosen = DeepCluster(**{"fill_steps": 2, "every": 3, **settings})
    return DeepClusters(level, chosen, 0.1, 8, items, drift)


# 1 and 2: Sinkhorn


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        (1, [[4 / 7, 3 / 7], [2 / 5, 3 / 5]]),
        (100, [[2 - sqrt(2), sqrt(2) - 1], [sqrt(2) - 1, 2 - sqrt(2)]]),
    ],
)
def test_sinkhorn_of_a_hand_example(iterations, expected):
    scores = EPSILON * torch.tensor([[log(4), 0], [log(2), 0]])
    found = sinkhorn(scores, EPSILON, iterations)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize("iterations", [1, 3, 100])
def test_sinkhorn_assigns_every_item_once(iterations):
    found = sinkhorn(unit(64, 16) @ unit(16, 16, seed=1).T, EPSILON, iterations)
    torch.testing.assert_close(found.sum(1), torch.ones(64), atol=1e-6, rtol=0)


def test_sinkhorn_uses_all_prototypes_alike_after_many_iterations_only():
    """With 3 the worst is off by tens of percent in 16 dimensions; never assert it to be tight."""
    scores = unit(64, 16) @ unit(16, 16, seed=1).T
    few, many = (
        (sinkhorn(scores, EPSILON, count).sum(0) / (64 / 16) - 1).abs().max() for count in (3, 200)
    )
    assert 0.02 < few < 1
    assert many < 1e-4


def test_sinkhorn_of_equal_scores_is_even_and_a_constant_changes_nothing():
    even = sinkhorn(torch.full((5, 4), 0.3), EPSILON, 3)
    assert torch.equal(even, torch.full((5, 4), 0.25))
    scores = unit(8, 16) @ unit(4, 16, seed=1).T
    torch.testing.assert_close(
        sinkhorn(scores + 7, EPSILON, 3), sinkhorn(scores, EPSILON, 3), atol=1e-5, rtol=1e-5
    )


def test_sinkhorn_takes_scores_that_would_overflow_half_precision():
    scores = torch.tensor([[1.0, -1.0], [0.9, 1.0]], dtype=torch.float16)
    found = sinkhorn(scores, EPSILON, 3)
    assert found.isfinite().all()
    assert found.dtype == torch.float32


def test_few_items_and_many_prototypes_tell_little():
    """12 items, 3000 prototypes, 3 iterations: about 2300 prototypes each (sheet, section 5)."""
    found = sinkhorn(unit(12, 640) @ unit(3000, 640, seed=1).T, EPSILON, 3)
    effective = (-(found * found.log()).sum(1)).exp().mean().item()
    assert 2000 < effective < 2600
    assert found.max().item() < 0.005


# 3: the loss


def test_the_swav_loss_of_a_hand_example():
    """q = [1, 0], scores [0.1 ln 3, 0], tau 0.1: -ln(3/4), from both sides."""
    scores, target = torch.tensor([[0.1 * log(3), 0.0]]), torch.tensor([[1.0, 0.0]])
    found = swav_loss([scores, scores], [target, target], 0.1).item()
    assert found == pytest.approx(0.28768, abs=1e-5)


def test_no_gradient_flows_into_assignments():
    """Both views agree: the loss of one is that of its fixed assignment."""
    clusters = swav()
    crops = [unit(5, 8, seed=seed).requires_grad_() for seed in (1, 2)]
    clusters(crops, items(5), torch.Generator()).loss.backward()
    weight = clusters.prototypes[0].detach()
    fixed = [sinkhorn(crop.detach() @ weight.T, EPSILON, 3) for crop in crops]
    again = [crop.detach().requires_grad_() for crop in crops]
    scores = [crop @ weight.T for crop in again]
    swav_loss(scores, fixed, 0.1).backward()
    for one, other in zip(crops, again, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_small_crops_predict_and_are_never_assigned():
    scores = [draw(4, 3, seed=seed) for seed in range(4)]
    targets = [draw(4, 3, seed=seed).softmax(1) for seed in (10, 11)]

    def pair(view: int, assigned: int) -> torch.Tensor:
        return -(targets[assigned] * (scores[view] / 0.1).log_softmax(1)).sum(1).mean()

    expected = (
        (pair(1, 0) + pair(2, 0) + pair(3, 0)) / 3 + (pair(0, 1) + pair(2, 1) + pair(3, 1)) / 3
    ) / 2
    torch.testing.assert_close(swav_loss(scores, targets, 0.1), expected)


# 4: prototypes and queue


def test_prototypes_have_length_one_before_every_forward():
    clusters = swav(freeze_steps=2)
    assert clusters.prototypes.norm(dim=2).sub(1).abs().max() < 1e-6
    optimiser = torch.optim.SGD(clusters.parameters(), 1.0, weight_decay=0.1)
    start = clusters.prototypes.detach().clone()
    for step in (1, 2, 3, 4):
        crops = [unit(5, 8, seed=seed) for seed in (step, 10 + step)]
        crops[0].requires_grad_()
        optimiser.zero_grad()
        clusters(crops, items(5, step), torch.Generator()).loss.backward()
        optimiser.step()
        clusters.remember(crops, items(5, step))
        if step <= 2:
            assert torch.equal(clusters.prototypes, start), "they rest at first"
        else:
            assert not torch.equal(clusters.prototypes, start)
            assert clusters.prototypes.norm(dim=2).sub(1).abs().max() < 1e-6


def test_the_queue_joins_once_it_is_full():
    clusters = swav(queue=8, queue_from=1)
    given = [[unit(5, 8, seed=10 * step + view) for view in (0, 1)] for step in range(4)]
    weight = clusters.prototypes[0].detach()
    for step, crops in enumerate(given, 1):
        earlier = [torch.cat([one[view] for one in given[1 : step - 1][::-1]] or [crops[0][:0]])
                   for view in (0, 1)]  # fmt: skip
        joins = len(earlier[0]) >= 8
        targets = []
        for view, crop in enumerate(crops):
            rows = torch.cat([earlier[view][:8], crop]) if joins else crop
            targets.append(sinkhorn(rows @ weight.T, EPSILON, 3)[-5:])
        expected = swav_loss([crop @ weight.T for crop in crops], targets, 0.1)
        found = clusters(crops, items(5, step), torch.Generator()).loss
        torch.testing.assert_close(found, expected)
        assert joins == (step == 4), "step 1 is not kept, steps 2 and 3 fill it"
        clusters.remember(crops, items(5, step))


# Balance within each data set


def test_groups_are_assigned_as_if_each_were_alone():
    scores = unit(9, 8) @ unit(5, 8, seed=1).T
    source = torch.tensor([0, 2, 0, 0, 2, 2, 0, 2, 0])
    found = sinkhorn(scores, EPSILON, 3, torch.nn.functional.one_hot(source, 3).float())
    for one in (0, 2):
        alone = sinkhorn(scores[source == one], EPSILON, 3)
        torch.testing.assert_close(found[source == one], alone, atol=1e-5, rtol=1e-5)


def two_organs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Twelve items about one direction and twelve about another, and of which they are."""
    source = torch.arange(24) % 2
    return normalize(torch.eye(2, 8)[source] + 0.2 * draw(24, 8, seed=seed), dim=1), source


def test_which_data_set_solves_the_task_only_where_all_are_balanced_together():
    """Prototypes at the organs: each organ to its own, or each shared out among both."""
    crop, source = two_organs()
    shares = {}
    for balance in ("all", "data_set"):
        clusters = swav(sources=2, prototypes=2, balance=balance)
        clusters.prototypes.data[0] = torch.eye(2, 8)
        target = clusters._assign(0, crop @ torch.eye(2, 8).T, torch.eye(2, 8), source)
        shares[balance] = target[source == 0].mean(0)
    torch.testing.assert_close(shares["all"], torch.tensor([1.0, 0.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(shares["data_set"], torch.tensor([0.5, 0.5]), atol=0.15, rtol=0)


def test_the_queue_knows_of_which_data_set_its_items_are():
    clusters = swav(queue=6, sources=3, balance="data_set")
    crops = [[unit(4, 8, seed=10 * step + view) for view in (0, 1)] for step in range(3)]
    sources = [torch.tensor(one) for one in ([0, 1, 1, 2], [2, 2, 0, 1], [1, 1, 1, 1])]
    weight = clusters.prototypes[0].detach()
    for step in (0, 1):
        clusters.remember(crops[step], items(4, step + 1, sources[step]))
    kept = torch.cat([sources[1], sources[0]])[:6]
    assert torch.equal(clusters.queue_source, kept)
    earlier = torch.cat([crops[1][0], crops[0][0]])[:6]
    rows = torch.cat([earlier[kept == 1], crops[2][0]])
    found = clusters._assign(0, crops[2][0] @ weight.T, weight, sources[2])
    torch.testing.assert_close(found, sinkhorn(rows @ weight.T, EPSILON, 3)[-4:])
    assert "queue_source" not in swav(queue=6).state_dict()


# 5: k-means


def test_spherical_kmeans_of_a_hand_example():
    rows = torch.tensor([[1, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8]])
    labels, centroids = spherical_kmeans(rows, rows[[0, 2]], 10)
    assert labels.tolist() == [0, 0, 1, 1]
    expected = torch.tensor([[0.9487, 0.3162], [-0.3162, 0.9487]])
    torch.testing.assert_close(centroids, expected, atol=1e-4, rtol=0)


def test_an_empty_cluster_keeps_its_centroid():
    rows = unit(6, 3)
    start = torch.stack([rows[0], -rows.mean(0)])
    start[1] = normalize(-rows.sum(0), dim=0) * 5
    far = normalize(start[1], dim=0)
    near = rows[(rows @ far) < (rows @ rows[0])]
    labels, centroids = spherical_kmeans(near, start, 3)
    assert (labels == 0).all()
    torch.testing.assert_close(centroids[1], far)


def test_first_centroids_are_different_rows_as_far_as_there_are_enough():
    rows = torch.arange(5.0)[:, None]
    g = torch.Generator().manual_seed(0)
    assert sorted(first_centroids(rows, 5, g).flatten().tolist()) == [0, 1, 2, 3, 4]
    assert set(first_centroids(rows, 8, g).flatten().tolist()) == {0, 1, 2, 3, 4}


# DeepCluster-v2


def fill(clusters: DeepClusters, count: int = 12) -> list[torch.Tensor]:
    crops = [unit(count, 8, seed=seed) for seed in (3, 4)]
    clusters.remember(crops, items(count))
    return crops


def test_deepcluster_only_fills_its_memory_at_first():
    clusters = deep()
    crops = fill(clusters)
    found = clusters(crops, items(12, 2), torch.Generator().manual_seed(0))
    assert found.loss.item() == 0
    assert (clusters.label == -100).all()
    assert torch.equal(clusters.memory[0], crops[0])
    assert torch.equal(clusters.memory[1], crops[1])


def test_each_head_clusters_the_memory_of_crop_h_mod_2_and_all_crops_predict_its_labels():
    clusters = deep()
    crops = fill(clusters)
    crops = [*crops, unit(12, 8, seed=5)]
    found = clusters(crops, items(12, 3), torch.Generator().manual_seed(0)).loss
    losses = []
    for head in range(3):
        centroids = clusters.prototypes[head]
        nearest = (clusters.memory[head % 2] @ centroids.T).argmax(1)
        assert torch.equal(clusters.label[head], nearest)
        for crop in crops:
            logs = (crop @ centroids.T / 0.1).log_softmax(1)
            losses.append(-logs[torch.arange(12), nearest].mean())
    torch.testing.assert_close(found, torch.stack(losses).mean())


def test_items_that_were_never_met_are_passed_over():
    clusters = deep()
    crops = fill(clusters, count=7)
    fresh = [torch.cat([crop, unit(5, 8, seed=9)]) for crop in crops]
    some = clusters(crops, items(7, 3), torch.Generator().manual_seed(0)).loss
    every = clusters(fresh, items(12, 4), torch.Generator()).loss
    assert (clusters.label[:, 7:] == -100).all()
    torch.testing.assert_close(every, some)


def test_labels_change_at_the_next_clustering_only():
    clusters = deep()
    crops = fill(clusters)
    clusters(crops, items(12, 3), torch.Generator().manual_seed(0))
    first = clusters.label.clone()
    clusters.remember([unit(12, 8, seed=seed) for seed in (20, 21)], items(12, 3))
    for step in (4, 5):
        clusters(crops, items(12, step), torch.Generator().manual_seed(step))
        assert torch.equal(clusters.label, first)
    clusters(crops, items(12, 6), torch.Generator().manual_seed(6))
    assert not torch.equal(clusters.label, first)


@pytest.mark.parametrize("drift", [False, True])
def test_centroids_rest_within_an_epoch_unless_they_drift(drift):
    clusters = deep(drift=drift)
    crops = [crop.requires_grad_() for crop in fill(clusters)]
    clusters(crops, items(12, 3), torch.Generator().manual_seed(0)).loss.backward()
    assert (clusters.prototypes.grad is not None) == drift
    assert clusters.prototypes.requires_grad == drift


# What tells of clusters


def test_nmi_is_one_if_clusters_are_data_sets_and_none_if_they_are_not():
    told, blind = ClusterUse(4, 100), ClusterUse(4, 100)
    source = torch.arange(40) % 4
    told.add(3 - source, source)
    blind.add(torch.arange(40) // 4 % 2, source)
    assert told.agreement_with_source() == pytest.approx(1)
    assert blind.agreement_with_source() == pytest.approx(0, abs=1e-6)


def test_nmi_of_a_hand_example():
    """I = ln 2 / 2 over the mean of H = ln 2 (data sets) and H = 3/2 ln 2 (clusters)."""
    use = ClusterUse(3, 100)
    use.add(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 1]))
    mutual, one, other = log(2) / 2, log(2), 1.5 * log(2)
    assert use.agreement_with_source() == pytest.approx(mutual / ((one + other) / 2), abs=1e-6)


def test_with_one_data_set_nothing_can_be_told_apart():
    use = ClusterUse(4, 100)
    use.add(torch.tensor([0, 1, 2]), torch.zeros(3, dtype=torch.int64))
    assert use.agreement_with_source() == 0


def test_used_counts_prototypes_that_could_be_used():
    use = ClusterUse(8, items=4, least=6)
    assert not use.full()
    use.add(torch.tensor([5, 5]), torch.zeros(2, dtype=torch.int64))
    assert use.used().item() == 0.5
    use.add(torch.tensor([5, 6]), torch.zeros(2, dtype=torch.int64))
    assert use.used().item() == 0.5, "four items can use four of eight"
    for _ in range(6):
        use.add(torch.tensor([1, 2, 3]), torch.zeros(3, dtype=torch.int64))
    assert use.full()
    assert use.used().item() == 0.75
