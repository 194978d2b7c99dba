"""What a run will take is told before it starts, and changes nothing of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from medssl.families.segment import foretell
from medssl.pipeline import timing
from medssl.pipeline.config import load_config
from medssl.pipeline.foretold import Foretold, Pace, duration
from medssl.pipeline.plan import cohort_of
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from tests.told import Told

LONG = Foretold(
    step=Pace(0.5, 0.4),
    steps=(400,) * 6,
    answer=Pace(0.1, 0.2),
    validated=100,
    predicted=300,
    result=Pace(0.25, 0.05),
    results=40,
    named="masks",
    memory=2_000_000_000,
    device="CPU",
)


@pytest.mark.parametrize(
    ("seconds", "timed"),
    [(5.0, 3), (0.5, 4), (0.01, 20)],
)
def test_quick_steps_are_timed_more_often_than_slow_ones(seconds: float, timed: int) -> None:
    """Three at least, as many as two seconds hold, twenty at most; the first does not count."""
    ends = list[Pace]()
    while not timing._enough(ends):
        ends.append(Pace(seconds * len(ends), 0))
    assert len(ends) - 1 == timed


def test_all_trainings_count_and_the_masks_that_follow() -> None:
    wall, processor = 0.5 * 400 * 6 + 0.1 * 100, 0.4 * 400 * 6 + 0.2 * 100
    assert LONG.training == pytest.approx((wall + 6 * 0.3, processor + 6 * 0.3))
    assert LONG.prediction == pytest.approx((30 + 40 * 0.25 + 0.3, 60 + 40 * 0.05 + 0.3))
    assert str(LONG) == (
        "6 trainings of 400 steps at 0.5 s will take about 20 min, then 40 masks about 40 s; "
        "they need 2 GB on the CPU"
    )


def test_more_memory_than_was_asked_for_is_told() -> None:
    said = "they need 2 GB on the CPU"
    assert str(replace(LONG, limit=4.0)).endswith(said)
    assert str(replace(LONG, limit=0.5)).endswith(f"{said}, more than the 0.5 GB of plan.memory")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.1, "1 s"), (45, "45 s"), (600, "10 min"), (5400, "1 h 30 min"), (90_000, "25 h 0 min")],
)
def test_times_are_told_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_steps_windows_and_masks_are_those_of_the_run(balls: Path) -> None:
    """Eight balls of 12 voxels a side: patches of 8 at a stride of 4 are 8 windows of each."""
    config = load_config("balls", ["split={labels: 4, test: 2, folds: 4, validation: 0}"])
    found = foretell.foretell(config, cohort_of(config), QuietReporter())
    assert found.steps == (2,) * 5
    assert found.results == 6  # two of the test, four that folds leave out
    assert found.predicted == 8 * 6
    assert found.validated == 8 * 4  # each fold answers to what it leaves out
    assert min(found.step) > 0
    assert min(found.answer) > 0
    assert found.result.wall > 0
    assert found.memory > 1e8
    ensemble = load_config(
        "balls", ["split={labels: 4, test: 2, folds: 4, validation: 0, final: ensemble}"]
    )
    found = foretell.foretell(ensemble, cohort_of(ensemble), QuietReporter())
    assert found.steps == (2,) * 4
    assert found.predicted == 8 * (2 * 4 + 4)


@pytest.mark.parametrize("method", ["supervised", "tracoco"])
def test_a_run_is_the_same_to_the_last_bit(
    balls: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    overrides = [f"method={method}", "network.dropout=0.5"]
    monkeypatch.setattr(foretell, "FEWEST", 1)
    monkeypatch.setenv("MEDSSL_RUNS", "told")
    listening = Told(listens=True)
    told = run(load_config("balls", overrides), listening)
    assert any("will take about" in line for line in listening.notes)
    monkeypatch.setenv("MEDSSL_RUNS", "quiet")
    quiet = run(load_config("balls", overrides), QuietReporter())
    weights = [(one["model"] / "weights.safetensors").read_bytes() for one in (told, quiet)]
    assert weights[0] == weights[1]


def test_the_generators_of_torch_are_left_as_they_were(balls: Path) -> None:
    config = load_config("balls", ["network.dropout=0.5"])
    torch.manual_seed(5)
    before = torch.get_rng_state()
    foretell.foretell(config, cohort_of(config), QuietReporter())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_has_begun_or_is_short_is_not_foretold(
    balls: Path, untrained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Told(listens=True)
    run(load_config("balls"), short)
    assert not any("will take" in line for line in short.notes)
    monkeypatch.setattr(foretell, "FEWEST", 1)
    again = Told(listens=True)
    run(load_config("balls"), again)
    assert not any("will take" in line for line in again.notes)


def test_a_step_beyond_the_memory_names_what_to_lower(
    balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(foretell, "step_pace", full)
    config = load_config("balls")
    with pytest.raises(Exception, match=r"does not fit into the memory.*lower train\.batch"):
        foretell.foretell(config, cohort_of(config), QuietReporter())
