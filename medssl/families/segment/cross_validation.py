"""A cross-validation of segmentation: what each fold says of the cases that it leaves out.

From these answers, on the network's grid, the corrections of masks are chosen.

Source of the rule: the planning sheet, section 5, with nnU-Net's one step at a time (section 3.5).
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from medssl.atomic import write_text
from medssl.data.cache import CachedCase
from medssl.data.labels import IGNORED
from medssl.data.spec import DataSpec
from medssl.evaluate.segmentation import dice
from medssl.infer.cleaning import CORRECTIONS, Cleaning
from medssl.infer.postprocess import TOUCHING
from medssl.infer.size_error import SizeError
from medssl.pipeline.folds import HELD_OUT, choose_from_folds, chosen_for
from medssl.pipeline.stage import read_json
from medssl.settings import PredictSettings
from medssl.train.folds import fold_folder

CORRECTED = "corrections.json"
"""What the folds choose, in the folder of the training stage."""

_ALONE = ("none", "largest", "smallest", "holes")
"""Corrections, one at a time."""

CHANGE = 1e-6
"""Dice that counts as a difference."""

ENOUGH = 3
"""So many cases must rise."""

Answer = Callable[[CachedCase], np.ndarray]
"""Class indices [X, Y, Z] of a case on the network's grid."""


@dataclass(frozen=True)
class HeldOut:
    """What corrections would do to a fold's answers.

    Attributes:
        smallest_ml: half of the smallest connected part in the masks that the fold learnt from, ml,
            by class.
        dice: of each case, by class and by correction: "none", "largest", "smallest", "holes".
        ml: of each case that is outlined as a whole, by class: the outlined volume, "outlined", and
            the predicted one by what corrects it, also two at once, as "largest holes".
    """

    smallest_ml: dict[str, float]
    dice: dict[str, dict[str, dict[str, float]]]
    ml: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)


def measure(
    answer: Answer,
    learnt: Iterable[CachedCase],
    held: Iterable[CachedCase],
    classes: Sequence[str],
    folder: Path,
) -> None:
    """Write down what each correction would do to the cases that a fold leaves out.

    Of a case that outlines some classes alone, to these; of one that outlines some regions alone,
    to nothing, as corrections are of classes.
    """
    found = HeldOut(_smallest(learnt, classes), {})
    for case in held:
        labels, truth, voxel = answer(case), np.asarray(case.mask), case.record.network.voxel
        known, seen, whole = truth != IGNORED, _outlined(case, classes), not case.partial
        scores, sizes = found.dice.setdefault(case.id, {}), dict[str, dict[str, float]]()
        for index, name in enumerate(classes):
            if not index or name not in seen:
                continue
            outlined = truth == index
            masks = {
                correction: cleaned(labels, voxel) == index
                for correction, cleaned in _corrections(index, found.smallest_ml[name])
            }
            scores[name] = {key: dice(masks[key] & known, outlined) for key in _ALONE}
            counted = {"outlined": outlined, **masks}
            sizes[name] = {key: float(one.sum()) * voxel / 1000 for key, one in counted.items()}
        if whole:
            found.ml[case.id] = sizes
    write_text(folder / HELD_OUT, json.dumps(asdict(found), indent=1))


def _outlined(case: CachedCase, classes: Sequence[str]) -> Collection[str]:
    """Names of the classes that the mask of a case outlines."""
    if case.outlined is None:
        return classes
    if len(case.outlined) != len(classes) or not case.outlined[0]:
        return ()  # regions
    return [name for name, seen in zip(classes, case.outlined, strict=True) if seen]


def declared(spec: DataSpec) -> tuple[str, ...]:
    """Classes that are one connected part, as the data spec says."""
    return tuple(label.name for label in spec.labels if label.one_part)


def choose(folds: Sequence[HeldOut], single: Collection[str] = ()) -> dict[str, Any]:
    """The keys of `predict` that correct masks, as the answers of the folds suggest.

    Args:
        single: classes that are one part, whatever the folds say.
    """
    names = list(folds[0].smallest_ml)
    largest = [name for name in names if name in single or _helps(folds, name, "largest")]
    smallest = {
        name: min(fold.smallest_ml[name] for fold in folds)
        for name in names
        if name not in largest and _helps(folds, name, "smallest")
    }
    holes = [name for name in names if _helps(folds, name, "holes")]
    return dict(zip(CORRECTIONS, (tuple(largest), smallest, tuple(holes)), strict=True))


