"""The simulated step of several ranks, against sums by hand."""

import numpy as np
import pytest

from tests.benchmarks.ranks import COMPUTE, TALK, WAIT, WIDE, Step, Trace, simulate, table


def test_a_ring_sends_an_nth_of_the_bytes_twice_to_all_others() -> None:
    """Four ranks, 8 MB in two calls: 6 messages of 1 MB at 1 MB/s, each 0.5 s late."""
    step = Step(10.0, 8e6, 2, bandwidth=1e6, latency=0.5)
    assert step.all_reduce(4) == pytest.approx(6 * (0.5 + 1.0))
    assert simulate(step, 4).seconds == pytest.approx(10 / 4 + 2 * 9)


def test_what_is_not_divided_is_done_by_every_rank() -> None:
    step = Step(10.0, 0.0, 5, latency=0.0, serial=0.2)
    assert simulate(step, 8).seconds == pytest.approx(2 + 8 / 8)
    assert simulate(step, 1).seconds == pytest.approx(10)


def test_all_wait_for_the_slowest_at_every_collective() -> None:
    trace = Trace(np.array([[1.0, 3.0], [2.0, 1.0]]), 0.5)
    assert trace.seconds == 2 + 0.5 + 3 + 0.5
    assert trace.waiting.tolist() == [1.0, 2.0]


def test_a_trace_shows_each_part_as_long_as_it_takes() -> None:
    trace = Trace(np.array([[3.0], [6.0]]), 3.0)
    third = WIDE // 3
    assert trace.line(1) == COMPUTE * (2 * third) + TALK * third
    assert trace.line(0) == COMPUTE * third + WAIT * third + TALK * third


def test_the_table_tells_the_gain_and_the_share_of_collectives() -> None:
    """Two ranks: 5 s of computing, and 2 messages of 2.5 s."""
    last = table(Step(10.0, 5e6, 1, bandwidth=1e6, latency=0.0), [1, 2]).splitlines()[-1]
    assert last.split() == ["2", "10.000", "1.00", "50.0%"]
