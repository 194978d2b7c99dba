from dataclasses import dataclass

import numpy as np
import pytest
import torch

from medssl.data.patches import OverlappingPatches, SinglePatch
from medssl.data.stream import PatchStream
from medssl.errors import DataError
from medssl.transforms.chain import Augment

PATCH = (4, 4, 4)


@dataclass
class Case:
    id: str
    image: np.ndarray
    mask: np.ndarray | None
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None


class CaseWithoutLabelFile(Case):
    @property
    def mask(self) -> np.ndarray:
        raise FileNotFoundError("the label of an unlabelled case was read")

    @mask.setter
    def mask(self, value: object) -> None: ...


def cases(number: int, kind: type[Case] = Case) -> list[Case]:
    rng = np.random.default_rng(0)
    found = []
    for index in range(number):
        image = rng.random((1, 6, 7, 8)).astype(np.float32)
        found.append(kind(f"case{index}", image, (image[0] > 0.5).astype(np.uint8)))
    return found


def stream(kind="labelled", number=4, size=2, seed=0, sampler=None, **more) -> PatchStream:
    of = more.pop("of", None) or cases(number)
    changes = Augment.of({"basic": more})
    return PatchStream(kind, of, sampler or SinglePatch(PATCH), changes, size, seed)


def ids(source: PatchStream, batches: int) -> list[tuple[str, ...]]:
    return [source.batch(number).ids for number in range(batches)]


@pytest.mark.parametrize(("number", "per_epoch"), [(4, 2), (5, 2), (6, 3)])
def test_labelled_pairs_meet_no_case_twice_per_epoch_and_drop_an_odd_rest(number, per_epoch):
    source = stream(number=number)
    for epoch in range(5):
        met = [
            name
            for batch in range(epoch * per_epoch, (epoch + 1) * per_epoch)
            for name in source.batch(batch).ids
        ]
        assert len(set(met)) == len(met) == 2 * per_epoch
    assert {name for pair in ids(source, 30) for name in pair} == {
        f"case{n}" for n in range(number)
    }


def test_epochs_differ_in_order():
    met = ids(stream(number=6), 12)
    assert len({tuple(met[start : start + 3]) for start in range(0, 12, 3)}) > 1


def test_fewer_labelled_cases_than_a_batch_takes_are_met_again():
    assert ids(stream(number=1), 2) == [("case0", "case0")] * 2


def test_each_unlabelled_case_appears_before_any_repeats():
    """An endless chain of permutations, also across the ends of batches."""
    met = [name for batch in ids(stream("unlabelled", number=5), 10) for name in batch]
    for start in range(0, 20, 5):
        assert len(set(met[start : start + 5])) == 5


def test_unlabelled_cases_need_no_label_on_disk():
    source = stream("unlabelled", of=cases(3, CaseWithoutLabelFile))
    assert source.batch(0).label is None
    with pytest.raises(ValueError, match="reads no labels"):
        _ = source.batch(0).truth


def test_a_labelled_case_without_a_label_is_named():
    nameless = [Case("case7", np.zeros((1, 6, 6, 6), np.float32), None)]
    with pytest.raises(DataError, match="case7 has no label"):
        stream(of=nameless).batch(0)


def test_a_batch_is_a_function_of_seed_stream_and_number():
    def image(**more):
        return stream(rot90=True, flip="half", **more).batch(3).image

    assert torch.equal(image(), image())
    assert not torch.equal(image(), image(seed=1))
    assert not torch.equal(image(), image(kind="unlabelled"))


def test_no_two_items_of_a_stream_repeat_their_draws():
    one = [Case("only", np.random.default_rng(0).random((1, 30, 30, 30)), None)]
    source = stream("unlabelled", of=one)
    starts = {tuple(start) for n in range(8) for start in source.batch(n).start[:, 0].tolist()}
    assert len(starts) == 16


def test_the_label_belongs_to_the_first_view():
    source = stream(sampler=OverlappingPatches(PATCH), rot90=True, flip="half")
    for number in range(4):
        batch = source.batch(number)
        assert batch.image.shape == (2, 2, 1, *PATCH)
        assert batch.start.shape == (2, 2, 3)
        assert torch.equal(batch.truth, (batch.image[:, 0, 0] > 0.5).to(torch.uint8))


def test_padding_takes_the_floor_in_the_image_and_background_in_the_label():
    small = [Case("small", np.ones((1, 2, 2, 2), np.float16), np.ones((2, 2, 2), np.uint8), -3.0)]
    batch = stream(of=small).batch(0)
    outside = batch.image[:, 0, 0] == -3
    assert batch.image.dtype == torch.float32
    assert int(outside.sum()) == 2 * (4**3 - 2**3)
    assert torch.equal(batch.truth == 0, outside)
