"""Trainings by two processes of this machine, held against those of one.

The processes are forked, so that nothing is imported again.
"""

import os
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.multiprocessing import start_processes

from medssl.data.prefetch import BatchStream
from medssl.methods.method import Method, Progress
from medssl.settings import LoopSettings
from medssl.train.distributed import TEAM
from medssl.train.division import OwnPart, own_part
from medssl.train.update import make_update

CPU = torch.device("cpu")
CLOSE = 1e-9
Found = dict[str, Any]
Training = Callable[[], Found]


def stepped(
    method: Method[Any],
    streams: Mapping[str, BatchStream],
    settings: LoopSettings,
    first: int = 1,
    steps: int = 3,
) -> Found:
    """Weights and losses after some steps, as the loop makes them, counted from `first`.

    All is in double precision: in single, batch norms of a few rows round loudly, and a voxel whose
    confidence is a threshold to the last bit is learnt from or not.
    """
    method.double()
    with TEAM.joined(CPU), in_double():
        shared = {kind: own_part(stream, TEAM) for kind, stream in streams.items()}
        parted = frozenset(kind for kind, one in shared.items() if isinstance(one, OwnPart))
        update = make_update(method, settings, 0, CPU, parted=parted)
        losses = []
        for step in range(first, first + steps):
            given = {kind: wide(stream.batch(step - 1)) for kind, stream in shared.items()}
            losses.append(update(given, Progress(step, settings.steps)))
        update.gather()
        return {"losses": losses, "weights": method.state_dict()}


@contextmanager
def in_double() -> Iterator[None]:
    """What is made or cast to single precision is in double precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def wide(value: Any) -> Any:
    """A batch, or a part of one, in double precision."""
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(wide(one) for one in value)
    if is_dataclass(value):
        return replace(value, **{key: wide(one) for key, one in vars(value).items()})
    return value


def _child(rank: int, trainings: Mapping[str, Training], folder: str, port: int) -> None:
    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    TEAM.__init__()
    for name, training in trainings.items():
        try:
            found = training()
        except Exception:
            found = {"failed": traceback.format_exc()}
        torch.save(found, Path(folder) / f"{name}-{rank}.pt")


def both(trainings: Mapping[str, Training], folder: Path) -> dict[str, list[Found]]:
    """What each of two processes finds, by the name of the training."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_child, (trainings, str(folder), port), nprocs=2, start_method="fork")
    return {
        name: [torch.load(folder / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        for name in trainings
    }


def must_agree(found: list[Found], alone: Found, close: float = CLOSE) -> None:
    """Both processes have the same bits, and what one process has."""
    first, second = found
    assert "failed" not in first, first["failed"]
    for key, value in first["weights"].items():
        assert torch.equal(value, second["weights"][key]), f"{key} differs between the processes"
        torch.testing.assert_close(
            value,
            alone["weights"][key],
            rtol=close,
            atol=close,
            msg=lambda text, key=key: f"{key}: {text}",
        )
    for one, other in zip(first["losses"], alone["losses"], strict=True):
        assert one == pytest.approx(other, rel=10 * close, abs=close)
