"""How long a run on radiographs will take and what memory it needs: told before it starts.

A few steps and a batch of images are carried out with fresh networks.
"""

from math import ceil

from medssl.device import choose_device
from medssl.families.grade.cohort import GradePlan, kept_crops
from medssl.families.grade.train import build_method, grade_streams
from medssl.infer.grade import grade_logits
from medssl.pipeline.foretold import FEWEST, NO_TIME, Foretold
from medssl.pipeline.plan import Job
from medssl.pipeline.timing import in_words as named
from medssl.pipeline.timing import peak_memory, second_of_two, step_pace, trial


def in_words(job: Job) -> str:
    """What a run will take, in a sentence; empty where it is next to nothing.

    Raises:
        DataError, UsageError: as `foretell`.
    """
    return "" if sum(_steps(job.plan)) < FEWEST else str(foretell(job))


def foretell(job: Job) -> Foretold:
    """What a run will take, by a few of its images.

    Raises:
        UsageError: the method lacks images of a kind, or a step does not fit into the memory.
    """
    plan: GradePlan = job.plan
    pipeline, cohort, train = plan.config.pipeline, plan.cohort, plan.config.pipeline.train
    device = choose_device(train.device)
    places = list(range(min(len(cohort.cases), pipeline.predict.batch)))
    holds = f"{train.batch_labelled} labelled and {train.batch_unlabelled} unlabelled images"
    do = "lower train.batch_labelled or train.batch_unlabelled"
    with trial(device, train.threads, train.deterministic, holds, do):
        method, kept = build_method(plan.config), kept_crops(plan, job.data)
        streams = grade_streams(plan, cohort.split, method, kept)
        step = step_pace(method, streams, train, pipeline.seed)
        network = method.predictor().eval()
        batch = second_of_two(
            lambda: grade_logits(network, job.data, places, len(places), device), device
        )
    held = len(cohort.left_out)
    final = len(cohort.split.test)
    return Foretold(
        step=step,
        steps=_steps(plan),
        answer=batch.times(1 / len(places)),
        validated=_validated(plan) + held,
        predicted=final * _networks(plan) + held,
        result=NO_TIME,
        results=final + held,
        named="grades",
        memory=peak_memory(device),
        device=named(device),
    )


def _networks(plan: GradePlan) -> int:
    """That answer together, in the final model."""
    folds = len(plan.cohort.folds)
    return folds if folds and plan.config.pipeline.split.final == "ensemble" else 1


def _steps(plan: GradePlan) -> tuple[int, ...]:
    """Of each training: those of the folds, and the last."""
    last = plan.config.pipeline.split.final == "refit" or not plan.cohort.folds
    return (plan.config.pipeline.train.steps,) * (len(plan.cohort.folds) + last)


def _validated(plan: GradePlan) -> int:
    """Images that are answered to while networks are trained, or once they are joined."""
    train, networks = plan.config.pipeline.train, _networks(plan)
    looks = [
        len(split.validation) + min(len(split.unlabelled), train.watched)
        for split in plan.cohort.splits
    ]
    rounds = ceil(train.steps / train.validate_every)
    return looks[0] * (networks if networks > 1 else rounds) + rounds * sum(looks[1:])
