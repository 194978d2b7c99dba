"""Unlabelled patches are centred on what the network takes for foreground, look by look."""

from dataclasses import dataclass

import numpy as np
import pytest

from medssl.data.foreground import find_class_voxels
from medssl.data.patches import SinglePatch
from medssl.data.pseudo_foreground import LAG, PseudoForeground
from medssl.data.stream import PatchStream
from medssl.errors import DataError
from medssl.transforms.chain import Augment

REFRESH = 20
FIRST, SECOND = REFRESH - LAG, 2 * REFRESH - LAG
"""Steps after which the first and the second look come."""


@dataclass
class Unlabelled:
    id: str
    image: np.ndarray
    mask: None = None
    floor: float = 0.0
    partial: bool = False


def case(name: str) -> Unlabelled:
    """Each voxel has a value of its own, so a patch tells where it was cut."""
    return Unlabelled(name, np.arange(12**3, dtype=np.float32).reshape(1, 12, 12, 12))


def marked(*voxels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((12, 12, 12), np.uint8)
    for voxel in voxels:
        mask[voxel] = 1
    return find_class_voxels(mask)


def search(*looks: list[np.ndarray]) -> PseudoForeground:
    """One that finds these, look by look."""
    return PseudoForeground(iter(looks).__next__, REFRESH, "class")


def stream(found: PseudoForeground, size: int = 2) -> PatchStream:
    patches = SinglePatch((3, 3, 3))
    none = Augment.of({"basic": {}})
    cases = [case("a"), case("b")]
    return PatchStream("unlabelled", cases, patches, none, size, 0, False, 0.5, "class", found)


def centres(given: PatchStream, number: int) -> list[float]:
    """The middle voxel of each patch of a batch."""
    return given.batch(number).image[:, 0, 0, 1, 1, 1].tolist()


def value(voxel: tuple[int, int, int]) -> float:
    return float(np.ravel_multi_index(voxel, (12, 12, 12)))


def test_the_forced_patches_aim_at_what_the_last_look_found() -> None:
    found = search([marked((5, 6, 7)), marked()], [marked(), marked((4, 4, 4))])
    given = stream(found)
    before = centres(given, 3)
    looked = [step for step in range(1, SECOND + 1) if found.due(step)]
    assert looked == [FIRST, SECOND]
    for step in looked:
        found.look(step)
    assert centres(given, REFRESH)[1] == value((5, 6, 7))
    assert centres(given, 2 * REFRESH - 1)[1] == value((5, 6, 7))
    assert centres(given, 2 * REFRESH)[1] == value((4, 4, 4))
    assert given.batch(2 * REFRESH).ids[1] == "b"  # the case follows from the class
    assert centres(given, 3) == before  # batches before the first look know of none


def test_each_look_comes_before_any_batch_that_knows_of_it_is_drawn_ahead() -> None:
    found = search([marked((5, 6, 7)), marked()])
    drawn_ahead = FIRST + LAG - 1  # the last batch that threads draw once this step is done
    assert stream(found).batch(drawn_ahead) is not None
    found.look(FIRST)
    assert centres(stream(found), drawn_ahead + 1)[1] == value((5, 6, 7))


def test_cases_without_foreground_are_drawn_as_they_come() -> None:
    found = search([marked(), marked()])
    plain = centres(stream(found), 5)
    found.look(FIRST)
    assert len(plain) == len(centres(stream(found), REFRESH + 5)) == 2


@pytest.mark.parametrize("step", [FIRST, REFRESH + 3, SECOND, SECOND + 2])
def test_what_is_saved_gives_the_same_batches_again(step: int) -> None:
    rng = np.random.default_rng(0)
    looks = [
        [find_class_voxels((rng.random((12, 12, 12)) > 0.9).astype(np.uint8)) for _ in range(2)]
        for _ in range(2)
    ]
    first = search(*looks)
    for done in range(1, step + 1):
        if first.due(done):
            first.look(done)
    again = search()
    again.restore(first.state(), step)
    for number in range(step, step + LAG):
        assert centres(stream(again, 4), number) == centres(stream(first, 4), number)


def test_a_state_without_what_the_next_batches_need_is_refused() -> None:
    with pytest.raises(DataError, match="does not say where unlabelled patches are centred"):
        search().restore({}, FIRST)
    search().restore({}, FIRST - 1)
