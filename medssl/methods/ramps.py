"""Factors that rise from 0 while training begins."""

from math import exp

from medssl.methods.method import Progress


def gaussian_ramp(progress: Progress, share: float) -> float:
    """From exp(-5) to 1 over that share of the training (Laine & Aila, ICLR 2017); 0: always 1."""
    done = min(1.0, progress.step / progress.steps / share) if share else 1.0
    return exp(-5 * (1 - done) ** 2)


def linear_ramp(progress: Progress, share: float, start: float = 0.0) -> float:
    """0 during the share `start` of the training, then linear to 1 over `share`; 0: at once."""
    beyond = progress.step / progress.steps - start
    if beyond <= 0 < start:
        return 0.0
    return min(1.0, beyond / share) if share else 1.0
