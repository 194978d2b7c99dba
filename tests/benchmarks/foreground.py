"""How often what is looked for is in the patches that a pipeline learns from.

    python -m tests.benchmarks.foreground PIPELINE [KEY=VALUE]...

Draws the labelled patches of the first 200 steps, as training does, and prints the share of them
that hold a voxel of any class but the background, and of each class.
"""

import logging
import sys

import numpy as np

from medssl.families.segment.train import build_method, cache_cases, streams, used_cases
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of
from medssl.pipeline.planned import with_plan
from medssl.pipeline.progress import QuietReporter

STEPS = 200


def shares(name: str, overrides: list[str]) -> str:
    """One line of a table."""
    config = load_config(name, overrides)
    cohort = cohort_of(config)
    config = with_plan(config, cohort, QuietReporter())
    cached = cache_cases(config, used_cases(cohort.cases, cohort.split), QuietReporter())
    stream = streams(config, build_method(config), cohort.split, cached)["labelled"]
    drawn = np.concatenate([stream.batch(step).truth.flatten(1).numpy() for step in range(STEPS)])
    found = {"any class": float((drawn > 0).any(1).mean())}
    for index, word in enumerate(config.spec.classes[1:], start=1):
        found[word] = float((drawn == index).any(1).mean())
    said = ", ".join(f"{word} {100 * share:.0f} %" for word, share in found.items())
    train = config.pipeline.train
    return (
        f"{name} {' '.join(overrides)}: {len(drawn)} patches of {list(train.patch)} from "
        f"{len(cohort.split.labelled)} cases hold {said}; {100 * (drawn > 0).mean():.2f} % of "
        "their voxels"
    )


if __name__ == "__main__":
    logging.disable()
    sys.stdout.write(shares(sys.argv[1], sys.argv[2:]) + "\n")
