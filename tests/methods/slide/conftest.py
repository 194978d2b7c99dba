"""Small slide methods and bags."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagMethod, BagTask
from medssl.methods.registry import implementation, settings_class


@pytest.fixture
def build() -> Callable[..., BagMethod]:
    """`build("snuffy", width=8, lambda_total=4)`: the method on features of that width."""

    def make(
        name: str,
        *,
        width: int = 8,
        classes: int = 2,
        counts: tuple[int, ...] | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> BagMethod:
        chosen = settings_class(name)(**settings)
        names = tuple(f"class{n}" for n in range(classes))
        task = BagTask(width, names, counts or (5,) * classes)
        return implementation(chosen)(chosen, task, seed)

    return make


@pytest.fixture
def bag() -> Callable[..., dict[str, BagBatch]]:
    """`bag(20, label=1)`: the batches of a step, features drawn from a seed."""

    def make(patches: int, *, label: int = 1, width: int = 8, seed: int = 0) -> dict[str, BagBatch]:
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(patches, width, generator=generator)
        return {"bags": BagBatch(features, torch.tensor(label), ("a",))}

    return make
