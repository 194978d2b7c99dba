"""The table and the page of graded radiographs."""

from pathlib import Path

import numpy as np
import pytest

from medssl.data.spec import load_spec
from medssl.evaluate.grade_report import (
    GradeReport,
    graded,
    read_grades,
    render,
    write_grades,
)
from medssl.evaluate.grading import score_grades
from medssl.evaluate.report import Origin, Picture

GRADES = ("KL0", "KL1", "KL2")
PROBABILITY = np.array([[0.7, 0.2, 0.1], [1 / 3, 1 / 3 + 1e-9, 1 / 3 - 1e-9], [0.1, 0.3, 0.6]])


def report(truth: list[int], **keys) -> GradeReport:
    many = np.tile(PROBABILITY, (8, 1))
    truths = np.array(truth * 8)
    images = graded([f"i{number}" for number in range(24)], many, list(truths))
    roles = {"labelled": 6, "unlabelled": 0, "validation": 3, "test": 24}
    origin = Origin("a", "semixup", "paper", "best", roles, "hash", "code", "config: 1")
    plain = {
        "title": "<Knees>",
        "spec": load_spec("knee"),
        "grades": GRADES,
        "images": images,
        "scores": score_grades(many, truths, 100, np.random.default_rng(0)),
        "uncalibrated_error": 0.123,
        "temperature": 1.5,
        "disease_from": 2,
        "resamples": 100,
        "patients_known": True,
        "pictures": (),
        "origin": origin,
    }
    return GradeReport(**{**plain, **keys})


@pytest.mark.parametrize("truth", [None, [0, 0, 2]])
def test_what_is_written_is_read_back_to_the_last_digit(tmp_path: Path, truth) -> None:
    images = graded(["a", "b", "c"], PROBABILITY, truth)
    assert [image.prediction for image in images] == [0, 1, 2]
    write_grades(tmp_path / "grades.csv", images, GRADES)
    assert read_grades(tmp_path / "grades.csv") == images
    head = (tmp_path / "grades.csv").read_text().splitlines()[0]
    assert head.startswith("image,grade," if truth is None else "image,truth,grade,")
    assert [path.name for path in tmp_path.iterdir()] == ["grades.csv"]


def test_the_page_says_what_was_measured_and_refers_to_nothing_outside() -> None:
    page = render(report([0, 1, 2]))
    assert "&lt;Knees&gt;" in page
    assert "AUC, KL2" in page
    assert "ECE before calibration" in page
    assert "0.123" in page
    assert page.count("<img") == 4  # confusion, two ROC, reliability
    assert "http" not in page.replace("https://data.mendeley", "")
    assert "they are too narrow" in page  # eight images of a grade
    assert "of one patient" not in page


def test_images_that_are_most_surely_wrong_come_first() -> None:
    page = render(report([2, 1, 2]))
    every = page[page.index("Every image") :]
    assert every.index("i0<") < every.index("i1<") < every.index("i2<")
    assert "<b>8</b><span>wrong<br>8 by 2 grades or more" in page


def test_what_is_not_known_is_said() -> None:
    page = render(report([0, 0, 2], patients_known=False))
    assert "Nothing says which images are of one patient" in page
    picture = Picture("right", "i0", b"png")
    assert "Saliency of i0" in render(report([0, 0, 2], pictures=[picture]))
