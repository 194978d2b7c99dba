"""All that a resumed training needs, in one file.

Every random number of the loop is a function of (seed, step), so no generator has to be stored.
"""

from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Self

import torch
from torch import nn

from medssl.atomic import appearing
from medssl.data.sealed import is_intact, seal
from medssl.errors import DataError


@dataclass
class TrainState:
    """Where training stands after `step` steps.

    Attributes:
        best: best validation score so far, or None.
        best_step: the step it was seen at.
        search: what streams have looked up by the weights so far.
        losses: the running mean of the loss since the last line of the log.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    method: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    search: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, Any] = field(default_factory=dict)

    def keep(
        self, method: nn.Module, optimiser: dict[str, Any], scaler: torch.amp.GradScaler
    ) -> None:
        """Refer to the present weights and the optimiser's state, without a copy."""
        self.method, self.optimiser = method.state_dict(), optimiser
        self.scaler = scaler.state_dict()

    def restore(
        self, method: nn.Module, optimiser: torch.optim.Optimizer, scaler: torch.amp.GradScaler
    ) -> None:
        """Put back what `keep` took.

        Raises:
            DataError: the state is of another network or optimiser.
        """
        try:
            method.load_state_dict(self.method)
            optimiser.load_state_dict(self.optimiser)
            scaler.load_state_dict(self.scaler)
        except (RuntimeError, ValueError, KeyError) as error:
            raise DataError(
                "the kept training state does not fit the method",
                "it was written with other settings or by another version of medssl",
                "train anew with --fresh",
            ) from error

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        with appearing(path, durable=True) as beside:
            with beside.open("wb") as stream:  # a path would be written into the file
                torch.save(vars(self), stream)
            seal(beside)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> Self:
        """Read what `save` wrote; no pickled code is run.

        Raises:
            DataError: the file is no such state.
        """
        try:
            if not is_intact(path):  # torch passes over the checksums of its own format
                raise ValueError("a checksum is wrong")
            return cls(**torch.load(path, map_location=device, weights_only=True))
        except (RuntimeError, UnpicklingError, EOFError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} does not hold a training state",
                "the file is damaged or of an earlier version of medssl",
                "train anew with --fresh",
            ) from error
