"""Pictures of clusters: the prototypes that stand for most, with what lies nearest to them.

Legend: n pictures, K prototypes, S pixels of a side.
"""

import numpy as np

from medssl.evaluate.figure import png_of


def nearest_pictures(scores: np.ndarray, rows: int, each: int) -> list[np.ndarray]:
    """Indices of the `each` nearest pictures to each of the largest clusters.

    Args:
        scores: [n, K]; the highest is nearest.

    Returns:
        At most `rows` arrays, the largest cluster first; clusters without a picture are left out.
    """
    sizes = np.bincount(scores.argmax(1), minlength=scores.shape[1])
    largest = np.argsort(-sizes, kind="stable")[:rows]
    return [
        np.argsort(-scores[:, prototype], kind="stable")[:each]
        for prototype in largest
        if sizes[prototype]
    ]


def draw_clusters(
    pictures: np.ndarray, names: list[str], scores: np.ndarray, rows: int = 8, each: int = 8
) -> bytes:
    """PNG, a row per prototype: the pictures nearest to it, each under the name of its data set.

    Args:
        pictures: [n, S, S].
        scores: [n, K]; the highest is nearest.
    """
    from matplotlib.figure import Figure

    shown = nearest_pictures(scores, rows, each)
    figure = Figure(figsize=(1.2 * each, 1.35 * len(shown)), dpi=100, layout="constrained")
    grid = figure.subplots(len(shown), each, squeeze=False)
    for axes, members in zip(grid, shown, strict=True):
        for ax in axes:
            ax.set_axis_off()
        for ax, member in zip(axes, members, strict=False):
            picture = np.asarray(pictures[member], np.float32)
            low, high = (float(value) for value in np.percentile(picture, (0.5, 99.5)))
            ax.imshow(picture, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
            ax.set_title(names[member], fontsize=6)
    return png_of(figure)
