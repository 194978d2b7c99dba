"""How fast a pre-trained encoder and the rest of a network learn, step by step.

Sources: nnssl's fine-tuning schedules (its sheet, sections 3 and 4.2); modality-invariant learning
(its sheet, section 7, and released code): the encoder rests for 30 % of the steps, then has a rise
and a schedule of its own; its rate and weight decay are a tenth of the rest's.

While an encoder rests its weights get neither gradient nor decay, and no momentum gathers. Its
normalisation goes on as in training: batch norms use the batch's statistics and keep following the
images, which look otherwise than those of pre-training, so nothing jumps when the encoder wakes.

Legend: t step from 1, T steps, l level of the encoder, L levels.
"""

from dataclasses import dataclass

from torch import nn

from medssl.networks.encoder import VolumeEncoder
from medssl.settings import OptimiserSettings
from medssl.train.fine_tune_settings import FineTuneSettings
from medssl.train.schedule import learning_rate

FROZEN = {"frozen_then_whole": 0.3, "sawtooth": 0.1}
"""Share of the steps in which the encoder rests, by schedule, as published; nnssl: 15 of 150
epochs."""

WARM_UP = {"frozen_then_whole": 0.05, "warm_up": 0.1, "sawtooth": 0.1}
"""Share of the steps in which a rate rises from 0, by schedule, as published; nnssl: 15 of 150
epochs."""


@dataclass(frozen=True)
class Phase:
    """Steps in which a rate rises linearly from 0 and then follows the optimiser's schedule.

    The steps are those with begin < t <= end; the rise ends at `risen`.
    """

    begin: int
    risen: int
    end: int


@dataclass(frozen=True)
class FineTune:
    """Learning rates of pre-trained encoders and of the rest, by step and level."""

    settings: FineTuneSettings

    def rate(self, chosen: OptimiserSettings, step: int, steps: int, encoder: bool) -> float:
        """Learning rate at `step` of `steps`: of a pre-trained encoder, or of all else.

        Factors of single levels are left to `level_factor`. 0 while that part is frozen. The
        schedule of the optimiser starts when a rise is over and ends with its phase. "default" has
        no rise and is the optimiser's schedule itself, warm-up included.
        """
        if self.settings.schedule == "default":
            return learning_rate(chosen, step, steps)
        plain = chosen.model_copy(update={"warmup_steps": 0})
        for phase in self._phases(steps, encoder):
            if phase.begin < step <= phase.risen:
                return plain.learning_rate * (step - phase.begin) / (phase.risen - phase.begin)
            if phase.begin < step <= phase.end:
                return learning_rate(plain, step - phase.risen, phase.end - phase.risen)
        return 0.0

    def rests(self, step: int, steps: int) -> bool:
        """Whether the encoder does not learn at `step`."""
        if self.settings.schedule == "default":
            return False
        return not any(phase.begin < step <= phase.end for phase in self._phases(steps, True))

    def level_factor(self, level: int, levels: int) -> float:
        """Factor on the rate of level l of L levels: encoder_rate * layer_decay^(L - 1 - l)."""
        return self.settings.encoder_rate * self.settings.layer_decay ** (levels - 1 - level)

    def _phases(self, steps: int, encoder: bool) -> tuple[Phase, ...]:
        schedule = self.settings.schedule
        rise = self._share(self.settings.warm_up, WARM_UP, steps)
        if schedule == "warm_up":
            return (Phase(0, rise, steps),)
        rest = self._share(self.settings.frozen, FROZEN, steps)
        whole = Phase(rest, rest + rise, steps)
        if encoder:
            return (whole,)
        if schedule == "sawtooth":
            return Phase(0, rest // 2, rest), whole
        return (Phase(0, rise, steps),)

    def _share(self, set_: float | None, published: dict[str, float], steps: int) -> int:
        share = published[self.settings.schedule] if set_ is None else set_
        return round(share * steps)


def encoder_levels(method: nn.Module) -> dict[int, tuple[int, int]]:
    """Level l and levels L of every parameter of every encoder in `method`, by `id`."""
    return {
        id(parameter): (level, len(layers))
        for module in method.modules()
        if isinstance(module, VolumeEncoder)
        for layers in [module.layers()]
        for level, layer in enumerate(layers)
        for parameter in layer.parameters()
    }
