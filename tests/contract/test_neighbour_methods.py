"""What methods promise that keep examples in place of training: they are named, and train none."""

from pathlib import Path

import pytest
import torch

from medssl.methods.registry import method_names, settings_class
from medssl.methods.segment.knn_segmentation import KnnSegmentation
from medssl.methods.settings.knn_segmentation import Settings
from medssl.networks.settings import NetworkSettings
from tests.contract.killing import check_that_a_kill_changes_nothing

KEEPING = [name for name in method_names() if not settings_class(name).by_gradient]
NETWORK = NetworkSettings(name="conv_fpn", width=2, levels=2, decoder="neighbours", nearest=3)


def test_every_family_that_scores_has_one() -> None:
    assert {settings_class(name).family for name in KEEPING} == {"segment", "grade", "slide"}


def test_a_killed_keeping_ends_with_the_bits_of_an_unbroken_one(build, train, tmp_path: Path):
    check_that_a_kill_changes_nothing(
        lambda seed, state, last: train(
            build("knn_segmentation", network=NETWORK, seed=seed), state, kill_after=last
        ),
        tmp_path,
        3,
    )


def test_voxels_are_kept_of_every_class_alike_and_only_where_they_are_known(build, streams) -> None:
    method: KnnSegmentation = build("knn_segmentation", network=NETWORK)
    batch = streams(method)["labelled"].batch(0)
    batch.known = torch.zeros_like(batch.truth, dtype=torch.bool)
    batch.known[:, :4] = True
    method({"labelled": batch}, None, torch.Generator().manual_seed(0))
    kept = method.network.decoder
    most = Settings().voxels * len(batch.ids)
    assert all(0 < count <= most for count in kept.labels.bincount().tolist() if count)
    shown = set(batch.truth[batch.known].unique().tolist())
    assert set(kept.labels.tolist()) == shown
    assert not any(weight.requires_grad for weight in method.parameters())


@pytest.mark.parametrize("name", KEEPING)
def test_it_says_that_it_is_a_probe(name: str) -> None:
    assert settings_class(name).summary.endswith("a probe")
