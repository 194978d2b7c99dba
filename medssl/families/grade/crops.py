"""What all stages of a run on radiographs work on: every image as crops, made once."""

import numpy as np

from medssl.data.radiograph.cache import cached_crops
from medssl.environment import cache_root
from medssl.families.grade.cohort import GradePlan
from medssl.pipeline.plan import Job
from medssl.pipeline.progress import Counted


def prepare_crops(job: Job) -> np.ndarray:
    """Crops of all images in the data set's order, [N, V, S, S] uint8.

    Raises:
        DataError: an image cannot be used.
    """
    plan: GradePlan = job.plan
    config, cases, reporter = plan.config, plan.cohort.cases, job.reporter
    folder = cache_root() / "radiographs" / config.spec.name
    reporter.note(f"{len(cases)} images of {config.spec.name}: cropping what is not cached")
    if not plan.cohort.patients_known:
        reporter.note(
            f"note: nothing says which images of {config.spec.name} are of one patient; each "
            "counts as its own"
        )
    with Counted(reporter) as counted:
        return cached_crops(cases, config.pipeline.crop, folder, on_progress=counted)
