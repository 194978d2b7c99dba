"""Several processes, as torchrun starts them, that carry out one training together.

The first one leads: it alone decides what is done, holds locks, writes files, tracks and talks. The
others follow: they wait for its orders, which say what to train. All of them train the same batches
side by side, each a part of the work (`medssl.train.division`); so what one process does needs no
other code. This file alone knows of the others.

Orders go through the store that torchrun's agent keeps. Processes are joined to a group of
torch.distributed only while they train: what the first one does alone waits for nobody.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from medssl.environment import process_count, process_rank
from medssl.errors import MedsslError, Stopped
from medssl.stop import held
from medssl.train.groups import LOOK_EVERY_S, PATIENCE, connect
from medssl.train.messages import packed, unpacked

Item = TypeVar("Item")
BUCKET = 1 << 25
"""Bytes of gradients that are summed at once."""
_FAILED, _STOPPED = "failed", "stopped"
"""Keys of the store that are there once a process has ended so."""

logger = logging.getLogger(__name__)


class Deserted(MedsslError):
    """Another process of the training is gone; that one says why, if it can."""


class Team:
    """The processes of a training; one process alone is a team too.

    Attributes:
        size: how many there are.
        rank: which this is, from 0.
    """

    def __init__(self) -> None:
        self.size, self.rank = process_count(), process_rank()
        self._store: Any = None
        self._orders = self._groups = self._firsts = self._reports = 0
        self._next: tuple[str, tuple[Any, ...]] | None = None
        self._failed: bool | None = None
        self._talk: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and talks."""
        return self.rank == 0

    @property
    def together(self) -> bool:
        """Whether there are others, and they are joined in a training."""
        return self._talk is not None

    @property
    def parts(self) -> int:
        """In how many a step is shared out at present."""
        return self.size if self.together else 1

    @property
    def store(self) -> Any:
        """What all processes can read and write."""
        if self._store is None:
            found, _, _ = next(rendezvous("env://", timeout=PATIENCE))
            self._store = PrefixStore("medssl", found)
        return self._store

    def order(self, kind: str, *given: Any) -> None:
        """Tell the followers what comes next, in plain values; nothing where there are none."""
        if self.size > 1 and self.leads:
            self.store.set(f"order/{self._orders}", packed([kind, *given]))
            self._orders += 1

    def orders(self, kind: str) -> Iterator[tuple[Any, ...]]:
        """The next orders of the leader, as long as they are of this kind."""
        while True:
            if self._next is None:
                key = f"order/{self._orders}"
                self._wait(key)
                kept, *more = unpacked(self.store.get(key))
                self._next = kept, tuple(more)
                self._orders += 1
            found, given = self._next
            if found != kind:
                return
            self._next = None
            yield given

    def _wait(self, key: str) -> None:
        while not self.store.check([key]):
            with held():  # obeys a signal that something passed over before
                time.sleep(LOOK_EVERY_S)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """The leader's work; at its end, however it ends, the followers are dismissed."""
        try:
            yield
        finally:
            self.order("end")

    @contextmanager
    def first(self) -> Iterator[None]:
        """The leader does the block before the others, who then find its work done."""
        if self.size == 1:
            yield
            return
        key = f"first/{self._firsts}"
        self._firsts += 1
        if not self.leads:
            self._wait(key)
        yield
        if self.leads:
            self.store.set(key, b"")

    def reported(self, value: Any) -> list[Any]:
        """What each process has to say once it is done, in order; the others need no answer.

        Unlike `collected` it needs no group, and the leader waits however long it takes.

        Raises:
            Stopped, Deserted: another process has ended otherwise.
        """
        if self.size == 1:
            return [value]
        key = f"report/{self._reports}"
        self._reports += 1
        if not self.leads:
            self.store.set(f"{key}/{self.rank}", packed(value))
            return [value]
        found = [value]
        for rank in range(1, self.size):
            while not self.store.check([f"{key}/{rank}"]):
                self._refuse_ended()
                time.sleep(LOOK_EVERY_S)
            found.append(unpacked(self.store.get(f"{key}/{rank}")))
        return found

    def tell_failure(self) -> bool:
        """Note that this process fails; whether it is the first to, which then says why."""
        if self.size > 1 and self._failed is None:
            try:
                self._failed = int(self.store.add(_FAILED, 1)) == 1
            except (RuntimeError, OSError):  # whoever kept the store is gone
                self._failed = self.leads
        return self._failed is not False

    def _tell(self, what: str) -> None:
        with suppress(RuntimeError, OSError):  # whoever kept the store is gone
            self.store.set(what, b"")

    def look(self) -> None:
        """Notice, between two pieces of work, that another process has ended.

        Raises:
            Stopped: it was asked to stop.
            Deserted: it has failed, and says why.
        """
        if self.together:
            self._refuse_ended()

    def _refuse_ended(self) -> None:
        try:
            stopped, failed = (self.store.check([key]) for key in (_STOPPED, _FAILED))
        except (RuntimeError, OSError) as error:  # whoever kept the store is gone
            raise _deserted() from error
        if stopped:
            raise Stopped(
                "stopped",
                "another process was asked to by a signal",
                "run the same command again to continue",
            )
        if failed:
            raise _deserted()

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """A group of torch.distributed of all processes.

        Raises:
            Deserted: another process has ended.
        """
        if self.size == 1:
            yield
            return
        # A connection of its own: while processes connect, nothing else can be said through it.
        store = PrefixStore(f"group/{self._groups}", self.store.clone())
        self._meet(f"meet/{self._groups}")
        self._groups += 1
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        try:
            self._talk = connect(backend, store, self.rank, self.size)
            yield
        except RuntimeError as error:
            if not _is_of_others(error):
                self.tell_failure()  # before the others see that this process is gone
                raise
            logger.debug("a process is gone: %s", error)
            self.look()
            raise _deserted() from error
        except Deserted:
            raise
        except Stopped:
            self._tell(_STOPPED)
            raise
        except BaseException:
            self.tell_failure()
            raise
        finally:
            self._talk = None
            if dist.is_initialized():
                with suppress(RuntimeError):
                    dist.destroy_process_group()

    def _meet(self, key: str) -> None:
        """Wait for all processes, so that a signal is heard: torch's own waiting hears none."""
        self.store.set(f"{key}/{self.rank}", b"")
        for rank in range(self.size):
            self._wait(f"{key}/{rank}")

    def any(self, value: bool) -> bool:
        """Whether it is true in any process."""
        if not self.together:
            return value
        found = torch.tensor(int(value))
        dist.all_reduce(found, dist.ReduceOp.MAX, self._talk)
        return bool(found)

    def agreed(self, value: Any) -> Any:
        """What the leader says, in every process; plain values and arrays, see `packed`."""
        if not self.together:
            return value
        told = _as_tensor(packed(value)) if self.leads else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor(len(told))
        dist.broadcast(length, 0, self._talk)
        if not self.leads:
            told = torch.empty(int(length), dtype=torch.uint8)
        dist.broadcast(told, 0, self._talk)
        return unpacked(told.numpy().tobytes())

    def collected(self, value: Any) -> list[Any]:
        """What each process says, in order, in every process; as `agreed`."""
        if not self.together:
            return [value]
        told = _as_tensor(packed(value))
        lengths = [torch.tensor(0) for _ in range(self.size)]
        dist.all_gather(lengths, torch.tensor(len(told)), self._talk)
        most = int(max(lengths))
        found = [torch.empty(most, dtype=torch.uint8) for _ in lengths]
        dist.all_gather(found, torch.nn.functional.pad(told, (0, most - len(told))), self._talk)
        return [
            unpacked(one[: int(length)].numpy().tobytes())
            for one, length in zip(found, lengths, strict=True)
        ]

    def own(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of what is to be done."""
        return items[self.rank :: self.size] if self.together else items

    def spread(self, work: Callable[[Item], Any], items: Sequence[Item]) -> list[Any]:
        """`work` of every item, in order, in every process; each does a part.

        Args:
            work: gives what a message can hold.

        Raises:
            Stopped, Deserted: as `look`.
        """
        parts = self.collected([self._looked(work, item) for item in self.own(items)])
        return [parts[place % len(parts)][place // len(parts)] for place in range(len(items))]

    def _looked(self, work: Callable[[Item], Any], item: Item) -> Any:
        self.look()
        return work(item)

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the leader's tensors, in place."""
        if self.together:
            for tensor in tensors:
                dist.broadcast(tensor.detach(), 0)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        dist.all_reduce(tensor)
        return tensor

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes of a value without a gradient."""
        return self.sum(value.detach().clone()) / self.size if self.together else value.detach()

    def mean_gradients(
        self, parameters: Sequence[torch.nn.Parameter], uneven: bool = False
    ) -> None:
        """Mean over all processes of all gradients, in place.

        Args:
            uneven: whether a weight may have one in some of the processes alone.
        """
        if not self.together:
            return
        if uneven:
            given = self.collected([one.grad is not None for one in parameters])
            for one, *some in zip(parameters, *given, strict=True):
                if one.grad is None and any(some):
                    one.grad = torch.zeros_like(one)
        found = [one.grad for one in parameters if one.grad is not None]
        for bucket in _buckets(found):
            flat = _flatten_dense_tensors(bucket)  # type: ignore[no-untyped-call]
            dist.all_reduce(flat)
            flat /= self.size
            parts = _unflatten_dense_tensors(flat, bucket)  # type: ignore[no-untyped-call]
            for gradient, mean in zip(bucket, parts, strict=True):
                gradient.copy_(mean)

    def stacked(self, tensor: Tensor, lengths: Sequence[int]) -> list[Tensor]:
        """The tensors of all processes, which differ at most in their first axis.

        Args:
            lengths: of the first axis in each process.
        """
        if not self.together:
            return [tensor.detach()]
        most, own = max(lengths), tensor.detach().contiguous()
        if len(own) < most:
            own = torch.cat([own, own.new_zeros(most - len(own), *own.shape[1:])])
        # As bytes, since not every backend knows every type.
        parts = [torch.empty_like(own) for _ in lengths]
        dist.all_gather([_bytes(part) for part in parts], _bytes(own))
        return [part[:length] for part, length in zip(parts, lengths, strict=True)]


TEAM = Team()
"""The one of this process."""


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.view(-1).view(torch.uint8)


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in turn, of one type and not too many bytes at once."""
    found: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if found and (size > BUCKET or tensor.dtype != found[0].dtype):
            yield found
            found, size = [], 0
        found.append(tensor)
        size += tensor.nbytes
    if found:
        yield found


def _deserted() -> Deserted:
    return Deserted(
        "another process of this training has ended",
        "the system may have ended it, for want of memory for instance",
        "run the same command again to continue from the last saved state",
    )


def _is_of_others(error: RuntimeError) -> bool:
    """Whether a failure comes from the connection to the other processes."""
    if isinstance(error, dist.DistError):
        return True
    told = str(error)
    return "gloo" in told or "Connection" in told or "NCCL" in told
