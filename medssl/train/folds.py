"""Where the trainings of a cross-validation are, and their log."""

from collections.abc import Mapping
from pathlib import Path

from medssl.train.jsonl_log import Journal, read_log
from medssl.train.loop import Log
from medssl.train.track import METRICS


def fold_folder(stage: Path, number: int | None) -> Path:
    """Where the results of a fold are in the folder of a stage; None: those of the final model."""
    return stage if number is None else stage / f"fold{number}"


class FoldLog:
    """A log as one fold sees it; the steps of the folds follow each other.

    Args:
        number: of the fold, before whose name its values stand; None: the training after all folds,
            whose values keep their names.
        before: steps of the folds before it.
    """

    def __init__(self, log: Log, number: int | None, before: int) -> None:
        self._log, self._before = log, before
        self._prefix = "" if number is None else f"fold{number}/"

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Keep `values` of the fold's `step`."""
        named = {f"{self._prefix}{name}": value for name, value in values.items()}
        self._log.metrics(self._before + step, named)


class FoldJournal:
    """The log of a fold that is trained apart from its run, in a file of its own.

    Args:
        folder: of the fold.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._rewound = folder / METRICS, False
        self._journal = Journal(self._file)

    @property
    def begun(self) -> bool:
        """Whether something was kept that no run was told yet."""
        return self._file.is_file()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Keep `values` of the fold's `step`; the first call forgets it and later ones."""
        if not self._rewound:
            self._journal.rewind(step)
            self._rewound = True
        self._journal.append(step, values)

    def hand_over(self, log: Log) -> None:
        """Tell all of it to the log of the run."""
        for entry in read_log(self._file):
            log.metrics(entry.step, entry.values)
        self._file.unlink(missing_ok=True)