def choose_for_all(folder: Path, folds: int, spec: DataSpec) -> None:
    """Write down the corrections of the final model and of every fold."""

    def chosen(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return choose([HeldOut(**one) for one in answers], declared(spec))

    choose_from_folds(folder, folds, CORRECTED, chosen)


def corrected(
    given: PredictSettings, folder: Path, number: int | None, spec: DataSpec
) -> PredictSettings:
    """Settings whose keys that are null are those chosen for a fold, or for the final model, None.

    Without folds the data spec alone chooses.

    Args:
        folder: of the training stage.
    """
    chosen = chosen_for(folder / CORRECTED, number)
    if chosen is None:
        chosen = {"largest_component": single} if (single := declared(spec)) else {}
    missing = {key: chosen.get(key) for key in CORRECTIONS if getattr(given, key) is None}
    return PredictSettings.model_validate(given.model_dump() | missing)


def tested(folder: Path, folds: int) -> str:
    """How the folds answered the cases that they left out, in a sentence; before corrections."""
    found = [read_json(fold_folder(folder, number) / HELD_OUT) for number in range(folds)]
    cases = [case for fold in found for case in fold["dice"].values()]
    names = dict.fromkeys(name for fold in found for name in fold["smallest_ml"])
    dice = {name: [case[name]["none"] for case in cases if name in case] for name in names}
    means = [f"{name} {np.mean(values):.3f}" for name, values in dice.items() if values]
    return (
        f"{folds}-fold cross-validation, each of {len(cases)} cases answered by a model that had "
        f"not seen it: Dice {', '.join(means)} on the network's grid."
    )


def size_errors(folder: Path, folds: int, settings: PredictSettings) -> dict[str, SizeError]:
    """How far the folds' sizes of each class were off where masks are corrected as settings say.

    Without those of which it cannot be known; nor is it where a smallest volume is given that the
    folds did not choose, as they have not tried it.

    Args:
        folder: of the training stage.
    """
    found = [read_json(fold_folder(folder, number) / HELD_OUT) for number in range(folds)]
    cases = [case for fold in found for case in fold.get("ml", {}).values()]
    errors = {}
    for name in dict.fromkeys(name for case in cases for name in case):
        largest, smallest, holes = (_of(getattr(settings, key), name) for key in CORRECTIONS)
        if smallest and (largest or smallest != min(fold["smallest_ml"][name] for fold in found)):
            continue
        parts = {"largest": largest, "smallest": smallest, "holes": holes}
        key = " ".join(part for part, applies in parts.items() if applies) or "none"
        pairs = [(case[name]["outlined"], case[name][key]) for case in cases if name in case]
        if (error := SizeError.of(pairs)) is not None:
            errors[name] = error
    return errors


def _of(correction: Any, name: str) -> Any:
    """What a value of `predict` says of a class."""
    if isinstance(correction, Mapping):
        return correction.get(name)
    return name in correction if isinstance(correction, tuple) else correction


def said(settings: PredictSettings) -> str:
    """Corrections in words, e.g. "largest_component of liver"."""
    found = []
    for key in CORRECTIONS:
        of = getattr(settings, key)
        if of:
            named = isinstance(of, tuple | dict)
            found.append(f"{key} of {' and '.join(of) if named else 'every class'}")
    return ", ".join(found) or "none"


def helps(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether a correction is worth having: the mean rises, few cases fall, and enough rise.

    Seven of eight cases must not fall, so none of fewer; and at least three must rise, however few
    they are: of two cases nothing can be chosen.
    """
    change = np.subtract(after, before)
    rises, falls = int((change > CHANGE).sum()), int((change < -CHANGE).sum())
    return bool(change.mean() > CHANGE) and 8 * falls <= len(change) and rises >= ENOUGH


def _helps(folds: Sequence[HeldOut], name: str, correction: str) -> bool:
    cases = [case[name] for fold in folds for case in fold.dice.values() if name in case]
    if not cases:
        return False
    return helps([case["none"] for case in cases], [case[correction] for case in cases])


def _corrections(
    index: int, smallest: float
) -> Iterator[tuple[str, Callable[[np.ndarray, float], np.ndarray]]]:
    yield "none", Cleaning()
    yield "largest", Cleaning(largest=(index,))
    yield "smallest", Cleaning(smallest=((index, smallest),))
    yield "holes", Cleaning(holes=(index,))
    yield "largest holes", Cleaning(largest=(index,), holes=(index,))
    yield "smallest holes", Cleaning(smallest=((index, smallest),), holes=(index,))


def _smallest(learnt: Iterable[CachedCase], classes: Sequence[str]) -> dict[str, float]:
    """Half of the volume of the smallest connected part of each class, ml; 0 without any.

    Masks with ignored voxels do not show whole parts, and are left out.
    """
    found = dict.fromkeys(classes[1:], math.inf)
    for case in learnt:
        if case.partial:
            continue
        mask = np.asarray(case.mask)
        for index, name in enumerate(classes[1:], start=1):
            pieces, count = ndimage.label(mask == index, TOUCHING)
            if count:
                least = int(np.bincount(pieces.ravel())[1:].min())
                found[name] = min(found[name], least * case.record.network.voxel / 2000)
    return {name: volume if math.isfinite(volume) else 0.0 for name, volume in found.items()}
