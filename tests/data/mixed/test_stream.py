"""Batches of images and volumes: one numbering over all data sets, balanced, a function of k."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medssl.data.mixed.settings import MixedSampling
from medssl.data.mixed.stack import SliceStack
from medssl.data.mixed.stream import ImageStack, MixedSource, MixedStream
from medssl.errors import DataError

SMALL = {"images": 6, "volumes": 4, "slices": 5, "side": 8}


@pytest.fixture
def stack(tmp_path: Path):
    """`stack("a", 7)`: a scan of 7 slices; slice z holds z everywhere."""

    def make(name: str, length: int, spacing: float = 2.0) -> SliceStack:
        path = tmp_path / f"{name}.npy"
        np.save(path, np.arange(length, dtype=np.float16)[:, None, None] * np.ones((8, 8)))
        share = np.linspace(0, 1, length, dtype=np.float32)
        return SliceStack(f"set/{name}", path, spacing, share)

    return make


def images(count: int) -> ImageStack:
    grey = np.arange(count, dtype=np.uint8)[:, None, None] * np.ones((8, 8), np.uint8)
    return ImageStack(tuple(f"x{n}" for n in range(count)), grey)


def stream(sources, seed=0, **settings) -> MixedStream:
    return MixedStream(sources, MixedSampling(**{**SMALL, **settings}), seed)


def test_volumes_of_two_data_sets_have_numbers_0_to_4(stack):
    """The sheet's test 11: data sets of 3 and of 2 volumes; each number is met."""
    first = MixedSource("a", volumes=tuple(stack(f"a{n}", 5) for n in range(3)))
    second = MixedSource("b", volumes=tuple(stack(f"b{n}", 5) for n in range(2)))
    joint = stream([first, second], images=0)
    assert joint.volumes == 5
    assert joint.numbered == 25
    batches = [joint.batch(k).volumes for k in range(20)]
    met = {(int(n), int(s)) for b in batches for n, s in zip(b.number, b.source, strict=True)}
    assert met == {(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)}
    slices = {int(n) for b in batches for n in b.slice_number.flatten()}
    assert slices == set(range(25))


def test_images_and_slices_never_share_a_number(stack):
    joint = stream(
        [
            MixedSource("x", images(3)),
            MixedSource("v", volumes=(stack("v0", 4), stack("v1", 6)), loose=True),
            MixedSource("y", images(2)),
        ]
    )
    assert (joint.images, joint.numbered, joint.volumes) == (15, 15, 2)
    owners: dict[int, set[tuple[int, float]]] = {}
    for k in range(60):
        batch = joint.batch(k)
        given = batch.images
        for number, source, pixels in zip(given.number, given.source, given.pixels, strict=True):
            value = float(pixels[0, 0])
            if source != 1:
                value = round((value + 1) * 127.5)
            owners.setdefault(int(number), set()).add((int(source), value))
        for row in range(4):
            for place in range(int(batch.volumes.valid[row].sum())):
                number = int(batch.volumes.slice_number[row, place])
                owners.setdefault(number, set()).add(
                    (1, float(batch.volumes.slices[row, place, 0, 0]))
                )
    assert sorted(owners) == list(range(15))
    assert all(len(owner) == 1 for owner in owners.values())
    assert owners[0] == {(0, 0.0)}
    assert owners[3] == {(1, 0.0)}  # first slice of v0
    assert owners[8] == {(1, 1.0)}  # second slice of v1
    assert owners[14] == {(2, 1.0)}


def test_a_batch_is_a_function_of_seed_and_number(stack):
    sources = [MixedSource("x", images(9)), MixedSource("v", volumes=(stack("v0", 9),))]
    one, same, other = (stream(sources, seed) for seed in (0, 0, 1))
    assert torch.equal(one.batch(3).images.number, same.batch(3).images.number)
    assert one.batch(3).ids == same.batch(3).ids
    assert not torch.equal(one.batch(3).images.number, other.batch(3).images.number)
    assert not torch.equal(one.batch(3).images.number, one.batch(4).images.number)


def test_a_long_volume_gives_a_window_and_a_short_one_is_filled_up(stack):
    long, short = stack("long", 12, spacing=3.5), stack("short", 3)
    joint = stream([MixedSource("v", volumes=(long, short))], images=0, volumes=40)
    given = joint.batch(0).volumes
    starts = set()
    for row in range(40):
        values, valid = given.slices[row, :, 0, 0], given.valid[row]
        if given.number[row] == 0:
            assert valid.all()
            assert values.diff().tolist() == [1] * 4
            starts.add(int(values[0]))
            assert given.spacing[row] == 3.5
            expected = torch.from_numpy(long.foreground)[values.long()]
            assert torch.equal(given.foreground[row], expected)
        else:
            assert valid.tolist() == [True] * 3 + [False] * 2
            assert values.tolist() == [0, 1, 2, 0, 0]
            assert given.foreground[row, 3:].tolist() == [0, 0]
            assert given.slice_number[row].tolist() == [12, 13, 14, 14, 14]
    assert starts == set(range(8))


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 0.9), (0.5, 0.75), (0.0, 0.5)])
def test_data_sets_are_balanced_by_temperature(temperature, share):
    """81 and 9 images: 90 %, sqrt 81 : sqrt 9 = 75 %, or half."""
    sources = [MixedSource("large", images(81)), MixedSource("small", images(9))]
    joint = stream(sources, temperature=temperature, images=2000, volumes=0)
    found = (joint.batch(0).images.source == 0).float().mean().item()
    assert found == pytest.approx(share, abs=0.03)


def test_images_or_volumes_may_be_none_at_all(stack):
    batch = stream([MixedSource("x", images(3))], volumes=0).batch(0)
    assert batch.volumes.slices.shape == (0, 5, 8, 8)
    assert len(batch.ids) == 6
    batch = stream([MixedSource("v", volumes=(stack("v0", 9),))], images=0).batch(0)
    assert batch.images.pixels.shape == (0, 8, 8)
    assert batch.damaged() == ()


def test_what_is_asked_for_must_be_there(stack):
    with pytest.raises(DataError, match=r"no images to learn from; v hold volumes alone"):
        stream([MixedSource("v", volumes=(stack("v0", 9),))])
    with pytest.raises(DataError, match=r"no volumes to learn from; x hold images alone"):
        stream([MixedSource("x", images(3))])


def test_damaged_volumes_are_named(stack):
    joint = stream([MixedSource("v", volumes=(stack("v0", 9),))], images=0)
    batch = joint.batch(0)
    batch.volumes.slices[2, 1, 0, 0] = torch.nan
    assert batch.damaged() == ("set/v0",)


def test_the_volumes_of_a_batch_may_be_of_one_data_set(stack):
    sources = [
        MixedSource("v", volumes=tuple(stack(f"v{n}", 9) for n in range(4))),
        MixedSource("x", images(5)),
        MixedSource("w", volumes=tuple(stack(f"w{n}", 9) for n in range(4))),
    ]
    mixed, apart = (stream(sources, volumes=4, volumes_of=of) for of in ("all", "one"))
    found = [apart.batch(number).volumes.source.unique().tolist() for number in range(20)]
    assert all(len(one) == 1 for one in found)
    assert {one for (one,) in found} == {0, 2}
    assert any(len(mixed.batch(number).volumes.source.unique()) > 1 for number in range(20))
    assert torch.equal(mixed.batch(3).images.pixels, apart.batch(3).images.pixels)
    assert len(apart.batch(0).volumes.number.unique()) > 1
