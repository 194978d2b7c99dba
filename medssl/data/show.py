"""A contact sheet as one PNG: the middle slices of some cases with their masks outlined.

Pictures are shown whole, as they hang, and those of three channels in one file in their colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medssl.atomic import appearing
from medssl.data.dimensions import are_pictures
from medssl.data.layouts import layout_of
from medssl.data.spec import Case, DataSpec
from medssl.data.volume import Volume, read_mask, read_volume
from medssl.errors import DataError, UsageError
from medssl.registry import load

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLANES = ("sagittal", "coronal", "axial")
_LONGEST = 65_000  # pixels of a side that matplotlib draws
COLOURS = ("#ff7f0e", "#1fbeff", "#7fe000", "#e377c2", "#ffe14d", "#b088ff")


def contact_sheet(spec: DataSpec, cases: Sequence[Case], path: Path) -> Path:
    """Write the sheet to `path`, as the layout draws it; it appears complete or not at all.

    Raises:
        UsageError: there is no case or too many for a picture, `path` does not end in .png, or
            cases hold nothing to draw.
        DataError: a file cannot be read, or a label does not lie on the grid of its image.
    """
    sheet = layout_of(spec).contact_sheet
    if sheet is None:
        raise UsageError(
            f"the data set {spec.name} has nothing to draw",
            f"its {layout_of(spec).content} hold numbers and no pictures",
            f"run `medssl data check {spec.name}` to have them checked",
        )
    load(sheet)(spec, cases, path)
    return path


def volume_contact_sheet(spec: DataSpec, cases: Sequence[Case], path: Path) -> None:
    """Write a row per case, a column per channel and plane, to the PNG `path`.

    Slices go through the middle of the mask, or of the volume where there is none. To scale in mm;
    superior is up, the patient's right is right. Pictures have one plane.

    Raises:
        UsageError: there is no case or too many for a picture, or `path` does not end in .png.
        DataError: a file cannot be read, or a label does not lie on the grid of its image.
    """
    from matplotlib.figure import Figure

    if not cases or path.suffix.lower() != ".png":
        raise UsageError("there is no case to show" if not cases else f"{path} must end in .png")
    views = _views(spec, cases)
    columns = len(views)
    if max(len(cases) * 240, columns * 220) > _LONGEST:
        raise UsageError(
            f"{len(cases)} cases of {len(spec.channels)} channels are too many for one picture",
            f"its sides have at most {_LONGEST} pixels",
            f"show at most {_LONGEST // 240} cases with --cases",
        )
    figure = Figure(figsize=(0.6 + 2.2 * columns, 2.4 * len(cases) + 1.0), dpi=100)
    grid = figure.subplots(len(cases), columns, squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        _row(row, spec, case, views)
    for view, axes in zip(views, grid[0], strict=True):
        axes.set_title(view.title, fontsize=8, parse_math=False)  # a name may hold a $
    title = spec.title + " (simulated)" * spec.simulated
    figure.suptitle(title, fontsize=9, parse_math=False)
    _legend(figure, spec)
    figure.tight_layout(rect=(0, 0.4 / figure.get_figheight(), 1, 0.99))
    with appearing(path) as beside:
        figure.savefig(beside, format="png")


def middle(mask: np.ndarray | None, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Voxel through which the slices go: the foreground's centre of mass, else the grid's."""
    if mask is None or not mask.any():
        x, y, z = (length // 2 for length in shape)
    else:
        x, y, z = (round(float(places.mean())) for places in np.nonzero(mask))
    return x, y, z


@dataclass(frozen=True)
class _View:
    """What a column shows.

    Attributes:
        channels: one, or three as red, green and blue.
        axis: of X Y Z, across which the plane lies.
        toward: how the axes point before that.
    """

    title: str
    channels: tuple[str, ...]
    axis: int
    toward: str = "RAS"


def _views(spec: DataSpec, cases: Sequence[Case]) -> list[_View]:
    if not are_pictures(cases):
        return [
            _View(f"{channel}, {plane}", (channel,), axis)
            for channel in spec.channels
            for axis, plane in enumerate(PLANES)
        ]
    files = [[case.images.get(name) for name in spec.channels] for case in cases]
    if len(spec.channels) == 3 and all(len(set(three)) == 1 for three in files):
        return [_View(", ".join(spec.channels), spec.channels, 2, "LAS")]
    return [_View(channel, (channel,), 2, "LAS") for channel in spec.channels]


def _row(row: Sequence["Axes"], spec: DataSpec, case: Case, views: Sequence[_View]) -> None:
    for axes in row:
        axes.set_xticks([])
        axes.set_yticks([])
    row[0].set_ylabel(case.id, fontsize=7, parse_math=False)
    present = [name for name in spec.channels if name in case.images]
    if not present:
        row[0].set_xlabel("has no channel", fontsize=7)
        return
    volume = read_volume([case.images[name] for name in present], spec.resample_channels)
    mask = _mask(spec, case, volume)
    geometry, turn = volume.geometry.oriented(views[0].toward)
    image = turn.apply(volume.array)
    mask = None if mask is None else turn.apply(mask)
    centre = middle(mask, geometry.shape)
    for view, axes in zip(views, row, strict=True):
        axis = view.axis
        if not set(view.channels) <= set(present):
            axes.set_xlabel("missing", fontsize=7)
            continue
        wide, high = (geometry.spacing[a] for a in range(3) if a != axis)
        shown = image[[present.index(name) for name in view.channels]]
        slab = shown.take(centre[axis], 1 + axis).T  # [up, across, channels]
        # Whole-volume percentiles: one bright voxel would make everything else black.
        low, top = np.nanpercentile(shown, (0.5, 99.5))
        grey = np.clip((slab - low) / max(float(top - low), 1e-6), 0, 1)
        if len(view.channels) == 1:
            grey = grey[..., 0]
        axes.imshow(grey, cmap="gray", origin="lower", vmin=0, vmax=1, aspect=float(high / wide))
        if mask is not None:
            _outline(axes, spec, mask.take(centre[axis], axis))


def _mask(spec: DataSpec, case: Case, image: Volume) -> np.ndarray | None:
    if case.label is None:
        return None
    mask = read_mask(case.label, spec.labels, image.geometry)
    if not mask.geometry.matches(image.geometry):
        raise DataError(
            f"label {mask.source} does not lie on the grid of its image",
            mask.geometry.difference(image.geometry),
            "see `medssl data check`",
        )
    return np.asarray(mask.array[0])


def _outline(axes: "Axes", spec: DataSpec, mask: np.ndarray) -> None:
    for index, label in enumerate(spec.labels):
        here = np.equal(mask.T, label.value)
        if min(here.shape) > 1 and here.any() and not here.all():
            colour = COLOURS[index % len(COLOURS)]
            axes.contour(here, levels=[0.5], colors=[colour], linewidths=0.8)


def _legend(figure: "Figure", spec: DataSpec) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=COLOURS[index % len(COLOURS)], label=label.name)
        for index, label in enumerate(spec.labels)
    ]
    if handles:
        columns = min(4, len(handles))
        legend = figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=8)
        for text in legend.get_texts():
            text.set_parse_math(False)
