"""The cases of a segmentation run, and who trains, validates and tests."""

from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec
from medssl.data.split import make_split, verify
from medssl.errors import DataError, UsageError
from medssl.families.segment.config import SegmentConfig
from medssl.pipeline.plan import Cohort, Plan

SegmentPlan = Plan[SegmentConfig, Cohort]


def split_cohort(config: SegmentConfig) -> Cohort:
    """All cases of the data set, and the split that the pipeline asks for.

    Raises:
        DataError: the data set is missing, declares no labels, is too small for the label budget,
            or has one patient in two parts.
        UsageError: its labels are regions.
    """
    refuse_unlearnable(config.spec)
    cases = find_cases(config.spec)
    split = make_split(cases, config.pipeline.split, config.pipeline.seed)
    verify(split, cases)
    return Cohort(tuple(cases), (split,))


def refuse_unlearnable(spec: DataSpec) -> None:
    """Refuse a data set that does not say what is to be learnt.

    Raises:
        DataError: it declares no labels.
        UsageError: it declares regions.
    """
    if not spec.labels:
        raise DataError(
            f"the data set {spec.name} declares no labels",
            "there is nothing to segment",
            "declare the values of its masks under `labels` in the data spec",
        )
    if spec.regions:
        raise UsageError(
            f"the data set {spec.name} declares the regions {', '.join(spec.regions)}",
            "regions, which are unions of labels, are not learnt yet",
            "leave `regions` out of the data spec, and each of its labels is learnt by itself",
        )
