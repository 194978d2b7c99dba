"""Learning rate as a function of the step, counted from 1."""

from math import cos, pi

from medssl.settings import OptimiserSettings


def learning_rate(settings: OptimiserSettings, step: int, steps: int) -> float:
    """Rate at `step` of `steps`; polynomial: lr0 (1 - t / T)^power, as SGD papers of the field."""
    base = settings.learning_rate
    if step <= settings.warmup_steps:
        return base * step / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    if settings.schedule == "polynomial":
        return float(base * (1 - done) ** settings.power)
    if settings.schedule == "cosine":
        low = settings.minimum
        return low + (base - low) * 0.5 * (1 + cos(pi * done))
    return base
