"""Who is learnt from in a pre-training, who is probed, and who is kept out."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medssl.atomic import write_text
from medssl.data.dimensions import are_pictures
from medssl.data.layouts import find_cases, layout_of
from medssl.data.scan.selection import read_selection
from medssl.data.spec import Case, DataSpec
from medssl.data.split import patient_key
from medssl.errors import DataError, UsageError
from medssl.families.pretrain.config import PretrainConfig
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Cohort, Plan, cohort_of
from medssl.pipeline.stage import read_numbers
from medssl.train.description import description_of, weights_hash
from medssl.train.fingerprint import fingerprint

Sources = tuple[tuple[DataSpec, tuple[Case, ...]], ...]

PROBES = "probes.json"
"""What the probes say, in the stage's folder."""

Numbers = Mapping[str, float]

ASKED = {
    "top1": (
        "top-1",
        "share of windows whose own place in another contrast is found first; 1 is best",
    ),
    "top5": ("top-5", "the same among the first five"),
    "median_rank": ("median rank", "at which place it is found; 1 is best"),
    "gallery": ("gallery", "windows among which it is looked for"),
    "distance": (
        "cross-modal distance",
        "of one place in two contrasts, against that of two places; 0 is best",
    ),
    "modality": (
        "modality probe",
        "accuracy in telling contrasts apart; chance is best for invariant features",
    ),
    "place": ("place, few-shot", "accuracy in telling eighths of a volume apart; higher is better"),
    "rank": ("effective rank", "directions that the features use; near 1 they have collapsed"),
    "masked_error": (
        "masked error",
        "of filling in what is masked, as a share of guessing the mean; 0 is best",
    ),
    "partner_top1": (
        "partner, top-1",
        "share of windows whose place in another patient is found first; 1 is best",
    ),
    "partner_top5": ("partner, top-5", "the same among the first five"),
    "partners": ("gallery", "windows among which it is looked for"),
    "moved_mm": ("moved volume, mm", "median error of finding places again in the volume moved"),
    "moved_same_voxel_mm": ("same voxel, mm", "the same without learning: the voxel that it was"),
    "centroid_mm": (
        "label centroids, mm",
        "median error of finding label centroids in another patient",
    ),
    "centroid_bounding_box_mm": (
        "bounding box, mm",
        "the same without learning: by place in the bounding box",
    ),
    "centroid_random_mm": ("random place, mm", "the same by chance"),
    "centroid_cut_mm": (
        "view cut: label centroids, mm",
        "as label centroids, where the field of view is cut",
    ),
    "centroid_cut_bounding_box_mm": ("view cut: bounding box, mm", "the same without learning"),
    "retrieval": ("", "share of volumes whose other view is found first; 1 is best"),
    "order": ("", "likeness of a volume and its reverse; near 1 the order of slices is not seen"),
    "images_source_nmi": (
        "NMI, slices and data set",
        "of clusters of images and slices with data sets; 1: the clusters are the data sets",
    ),
    "volumes_source_nmi": ("NMI, volumes and data set", "the same of clusters of volumes"),
    "deviation": ("", "spread of the features; near 0 they have collapsed"),
}
"""What a probe finds: its heading in tables, where it is shown there, and what it says.

Retrieval is the mean over ordered pairs of contrasts; `place` tells eighths of a volume apart;
`masked_error` is a share of what a mean would leave; a partner is the same place in another
patient; mm are medians."""


@dataclass(frozen=True)
class PretrainCohort(Cohort):
    """The cases by data set.

    Attributes:
        train: cases that are learnt from, without labels.
        probed: cases of other patients, on which the encoder is probed.
        seen: sorted keys of the patients in `train`, and of those whom a given embedding saw.
    """

    train: Sources = ()
    probed: Sources = ()
    seen: tuple[str, ...] = ()


PretrainPlan = Plan[PretrainConfig, PretrainCohort]


