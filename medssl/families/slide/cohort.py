"""The cases of a run on slides, and who trains, validates and tests in each fold."""

from medssl.data.folds import make_folds
from medssl.data.layouts import find_cases
from medssl.data.spec import Case
from medssl.data.split import patient_key
from medssl.errors import UsageError
from medssl.families.slide.config import SlideConfig
from medssl.pipeline.plan import Cohort, Plan


class SlideCohort(Cohort):
    """Slides or bags, and who has which role in each fold."""

    @property
    def declared_test(self) -> tuple[Case, ...]:
        """The cases that the data set keeps for testing."""
        return tuple(case for case in self.cases if case.part == "test")

    def tested(self, spec: str) -> frozenset[str]:
        """Keys of the patients whom the data set keeps for testing.

        In a cross-validation every case is tested once, so an encoder is pre-trained on all of
        them, without their labels.
        """
        return frozenset(patient_key(spec, case.patient) for case in self.declared_test)


SlidePlan = Plan[SlideConfig, SlideCohort]


def fold_cases(config: SlideConfig) -> SlideCohort:
    """Find and fold the cases of a pipeline.

    Raises:
        DataError: the data set is missing or unusable.
        UsageError: a class has too few patients for the folds, or no case has a class.
    """
    pipeline = config.pipeline
    cases = find_cases(config.spec)
    if all(case.extra.get("class") is None for case in cases):
        raise UsageError(
            f"no case of {config.spec.name} has a class to learn from",
            "its data spec names no table of labels, or the table is empty",
            "add `table: labels.csv` with the columns slide and label to its layout",
        )
    split = pipeline.split
    folds = make_folds(cases, config.classes, split.folds, split.validation, pipeline.seed)
    return SlideCohort(tuple(cases), tuple(folds))
