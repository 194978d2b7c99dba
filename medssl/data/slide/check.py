"""What can be wrong with one slide, each as one sentence that names the file and the remedy."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from medssl.data.case_checks import Finding, Rule, Verdict, said
from medssl.data.classes import Fault
from medssl.data.slide.annotation_files import read_annotation
from medssl.data.slide.reader import open_slide, slide_digest
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import MUCH_PEN, pen_note, slide_mpp, tile_grid
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError


def inspector_of_slides(
    spec: DataSpec, cases: Sequence[Case], faults: Sequence[Fault]
) -> Callable[[Case], Finding]:
    """What looks at a slide."""
    return partial(inspect_slide, tiles=TileSettings())


def inspect_slide(case: Case, tiles: TileSettings) -> Finding:
    """Everything that is wrong with a slide on its own; it is opened and searched for tissue.

    Args:
        case: of the layout `slides`.
        tiles: how the slide would be cut.
    """
    finding = Finding(case)
    path, annotation = case.images["slide"], case.extra["annotation"]
    if annotation is not None and annotation.is_file():
        try:
            read_annotation(annotation)
        except DataError as error:
            finding.add(annotation, "unreadable", *said(error))
    elif annotation is not None:
        finding.add(
            annotation,
            "missing label",
            f"the annotation {annotation} of slide {case.id} does not exist",
            "add the file or empty its cell in the table",
        )
    if not path.exists():
        finding.add(
            path,
            "missing image",
            f"the slide {path} has a row in the table but does not exist",
            "add the slide or remove its row",
        )
        return finding
    _look(finding, path, tiles)
    return finding


def _look(finding: Finding, path: Path, tiles: TileSettings) -> None:
    """Open the slide and search it for tissue."""
    try:
        with open_slide(path) as reader:
            if reader.mpp is None and reader.objective_power is None:
                _, (what, *_rest) = slide_mpp(reader, tiles)
                do = "set assumed_mpp to what the scanner's maker states, if that is wrong"
                _warn(finding, path, "scale", what, do)
            grid = tile_grid(reader, tiles)
            if grid.pen >= MUCH_PEN:
                do = "look at the kept tiles with `medssl data show`, or set drop_pen=false"
                _warn(finding, path, "tissue", pen_note(reader, grid.pen), do)
    except DataError as error:
        finding.add(path, "unreadable", *said(error))
        return
    finding.digest = slide_digest(path)
    if not len(grid):
        finding.add(
            path,
            "tissue",
            f"no tissue was found on {path}",
            "look at it with `medssl data show`, or remove it",
        )


def _warn(finding: Finding, file: Path, rule: Rule, what: str, do: str) -> None:
    finding.verdicts.append(Verdict(finding.case.id, file, "warning", rule, what, do))
