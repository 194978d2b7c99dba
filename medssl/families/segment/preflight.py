"""Test cases, looked at before training, so that no run fails on them hours later."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from medssl.atomic import write_text
from medssl.data.case_checks import Finding, Verdict, inspect
from medssl.data.refusal import refuse_cases
from medssl.data.spec import Case, DataSpec
from medssl.data.workers import Workers
from medssl.environment import cache_root
from medssl.errors import DataError
from medssl.families.segment.config import SegmentConfig
from medssl.pipeline.plan import Cohort
from medssl.pipeline.progress import QuietReporter, Steps
from medssl.section import digest
from medssl.train.fingerprint import fingerprint

VERSION = 1  # of what is looked for; raise it when cases that passed need another look

WORKERS = 2


def check_test_cases(config: SegmentConfig, cohort: Cohort, reporter: QuietReporter) -> None:
    """Read images and labels of the test cases once; those that passed before are not read again.

    Training cases are checked when they are cached.

    Raises:
        DataError: a file is missing, damaged or does not fit; says how many more cases are wrong.
    """
    spec, cases = config.spec, cohort.test
    marks = {case.id: _mark(spec, case) for case in cases}
    new = [_declared(spec, case) for case in cases if not marks[case.id].is_file()]
    if not new:
        return
    reporter.note(f"checking {len(new)} test cases of {spec.name}")
    whole = spec.model_copy(update={"layout": spec.layout.model_copy(update={"sessions": False})})
    wrong: list[DataError] = []
    with Steps(reporter, len(new)) as steps, Workers(WORKERS) as pool:
        for finding in pool.map(partial(inspect, spec=whole, labelled=True), new):
            found = _errors(finding)
            if found:
                wrong.append(DataError(found[0].what, do=found[0].do))
            else:
                write_text(marks[finding.case.id], "sound\n")
            steps.advance()
    refuse_cases(wrong, spec)


def _declared(spec: DataSpec, case: Case) -> Case:
    """The case without scans that are no channel: they are not predicted."""
    images = {name: file for name, file in case.images.items() if name in spec.channels}
    return replace(case, images=images)


def _mark(spec: DataSpec, case: Case) -> Path:
    """The file that says that a case is sound, by content and by what is declared."""
    declared = [spec.channels, spec.label_values, spec.empty_masks]
    key = digest([VERSION, fingerprint([case]), *declared])
    return cache_root() / spec.name / "checked" / f"{case.id}-{key}"


def _errors(finding: Finding) -> list[Verdict]:
    return [verdict for verdict in finding.verdicts if verdict.level == "error"]
