"""A whole update against the network passes it is made of, timed alone.

    python -m tests.benchmarks.step [PIPELINE ...]

For TraCoCo the passes are eight forward and six backward. They are recorded in one step, with the
rows that each really takes, and repeated on random images with a gradient at hand: no losses, no
noise, no optimiser. CPU seconds, the least of several interleaved repeats, on one thread.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from torch import Tensor, nn

from medssl.data.batch import Batch
from medssl.families.segment.train import build_method
from medssl.methods.method import Method, Progress
from medssl.pipeline.config import Config, load_config
from medssl.train.allocator import keep_freed_memory
from medssl.train.update import Update, make_update

REPEATS = 9


@dataclass(frozen=True)
class Pass:
    """One call of a network in training mode."""

    network: nn.Module
    shape: torch.Size
    trains: bool

    def image(self, like: Tensor) -> Tensor:
        return torch.randn(self.shape, dtype=like.dtype)


def random_batches(method: Method, config: Config) -> dict[str, Batch]:
    """Batches of the pipeline's sizes; the views of an item lie a quarter of the patch apart."""
    settings = config.pipeline.train
    generator = torch.Generator().manual_seed(0)
    sizes = {"labelled": settings.batch_labelled, "unlabelled": settings.batch_unlabelled}
    starts = [[side // 4 for side in settings.patch], [0, 0, 0]]
    found = {}
    for kind in method.streams:
        shape = (sizes[kind], 2, len(config.spec.channels), *settings.patch)
        label = torch.randint(
            len(config.spec.classes), (shape[0], *settings.patch), generator=generator
        )
        found[kind] = Batch(
            torch.rand(shape, generator=generator),
            label.to(torch.uint8) if kind == "labelled" else None,
            torch.tensor([starts] * shape[0]),
            tuple(f"{kind}{item}" for item in range(shape[0])),
        )
    return found


def recorded(update: Update, batches: dict[str, Batch], progress: Progress) -> list[Pass]:
    """The network passes of one step, in order."""
    passes: list[Pass] = []

    def note(network: nn.Module, given: tuple[Tensor, ...]) -> None:
        passes.append(Pass(network, given[0].shape, torch.is_grad_enabled()))

    callbacks = [network.register_forward_pre_hook(note) for network in update.method.networks()]
    update(batches, progress)
    for hook in callbacks:
        hook.remove()
    return passes


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def alone(one: Pass) -> float:
    """CPU seconds of the pass: forward and, if it trains, backward."""
    parameters = list(one.network.parameters())
    image = one.image(parameters[0])
    if not one.trains:
        with torch.no_grad():
            return cpu_seconds(lambda: one.network(image))
    answers: list[Tensor] = []
    forward = cpu_seconds(lambda: answers.append(one.network(image)))
    gradient = torch.randn_like(answers[0])
    backward = cpu_seconds(lambda: answers[0].backward(gradient))
    one.network.zero_grad(set_to_none=True)
    return forward + backward


def measure(name: str, overrides: list[str]) -> None:
    config = load_config(name, overrides)
    method = build_method(config)
    pipeline = config.pipeline
    device = torch.device("cpu")
    update = make_update(method, pipeline.train, pipeline.seed, device)
    batches = random_batches(method, config)
    progress = Progress(pipeline.train.steps // 2, pipeline.train.steps)
    passes = recorded(update, batches, progress)
    whole, parts = [], [[] for _ in passes]
    for _ in range(REPEATS):
        whole.append(cpu_seconds(lambda: update(batches, progress)))
        for times, one in zip(parts, passes, strict=True):
            times.append(alone(one))
    step, bare = min(whole), sum(min(times) for times in parts)
    trained = sum(one.trains for one in passes)
    print(
        f"{name:14} {pipeline.method.name}, patch {list(pipeline.train.patch)}: step {step:.3f} "
        f"CPU-s, its {len(passes)} forward and {trained} backward passes alone {bare:.3f} CPU-s, "
        f"ratio {step / bare:.3f}"
    )


def main() -> None:
    torch.set_num_threads(1)
    # As the training stage does.
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    keep_freed_memory()
    for name in sys.argv[1:] or ["hippocampus", "left_atrium"]:
        measure(name, ["method=tracoco"] if name == "brain_cohort" else [])


if __name__ == "__main__":
    main()
