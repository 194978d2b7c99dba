"""Groups of torch.distributed, made so that signals are heard while processes connect."""

import threading
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import _set_pg_timeout

from medssl.errors import Stopped
from medssl.stop import STOP, held

LOOK_EVERY_S = 0.1
"""How often a process that waits for others looks whether it is over, and hears signals."""
CONNECT = timedelta(seconds=60)
"""How long each try of processes that have met to connect may take; there are a few."""
PATIENCE = timedelta(hours=2)
"""How long one process may be busy alone while the others wait for it in a training."""


def connect(backend: str, store: Any, rank: int, size: int) -> Any:
    """Make the default group, and return one for talk between CPUs.

    Torch waits for a process that is gone without hearing signals, so a thread does it.

    Raises:
        Stopped: a signal came meanwhile.
        RuntimeError: a process is gone.
    """
    talk = Future[Any]()

    def make() -> None:
        try:
            dist.init_process_group(
                backend, store=store, rank=rank, world_size=size, timeout=CONNECT
            )
            found = dist.new_group(backend="gloo", timeout=CONNECT)
            for group in (None, found):
                _set_pg_timeout(PATIENCE, group)
            talk.set_result(found)
        except BaseException as error:
            talk.set_exception(error)

    threading.Thread(target=make, daemon=True).start()
    try:
        while not talk.done():
            with held():
                wait([talk], LOOK_EVERY_S)
    except Stopped:
        STOP.hurry()
        raise
    return talk.result()
