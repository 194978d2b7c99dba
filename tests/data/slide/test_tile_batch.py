"""Batches of tiles: every batch a function of (seed, number), every tile once per round."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medssl.data.slide.tile_batch import TileBatch, TileStream
from medssl.errors import DataError


@dataclass
class Slide:
    id: str
    tiles: np.ndarray


def slide(name: str, count: int, first: int = 0, side: int = 4) -> Slide:
    """Tile k is filled with the value first + k, its channels with +0, +64, +128 more."""
    tiles = np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
    channels = np.array([0, 64, 128], dtype=np.uint8)
    return Slide(name, np.broadcast_to(tiles + channels, (count, side, side, 3)))


def drawn(stream: TileStream, batches: range) -> list[tuple[str, int]]:
    """Slide and value of every tile, in order."""
    found = []
    for number in batches:
        batch = stream.batch(number)
        found += zip(batch.ids, batch.image[:, 0, 0, 0].tolist(), strict=True)
    return found


SLIDES = [slide("a", 5), slide("empty", 0), slide("b", 2, first=10)]
ALL = {("a", n) for n in range(5)} | {("b", 10), ("b", 11)}


def test_a_batch_holds_bytes_with_channels_first():
    batch = TileStream(SLIDES, 3, seed=0).batch(0)
    assert batch.image.shape == (3, 3, 4, 4)
    assert batch.image.dtype == torch.uint8
    assert batch.image.is_contiguous()
    assert torch.equal(batch.image[:, 2, 0, 0] - batch.image[:, 0, 3, 3], torch.full((3,), 128))
    assert len(batch.ids) == 3


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10])
def test_every_round_visits_every_tile_of_every_slide_once(size):
    """Batches may span two rounds; seven batches of any size are whole rounds of seven tiles."""
    found = drawn(TileStream(SLIDES, size, seed=0), range(7))
    rounds = [found[start : start + 7] for start in range(0, len(found), 7)]
    assert len(rounds) == size
    assert all(len(one) == 7 and set(one) == ALL for one in rounds)
    if size > 1:
        assert len({tuple(one) for one in rounds}) > 1


def test_a_batch_does_not_depend_on_those_before():
    stream = TileStream(SLIDES, 2, seed=0)
    later, again = stream.batch(40), TileStream(SLIDES, 2, seed=0).batch(40)
    assert later.ids == again.ids
    assert torch.equal(later.image, again.image)


def test_the_seed_decides_the_order():
    orders = {tuple(drawn(TileStream(SLIDES, 7, seed=seed), range(3))) for seed in range(5)}
    assert len(orders) == 5


def test_a_few_tiles_of_each_slide_are_chosen_once_and_for_all():
    slides = [slide("a", 100), slide("b", 3, first=200)]
    stream = TileStream(slides, 13, seed=0, per_source=10)
    assert len(stream) == 13
    found = Counter(drawn(stream, range(20)))
    assert Counter(name for name, _ in found) == {"a": 10, "b": 3}
    assert set(found.values()) == {20}
    other = Counter(drawn(TileStream(slides, 13, seed=1, per_source=10), range(20)))
    assert set(other) != set(found)


def test_every_tile_of_a_slide_is_as_likely_to_be_among_the_few():
    """Each of 20 is chosen in 300 draws of 5 with mean 75, standard deviation 7.5."""
    slides = [slide("a", 20)]
    counts = Counter(
        pair for seed in range(300) for pair in drawn(TileStream(slides, 5, seed, 5), range(1))
    )
    assert len(counts) == 20
    assert all(abs(count - 75) < 34 for count in counts.values())


def test_mapped_tiles_are_read(tmp_path):
    np.save(tmp_path / "tiles.npy", np.array(slide("a", 5).tiles))
    mapped = Slide("a", np.load(tmp_path / "tiles.npy", mmap_mode="r"))
    first, second = TileStream([mapped], 5, 0).batch(3), TileStream([slide("a", 5)], 5, 0).batch(3)
    assert torch.equal(first.image, second.image)


def test_a_batch_can_be_moved_and_is_never_damaged():
    batch = TileStream(SLIDES, 2, seed=0).batch(0)
    moved = batch.to(torch.device("cpu"))
    assert isinstance(moved, TileBatch)
    assert moved.ids == batch.ids
    assert moved.damaged() == ()


@pytest.mark.parametrize(
    ("slides", "message"),
    [
        ([], "no tiles"),
        ([slide("a", 0)], "no tiles"),
        ([slide("a", 1, side=4), slide("b", 1, side=5)], "4 x 4 and 5 x 5"),
        ([Slide("a", np.zeros((1, 4, 4, 3), dtype=np.float32))], "tiles of a are not RGB"),
        ([Slide("a", np.zeros((1, 4, 4), dtype=np.uint8))], "tiles of a are not RGB"),
    ],
)
def test_tiles_that_cannot_be_learnt_from_are_refused(slides, message):
    with pytest.raises(DataError, match=message):
        TileStream(slides, 2, seed=0)
