"""What a run on radiographs will do: its images, split and stage folders."""

from collections.abc import Mapping
from dataclasses import dataclass

from medssl.data.layouts import existing_folder, find_cases
from medssl.data.layouts.radiographs import label_list, patients_known
from medssl.data.radiograph.split import make_grade_split
from medssl.data.spec import Case
from medssl.data.split import Split
from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.pipeline.config import digest
from medssl.pipeline.grades.config import GradeConfig
from medssl.pipeline.stage import Stage, Subject
from medssl.train.fingerprint import fingerprint


@dataclass(frozen=True)
class GradePlan:
    """The stages of a run, each with its folder.

    Attributes:
        cases: all images, in the data set's order.
        patients_known: whether anything says which images are of one patient.
    """

    config: GradeConfig
    cases: tuple[Case, ...]
    split: Split
    patients_known: bool
    whole: Stage
    train: Stage
    predict: Stage
    evaluate: Stage

    @property
    def subject(self) -> Subject:
        """What its stages have in common."""
        config = self.config
        tags = {"method": config.pipeline.method.name, "split": self.split.hash}
        resolved, split = config.resolved(), self.split.to_json()
        return Subject(config.pipeline.name, config.label, resolved, split, tags)

    def grades_of(self, *roles: str) -> dict[str, int]:
        """Index of the grade by image; only those that may be read for `roles`."""
        wanted = {name for role in roles for name in getattr(self.split, role)}
        return {case.id: case.extra["class"] for case in self.cases if case.id in wanted}

    def places(self, role: str) -> dict[int, str]:
        """Image by its place in the data set, in the order of the split."""
        place = {case.id: number for number, case in enumerate(self.cases)}
        return {place[name]: name for name in getattr(self.split, role)}


@dataclass(frozen=True)
class FoundImages:
    """The images of a data set, the same for every run on it."""

    cases: tuple[Case, ...]
    prints: Mapping[str, str]


def find_images(config: GradeConfig) -> FoundImages:
    """Find the images of a pipeline's data set.

    Raises:
        DataError: it is missing or its table is wrong.
    """
    cases = find_cases(config.spec)
    return FoundImages(tuple(cases), {case.id: fingerprint([case]) for case in cases})


def make_grade_plan(config: GradeConfig, found: FoundImages | None = None) -> GradePlan:
    """Images, split and folders; trains nothing and writes nothing.

    Args:
        found: the images where they are at hand.

    Raises:
        DataError: the data set is missing, or declares a patient for two parts.
        UsageError: it has too few images for the labels that are asked for.
    """
    pipeline, found = config.pipeline, found or find_images(config)
    settings = pipeline.split
    listed = None
    if settings.lists and settings.labels is not None:
        folder = existing_folder(config.spec)
        listed = label_list(config.spec, folder, pipeline.seed, settings.labels)
    split = make_grade_split(found.cases, config.grades, settings, pipeline.seed, listed)
    inputs = config.hash("data", "crop", "network", "method", "augment", "train")
    seen = _seen(found, split, "labelled", "unlabelled", "validation")
    train = digest([inputs, pipeline.seed, seen])
    predict = digest([train, config.hash("predict"), _seen(found, split, "test")])
    truth = {case.id: case.extra["class"] for case in found.cases if case.id in set(split.test)}
    evaluate = digest([predict, config.hash("evaluate"), truth])
    folder = runs_root() / pipeline.name
    return GradePlan(
        config,
        found.cases,
        split,
        patients_known(found.cases),
        whole=Stage("run", evaluate, folder / f"run-{evaluate}"),
        train=Stage("train", train, folder / f"train-{train}"),
        predict=Stage("predict", predict, folder / f"predict-{predict}"),
        evaluate=Stage("evaluate", evaluate, folder / f"evaluate-{evaluate}"),
    )


def refuse_untested(plan: GradePlan) -> None:
    """Refuse at once what would fail only after training.

    Raises:
        UsageError: there is no test image, or none to choose the best checkpoint by.
    """
    if not plan.split.test:
        raise UsageError(
            "there are no test images",
            f"the data set {plan.config.spec.name} declares none and split.test is 0",
            "set split.test, or use `medssl train`",
        )
    if plan.config.pipeline.predict.checkpoint == "best" and not plan.split.validation:
        raise UsageError(
            "predict.checkpoint=best needs validation images",
            "split.validation is 0",
            "raise split.validation or set predict.checkpoint=last",
        )


def _seen(found: FoundImages, split: Split, *roles: str) -> list[object]:
    """What training or prediction reads of each image; grades only where it learns from them."""
    cases = {case.id: case for case in found.cases}
    return [
        [
            name,
            found.prints[name],
            cases[name].extra["side"],
            cases[name].extra["spacing"],
            cases[name].extra["class"] if role in ("labelled", "validation") else None,
        ]
        for role in roles
        for name in getattr(split, role)
    ]
