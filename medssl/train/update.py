"""One update of all weights: forward part by part, backward, clip, step.

Everything random is a function of (seed, step).
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from medssl.data.bags.bag import Bags
from medssl.data.batch import TrainBatch
from medssl.errors import MedsslError, UsageError
from medssl.methods.method import Method, Progress
from medssl.networks.own_loss import own_losses, total
from medssl.settings import LoopSettings
from medssl.train.compiled import Note, compile_networks
from medssl.train.distributed import TEAM
from medssl.train.division import Division, whole_batch
from medssl.train.fine_tune import FineTune
from medssl.train.optimiser import build_optimiser
from medssl.train.replay import keep_less
from medssl.train.schedule import last_rate_step, learning_rate, weight_decay
from medssl.train.seeds import default_generators, step_generator
from medssl.train.state import TrainState

if TYPE_CHECKING:
    from medssl.train.sharding import Sharding


@dataclass(frozen=True)
class Update:
    """One update of the weights, to be called with the batches of a step.

    Attributes:
        method: on the device where it trains.
        scaler: of gradients in float16; does nothing otherwise.
        fine_tune: rates of pre-trained encoders; None: all follow one schedule.
        division: of the rows of a batch over processes.
        parted: streams of whose batches this process is given a part.
        sharding: of the weights over processes; None: each process has all of them.
    """

    method: Method[Any]
    settings: LoopSettings
    seed: int
    device: torch.device
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    fine_tune: FineTune | None = None
    division: Division = field(default_factory=lambda: Division(TEAM))
    parted: frozenset[str] = frozenset()
    sharding: "Sharding | None" = None

    def __call__(self, given: Mapping[str, TrainBatch], progress: Progress) -> dict[str, float]:
        """Value of every loss term, their sum and the learning rate.

        Raises:
            MedsslError: a term is not finite; the weights are as they were.
        """
        generator = step_generator(self.seed, progress.step, self.device)
        batches = {kind: self._moved(kind, batch) for kind, batch in given.items()}
        number, within = progress.within(self.method.rounds)
        if number and within.step == 1:
            self.optimiser.state.clear()
        rates = self._set_schedules(within)
        self.method.zero_grad(set_to_none=True)
        (kind, first), *_ = batches.items()
        if isinstance(first, Bags):
            terms = self._backward_each(kind, first, progress)
        else:
            terms = self._backward(batches, progress, generator)
        refuse_non_finite(terms, batches, progress.step, given)
        self._step()
        self.method.after_step(progress)
        losses = {f"loss/{name}": value for name, value in terms.items()}
        return {"loss": sum(terms.values()), **losses, **rates}

    def _moved(self, kind: str, batch: TrainBatch) -> TrainBatch:
        """The whole batch on the device."""
        moved = batch.to(self.device)
        return whole_batch(moved, TEAM) if kind in self.parted else moved

    def _set_schedules(self, progress: Progress) -> dict[str, float]:
        """Set the rates and the weight decay of this step; returns the rates by name to log."""
        chosen = self.settings.optimiser
        step = last_rate_step(progress.step, self.settings.rate_every)
        rates = {"learning_rate": learning_rate(chosen, step, progress.steps)}
        if self.fine_tune is not None:
            rates = self._fine_tune(self.fine_tune, progress)
        decay = weight_decay(chosen, progress.step, progress.steps)
        for group in self.optimiser.param_groups:
            name = "encoder_learning_rate" if group["encoder"] else "learning_rate"
            group["lr"] = rates[name] * group["factor"]
            group["weight_decay"] = decay * group["decays"]
        return rates

    def _fine_tune(self, rule: FineTune, progress: Progress) -> dict[str, float]:
        """Rates by name for this step; switches the gradient off of encoders that rest."""
        chosen, step, steps = self.settings.optimiser, progress.step, progress.steps
        if rule.settings.schedule == "default":
            step = last_rate_step(step, self.settings.rate_every)
        for group in self.optimiser.param_groups:
            if group["encoder"]:
                for held in group["params"]:
                    weight = held if self.sharding is None else self.sharding.weight(held)
                    weight.requires_grad_(not rule.rests(step, steps))
        return {
            "learning_rate": rule.rate(chosen, step, steps, encoder=False),
            "encoder_learning_rate": rule.rate(chosen, step, steps, encoder=True),
        }

    def _backward(
        self, batches: dict[str, TrainBatch], progress: Progress, generator: torch.Generator
    ) -> dict[str, float]:
        """Compute the gradients of every part; returns the loss terms, fetched in one transfer."""
        terms: dict[str, Tensor] = {}
        for part in range(self.method.parts):
            with (
                self._autocast(),
                self.division.on([*default_generators(self.device), generator]),
                own_losses() as own,
            ):
                found = dict(self.method(batches, progress, generator, part))
            if (of_networks := total(own)) is not None:
                name = "network" if self.method.parts == 1 else f"network_{part + 1}"
                found[name] = of_networks
            loss = torch.stack(list(found.values())).sum()
            self._pass_back(loss)
            if of_networks is not None:  # the others are equal in all processes
                found[name] = TEAM.mean(of_networks)
            terms |= {name: value.detach() for name, value in found.items()}
        TEAM.mean_gradients(list(self.apart()))
        return _fetched([terms])[0]

    def _backward_each(self, kind: str, bags: Bags, progress: Progress) -> dict[str, float]:
        """As `_backward`, of bags that a method is given one by one: the mean of all of them."""
        found = []
        for number, bag in zip(bags.numbers, bags.pieces, strict=True):
            generator = step_generator(self.seed, progress.step, self.device, number)
            with (
                self._autocast(),
                self.division.on([*default_generators(self.device), generator], whole=True),
            ):
                terms = self.method({kind: bag}, progress, generator)
            loss = torch.stack(list(terms.values())).sum() * (TEAM.parts / bags.of)
            self._pass_back(loss)
            found.append({name: value.detach() for name, value in terms.items()})
        TEAM.mean_gradients(list(self.method.parameters()), uneven=True)
        every = [terms for part in TEAM.collected(_fetched(found)) for terms in part]
        names = dict.fromkeys(name for terms in every for name in terms)
        return {name: sum(one.get(name, 0.0) for one in every) / len(every) for name in names}

    def _pass_back(self, loss: Tensor) -> None:
        """Gradients of a loss; none of a method that has nothing to train."""
        if loss.requires_grad:
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def apart(self) -> Iterator[nn.Parameter]:
        """Weights whose gradients are of this process; those of shards are averaged already."""
        for weight in self.method.parameters():
            if self.sharding is None or self.sharding.held(weight) is weight:
                yield weight

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.precision in ("float32", "tf32"):
            return nullcontext()
        kind = getattr(torch, self.settings.precision)
        # Casts of all weights that are kept for a step are what sharding is to avoid.
        return torch.autocast(self.device.type, kind, cache_enabled=self.sharding is None)

    def _step(self) -> None:
        if not any(group["params"] for group in self.optimiser.param_groups):
            return
        if self.sharding is not None:
            self.sharding.pass_gradients()
            self.scaler.unscale_(self.optimiser)  # here all processes see what is not finite
            self._clip_parts(self.sharding)
        elif self.settings.clip_norm is not None:
            self.scaler.unscale_(self.optimiser)
            for weights in self._clipped():
                nn.utils.clip_grad_norm_(weights, self.settings.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _clip_parts(self, sharding: "Sharding") -> None:
        """Clip gradients of which this process has a part, by the norm of all parts."""
        if self.settings.clip_norm is None:
            return
        groups = list(self._clipped())
        for weights, norm in zip(groups, sharding.norms(groups), strict=True):
            held = [sharding.held(one) for one in weights]
            nn.utils.clip_grads_with_norm_(held, self.settings.clip_norm, norm)

    def whole(self) -> AbstractContextManager[None]:
        """While it lasts, the method is as if its weights were not sharded, in every process."""
        return nullcontext() if self.sharding is None else self.sharding.whole()

    def gather(self) -> None:
        """Let every process have the whole method from now on, not to learn."""
        if self.sharding is not None:
            self.sharding.gather()

    def optimiser_state(self) -> dict[str, Any]:
        """The optimiser's, as if weights were not sharded; to be asked in every process."""
        if self.sharding is None:
            return self.optimiser.state_dict()
        return self.sharding.optimiser_state(self.optimiser)

    def restore(self, state: TrainState) -> None:
        """Go on from a state.

        Raises:
            DataError: the state is of another network or optimiser.
        """
        state.restore(self.method, self.optimiser, self.scaler)
        if self.sharding is not None:
            self.sharding.take_part(self.optimiser)

    def _clipped(self) -> Iterator[list[nn.Parameter]]:
        """Groups of weights, each of which is clipped by the norm of its gradient as a whole."""
        for network in self.method.networks():
            if self.settings.clip_by == "network":
                yield list(network.parameters())
            else:
                yield from ([weight] for weight in network.parameters())