def find_cohort(config: Any, kept_out: Collection[str]) -> PretrainCohort:
    """Cases of all data sets of a pre-training.

    Args:
        kept_out: keys (`patient_key`) of patients that must not be seen, beside the test patients
            of the pipelines that `exclude` names.

    Raises:
        DataError: a data set is missing, or no patient is left to learn from.
        UsageError: a data set is of pictures, and they cannot be learnt from.
    """
    probed_too = isinstance(config, PretrainConfig)
    chosen = config.pipeline.selected if probed_too else None
    selection = None if chosen is None else read_selection(Path(chosen))
    kept_out = {*kept_out, *(excluded(config.pipeline.exclude) if probed_too else ())}
    train, probed = [], []
    for spec in config.specs:
        # Of radiographs, those of the training part alone are learnt from.
        divided = layout_of(spec).content == "radiographs"
        cases = [
            case
            for case in find_cases(spec)
            if not (divided and case.part not in (None, "train"))
            and patient_key(spec.name, case.patient) not in kept_out
        ]
        if layout_of(spec).content == "volumes" and are_pictures(cases):
            _must_learn_from_pictures(config, spec, cases)
        learnt, held = _divide(cases, config) if probed_too else (tuple(cases), ())
        if selection is not None:
            selection.must_be_of(spec.name, cases)
            learnt = tuple(case for case in learnt if selection.holds(spec.name, case))
        if not learnt:
            raise DataError(
                f"no patient of {spec.name} is left to learn from",
                f"{len({case.patient for case in held})} are kept for the probes and the test "
                "patients of other pipelines are kept out",
                "lower probe.patients, or leave the data set out",
            )
        train.append((spec, learnt))
        probed.append((spec, held))
    seen = {patient_key(spec.name, case.patient) for spec, part in train for case in part}
    given = given_embedding(config)
    if given is not None:
        seen |= set(description_of(given).get("seen", ()))
    start = config.start
    if start is not None:
        seen |= set(description_of(start.folder).get("seen", ()))
    everything = tuple(case for parts in (train, probed) for _, part in parts for case in part)
    return PretrainCohort(
        everything, train=tuple(train), probed=tuple(probed), seen=tuple(sorted(seen))
    )


def _must_learn_from_pictures(config: Any, spec: DataSpec, cases: Sequence[Case]) -> None:
    """Refuse methods of volumes, windows that are boxes, and colours."""
    what = f"the images of {spec.name} are pictures"
    config.must_learn_flat(what)
    patch = config.pipeline.train.patch
    if patch[2] != 1:
        raise UsageError(
            f"{what}, and train.patch={list(patch)} is a box",
            "a 2-D network learns from windows with two sides",
            f"set train.patch={list(patch[:2])}",
        )
    if any(len({*case.images.values()}) < len(case.images) for case in cases):
        raise UsageError(
            f"the images of {spec.name} are in colour",
            "an encoder is pre-trained on single grey channels, and a colour's are parts of one",
            "name a data set of grey pictures",
        )


def inputs(config: Any, cohort: PretrainCohort) -> dict[str, list[Any]]:
    """The settings, the files of every data set, and a given embedding."""
    parts = [part for _, part in (*cohort.train, *cohort.probed)]
    volumes = isinstance(config, PretrainConfig)
    files = [fingerprint(part) for part in parts] if volumes else fingerprint(cohort.cases)
    given = given_embedding(config)
    embedding = [] if given is None else [weights_hash(given)]
    return {"pretrain": [*config.shaping(), files, *embedding]}


def results(plan: Plan[Any, PretrainCohort]) -> dict[str, Path]:
    """The encoder, and what the probes say where there are any."""
    folder = plan.folder("pretrain")
    probes = {"probes": folder / PROBES} if (folder / PROBES).is_file() else {}
    return {"model": folder / "checkpoint" / "last", **probes}


def found(plan: Plan[Any, PretrainCohort]) -> list[str]:
    """What the probes of patients kept out of training say: now, before training, its meaning."""
    said = read_numbers(plan.last.folder / PROBES)
    before, after = said.get("untrained", {}), said.get("trained", {})
    lines = [
        f"  {heading or name}: {_shown(name, after[name])}"
        + (
            f" (untrained {_shown(name, before[name])})"
            if before.get(name, after[name]) != after[name]
            else ""
        )
        + f" - {meaning}"
        for name, (heading, meaning) in ASKED.items()
        if name in after
    ]
    return ["probes of patients kept out of training:", *lines] if lines else []


def _shown(name: str, value: float) -> str:
    return f"{value:.0f}" if name in ("gallery", "partners") else f"{value:.3f}"


def keep_probes(folder: Path, said: Mapping[str, Numbers]) -> None:
    """Add what probes say to the stage's file, over what they said before of the same."""
    path = folder / PROBES
    write_text(path, json.dumps(read_numbers(path) | dict(said), indent=2))


def given_embedding(config: Any) -> Path | None:
    """The trained embedding that a method is told to mine with; None where there is none."""
    needed = config.method.needs()
    given = None if needed is None else needed.checkpoint
    return None if given is None else Path(given)


def excluded(pipelines: Sequence[str]) -> set[str]:
    """Keys of the test patients of other pipelines."""
    keys: set[str] = set()
    for name in pipelines:
        config = load_config(name)
        keys |= cohort_of(config).tested(config.spec.name)
    return keys


def _divide(
    cases: Sequence[Case], config: PretrainConfig
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to learn from and cases to probe, by patient; at least one patient is learnt from."""
    probe = config.pipeline.probe
    patients = sorted({case.patient for case in cases})
    count = min(probe.patients, len(patients) - 1)
    drawn = np.random.default_rng(probe.seed).permutation(len(patients))[: max(0, count)]
    held = {patients[index] for index in drawn}
    return (
        tuple(case for case in cases if case.patient not in held),
        tuple(case for case in cases if case.patient in held),
    )
