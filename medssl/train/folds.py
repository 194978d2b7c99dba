"""Where the trainings of a cross-validation are, and their log."""

from pathlib import Path

from medssl.train.loop import Log


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
