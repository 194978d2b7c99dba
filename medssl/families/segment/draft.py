"""A first pipeline that segments, for `medssl init`."""

from collections.abc import Sequence

from medssl.data.check import labelled
from medssl.data.dimensions import are_pictures
from medssl.data.spec import Case, DataSpec
from medssl.errors import DataError
from medssl.pipeline.drafts import FOLDS, Keys


def draft(spec: DataSpec, cases: Sequence[Case]) -> Keys | None:
    """Keys with their reasons; None where no volume has a mask.

    Raises:
        DataError: no picture has one.
    """
    cases = [case for case in cases if case.part != "test"]
    masked = sum(map(labelled, cases))
    if are_pictures(cases):
        return _pictures(spec, cases, masked)
    return _volumes(spec, cases, masked) if masked else None


def _volumes(spec: DataSpec, cases: Sequence[Case], masked: int) -> Keys:
    rest = len(cases) - masked
    patients = len({case.patient for case in cases if labelled(case)})
    word = "ct" if spec.modality == "CT" else "mr"
    chain = "Hounsfield units, in a window" if word == "ct" else "each scan by itself"
    few = f"the {masked} masks and from the {rest} scans without"
    return [
        (
            "plan",
            "auto",
            "Voxels, patch, batch, network and steps follow from the scans and the device, before\n"
            f"the first run; `medssl plan {spec.name}` shows them. A key that is set here wins.",
        ),
        ("preprocess", word, f"Intensities: {chain} (`medssl keys preprocess.{word}`)."),
        (
            "method",
            "tracoco" if rest else "supervised",
            f"Learns from {few}; `supervised` is the baseline."
            if rest
            else "Every scan has a mask.",
        ),
        *(_folded(masked, patients) if patients > 1 else []),
        ("predict", {"unlabelled": True}, "Every scan without a mask gets one."),
    ]


def _pictures(spec: DataSpec, cases: Sequence[Case], masked: int) -> Keys:
    """2-D images: what is said of volumes, but for intensities."""
    if not masked:
        raise DataError(
            f"none of the {len(cases)} pictures of {spec.name} has a mask",
            "encoders are pre-trained on volumes alone",
            "draw a few masks, e.g. masks/NAME.png for images/NAME.png, or list grades in a CSV "
            "with the columns file and grade",
        )
    grey = "ultrasound" if spec.modality == "US" else "radiograph"
    word = "rgb" if len(spec.channels) == 3 else grey
    return [
        (key, word, f"Intensities (`medssl keys preprocess.{word}`).")
        if key == "preprocess"
        else (key, value, why)
        for key, value, why in _volumes(spec, cases, masked)
    ]


def _folded(masked: int, patients: int) -> Keys:
    """Scores without a mask held back from the model."""
    folds = min(FOLDS, patients)
    why = (
        f"{folds} further trainings, each without some of the masks, which score it; the model "
        f"learns\nfrom all {masked}. `folds: 0` saves the time, and nothing is scored then."
    )
    return [("split", {"folds": FOLDS}, why)]
