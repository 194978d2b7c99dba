"""Which pictures stand for a cluster."""

import numpy as np

from medssl.evaluate.clusters import draw_clusters, nearest_pictures


def test_the_nearest_pictures_of_the_largest_clusters_are_shown():
    scores = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.1, 0.7, 0.0], [0.95, 0.3, 0.0]])
    found = nearest_pictures(scores, rows=3, each=2)
    assert [members.tolist() for members in found] == [[3, 0], [2, 3]]
    assert len(nearest_pictures(scores, rows=1, each=2)) == 1


def test_the_picture_is_a_png():
    pictures = np.random.default_rng(0).normal(size=(4, 8, 8))
    drawn = draw_clusters(pictures, list("abcd"), np.eye(4), rows=2, each=3)
    assert drawn.startswith(b"\x89PNG")
