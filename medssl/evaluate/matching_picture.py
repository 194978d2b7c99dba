"""A picture of matched points: places of one patient, and where an embedder finds them in another.

Legend: N points, X Y Z voxels.
"""

import numpy as np

from medssl.evaluate.figure import png_of


def draw_matches(
    one: np.ndarray, other: np.ndarray, places: np.ndarray, found: np.ndarray
) -> bytes:
    """PNG, a row per point: the slice that holds it, and the slice that holds its match.

    Args:
        one, other: [X, Y, Z], of two patients.
        places, found: [N, 3] voxels of `one` and of `other`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 2.2 * len(places)), dpi=110, layout="constrained")
    rows = figure.subplots(len(places), 2, squeeze=False)
    for number, (axes, place, match) in enumerate(zip(rows, places, found, strict=True), start=1):
        panels = ((one, place, f"point {number}"), (other, match, "its match"))
        for ax, (volume, (x, y, z), title) in zip(axes, panels, strict=True):
            low, high = (float(value) for value in np.percentile(volume, (0.5, 99.5)))
            plane = np.asarray(volume[:, :, int(z)], dtype=np.float32)
            ax.imshow(plane.T, cmap="gray", origin="lower", vmin=low, vmax=max(high, low + 1e-6))
            ax.plot([x], [y], "+", color="#e8743b", markersize=11, markeredgewidth=1.8)
            ax.set_title(f"{title}, slice {int(z)}", fontsize=8)
            ax.set_xticks([])
            ax.set_yticks([])
    return png_of(figure)
