"""The optimiser of a method: groups of weights, each with its share of rate and weight decay."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from medssl.methods.method import Method
from medssl.settings import LoopSettings
from medssl.train.fine_tune import FineTune, encoder_levels

if TYPE_CHECKING:
    from medssl.train.sharding import Sharding


def build_optimiser(
    method: Method[Any],
    settings: LoopSettings,
    fine_tune: FineTune | None = None,
    sharding: "Sharding | None" = None,
) -> torch.optim.Optimizer:
    """Optimiser of all trainable parameters, of shards this process's part.

    Groups carry their `factor` on the learning rate, that on the weight decay (`decays`) and
    whether they are of an `encoder` that is fine-tuned.
    """
    chosen = settings.optimiser
    held = (lambda one: one) if sharding is None else sharding.held
    groups = [
        {
            "params": [held(one) for one in part],
            "factor": factor,
            "decays": decays * kept,
            "encoder": encoder,
        }
        for given, found in method.rate_factors()
        for level, kept, encoder, own in _by_level(method, found, fine_tune)
        for factor in [given * level]
        for part, decays in _by_decay(own, chosen.decay_vectors)
    ] or [{"params": [], "factor": 1.0, "decays": 1.0, "encoder": False}]
    if chosen.name != "sgd":
        kind = torch.optim.AdamW if chosen.name == "adamw" else torch.optim.Adam
        return kind(
            groups,
            lr=chosen.learning_rate,
            betas=chosen.betas,
            weight_decay=chosen.weight_decay,
            fused=True,  # a third of the time of many small tensors
        )
    return torch.optim.SGD(
        groups,
        lr=chosen.learning_rate,
        momentum=chosen.momentum,
        weight_decay=chosen.weight_decay,
    )


def _by_level(
    method: Method[Any], found: list[nn.Parameter], fine_tune: FineTune | None
) -> Iterator[tuple[float, float, bool, list[nn.Parameter]]]:
    """Parameters by level of their encoder, those of none last; one group without fine-tuning.

    Each with factors on the rate and the weight decay, and whether it is of an encoder.
    """
    levels = encoder_levels(method) if fine_tune is not None else {}
    if fine_tune is not None:
        for place in sorted(set(levels.values())):
            part = [parameter for parameter in found if levels.get(id(parameter)) == place]
            if part:
                factor = fine_tune.level_factor(*place)
                yield factor, fine_tune.settings.encoder_decay, True, part
    rest = [parameter for parameter in found if id(parameter) not in levels]
    if rest:
        yield 1.0, 1.0, False, rest


def _by_decay(
    found: list[nn.Parameter], decay_vectors: bool
) -> Iterator[tuple[list[nn.Parameter], bool]]:
    """Parameters whose weights decay, and those whose do not; one group where all do."""
    if decay_vectors:
        yield found, True
        return
    for decays in (True, False):
        part = [parameter for parameter in found if (parameter.ndim > 1) == decays]
        if part:
            yield part, decays
