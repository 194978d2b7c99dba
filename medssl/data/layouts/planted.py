"""Simulated bags with planted keys: Gaussian patches, a few of which make a bag positive.

Negative bags hold background alone. A key differs from background along one fixed direction. All
of it is a function of the seed; features are made when they are read, so that bags of any size
cost no memory while they wait.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from medssl.data.layout import Layout
from medssl.data.spec import Case, DataSpec


class Options(BaseModel):
    """Keys of this layout."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bags: int = Field(
        default=60, ge=4, le=100_000, description="how many are made; half of them positive"
    )
    patches: int = Field(default=1000, ge=4, le=10_000_000, description="per bag")
    keys: tuple[int, int] = Field(default=(1, 3), description="of a positive bag: least, most")
    width: int = Field(default=64, ge=2, le=10_000, description="features of a patch")
    shift: float = Field(
        default=6.0, gt=0, le=1000, description="of a key, in deviations of background"
    )
    seed: int = Field(default=0, ge=0, description="of all that is drawn")
    classes: tuple[str, ...] = Field(min_length=2, max_length=2, description="negative first")

    @model_validator(mode="after")
    def _keys_fit(self) -> Self:
        least, most = self.keys
        if not 1 <= least <= most <= self.patches:
            raise ValueError("keys must be two numbers from 1 to `patches`, the smaller first")
        return self


@dataclass(frozen=True)
class PlantedBag:
    """A `medssl.data.bags.bag.BagSource` that is made whenever it is read."""

    id: str
    patient: str
    label: int
    options: Options
    number: int

    @property
    def instances(self) -> np.ndarray:
        """[N] bool, which patches are keys."""
        return self._made()[1]

    @property
    def features(self) -> np.ndarray:
        """[N, E] float32."""
        return self._made()[0]

    def _made(self) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.options
        rng = np.random.default_rng([chosen.seed, self.number])
        features = rng.standard_normal((chosen.patches, chosen.width), dtype=np.float32)
        keys = np.zeros(chosen.patches, bool)
        if self.label:
            low, high = chosen.keys
            keys[rng.choice(chosen.patches, rng.integers(low, high + 1), replace=False)] = True
            direction = np.random.default_rng(chosen.seed).standard_normal(chosen.width)
            shift = chosen.shift * direction / np.linalg.norm(direction)
            features[keys] += shift.astype(np.float32)
        return features, keys


def cases(spec: DataSpec, root: Path) -> list[Case]:
    """A case per bag; every second one is positive."""
    options = spec.layout.options(Options)
    return [
        Case(
            id=f"bag_{number:04d}",
            patient=f"bag_{number:04d}",
            images={"bag": Path(f"bag_{number:04d}")},
            extra={"class": number % 2, "index": number},
        )
        for number in range(options.bags)
    ]


def planted_bag(spec: DataSpec, case: Case) -> PlantedBag:
    """The bag of a case."""
    options = spec.layout.options(Options)
    return PlantedBag(case.id, case.patient, case.extra["class"], options, case.extra["index"])


def planted_bags(spec: DataSpec, cases: Sequence[Case]) -> list[PlantedBag]:
    """The bags of `cases`, in their order."""
    return [planted_bag(spec, case) for case in cases]


LAYOUT = Layout(
    Options,
    cases,
    content="bags",
    noun="bags",
    truth="label",
    contents=None,
    makes_files=True,
    inspector=None,
    contact_sheet=None,
    bag_reader="medssl.data.layouts.planted:planted_bags",
)
