"""The MLflow run of a study: above the runs of its arms, with its table, figures and report."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from medssl.environment import tracking_uri
from medssl.pipeline.comparison import Comparison, Result
from medssl.pipeline.config import load_config
from medssl.pipeline.lock import alone_if_free, alone_in
from medssl.pipeline.study import CEILING, Cell, Study, cells
from medssl.pipeline.study_failures import Failure
from medssl.pipeline.study_page import points
from medssl.pipeline.study_tasks import study_folder
from medssl.section import digest
from medssl.train.mlflow_run import NOTE
from medssl.train.track import Tracker, end_left_open
from medssl.train.tracking import TRACKING, model_in, recall

SUMMARY = "summary.md"
ARTIFACTS = ("study.csv", SUMMARY, "learning_curve.csv", "learning_curve.png")

LONGEST_NOTE = 4900
"""Letters of a description: older servers take 5,000 with what stands after it."""

PART_FAILED = "runs_failed"
"""Tag of a study of which runs did not finish: how many, and why the first did not."""


def study_tracker(
    study: Study, failures: Sequence[Failure] = (), models: Sequence[Path] = ()
) -> Tracker:
    """What follows a study in MLflow, as a context manager; a study has one run for all its life.

    Args:
        failures: of runs that did not finish.
        models: where the models of its finished runs are.
    """
    plain = study.model_dump(mode="json", exclude={"arms"})
    params = {key: value for key, value in plain.items() if value not in (None, [], "")}
    arms = {f"arms.{name}": " ".join(words) for name, words in study.arms.items()}
    tags = {"stage": "study", "study": study.name, PART_FAILED: _in_short(failures)}
    name = study.title or study.name
    experiment = load_config(study.pipeline).pipeline.name
    folder = study_folder(study)
    uses = [os.path.relpath(model, folder) for model in models]
    given = folder, experiment, name, None, params | arms, tags
    return Tracker(*given, datasets=_datasets(study), uses=uses)


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
    """Hand the report over, and the score of each arm by label budget as a curve.

    Runs of the study that were killed, and that nobody has gone on with, are ended: those of an arm
    that was taken out would be running for ever.
    """
    folder = study_folder(study)
    for below in _below(folder):
        with alone_if_free(below) as alone:
            if alone:
                end_left_open(below)
    with study_tracker(study, failures, _models(results)) as tracker:
        if comparison.score:
            for labels, numbers in sorted(_curves(results, comparison).items()):
                tracker.metrics(labels, numbers)
        tracker.models(_arms(study, results, comparison))
        tracker.tag(NOTE, _described(folder / SUMMARY))
        for path in (folder / name for name in ARTIFACTS):
            if path.is_file():
                tracker.artifact(path)


def _described(summary: Path) -> str:
    """The report without its heading, for the head of the run's page; what is too long is cut."""
    _, _, text = summary.read_text(encoding="utf-8").partition("\n")
    text = text.strip()
    if len(text) <= LONGEST_NOTE:
        return text
    whole_lines, _, _ = text[:LONGEST_NOTE].rpartition("\n")
    return f"{whole_lines}\n\nThe rest is in {SUMMARY}, among the artifacts."


def _datasets(study: Study) -> list[dict[str, str]]:
    """The data sets of all arms, as they are declared; who learns from which case, runs tell."""
    profile = json.dumps({"labels": study.labels, "seeds": study.seeds})
    found = {}
    for cell in {(cell.arm, cell.data): cell for cell in cells(study)}.values():
        config = load_config(study.pipeline, cell.overrides)
        for spec in config.specs:
            found[spec.name] = {
                "name": spec.name,
                "digest": digest(config.declared()),
                "source": json.dumps({"licence": spec.licence, "simulated": spec.simulated}),
                "profile": profile,
                "context": "study",
            }
    return list(found.values())


def _models(results: Mapping[Cell, Result]) -> list[Path]:
    """Where the models of finished runs are: what their last stage made, or else used."""
    found = []
    for result in results.values():
        known = recall(result.folder)
        uses = [] if known["model"] else known["uses"]
        found += [result.folder] if known["model"] else [result.folder / use for use in uses]
    return found


def _arms(
    study: Study, results: Mapping[Cell, Result], comparison: Comparison
) -> dict[str, dict[str, str]]:
    """What a study compares: MLflow's pages show as its models what it made, not what it used.

    Each arm's settings, its scores by label budget, and MLflow's ids of its trained models.
    """
    uri = tracking_uri()
    given = {**study.arms, CEILING: study.ceiling or ()}
    found = {cell.arm: {"settings": " ".join(given[cell.arm])} for cell in results}
    for arm, tags in found.items():
        paths = _models({cell: run for cell, run in results.items() if cell.arm == arm})
        ids = {model_in(path.resolve(), uri) for path in paths} - {None}
        tags["models"] = " ".join(sorted(map(str, ids)))
    for one in points(results, comparison) if comparison.score else ():
        score = f"{one.mean:.4g} [{one.low:.4g}, {one.high:.4g}]"
        found[one.arm][f"{comparison.score} of {one.labels or 'all'} labels"] = score
    for tags in found.values():  # the page of a model shows no tag but this one
        tags[NOTE] = "\n\n".join(f"{key}: {value}" for key, value in tags.items() if value)
    return found


def _below(folder: Path) -> list[Path]:
    """Folders of the runs of a study, and of their stages, stages first."""
    tracked = [path.parent for path in sorted(folder.parent.glob(f"*/{TRACKING}"))]
    above = {one: recall(one)["parent"] for one in tracked}
    runs = [one for one in tracked if above[one] == folder.name]
    names = {one.name for one in runs}
    return [*(one for one in tracked if above[one] in names), *runs]


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
