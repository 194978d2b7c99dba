"""Batches drawn ahead: the same for any number of threads, each computing on one core."""

import threading
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import ones
from torch.utils._python_dispatch import TorchDispatchMode

from medssl.data.bags.bag import BagBatch, Bags
from medssl.data.batch import Batch
from medssl.data.mixed.batch import Images, MixedBatch, Volumes
from medssl.data.patches import OverlappingPatches
from medssl.data.prefetch import Prefetch, choose_workers, pinned
from medssl.data.radiograph.batch import RadiographBatch
from medssl.data.scan.batch import ScanBatch
from medssl.data.slide.tile_batch import TileBatch
from medssl.data.stream import PatchStream
from medssl.errors import UsageError
from medssl.transforms.chain import Augment

CHAIN = ["standard", {"RandAffined": {"prob": 0.5, "rotate_range": 0.3}}]


@dataclass
class Case:
    id: str
    image: np.ndarray
    mask: np.ndarray
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None


@dataclass
class Counting:
    """A stream that notes who draws what."""

    fails_at: int = -1
    drawn: list[tuple[int, str, int]] = field(default_factory=list)

    def batch(self, number):
        name = threading.current_thread().name
        self.drawn.append((number, name, torch.get_num_threads()))
        if number == self.fails_at:
            raise UsageError("a transform failed")
        return number


def streams():
    rng = np.random.default_rng(0)
    images = [rng.random((1, 14, 13, 12)).astype(np.float32) for _ in range(3)]
    cases = [Case(f"c{n}", one, (one[0] > 0.5).astype(np.uint8)) for n, one in enumerate(images)]
    return {
        kind: PatchStream(kind, cases, OverlappingPatches((6, 6, 6)), Augment.of(CHAIN), 2, 0)
        for kind in ("labelled", "unlabelled")
    }


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_their_numbers_whoever_draws_them(workers):
    wanted = streams()
    with closing(Prefetch(streams(), 2, workers)) as feed:
        for number in range(2, 12):
            for name, batch in feed.take().items():
                mine = wanted[name].batch(number)
                assert torch.equal(batch.image, mine.image)
                assert torch.equal(batch.start, mine.start)
                assert (batch.label is None) == (name == "unlabelled")
                assert batch.label is None or torch.equal(batch.truth, mine.truth)


def test_no_worker_draws_in_the_loops_own_thread():
    stream, own = Counting(), threading.current_thread().name
    with closing(Prefetch({"a": stream}, 0, 0)) as feed:
        assert [feed.take()["a"] for _ in range(3)] == [0, 1, 2]
    assert [(number, name) for number, name, _ in stream.drawn] == [(n, own) for n in range(3)]


def test_as_many_batches_are_under_way_as_there_are_workers():
    stream = Counting()
    with closing(Prefetch({"a": stream}, 5, 3)) as feed:
        assert feed.take()["a"] == 5
    assert {number for number, _, _ in stream.drawn} <= {5, 6, 7, 8}
    assert {5, 6, 7} <= {number for number, _, _ in stream.drawn}


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_drawn_on_one_core_each_and_the_loop_keeps_its_own(workers):
    """Else a sum over several cores would be rounded otherwise."""
    before, stream = torch.get_num_threads(), Counting()
    torch.set_num_threads(2)
    try:
        with closing(Prefetch({"a": stream}, 0, workers)) as feed:
            feed.take()
            assert torch.get_num_threads() == 2
        assert {threads for _, _, threads in stream.drawn} == {1}
    finally:
        torch.set_num_threads(before)


def test_a_fault_of_a_worker_is_raised_where_its_batch_is_taken():
    with closing(Prefetch({"a": Counting(fails_at=1)}, 0, 2)) as feed:
        feed.take()
        with pytest.raises(UsageError, match="a transform failed"):
            feed.take()


def test_a_cpu_that_trains_has_one_thread_read_ahead_and_a_gpu_as_many_as_there_are_cores():
    assert choose_workers(None, torch.device("cpu")) == 1
    assert 1 <= choose_workers(None, torch.device("cuda")) <= 8
    assert [choose_workers(asked, torch.device("cpu")) for asked in (0, 3)] == [0, 3]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("on_device", [False, True])
def test_batches_for_a_gpu_lie_in_pinned_memory(workers, on_device, monkeypatch):
    """Every tensor that is copied there; what is in them stays as it is."""
    held = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda one: held.append(one) or one)
    source = replace(streams()["labelled"], on_device=on_device)
    with closing(Prefetch({"a": source}, 0, workers, torch.device("cuda"))) as feed:
        batch = feed.take()["a"]
    own = [box.image for box in batch.boxes] if on_device else [batch.image, batch.label]
    assert all(any(one is tensor for tensor in held) for one in own)
    there, alone = batch.to(torch.device("cpu")), source.batch(0).to(torch.device("cpu"))
    assert torch.equal(there.image, alone.image)
    held.clear()
    with closing(Prefetch({"a": source}, 0, workers)) as feed:
        feed.take()
    assert held == []


class Copies(TorchDispatchMode):
    """Notes from where something is copied to a device, and whether the host goes on meanwhile."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = kwargs or {}
        if func.overloadpacket is torch.ops.aten._to_copy and given.get("device") is not None:
            self.seen.append((args[0].data_ptr(), given.get("non_blocking", False)))
        return func(*args, **given)


TWO, IDS = ones(2, dtype=torch.int64), ("a", "b")
BAG = BagBatch(ones(5, 3), torch.tensor(1), ("a",))
SOME = ones(2, 3, dtype=torch.bool)
KINDS = [
    (Batch(ones(2, 1, 1, 3, 3, 3), ones(2, 3, 3, 3), TWO, IDS, ones(2, 3, 3, 3), SOME), 4),
    (RadiographBatch(ones(2, 1, 4, 4), TWO, IDS), 2),
    (TileBatch(ones(2, 3, 4, 4), IDS), 1),
    (BAG, 2),
    (Bags((BAG, BAG), (0, 1), 2), 4),
    (ScanBatch(ones(2, 1, 1, 3, 3, 3), ones(2, 1, 3, 4), (3, 3, 3), TWO, TWO, IDS, SOME, SOME), 6),
    (MixedBatch(Images(SOME, TWO, TWO), Volumes(SOME, SOME, TWO, SOME, TWO, SOME, TWO), IDS), 10),
]


@pytest.mark.parametrize(("batch", "count"), KINDS, ids=lambda one: type(one).__name__)
def test_every_kind_of_batch_is_copied_from_pinned_memory_while_the_host_goes_on(
    batch, count, monkeypatch
):
    held = {}

    def pin(one):
        found = one.clone()
        held[found.data_ptr()] = found
        return found

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    ready = pinned(batch)
    with Copies() as copies:
        ready.to(torch.device("meta"))
    assert len(copies.seen) == count
    assert all(place in held and goes_on for place, goes_on in copies.seen)
