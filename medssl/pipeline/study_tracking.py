"""The MLflow run of a study: above the runs of its arms, with its table, figures and report."""

from collections.abc import Mapping, Sequence

from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.config import load_config
from medssl.pipeline.lock import alone_in
from medssl.pipeline.study import Cell, Study
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_page import points
from medssl.pipeline.study_tasks import study_folder
from medssl.train.track import Tracker
from medssl.train.tracking import TRACKING

ARTIFACTS = ("study.csv", "summary.md", "learning_curve.csv", "learning_curve.png")

PART_FAILED = "runs_failed"
"""Tag of a study of which runs did not finish: how many, and why the first did not."""


def study_tracker(study: Study, failures: Sequence[Failure] = ()) -> Tracker:
    """What follows a study in MLflow, as a context manager; a study has one run for all its life.

    Args:
        failures: of runs that did not finish.
    """
    plain = study.model_dump(mode="json", exclude={"arms"})
    params = {key: value for key, value in plain.items() if value not in (None, [], "")}
    arms = {f"arms.{name}": " ".join(words) for name, words in study.arms.items()}
    tags = {"stage": "study", "study": study.name, PART_FAILED: _in_short(failures)}
    name = study.title or study.name
    experiment = load_config(study.pipeline).pipeline.name
    return Tracker(study_folder(study), experiment, name, None, params | arms, tags)


def begin(study: Study) -> Tracker:
    """Begin the study's run and leave it open: runs below it may be carried out elsewhere."""
    return study_tracker(study).__enter__()


def begin_once(study: Study) -> None:
    """Begin it for a run of the study, if none has been begun: others may ask at once."""
    folder = study_folder(study)
    with alone_in(folder, lambda _: None):
        if not (folder / TRACKING).is_file():
            begin(study)


def hand_over(
    study: Study,
    results: Mapping[Cell, Result],
    comparison: Comparison,
    failures: Sequence[Failure],
) -> None:
    """Hand the report over, and the score of each arm by label budget as a curve."""
    folder = study_folder(study)
    with study_tracker(study, failures) as tracker:
        if comparison.score:
            for labels, numbers in sorted(_curves(results, comparison).items()):
                tracker.metrics(labels, numbers)
        for path in (folder / name for name in ARTIFACTS):
            if path.is_file():
                tracker.artifact(path)


def _curves(results: Mapping[Cell, Result], comparison: Comparison) -> dict[int, dict[str, float]]:
    """By label budget: the mean score of each arm and the ends of its interval."""
    found: dict[int, dict[str, float]] = {}
    for one in points(results, comparison):
        ends = {"": one.mean, "_low": one.low, "_high": one.high}
        numbers = {f"score{end}/{one.arm}": value for end, value in ends.items()}
        found.setdefault(one.labels, {}).update(numbers)
    return found


def _in_short(failures: Sequence[Failure]) -> str:
    if not failures:
        return "none"
    return f"{len(failures)}: {failures[0].task}: {failures[0].reason}"
