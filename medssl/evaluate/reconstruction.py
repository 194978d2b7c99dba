"""A picture of masked scans: what was there, what the encoder saw, what it made of the rest.

Legend: B scans, X Y Z voxels.
"""

from collections.abc import Sequence

import numpy as np

from medssl.evaluate.figure import png_of


def draw_reconstructions(
    image: np.ndarray, prediction: np.ndarray, mask: np.ndarray, names: Sequence[str]
) -> bytes:
    """PNG, a row per scan: the scan, its visible part, and the scan with the masked part filled in.

    Args:
        image, prediction: [B, X, Y, Z].
        mask: [B, X, Y, Z] bool, true where nothing was seen.
        names: of the scans, e.g. their contrasts.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 2.1 * len(image)), dpi=110, layout="constrained")
    rows = figure.subplots(len(image), 3, squeeze=False)
    for axes, one, filled, hidden, name in zip(rows, image, prediction, mask, names, strict=True):
        plane = int(hidden.sum((0, 1)).argmax())
        low, high = (float(value) for value in np.percentile(one, (0.5, 99.5)))
        whole, unseen = one[..., plane], hidden[..., plane]
        panels = {
            name: whole,
            "visible": np.where(unseen, np.nan, whole),
            "filled in": np.where(unseen, filled[..., plane], whole),
        }
        for ax, (title, panel) in zip(axes, panels.items(), strict=True):
            ax.set_facecolor("#5b7083")
            ax.imshow(np.rot90(panel), cmap="gray", vmin=low, vmax=max(high, low + 1e-6))
            ax.set_title(title, fontsize=8)
            ax.set_xticks([])
            ax.set_yticks([])
    return png_of(figure)
