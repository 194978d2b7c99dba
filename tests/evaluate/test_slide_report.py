import csv
import re

import numpy as np
import pytest

from medssl.evaluate.classification import predictions, score_slides
from medssl.evaluate.froc import Hits, froc_curve
from medssl.evaluate.report import Origin, Picture
from medssl.evaluate.score import Score
from medssl.evaluate.slide_report import (
    SlideData,
    SlideReport,
    render,
    slide_rows,
    write_slide_report,
    write_slide_scores,
)
from tests.evaluate.page import Page

ORIGIN = Origin(
    label="snuffy, seed 0",
    method="snuffy",
    paper="Jafarinia 2024",
    checkpoint="best",
    roles={"training": 6, "validation": 2, "test": 6},
    split_hash="abc123",
    code="0.1.0",
    config="name: <slides>\nseed: 0\n",
    curves=b"\x89PNG",
)
POSITIVE = [0.05, 0.15, 0.7, 0.8, 0.4, 0.9]
TRUTH = [0, 0, 0, 1, 1, 1]


@pytest.fixture
def report():
    """A report on six slides, s2 and s4 of which are wrong at 0.5; parts can be replaced."""

    def make(probability=None, truth=TRUTH, classes=("normal", "tumour"), simulated=False, **more):
        if probability is None:
            probability = np.stack([1 - np.array(POSITIVE), POSITIVE], axis=1)
        truth = np.array(truth)
        scores = score_slides(probability, truth, 100, np.random.default_rng(0))
        rows = slide_rows(
            [f"s{i}" for i in range(len(truth))], probability, truth, predictions(probability)
        )
        data = SlideData("Two & more nodes", "CC0", "Nobody <2026>", simulated=simulated)
        return SlideReport("Nodes", data, classes, rows, scores, 100, **more)

    return make


def test_scores_stand_with_their_interval(report):
    content = report()
    text = Page(render(content)).text
    auc = content.scores.auc
    assert f"AUC ↑ {auc.value:.3f} {auc.low:.3f} to {auc.high:.3f}" in text
    assert "ECE ↓" in text
    assert "2 wrong of 6" in text
    assert "3 are tumour" in text


def test_every_slide_is_listed_most_surely_wrong_first(report):
    text = Page(render(report())).text
    table = text[text.index("Every slide") :]
    assert re.findall(r"s\d", table) == ["s2", "s4", "s3", "s1", "s5", "s0"]
    assert "s2 normal tumour 0.300 0.700" in table


def test_where_the_threshold_comes_from(report):
    text = Page(render(report(threshold_source="chosen on 2 validation slides"))).text
    assert "called tumour where its probability reaches 0.500, chosen on 2 validation" in text


def test_simulated_data_say_so_and_real_data_do_not(report):
    assert "Simulated data" in Page(render(report(simulated=True))).text
    assert "imulated" not in Page(render(report())).text


def test_one_class_alone_gives_reasons_not_numbers(report):
    content = report(truth=[0] * 6)
    text = Page(render(content)).text
    assert "AUC ↑ - no slide of class 1" in text
    assert "nan" not in text
    assert sum(link.startswith("data:image/png") for link in Page(render(content)).links) == 2


def test_several_classes(report):
    probability = np.random.default_rng(0).dirichlet([1, 1, 1], size=6)
    text = Page(
        render(report(probability, [0, 1, 2, 0, 1, 2], classes=("LUAD", "LUSC", "other")))
    ).text
    assert "of each class against the others" in text
    assert "probability reaches" not in text
    assert "probability LUAD probability LUSC probability other" in text


def test_lesions_and_tiles(report):
    curve = froc_curve([Hits(np.array([0.5]), np.array([0.9, 0.4])), Hits(np.empty(0), [])])
    patches = [("patch AUC", Score(0.75, reason="tiles are not independent"))]
    text = Page(render(report(froc=curve, patches=patches))).text
    assert "lesions found at 1/4 false positive per slide 0.500" in text
    assert "lesions found at 8 false positives per slide 1.000" in text
    assert "0.833 FROC score 2 lesions, 2 slides" in text
    assert "patch AUC 0.750 tiles are not independent" in text


def test_the_page_needs_nothing_outside_itself(report):
    pictures = [Picture("worst", "s2", b"\x89PNG")]
    curve = froc_curve([Hits(np.array([0.5]), np.array([0.9]))])
    page = Page(render(report(pictures=pictures, origin=ORIGIN, froc=curve)))
    assert len(page.links) == 6  # four figures, a heat map, the training curves
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "worst · s2 · normal, called tumour with probability 0.700" in page.text


def test_the_run_is_described(report):
    text = Page(render(report(origin=ORIGIN))).text
    for part in ("snuffy, seed 0", "Jafarinia 2024", "6 training, 2 validation", "abc123"):
        assert part in text
    assert "name: <slides>" in text
    assert "best, chosen on the validation slides" in text


def test_names_cannot_break_the_page(report):
    html = render(report(classes=("<b>bold</b>", "tumour")))
    assert "<b>bold" not in html
    assert "Nobody <2026>" in Page(html).text


def test_files_are_whole_and_alone(report, tmp_path):
    content = report()
    write_slide_report(tmp_path / "report.html", content)
    write_slide_scores(tmp_path / "scores.csv", content.rows, content.classes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "scores.csv"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(content)


def test_the_table_keeps_every_digit(report, tmp_path):
    probability = np.array([[2 / 3, 1 / 3], [0.1, 0.9]])
    content = report(probability, [0, 0], classes=("normal, all", "tumour"))
    path = tmp_path / "scores.csv"
    write_slide_scores(path, content.rows, content.classes)
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "slide", "truth", "prediction", "probability normal, all", "probability tumour",
    ]  # fmt: skip
    assert [row["prediction"] for row in rows] == ["normal, all", "tumour"]
    assert float(rows[0]["probability tumour"]) == 1 / 3
