"""Streams of scans: which are drawn how often, and what their windows show."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from torch.nn.functional import affine_grid, grid_sample

from medssl.data.scan import window as scan_window
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.sessions import ScanGroup
from medssl.data.scan.settings import AffineSettings, PairSettings
from medssl.data.scan.stream import PairStream, ScanStream, single_scans
from medssl.data.scan.window import NUMBERS, Window, cut_sources, draw_window, matrices
from medssl.errors import DataError

STILL = AffineSettings(rotation=0, scale=0, shear=0, flip_pairs=(), flip_scans=())
PATCH = (4, 4, 4)


@dataclass(frozen=True)
class Prepared:
    """What a stream asks of a prepared case, counting how often it is opened."""

    image: np.ndarray
    reads: list[int] = field(default_factory=list)


def group(name, patient, contrasts, arrays=None, shape=(9, 8, 7)) -> ScanGroup:
    if arrays is None:
        rng = np.random.default_rng(patient)
        arrays = [rng.normal(size=shape).astype(np.float16) for _ in contrasts]
    case = Prepared(np.stack(arrays))
    places = tuple((case, channel) for channel in range(len(contrasts)))
    return ScanGroup(name, patient, tuple(f"s{i}" for i in contrasts), tuple(contrasts), places)


GROUPS = (
    group("a", 1, (0, 1, 2, 3)),  # 6 pairs
    group("b", 1, (0, 1)),  # 1 pair, second session of patient 1
    group("c", 2, (0, 0, 1)),  # 3 pairs, 2 of different contrasts
    group("d", 3, (2,)),  # alone
    group("e", 4, (0, -1, -1)),  # unknown contrasts
)


def pairs(kind="modalities", sampler="session", differ=True, size=50, seed=0, groups=GROUPS):
    settings = PairSettings(kind=kind, sampler=sampler, contrasts_differ=differ)
    return PairStream(groups, settings, STILL, PATCH, size, seed)


def drawn(stream, items) -> list[tuple[str, int, tuple[int, ...]]]:
    """Case, patient and contrasts of so many items."""
    found, number = [], 0
    while len(found) < items:
        batch = stream.batch(number)
        number += 1
        found += zip(
            batch.ids, batch.patient.tolist(), map(tuple, batch.contrast.tolist()), strict=True
        )
    return found[:items]


def test_every_pair_is_of_one_session_and_of_two_known_contrasts():
    by_id = {group.id: group for group in GROUPS}
    for name, patient, (one, other) in drawn(pairs(), 200):
        assert by_id[name].patient == patient
        assert one != other
        assert min(one, other) >= 0
        assert {one, other} <= set(by_id[name].contrasts)


def test_scans_of_one_contrast_may_be_a_pair_where_asked():
    met = {contrasts for name, _, contrasts in drawn(pairs(differ=False), 300) if name == "c"}
    assert met == {(0, 0), (0, 1), (1, 0)}
    met = {contrasts for name, _, contrasts in drawn(pairs(), 300) if name == "c"}
    assert met == {(0, 1), (1, 0)}


def test_sessions_are_met_equally_often_however_many_pairs_they_have():
    met = Counter(name for name, *_ in drawn(pairs(), 300))
    assert met == {"a": 100, "b": 100, "c": 100}


def test_from_a_session_every_pair_comes_in_both_orders():
    met = Counter(contrasts for name, _, contrasts in drawn(pairs(), 1800) if name == "a")
    assert len(met) == 12
    assert min(met.values()) > 25  # 50 expected


@pytest.mark.parametrize(("differ", "count"), [(True, 9), (False, 10)])
def test_file_pairs_are_met_once_per_epoch(differ, count):
    stream = pairs(sampler="file_pair", differ=differ)
    items = drawn(stream, 5 * count)
    for epoch in range(5):
        met = Counter(
            (name, *sorted(contrasts)) for name, _, contrasts in items[epoch * count :][:count]
        )
        assert sum(met.values()) == count
        assert met["a", 0, 1] == met["a", 2, 3] == met["b", 0, 1] == 1
        assert met["c", 0, 1] == 2  # of each of the two scans of contrast 0
        assert met["c", 0, 0] == (0 if differ else 1)


def test_groups_of_one_session_share_its_turn():
    groups = [group("a", 1, (0, 1)), group("a", 1, (0, 1, 2)), group("b", 2, (0, 1))]
    met = Counter(name for name, *_ in drawn(pairs(groups=groups), 100))
    assert met == {"a": 50, "b": 50}


@pytest.mark.parametrize("sampler", ["session", "file_pair"])
def test_one_scan_twice_is_drawn_from_what_else_were_pairs(sampler):
    stream = pairs("same_scan", sampler)
    met = Counter()
    for number in range(12):
        batch = stream.batch(number)
        assert torch.equal(batch.source[:, 0], batch.source[:, 1])
        assert torch.equal(batch.contrast[:, 0], batch.contrast[:, 1])
        met.update(zip(batch.ids, batch.contrast[:, 0].tolist(), strict=True))
    assert set(met) == {("a", c) for c in range(4)} | {(n, c) for n in "bc" for c in (0, 1)}
    if sampler == "session":
        assert sum(n for (name, _), n in met.items() if name == "b") == 200
    else:
        assert all(
            n == pytest.approx(2 * 600 / 9 if case == ("c", 0) else 600 / 9, abs=2)
            for case, n in met.items()
        )


def test_of_a_session_a_scan_is_drawn_twice_as_often_as_it_is_in_pairs():
    """Session c has scans 0, 0' and 1 and the pairs 0-1 and 0'-1: half of its items are scan 1."""
    items = [c for name, _, (c, _) in drawn(pairs("same_scan"), 1500) if name == "c"]
    assert np.mean(items) == pytest.approx(0.5, abs=0.06)


def test_no_scan_is_in_both_streams_and_none_is_lost():
    for differ in (True, False):
        settings = PairSettings(contrasts_differ=differ)
        singles = {(g.id, *scans) for g, scans in single_scans(GROUPS, settings)}
        paired = {(g.id, scan) for g in GROUPS for pair in g.pairs(differ) for scan in pair}
        every = {(g.id, *scans) for g, scans in single_scans(GROUPS, None)}
        assert singles == {("d", 0), ("e", 0), ("e", 1), ("e", 2)}
        assert not singles & paired
        assert singles | paired == every
        assert len(every) == 13


@pytest.mark.parametrize(("settings", "count"), [(PairSettings(), 4), (None, 13)])
def test_single_scans_are_met_once_per_epoch(settings, count):
    stream = ScanStream(GROUPS, settings, STILL, PATCH, 1, 0)
    met = Counter((name, *contrasts) for name, _, contrasts in drawn(stream, 3 * count))
    assert sum(met.values()) == 3 * count
    assert met["d", 2] == 3
    assert met["e", -1] == 6
    assert stream.batch(0).source.shape == (1, 1, 1, *PATCH)


def test_a_stream_without_a_scan_is_refused():
    with pytest.raises(DataError, match="every scan can be one of a pair"):
        ScanStream(GROUPS[:2], PairSettings(), STILL, PATCH, 1, 0)
    with pytest.raises(DataError, match="no session has two scans"):
        pairs(groups=GROUPS[3:])


def same(one, other) -> bool:
    return one.ids == other.ids and all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("source", "affine", "patient", "contrast")
    )


@pytest.mark.parametrize("kind", [PairStream, ScanStream])
def test_a_batch_is_a_function_of_seed_and_number(kind):
    def make(seed=0):
        return kind(GROUPS, PairSettings(), AffineSettings(), PATCH, 3, seed)

    one, two = make(), make()
    for number in (5, 0, 17):
        assert same(one.batch(number), two.batch(number))
    assert not torch.equal(one.batch(0).affine, one.batch(1).affine)
    assert not torch.equal(one.batch(0).affine, make(1).batch(0).affine)


def test_the_two_streams_draw_apart():
    alone = ScanStream(GROUPS, None, AffineSettings(), PATCH, 1, 0).batch(0)
    paired = PairStream(GROUPS, PairSettings(), AffineSettings(), PATCH, 1, 0).batch(0)
    assert not torch.equal(alone.affine[0, 0], paired.affine[0, 0])


# Windows


def test_without_affine_a_window_is_the_plain_crop_of_both_scans():
    """Two "modalities", the second twice the first: equal to the bit, and a box of the volume."""
    volume = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float16)
    stream = pairs(groups=[group("a", 1, (0, 1), [volume, 2 * volume])])
    views = np.lib.stride_tricks.sliding_window_view(volume.astype(np.float32), PATCH)
    crops = {crop.tobytes() for crop in views.reshape(-1, *PATCH)}
    seen = set()
    for number in range(20):
        batch = stream.batch(number)
        windows = batch.windows()
        assert torch.equal(windows, batch.source)
        for pair, contrasts in zip(windows[:, :, 0], batch.contrast, strict=True):
            one, other = pair[contrasts.argsort()]
            assert torch.equal(other, 2 * one)
            seen.add(one.numpy().tobytes())
    assert seen <= crops
    assert len(crops) == 6 * 5 * 4
    assert len(seen) > 0.9 * len(crops)  # anywhere in the volume


@pytest.mark.parametrize("flips", [(0,), (0, 1), (0, 1, 2), ()])
def test_flips_are_shared_by_a_pair_and_happen_half_of_the_time(flips):
    ramp = np.indices((9, 8, 7)).astype(np.float16)
    groups = [group("a", 1, (0, 1), [ramp[axis], ramp[axis] + 100]) for axis in range(3)]
    affine = STILL.model_copy(update={"flip_pairs": flips})
    for axis in range(3):
        stream = PairStream(groups[axis : axis + 1], PairSettings(), affine, PATCH, 100, 0)
        windows = stream.batch(0).windows()[:, :, 0]
        rising = windows.select(2 + axis, 1) > windows.select(2 + axis, 0)
        assert torch.equal(rising[:, 0], rising[:, 1])
        assert rising.flatten(1).float().std(1).max() == 0
        share = 1 - rising.float().mean().item()
        assert share == (pytest.approx(0.5, abs=0.15) if axis in flips else 0)


def test_a_volume_shorter_than_the_window_is_centred_and_its_border_goes_on():
    volume = np.arange(1, 4, dtype=np.float16).reshape(1, 1, 3) * np.ones((6, 5, 1), np.float16)
    stream = ScanStream([group("a", 1, (0,), [volume])], None, STILL, (4, 4, 8), 2, 0)
    expected = torch.tensor([1.0, 1, 1, 2, 3, 3, 3, 3])
    windows = stream.batch(0).windows()
    assert windows.shape == (2, 1, 1, 4, 4, 8)
    assert torch.equal(windows, expected.expand(windows.shape))


def whole(volume, matrix):
    """The affine applied to the whole volume, about its centre; the border goes on."""
    centre = (np.array(volume.shape) - 1) / 2
    offset = centre - matrix @ centre
    return affine_transform(
        volume.astype(np.float64), matrix, offset, order=1, mode="nearest", output=np.float64
    )


@pytest.mark.parametrize("shape", [(30, 26, 22), (20, 9, 30), (7, 6, 5)])
@pytest.mark.parametrize("patch", [(8, 8, 8), (12, 7, 10)])
def test_a_window_equals_the_box_of_the_whole_transformed_volume(shape, patch):
    """The short volumes are padded first, so that the box lies inside."""
    rng = np.random.default_rng(0)
    volumes = [rng.normal(size=shape).astype(np.float32) for _ in range(2)]
    windows = [draw_window(volumes, (0, 2), AffineSettings(), patch, rng) for _ in range(6)]
    source, affine = cut_sources(windows, patch)
    found = batch_of(source, affine, patch).windows()
    for item, window in enumerate(windows):
        for view, volume in enumerate(window.volumes):
            low = [max(0, -s) for s in window.start]
            high = [max(0, s + p - n) for s, p, n in zip(window.start, patch, shape, strict=True)]
            even = [max(a, b) for a, b in zip(low, high, strict=True)]
            padded = np.pad(volume, [(n, n) for n in even], mode="edge")
            everything = whole(padded, window.matrix[view])
            box = tuple(
                slice(s + n, s + n + p) for s, n, p in zip(window.start, even, patch, strict=True)
            )
            np.testing.assert_allclose(found[item, view, 0], everything[box], atol=1e-4)


def test_a_window_may_turn_about_its_own_centre():
    """The middle voxel of an odd window then stays where it is, whatever the affine."""
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(30, 26, 22)).astype(np.float32)
    patch = (7, 9, 5)
    windows = [draw_window([volume], (), AffineSettings(), patch, rng) for _ in range(6)]
    found = batch_of(*cut_sources(windows, patch, "window"), patch).windows()
    for item, window in enumerate(windows):
        middle = tuple(s + n // 2 for s, n in zip(window.start, patch, strict=True))
        assert float(found[item, 0, 0, 3, 4, 2]) == pytest.approx(float(volume[middle]), abs=1e-4)


def batch_of(source, affine, patch):
    count = len(source)
    known = torch.zeros(source.shape[:2], dtype=torch.int64)
    return ScanBatch(source, affine, patch, torch.ones(count), known, ("x",) * count)


def test_windows_are_sampled_as_torch_samples_affine_grids():
    batch = PairStream(GROUPS, PairSettings(), AffineSettings(), (4, 5, 6), 8, 0).batch(0)
    source, affine = batch.source.flatten(0, 1), batch.affine.flatten(0, 1)
    grid = affine_grid(affine, [16, 1, 4, 5, 6], align_corners=False)
    expected = grid_sample(source, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(batch.windows().flatten(0, 1), expected, atol=1e-5, rtol=0)


def test_each_scan_of_a_pair_has_its_own_affine():
    volume = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    stream = PairStream(
        [group("a", 1, (0, 1), [volume, volume])], PairSettings(), AffineSettings(), PATCH, 8, 0
    )
    batch = stream.batch(0)
    one, other = batch.affine[:, 0], batch.affine[:, 1]
    assert (one - other).flatten(1).abs().amax(1).min() > 0.01
    windows = batch.windows()
    assert windows.shape == (8, 2, 1, *PATCH)
    assert (windows[:, 0] - windows[:, 1]).flatten(1).abs().amax(1).min() > 0.1


def test_a_still_affine_through_the_sampler_is_the_crop_to_rounding():
    volume = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    window = Window((volume,), (2, 1, 3), np.eye(3)[None])
    found = batch_of(*cut_sources([window], PATCH), PATCH).windows()
    np.testing.assert_allclose(found[0, 0, 0], volume[2:6, 1:5, 3:7], atol=1e-5)


def test_only_a_tight_box_is_read():
    rng = np.random.default_rng(0)
    volume = np.zeros((100, 100, 100), np.float16)
    mild = AffineSettings(rotation=0.1, scale=0.05, shear=0)
    windows = [draw_window([volume], (), mild, (16, 16, 16), rng) for _ in range(20)]
    source, _ = cut_sources(windows, (16, 16, 16))
    # 16 x 1.05 x (cos + 2 sin of 0.1, second order included), and a voxel to each side
    assert max(source.shape[3:]) <= 24
    assert min(source.shape[3:]) >= 16


def test_a_scan_met_twice_is_read_once(monkeypatch):

    fills = []
    fill = scan_window._fill
    monkeypatch.setattr(scan_window, "_fill", lambda *given: fills.append(1) or fill(*given))
    for kind, count in (("same_scan", 4), ("modalities", 8)):
        fills.clear()
        PairStream(GROUPS, PairSettings(kind=kind), AffineSettings(), PATCH, 4, 0).batch(0)
        assert len(fills) == count


def drawn_matrices(**keys) -> np.ndarray:
    still = {"rotation": 0, "scale": 0, "shear": 0}
    numbers = np.random.default_rng(0).uniform(-1, 1, (4000, NUMBERS))
    return matrices(numbers, AffineSettings(**{**still, **keys}))


def test_rotations_reach_as_far_as_asked_on_each_axis():
    found = drawn_matrices(rotation=0.3)
    np.testing.assert_allclose(found @ found.mT, np.eye(3)[None].repeat(4000, 0), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(found), 1)
    # Rx Ry Rz: the angles stand in the first row and the last column.
    angles = np.stack(
        [
            np.arctan2(-found[:, 1, 2], found[:, 2, 2]),
            np.arcsin(found[:, 0, 2]),
            np.arctan2(-found[:, 0, 1], found[:, 0, 0]),
        ]
    )
    angles = np.abs(angles)
    assert (angles.max(1) <= 0.3 + 1e-9).all()
    assert (angles.max(1) > 0.29).all()
    np.testing.assert_allclose(angles.mean(1), 0.15, atol=0.01)


def test_scales_and_shears_reach_as_far_as_asked():
    scale = drawn_matrices(scale=0.1)
    diagonal = np.diagonal(scale, axis1=1, axis2=2)
    assert np.count_nonzero(scale) == 3 * 4000
    assert 0.9 <= diagonal.min() < 0.901
    assert 1.099 < diagonal.max() <= 1.1
    shear = drawn_matrices(shear=0.3)
    off = shear[:, ~np.eye(3, dtype=bool)]
    np.testing.assert_array_equal(np.diagonal(shear, axis1=1, axis2=2), 1)
    assert (np.abs(off).max(0) > 0.299).all()
    assert np.abs(off).max() <= 0.3
    assert np.linalg.det(drawn_matrices(shear=0.49)).min() > 0


def test_the_affine_of_a_scan_one_voxel_thick_stays_in_its_plane():
    numbers = np.random.default_rng(0).uniform(-1, 1, (4000, NUMBERS))
    found = matrices(numbers, AffineSettings(rotation=0.3, scale=0.1, shear=0.3), planar=True)
    np.testing.assert_array_equal(found[:, 2], [[0, 0, 1]] * 4000)
    np.testing.assert_array_equal(found[:, :2, 2], 0)
    whole = matrices(numbers, AffineSettings(rotation=0, scale=0.1, shear=0.3))
    planar = matrices(numbers, AffineSettings(rotation=0, scale=0.1, shear=0.3), planar=True)
    np.testing.assert_array_equal(planar[:, :2, :2], whole[:, :2, :2])
    turned = matrices(numbers, AffineSettings(rotation=0.3, scale=0, shear=0), planar=True)
    np.testing.assert_allclose(np.linalg.det(turned), 1)
    assert np.abs(turned[:, 0, 1]).max() > 0.9 * np.sin(0.3)


@pytest.mark.parametrize("about", ["volume", "window"])
def test_windows_of_pictures_are_those_that_scipy_cuts_in_the_plane(about):
    picture = np.random.default_rng(0).normal(size=(20, 18, 1)).astype(np.float32)
    affine = AffineSettings(about=about)
    rng = np.random.default_rng(1)
    drawn = draw_window([picture], (0, 1, 2), affine, (8, 6, 1), rng)
    batch = scans_of_windows([drawn], (8, 6, 1), about)
    found = batch.windows()[0, 0, 0, ..., 0].numpy()
    shape, start = np.array([20, 18]), np.array(drawn.start[:2])
    reach = (np.array([8, 6]) - 1) / 2
    fixed = (shape - 1) / 2 if about == "volume" else start + reach
    matrix = drawn.matrix[0, :2, :2]
    offset = fixed + matrix @ (start - fixed)
    wanted = affine_transform(
        drawn.volumes[0][..., 0], matrix, offset, (8, 6), order=1, mode="nearest"
    )
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def scans_of_windows(windows, patch, about) -> ScanBatch:
    source, affine = cut_sources(windows, patch, about)
    one = torch.ones(len(windows), dtype=torch.int64)
    return ScanBatch(source, affine, patch, one, one[:, None], ("",) * len(windows))


def test_scans_that_no_pair_can_hold_are_seen_twice_where_none_can():
    alone = (group("d", 3, (2,)), group("f", 5, (-1,), shape=(9, 8, 1)))
    found = drawn(pairs("same_scan", groups=alone, size=2), 4)
    assert Counter(name for name, *_ in found) == {"d": 2, "f": 2}
    with_pairs = drawn(pairs("same_scan", groups=GROUPS, size=2), 100)
    assert {name for name, *_ in with_pairs} == {"a", "b", "c"}


def test_damaged_scans_are_named():
    volume = np.zeros((6, 6, 6), np.float32)
    volume[:] = np.nan
    stream = ScanStream([group("a", 1, (0,), [volume])], None, STILL, PATCH, 2, 0)
    assert stream.batch(0).damaged() == ("a", "a")


def test_a_batch_moves_with_all_it_has():
    for affine in (STILL, AffineSettings()):
        batch = PairStream(GROUPS, PairSettings(), affine, PATCH, 2, 0).batch(0)
        moved = batch.to(torch.device("meta"))
        assert moved.source.is_meta
        assert moved.patient.is_meta
        assert moved.contrast.is_meta
        assert moved.affine is None if affine is STILL else moved.affine.is_meta
        assert moved.ids == batch.ids
