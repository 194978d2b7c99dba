import io

import numpy as np
import pytest
from PIL import Image

from medssl.evaluate.calibration import Calibration, bin_sums
from medssl.evaluate.froc import Hits, froc_curve
from medssl.evaluate.slide_figures import draw_calibration, draw_confusion, draw_froc, draw_roc

POSITIVE = np.array([0.1, 0.2, 0.7, 0.8, 0.4, 0.9])
TWO = np.stack([1 - POSITIVE, POSITIVE], axis=1)
TRUTH = np.array([0, 0, 0, 1, 1, 1])
CLASSES = ("normal", "tumour")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_all_figures_have_one_size():
    drawn = [
        draw_roc(TWO, TRUTH, CLASSES, 0.5),
        draw_calibration(Calibration.of_sums(*bin_sums(TWO, TRUTH, 15, 0.5))),
        draw_confusion(np.array([[2, 1], [1, 2]]), CLASSES),
        draw_froc(froc_curve([Hits(np.array([0.5]), np.array([0.9]))])),
    ]
    assert {pixels(png).shape for png in drawn} == {(468, 468, 3)}


def test_the_roc_curve_follows_the_ranking():
    perfect, reversed_ = (pixels(draw_roc(p, TRUTH, CLASSES, None)) for p in
                          (np.eye(2)[TRUTH], np.eye(2)[1 - TRUTH]))  # fmt: skip
    # The curve alone is blue: on top when perfect, at the bottom when reversed.
    blue = [(image == (0, 114, 178)).all(axis=2) for image in (perfect, reversed_)]
    assert blue[0][:80].sum() > 200 > 50 > blue[1][:40].sum()


@pytest.mark.parametrize("truth", [np.zeros(6, int), np.ones(6, int)])
def test_one_class_has_no_roc_curve(truth):
    assert draw_roc(TWO, truth, CLASSES, 0.5) is None


def test_no_lesions_no_froc_curve():
    assert draw_froc(froc_curve([Hits(np.array([0.5]), np.empty(0))])) is None


def test_an_absent_class_leaves_an_empty_row():
    assert draw_confusion(np.array([[2, 1], [0, 0]]), CLASSES).startswith(b"\x89PNG")
