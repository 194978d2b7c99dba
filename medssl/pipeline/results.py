"""What finished stages left in their folders, read back."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medssl.environment import runs_root
from medssl.errors import DataError, UsageError
from medssl.methods.registry import settings_class
from medssl.mistakes import nearest
from medssl.pipeline.comparison import Comparison, Headline, Result
from medssl.pipeline.config import pipeline_names
from medssl.pipeline.family import Family, family_names, find_family
from medssl.pipeline.plan import Plan
from medssl.pipeline.stage import DONE, read_config, read_json
from medssl.registry import load


def read_result(folder: Path) -> Result:
    """What the last stage of a run left in its folder.

    Raises:
        UsageError: the folder is damaged, or of a method that is not installed.
    """
    try:
        config = read_config(folder, "method.name", "data", "seed")
        done = read_json(folder / DONE)
        numbers, scores = comparison_for(config).read(folder)
        result = Result(folder, config, numbers, scores, str(done.get("run_id") or ""))
        result.labels, result.seed  # noqa: B018 - they must be numbers
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataError):
        raise UsageError(
            f"{folder} is not a complete evaluation", do="delete the folder and run again"
        ) from None
    return result


def comparison_for(config: Mapping[str, Any]) -> Comparison:
    """How runs of a resolved configuration are read and compared."""
    return comparison_of(find_family(settings_class(str(config["method"]["name"])).family))


def comparison_of(family: Family) -> Comparison:
    """How runs of a family are read and compared."""
    found: Comparison = load(family.scoring.comparison)()
    return found


def read_results(pipeline: str) -> list[Result]:
    """All finished runs of a pipeline, by data, method, labels and seed.

    Raises:
        UsageError: there is none.
    """
    scored = {find_family(name).scored for name in family_names()}
    done = sorted((runs_root() / pipeline).glob(f"*/{DONE}"))
    folders = [path.parent for path in done if path.parent.name.rpartition("-")[0] in scored]
    if not folders:
        known = nearest(pipeline, pipeline_names()) if pipeline not in pipeline_names() else ""
        raise UsageError(
            f"there are no finished runs of '{pipeline}' with scores in {runs_root()}",
            do=known or f"`medssl run {pipeline}` makes some, of test cases or of folds",
        )
    found = map(read_result, folders)
    return sorted(found, key=lambda run: (run.data, run.method, run.labels, run.seed, run.folder))


def headline_of(plan: Plan[Any, Any]) -> Headline | None:
    """The score by which a finished run is ranked; None where nothing was scored."""
    if not plan.cohort.test:
        return None
    return comparison_of(plan.config.family).headline(read_result(plan.last.folder))


def score_in_words(plan: Plan[Any, Any]) -> list[str]:
    """The score of a finished run in a line, with its interval; none where nothing was scored."""
    found, cohort = headline_of(plan), plan.cohort
    if found is None:
        return []
    tested = plan.config.family.scoring.tested or "cases"
    what = f"test {tested}"
    if cohort.folds and not cohort.split.test:
        what = f"labelled {tested}, each answered by a model that had not seen it"
    return [f"{found.name} {found} on {len(cohort.test)} {what}"]


def read_summary(folder: Path) -> dict[str, float]:
    """The numbers that an evaluation was marked as complete with.

    Raises:
        UsageError: the mark is missing or damaged.
    """
    summary: dict[str, float] = read_json(folder / DONE, "summary")["summary"]
    return summary
