"""How far sizes of masks are off, from cases that were left out."""

import math

import numpy as np
import pytest

from medssl.data.csv_table import read_table
from medssl.infer.measure import Measured, write_volumes
from medssl.infer.size_error import SizeError


def test_the_error_is_the_root_mean_square_of_the_logarithms_of_ratios() -> None:
    found = SizeError.of([(2.0, 1.0), (1.0, 2.0), (3.0, 3.0), (0.0, 0.0)])  # the last has nothing
    assert found is not None
    assert found.cases == 3
    assert found.error == pytest.approx(math.log(2) * math.sqrt(2 / 3))
    # Student's quantile for 97.5 % and 3 degrees of freedom is 3.182446.
    assert math.log(found.factor) == pytest.approx(3.182446 * found.error, rel=1e-6)


def test_a_bias_widens_the_interval_as_a_scatter_does() -> None:
    biased = SizeError.of([(1.1, 1.0)] * 8)
    assert biased is not None
    assert biased.error == pytest.approx(math.log(1.1))


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [(1.0, 1.1)],  # one case
        [(1.0, 1.1), (0.0, 0.0)],  # one case that has the structure
        [(1.0, 1.1), (1.0, 1.0), (2.0, 0.0)],  # missed
        [(1.0, 1.1), (1.0, 1.0), (0.0, 0.5)],  # made up
        [(1.0, 1.1), (1.0, 6.0)],  # off by more than tenfold, for all that two cases say
    ],
)
def test_nothing_is_claimed_of_one_case_or_where_a_structure_was_missed(sizes) -> None:
    assert SizeError.of(sizes) is None


def test_nineteen_new_cases_of_twenty_lie_within() -> None:
    generator, inside = np.random.default_rng(0), []
    for _ in range(4000):
        *known, new = np.exp(generator.normal(0, 0.1, 6))
        found = SizeError.of([(ratio, 1.0) for ratio in known])
        assert found is not None
        inside.append(1 / found.factor <= new <= found.factor)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.011)  # three standard errors


def test_intervals_are_those_of_left_out_cases_where_they_are_known(tmp_path) -> None:
    networks = ((1000, 10, 0), (1200, 30, 0))
    both = Measured(0.1, (1100, 20, 0), 0.01, networks, factors=(1.25, None, 1.5))
    assert both.interval(0) == pytest.approx((8.8, 13.75))
    assert both.interval(1) is None  # no mixture with that of the networks
    assert both.interval(2) is None  # nothing is marked
    assert Measured(0.1, (1100,), 0.01, ((1000,), (1200,))).interval(0) == (10, 12)
    assert both.said(0) == "11 ml (8.8 to 13.8)"
    assert Measured.from_plain(both.to_plain()) == both
    write_volumes(tmp_path / "v.csv", {"a": both}, [(1, "a"), (2, "b"), (3, "c")], True)
    first, second, _ = read_table(tmp_path / "v.csv")
    assert [float(first[key]) for key in ("ml", "ml_low", "ml_high")] == [11, 8.8, 13.75]
    assert (second["ml_low"], second["ml_high"]) == ("", "")


def test_pixels_between_are_whole(tmp_path) -> None:
    polyp = Measured(0.1, (1000,), 1, unit="pixels", factors=(1.3,))
    write_volumes(tmp_path / "v.csv", {"a": polyp}, [(1, "polyp")], True)
    (row,) = read_table(tmp_path / "v.csv")
    assert [row[name] for name in ("pixels", "pixels_low", "pixels_high")] == [
        "1000",
        "769",
        "1300",
    ]