def _fetched(found: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    """The values of terms, in one transfer."""
    together = [value for terms in found for value in terms.values()]
    if not together:  # of a process without a bag in this step
        return []
    values = iter(torch.stack(together).tolist())
    return [{name: next(values) for name in terms} for terms in found]


def make_update(
    method: Method[Any],
    settings: LoopSettings,
    seed: int,
    device: torch.device,
    fine_tune: FineTune | None = None,
    parted: frozenset[str] = frozenset(),
    note: Note = lambda _: None,
) -> Update:
    """`method` on `device` in the wanted memory format, with its optimiser.

    Args:
        note: is told what was asked for and cannot be done.

    Raises:
        UsageError: batch norms over several processes cannot be computed once more; or there is
            nothing to train that several could share.
    """
    method.to(device).train()
    if TEAM.together and not any(one.requires_grad for one in method.parameters()):
        raise UsageError(
            f"{TEAM.size} processes cannot keep examples together",
            "the method has nothing to train, and its examples are one list",
            "start it as one process",
        )
    division = Division(TEAM, settings.accumulate)
    less = settings.checkpointing or settings.accumulate > 1
    if less and any(getattr(one, "passed_once", False) for one in method.modules()):
        raise UsageError(
            f"{_keys(settings)} cannot be had with this network",
            "passes are carried out once more for their gradients, and each pass moves its codes",
            "leave it out, or name another network",
        )
    if less and TEAM.together:
        _must_have_no_batch_norm(method, settings)
    elif settings.accumulate > 1 and any(one.training for one in _batch_norms(method)):
        note(
            "train.accumulate: batch norms see the rows of one turn, not those of the batch, so "
            "the network learns otherwise than without it"
        )
    if settings.checkpointing:
        keep_less(method, lambda: division.generators)
    sharding = _shard(method, device, note) if settings.sharded else None
    if TEAM.together or settings.accumulate > 1:
        division.equip(method)
    if settings.compile:
        alone = not (less or TEAM.together)
        compile_networks(method, device, note, alone, settings.compile == "graphs")
    if settings.channels_last and sharding is None:
        _store_channels_last(method)
    elif settings.channels_last:
        note("train.channels_last is left out: weights that are sharded have one layout")
    kind = torch.amp.GradScaler if sharding is None else sharding.scaler
    return Update(
        method,
        settings,
        seed,
        device,
        build_optimiser(method, settings, fine_tune, sharding),
        kind(device.type, enabled=settings.precision == "float16"),
        fine_tune,
        division,
        parted,
        sharding,
    )


def _shard(method: nn.Module, device: torch.device, note: Note) -> "Sharding | None":
    """Shard the weights over the processes, if there are several."""
    if not TEAM.together:
        note("train.sharded changes nothing: there is one process")
        return None
    from medssl.train.sharding import Sharding  # which loads much that few trainings need

    TEAM.same([*method.parameters(), *method.buffers()])
    return Sharding(method, device)


def _batch_norms(method: nn.Module) -> list[nn.Module]:
    return [one for one in method.modules() if isinstance(one, _BatchNorm)]


def _must_have_no_batch_norm(method: nn.Module, settings: LoopSettings) -> None:
    if _batch_norms(method):
        raise UsageError(
            f"{_keys(settings)} cannot be had with {TEAM.size} processes and batch norms",
            "passes are computed once more for their gradients, and the batch norms of all "
            "processes would have to meet again for that",
            "leave it out, as each process keeps the passes of its part of the batch alone; or "
            "choose another norm, e.g. network.norm=instance; or start one process",
        )


def _keys(settings: LoopSettings) -> str:
    """The keys of those that are given for which passes are carried out once more."""
    asked = {
        "train.accumulate": settings.accumulate > 1,
        "train.checkpointing": settings.checkpointing,
    }
    return " and ".join(key for key, given in asked.items() if given)


def _store_channels_last(method: nn.Module) -> None:
    """Weights of 3-D convolutions with channels last, those of 2-D ones (of slices) likewise."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in method.parameters():
        if parameter.ndim in formats:
            stored = parameter.data.contiguous(memory_format=formats[parameter.ndim])
            parameter.data = stored


def refuse_non_finite(
    terms: dict[str, float],
    batches: Mapping[str, TrainBatch],
    step: int,
    given: Mapping[str, TrainBatch] = MappingProxyType({}),
) -> None:
    """Name the terms that are not finite and where they came from.

    Args:
        given: what the batches were made from on another device.

    Raises:
        UsageError: a random change made values that are not finite.
        MedsslError: there is such a term. Cases whose own voxels are not finite are named alone,
            otherwise all of the batch.
    """
    bad = [name for name, value in terms.items() if not isfinite(value)]
    if not bad:
        return
    for batch in given.values():
        batch.to(torch.device("cpu"))  # which refuses what random changes spoilt
    cases = {case for batch in batches.values() for case in batch.ids}
    damaged = {case for batch in batches.values() for case in batch.damaged()}
    named = ", ".join(sorted(damaged or cases))
    raise MedsslError(
        f"the loss {' and '.join(bad)} is not finite at step {step}",
        f"values of {named} are not finite" if damaged else f"the batch held the cases {named}",
        "look at these cases with `medssl data check`, or lower train.optimiser.learning_rate",
    )
