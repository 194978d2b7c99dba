"""The images of a run on radiographs, and who has which role."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from medssl.data.folds import in_turn, leave_out, shortcomings
from medssl.data.layouts import existing_folder, find_cases
from medssl.data.layouts.radiographs import label_list, patients_known
from medssl.data.radiograph.cache import cached_crops
from medssl.data.radiograph.split import make_grade_split
from medssl.data.spec import Case
from medssl.data.split import Split, verify
from medssl.environment import cache_root
from medssl.families.grade.config import GradeConfig
from medssl.pipeline.plan import Cohort, Job, Plan
from medssl.pipeline.progress import Counted
from medssl.train.fingerprint import fingerprint


@dataclass(frozen=True)
class GradeCohort(Cohort):
    """All images of the data set, in its own order, their split and its folds.

    Attributes:
        patients_known: whether anything says which images are of one patient.
    """

    patients_known: bool = True

    def grades_of(self, names: Iterable[str]) -> dict[str, int]:
        """Index of the grade of those images."""
        wanted = set(names)
        return {case.id: case.extra["class"] for case in self.cases if case.id in wanted}

    def places(self, names: Iterable[str]) -> dict[int, str]:
        """Those images by their place in the data set, in the order that they are given in."""
        place = {case.id: number for number, case in enumerate(self.cases)}
        return {place[name]: name for name in names}

    def seen(self, *roles: str) -> list[object]:
        """What training or prediction reads of each image; grades only where it learns from them.

        Plain values, for the keys of stages.
        """
        cases = {case.id: case for case in self.cases}
        return [
            [
                name,
                _print_of(cases[name]),
                cases[name].extra["side"],
                cases[name].extra["spacing"],
                cases[name].extra["class"] if role in ("labelled", "validation") else None,
            ]
            for role in roles
            for name in getattr(self.split, role)
        ]


GradePlan = Plan[GradeConfig, GradeCohort]


def _print_of(case: Case) -> str:
    """The fingerprint of one image; a study asks for the same ones in every cell."""
    files = tuple(case.images.values())
    stamps = tuple((one.st_size, one.st_mtime_ns) for one in map(Path.stat, files) if one)
    return _printed(case.id, case.patient, files, stamps)


@cache
def _printed(
    name: str, patient: str, files: tuple[Path, ...], stamps: tuple[tuple[int, int], ...]
) -> str:
    return fingerprint(
        [Case(name, patient, {str(place): file for place, file in enumerate(files)})]
    )


def find_cohort(config: GradeConfig, kept_out: Collection[str] = ()) -> GradeCohort:
    """Images and split of a pipeline.

    Raises:
        DataError: the data set is missing, its table is wrong, or it declares a patient for two
            parts.
        UsageError: it has too few images for the labels that are asked for.
    """
    pipeline, settings, cases = config.pipeline, config.pipeline.split, find_cases(config.spec)
    listed = None
    if settings.lists and settings.labels is not None:
        folder = existing_folder(config.spec)
        listed = label_list(config.spec, folder, pipeline.seed, settings.labels)
    split = make_grade_split(cases, config.grades, settings, pipeline.seed, listed)
    folds: tuple[Split, ...] = ()
    notes: tuple[str, ...] = ()
    if settings.folds:
        known = {case.id: case.extra["class"] for case in cases}
        graded = {name: config.grades[known[name]] for name in split.labelled}
        contents = {name: {grade: 1.0} for name, grade in graded.items()}
        folds = leave_out(split, cases, settings.folds, contents, in_turn(split.labelled, graded))
        for fold in folds:
            verify(fold, cases, together=("labelled", "unlabelled"))
        notes = tuple(shortcomings(folds, contents, settings.folds))
    return GradeCohort(tuple(cases), (split, *folds), notes, patients_known(cases))


def inputs(config: GradeConfig, cohort: GradeCohort) -> dict[str, list[Any]]:
    """The settings, and what each stage reads of the images."""
    settings = ("data", "preprocess", "network", "method", "augment", "train")
    learnt, final = cohort.seen("labelled", "unlabelled", "validation"), config.pipeline.split.final
    folds = [[fold.test for fold in cohort.folds], final] if cohort.folds else []
    return {
        "train": [config.hash(*settings), config.pipeline.seed, learnt, *folds],
        "predict": [config.hash("predict"), cohort.seen("test")],
        "evaluate": [config.hash("evaluate"), cohort.grades_of(cohort.split.test)],
    }


def results(plan: GradePlan) -> dict[str, Path]:
    """The weights that grade, the grades of the test images, their scores and the report."""
    scored = plan.folder("evaluate")
    return {
        "model": plan.folder("train") / "checkpoint" / plan.config.pipeline.predict.checkpoint,
        "grades": plan.folder("predict") / "grades.csv",
        "scores": scored / "scores.csv",
        "report": scored / "report.html",
    }


def prepare_crops(job: Job) -> np.ndarray:
    """Crops of all images in the data set's order, [N, V, S, S] uint8.

    Raises:
        DataError: an image cannot be used.
        UsageError: `preprocess` makes no crops of it, or the network cannot take them.
    """
    plan: GradePlan = job.plan
    config, cases, reporter = plan.config, plan.cohort.cases, job.reporter
    config.try_network()
    folder = cache_root() / "radiographs" / config.spec.name
    reporter.note(f"{len(cases)} images of {config.spec.name}: cropping what is not cached")
    if not plan.cohort.patients_known:
        reporter.note(
            f"note: nothing says which images of {config.spec.name} are of one patient; each "
            "counts as its own"
        )
    with Counted(reporter) as counted:
        return cached_crops(cases, config.pipeline.preprocess.certain, folder, on_progress=counted)


def kept_crops(plan: GradePlan, certain: np.ndarray) -> np.ndarray:
    """The crops that training starts from, which lack what its chain does for each item.

    Args:
        certain: those of `prepare_crops`.
    """
    chain = plan.config.pipeline.preprocess
    if chain.kept == chain.certain:
        return certain
    folder = cache_root() / "radiographs" / plan.config.spec.name
    return cached_crops(plan.cohort.cases, chain.kept, folder)
