"""A training that aims at pseudo-foreground: resumed to the same bits, for every method."""

import pytest
import torch

from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.train.state import TrainState
from tests.pipeline.test_train import Killed, KilledAfter, cohort, trained, weights

AIMED = (
    "method=mean_teacher",
    "train.steps=26",
    "train.foreground_unlabelled=0.5",
    "train.foreground_refresh=20",
)


@pytest.mark.parametrize("killed", [11, 13, 22])
def test_a_killed_training_ends_in_the_same_weights(balls, killed: int) -> None:
    """Before the look, between the look and the batches that know of it, and after."""
    unbroken = trained(balls / "unbroken", *AIMED)
    often = "train.checkpoint_every=3"
    with pytest.raises(Killed):
        trained(balls / "broken", *AIMED, often, reporter=KilledAfter(killed))
    assert weights(trained(balls / "broken", *AIMED, often)) == weights(unbroken)
    uniform = trained(balls / "uniform", *AIMED[:2])
    assert weights(uniform) != weights(unbroken)


def test_the_number_of_threads_changes_nothing(balls) -> None:
    alone = trained(balls / "alone", *AIMED, "train.workers=0")
    assert weights(trained(balls / "eight", *AIMED, "train.workers=8")) == weights(alone)


@pytest.mark.parametrize("method", ["tracoco", "unimatch", "self_training"])
def test_other_methods_take_it_too(balls, method: str) -> None:
    trained(balls / "aimed", f"method={method}", *AIMED[1:])
    search = TrainState.load(balls / "aimed/state.pt", torch.device("cpu")).search
    unlabelled = cohort(f"method={method}").split.unlabelled
    assert {look: len(found) for look, found in search.items()} == {"1": len(unlabelled)}


def test_a_method_without_unlabelled_cases_looks_for_nothing(balls) -> None:
    trained(balls / "aimed", "method=supervised", *AIMED[1:])
    assert TrainState.load(balls / "aimed/state.pt", torch.device("cpu")).search == {}


def test_a_search_that_never_comes_is_refused(balls) -> None:
    with pytest.raises(UsageError, match="foreground_refresh=500 is never reached"):
        load_config("balls", AIMED[:3])
    with pytest.raises(UsageError, match=r"train.workers=9 draws more .* set it to at most 8"):
        load_config("balls", [*AIMED, "train.workers=9"])


def test_what_is_off_leaves_the_folders_of_earlier_runs_alone(balls) -> None:
    def train_hash(*keys: str) -> str:
        return load_config("balls", keys).hash("train")

    assert train_hash("train.foreground_refresh=700") == train_hash()
    assert train_hash(*AIMED[1:]) != train_hash(*AIMED[1:2])
