"""All that a resumed training needs, in one file.

Every random number of the loop is a function of (seed, step), so no generator has to be stored.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class TrainState:
    """Where training stands after `step` steps.

    Attributes:
        best: best validation score so far, or None.
        best_step: the step it was seen at.
    """

    step: int = 0
    best: float | None = None
    best_step: int = 0
    method: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write atomically."""
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        torch.save(vars(self), beside)
        os.replace(beside, path)

    @classmethod
    def load(cls, path: Path, device: torch.device) -> "TrainState":
        """Read what `save` wrote; no pickled code is run."""
        return cls(**torch.load(path, map_location=device, weights_only=True))
