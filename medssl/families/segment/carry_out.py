"""Predictions that are asked for, in one process or in several, which share the cases out."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from medssl.device import choose_device
from medssl.errors import DataError
from medssl.export.meaning import empty_masks
from medssl.families.segment.asked import Asked
from medssl.families.segment.scans import SERIES, write_series
from medssl.families.segment.work import Done, Work
from medssl.infer.guard import Verdict
from medssl.networks.ensemble import Ensemble
from medssl.pipeline.outputs import Outputs
from medssl.pipeline.progress import QuietReporter, SilentReporter, Steps, retell
from medssl.train.distributed import TEAM


def predict_missing(
    asked: Asked,
    predictor: Ensemble,
    outputs: Outputs,
    reporter: QuietReporter,
    device_name: str,
    failed: dict[str, DataError] | None = None,
) -> list[Path]:
    """Predict the cases whose results are missing; returns all masks.

    Of several processes, each predicts a part; the first one tells.

    Args:
        failed: receives why a case could not be predicted, and the others go on; None: the first
            such case ends the work.

    Raises:
        DataError: a case cannot be predicted.
        Stopped, MedsslError: this process, or another one, has to end.
    """
    device, ended, whole = choose_device(device_name), list[Done](), False
    with TEAM.joined(device):
        missing = TEAM.agreed(asked.missing(outputs))
        work, own = Work(asked, predictor, outputs, device), TEAM.own(missing)
        before = len(asked.cases) - len(missing)
        try:
            with Steps(reporter, before + len(own), before) as steps:
                for done in work(own):
                    if done.error is not None and failed is None:
                        raise done.error
                    ended.append(done)
                    _tell(done, len(asked.cases), reporter if TEAM.leads else SilentReporter())
                    steps.advance()
                    TEAM.look()
            if TEAM.together:
                ended = _of_all(ended, asked, outputs, reporter)
                whole = True
        finally:
            outputs.end(alone=whole)
            if TEAM.leads:
                write_series(asked.out / SERIES, outputs.known.get("series", {}))
                if empty := [done.case for done in ended if done.empty]:
                    reporter.warn(empty_masks(empty, asked.found.empty_masks))
                _tell_unlike(asked, outputs, reporter)
    lost = {done.case: done.error for done in ended if done.error is not None}
    if failed is not None:
        failed.update({case: lost[case] for case in asked.cases if case in lost})
    return [asked.out / asked.names(case)[0] for case in asked.cases if case not in lost]


def _tell(done: Done, cases: int, reporter: QuietReporter) -> None:
    """What there is to say of a case."""
    retell(done.lines, reporter)
    if done.error is not None and cases > 1:
        reporter.warn(f"{done.case} is left out: {done.error}")


def _of_all(
    own: Sequence[Done], asked: Asked, outputs: Outputs, reporter: QuietReporter
) -> list[Done]:
    """How the cases of all processes ended, once all are done; tells what others had to say."""
    if not TEAM.leads:
        outputs.end()  # the first process then finds all there is
    parts = TEAM.collected([done.plain() for done in own])
    found = [list(map(Done.from_plain, part)) for part in parts]
    if TEAM.leads:
        for done in [one for part in found[1:] for one in part]:
            _tell(done, len(asked.cases), reporter)
    place = {case: number for number, case in enumerate(asked.cases)}
    return sorted((one for part in found for one in part), key=lambda one: place[one.case])


def _tell_unlike(asked: Asked, outputs: Outputs, reporter: QuietReporter) -> None:
    """Warn of scans that are unlike those of training, predicted now or before."""
    guard, rate = asked.guard, asked.settings.guard
    if guard is None:
        return
    for case in asked.cases:
        with suppress(KeyError, TypeError, ValueError, AttributeError):
            verdict = Verdict.from_plain(outputs.measured[case])
            if verdict and (parts := verdict.unlike(guard.limit(rate))):
                reporter.warn(
                    f"{case} is unlike the scans that the model was trained on, by its "
                    f"{' and '.join(parts)}: its mask is not to be trusted unseen (score "
                    f"{verdict.score:.1f}, limit {guard.limit(rate):.1f}; of scans like those "
                    f"of training about {guard.false_alarms(rate):.0%} are marked, with 95 % "
                    f"certainty at most {guard.false_alarms_at_most(rate):.0%})"
                )
