"""Learning rate and weight decay as functions of the step, counted from 1."""

from math import cos, pi

from medssl.settings import OptimiserSettings


def last_rate_step(step: int, every: int) -> int:
    """The step at which to read the schedule, where the rate changes every `every` steps only.

    With `every` steps an epoch it is the last step of the epoch before, and 0 in the first, like a
    scheduler that steps after each epoch.
    """
    return step if every == 1 else (step - 1) // every * every


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Learning rate at `step` of `steps`: a linear warm-up, then the schedule of the settings.

    "polynomial" is lr0 (1 - t / T)^power, with t and T counted from the end of the warm-up.
    """
    base = settings.learning_rate
    if settings.warmup_steps and step <= settings.warmup_steps:
        return base * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    if settings.schedule == "polynomial":
        return float(base * (1 - done) ** settings.power)
    if settings.schedule == "cosine":
        low = settings.minimum
        return low + (base - low) * 0.5 * (1 + cos(pi * done))
    return base


def weight_decay(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Weight decay at `step` of `steps`: constant, or a cosine that starts at the first step.

    As DINO's: w1 + (w0 - w1) (1 + cos(pi (step - 1) / steps)) / 2.
    """
    start, end = settings.weight_decay, settings.weight_decay_end
    if end is None:
        return start
    return end + (start - end) * 0.5 * (1 + cos(pi * (step - 1) / steps))
