"""The page of a segmented case, for people."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from medssl.data.volume import Volume
from medssl.evaluate.masks_page import colours_of, draw_mask
from medssl.evaluate.study_page import Guarded, Structure, StudyPage, write_study_page
from medssl.evaluate.study_volume import packed
from medssl.export.card import origin, tested
from medssl.infer.guard import Guard
from medssl.infer.measure import Measured
from medssl.infer.predict import Prediction
from medssl.train.checkpoint import Checkpoint

REPORT = "_report.html"
"""How the name of a case's page ends."""


def write_report(
    path: Path,
    found: Checkpoint,
    guard: Guard | None,
    rate: float,
    case: str,
    volume: Volume,
    one: Prediction,
    measured: Measured,
    remarks: Sequence[str],
) -> None:
    """Write the page of a case.

    Args:
        guard: of the checkpoint; None: it has none, or is not asked.
        rate: of false alarms that it may give.
        volume: the scan.
        remarks: what should be known of the files that it was read from.
    """
    entropy, said = one.entropy, _guarded(guard, rate, measured)
    colours = colours_of(len(found.labels))
    labelled = [(label.name, colour) for label, colour in zip(found.labels, colours, strict=True)]
    study = packed(volume.array, found.channels, one.labels, entropy, one.geometry, labelled)
    page = StudyPage(
        case=case,
        model=found.data.title,
        warnings=[*_warnings(found, measured, said), *remarks],
        volumes=[
            _structure(measured, index, *named, _unsure(one, index + 1))
            for index, named in enumerate(labelled)
        ],
        card=_card(found),
        doubt=measured.doubt,
        unit=measured.unit,
        members=len(measured.members) or 1,
        left_out=max(one.cases for one in found.size_errors.values()) if measured.factors else 0,
        tested=bool(found.tested),
        guard=said,
        unguarded="the guard was not asked (predict.guard=0)"
        if not rate
        else "the model has no guard, as those of earlier versions or of very few scans",
        study=study,
        preview=draw_mask(volume.array[0], one.labels, one.geometry, entropy),
    )
    write_study_page(path, page)


def _unsure(one: Prediction, index: int) -> str:
    """Mean entropy where a class is marked."""
    where = one.labels == index
    if one.entropy is None or not where.any():
        return "-"
    return f"{float(one.entropy[where].mean()):.3f}"


def _structure(measured: Measured, index: int, name: str, colour: str, unsure: str) -> Structure:
    span = measured.interval(index)
    interval = f"{span[0]:.4g} to {span[1]:.4g}" if span else "-"
    return Structure(name, colour, measured.size(index), interval, measured.voxels[index], unsure)


def _guarded(guard: Guard | None, rate: float, measured: Measured) -> Guarded | None:
    if guard is None or measured.verdict is None:
        return None
    scores = list(measured.verdict.scores.items())
    most = guard.false_alarms_at_most(rate)
    return Guarded(scores, guard.limit(rate), guard.false_alarms(rate), most)


def _warnings(found: Checkpoint, measured: Measured, guard: Guarded | None) -> Iterator[str]:
    unlike = measured.unlike(guard.limit) if guard else ()
    if unlike:
        yield (
            f"This scan is unlike those that the model was trained on, by its "
            f"{' and '.join(unlike)}: its mask is not to be trusted unseen."
        )
    if measured.empty:
        more = "" if found.empty_masks else "; no mask of its training was empty"
        yield f"The mask is empty: the model found nothing{more}."
    if found.data.simulated:
        yield "The model was trained on simulated data: it says nothing about patients."


def _card(found: Checkpoint) -> list[tuple[str, str]]:
    """What the model is, as its package says it too."""
    return [
        ("purpose", f"segments {', '.join(label.name for label in found.labels)} in "
                    f"{found.modality} of {', '.join(found.channels)}; research alone, not a "
                    "medical device"),
        *origin(found),
        ("tested", tested(found)),
    ]  # fmt: skip
