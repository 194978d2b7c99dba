"""The first stage of a pipeline of radiographs: every image as crops, made once."""

import numpy as np

from medssl.data.radiograph.cache import cached_crops
from medssl.environment import cache_root
from medssl.pipeline.grades.plan import GradePlan
from medssl.pipeline.progress import Counted, QuietReporter


def prepare_crops(plan: GradePlan, reporter: QuietReporter) -> np.ndarray:
    """Crops of all images in the data set's order, [N, V, S, S] uint8.

    Raises:
        DataError: an image cannot be used.
    """
    config = plan.config
    folder = cache_root() / "radiographs" / config.spec.name
    reporter.note(f"{len(plan.cases)} images of {config.spec.name}: cropping what is not cached")
    if not plan.patients_known:
        reporter.note(
            f"note: nothing says which images of {config.spec.name} are of one patient; each "
            "counts as its own"
        )
    with Counted(reporter) as counted:
        return cached_crops(plan.cases, config.pipeline.crop, folder, on_progress=counted)
