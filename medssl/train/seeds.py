"""Random numbers of a training step: all are functions of the seed and the step."""

import numpy as np
import torch


def step_seeds(seed: int, step: int, piece: int = 0) -> tuple[int, int]:
    """Seeds of one step: of dropout, which draws from torch's own generator, and of all else.

    Args:
        piece: number of the bag, where a step has several.
    """
    first, second = np.random.SeedSequence([seed, step, *[piece] * (piece > 0)]).generate_state(2)
    return int(first), int(second)


def step_generator(seed: int, step: int, device: torch.device, piece: int = 0) -> torch.Generator:
    """The generator of one step on a device; torch's own, which dropout uses, is seeded with it.

    Args:
        piece: as in `step_seeds`.
    """
    dropout, rest = step_seeds(seed, step, piece)
    # What torch.manual_seed does, of one device: it asks every kind of accelerator, which takes
    # longer than a small step.
    torch.default_generator.manual_seed(dropout)
    if device.type == "cuda":
        torch.cuda.manual_seed(dropout)
    return torch.Generator(device).manual_seed(rest)


def default_generators(device: torch.device) -> list[torch.Generator]:
    """The generators that torch draws by where none is named."""
    if device.type != "cuda":
        return [torch.default_generator]
    return [torch.default_generator, torch.cuda.default_generators[device.index or 0]]
