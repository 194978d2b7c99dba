"""The simulated storage: what it must give where that can be said without it."""

import pytest

from tests.benchmarks.storage import Storage, Study, bound, seconds

FAST = Storage(bandwidth=1e12, link=1e12, latency_s=0)


def test_one_study_takes_the_sum_of_its_parts():
    study = Study(1, 2, 3, 10, 20)
    assert seconds([study], 1, Storage(10, 5, 0.5)) == pytest.approx(0.5 + 2 + 1 + 2 + 3 + 0.5 + 4)


def test_reading_and_writing_hide_behind_the_prediction():
    study = Study(1, 2, 1, 0, 0)
    assert seconds([study] * 10, 1, FAST) == pytest.approx(1 + 20 + 1)


@pytest.mark.parametrize("slow", [Study(3, 1, 1, 0, 0), Study(1, 1, 3, 0, 0)])
def test_the_slowest_thread_sets_the_pace(slow):
    assert seconds([slow] * 20, 1, FAST) == pytest.approx(60 + 2)


def test_workers_add_up_until_the_storage_is_full():
    study, storage = Study(0.1, 1, 0.1, 8, 2), Storage(80, 80, 0)
    speeds = {}
    for workers in (1, 2, 4, 8, 16, 64):
        studies = [study] * (100 * workers)
        speeds[workers] = len(studies) / seconds(studies, workers, storage)
        most = bound(study, workers, storage)
        assert 0.93 * most <= speeds[workers] <= most * (1 + 1e-9)
    assert speeds[8] == pytest.approx(8 * speeds[1], rel=0.05)
    assert speeds[64] == pytest.approx(8, rel=0.05)


def test_transfers_share_what_there_is():
    two = seconds([Study(0, 0, 0, 10, 0)] * 2, 2, Storage(10, 10, 0))
    assert two == pytest.approx(2)
    assert seconds([Study(0, 0, 0, 10, 0)] * 2, 2, Storage(20, 10, 0)) == pytest.approx(1)
