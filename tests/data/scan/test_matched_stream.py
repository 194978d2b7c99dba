"""Pairs of windows of the same anatomy in two patients."""

from pathlib import Path

import numpy as np
import pytest
import torch

from medssl.data.cache import CachedCase
from medssl.data.geometry import Geometry
from medssl.data.record import Record
from medssl.data.scan.matched_stream import (
    MatchedStream,
    Scan,
    anatomy_at,
    body_box,
    draw_places,
    relative_place,
    to_points,
    to_voxels,
)
from medssl.data.scan.matching import match
from medssl.data.scan.matching_settings import MatchedViews, MatchingSettings
from medssl.errors import DataError
from medssl.infer.embed import EmbeddedScans, embed
from medssl.networks.anatomical_embedding import build_embedder
from medssl.networks.embedder_settings import EmbedderSettings

PATCH = (16, 16, 16)


def prepared(folder: Path, image: np.ndarray, geometry: Geometry, name: str) -> CachedCase:
    """A case as the cache leaves it."""
    (folder / name).mkdir()
    np.save(folder / name / "image.npy", image[None].astype(np.float16))
    return CachedCase(name, folder / name, float(image.min()), Record(geometry, geometry))


@pytest.fixture
def scans(tmp_path):
    """Four patients, the first with two scans; each voxel holds a number of its own."""
    found = []
    for number, patient in enumerate((1, 1, 2, 3, 4)):
        shape = (30 + 2 * number, 28, 26)
        image = np.arange(np.prod(shape)).reshape(shape) / 64.0 - 100 * number
        affine = np.diag([1.0, 1.5, 2.0, 1.0])
        affine[:3, 3] = (number, -number, 3)
        case = prepared(tmp_path, image, Geometry(shape, affine), f"case{number}")
        found.append(Scan(f"toy/{number}", f"case{number}-0", patient, 0, (case, 0)))
    return found


def stream(scans, size=3, seed=0, embedded=None, **views):
    return MatchedStream(scans, MatchedViews(margin=4, **views), size, PATCH, seed, embedded)


@pytest.fixture
def embedded(tmp_path):
    embedder = build_embedder(EmbedderSettings(width=4, features=6), 0)
    return EmbeddedScans(tmp_path / "cache", embedder, torch.device("cpu"))


@pytest.mark.parametrize("partner", ["matched", "bounding_box", "random", "same_volume"])
def test_a_batch_is_a_function_of_seed_and_number(scans, embedded, partner):
    one, same = (stream(scans, partner=partner, embedded=embedded) for _ in range(2))
    same.batch(7)
    for number in (0, 3):
        first, second = one.batch(number), same.batch(number)
        assert torch.equal(first.source, second.source)
        assert first.ids == second.ids
    other = stream(scans, partner=partner, embedded=embedded, seed=1).batch(0)
    assert not torch.equal(other.source, one.batch(0).source)


@pytest.mark.parametrize("partner", ["matched", "bounding_box", "random"])
def test_the_partner_is_another_patient_and_every_scan_is_asked_equally_often(
    scans, embedded, partner
):
    chosen = stream(scans, partner=partner, embedded=embedded)
    pairs = [chosen.places(item) for item in range(20)]
    assert all(query[0].patient != key[0].patient for query, key in pairs)
    assert sorted(query[0].id for query, _ in pairs) == sorted([s.id for s in scans] * 4)


def test_same_volume_stays_near_in_the_scan_itself(scans):
    chosen = stream(scans, partner="same_volume", shift=3)
    pairs = [chosen.places(item) for item in range(20)]
    assert all(query[0] is key[0] for query, key in pairs)
    moves = np.array([key[1] - query[1] for query, key in pairs])
    assert np.abs(moves).max() == 3
    assert stream(scans[:1], partner="same_volume").batch(0).patient.tolist() == [1, 1, 1]


def test_windows_show_the_volumes_own_voxels_about_their_places(scans):
    chosen = stream(scans, partner="random")
    windows = chosen.batch(2).windows()
    assert windows.shape == (3, 2, 1, *PATCH)
    for item in range(3):
        for view, (scan, place) in enumerate(chosen.places(6 + item)):
            low = place - 8
            index = [
                np.clip(np.arange(a, a + 16), 0, n - 1)
                for a, n in zip(low, scan.volume.shape, strict=True)
            ]
            expected = scan.volume[np.ix_(*index)].astype(np.float32)
            torch.testing.assert_close(
                windows[item, view, 0], torch.from_numpy(expected), atol=2e-3, rtol=1e-5
            )


def test_a_small_affine_turns_each_window_about_its_place(scans):
    still = stream(scans, partner="random").batch(0).windows()
    chosen = stream(scans, partner="random", rotation=20, scale=0.1)
    turned = chosen.batch(0).windows()
    assert chosen.batch(0).source.shape[3] > 16
    middle = (..., slice(7, 9), slice(7, 9), slice(7, 9))
    torch.testing.assert_close(
        turned[middle].mean((3, 4, 5)), still[middle].mean((3, 4, 5)), atol=0.05, rtol=1e-4
    )
    assert (turned - still).abs().mean() > 0.5


def test_the_place_of_a_match_is_where_the_search_says_in_mm(scans, embedded):
    (query, place), (key, found) = stream(scans, embedded=embedded).places(0)
    cells = embedded(key).geometry
    point = to_points(found, key.geometry)
    index = np.linalg.inv(cells.affine)[:3] @ [*point, 1]
    assert np.abs(index - np.rint(index)).max() == pytest.approx(0.25)  # half a voxel from a centre
    assert embedded(query).geometry.shape == tuple(-(-n // 2) for n in query.geometry.shape)
    assert (place >= 4).all()
    assert (place < np.array(query.geometry.shape) - 4).all()


def test_a_believed_match_is_taken_and_else_the_nearest_miss(scans, embedded):
    strict = MatchingSettings(cycle=0.0)
    taken = 0
    for item in range(5):
        chosen = stream(scans, embedded=embedded, candidates=16, matching=strict)
        (query, place), (key, _) = chosen.places(item)
        points = torch.from_numpy(to_points(place[None], query.geometry))
        answer = match(points, embedded(query), embedded(key), strict)
        alone = stream(scans, embedded=embedded, candidates=1, matching=strict).places(item)[0][1]
        taken += bool(answer.believed)
        assert answer.believed or (place != alone).any() or answer.missed > 0
    assert taken >= 3


def test_places_are_in_the_body_and_off_the_border(scans):
    scan = scans[2]
    body = np.zeros(scan.geometry.shape)
    body[10:20, 10:20, 10:20] = 1
    np.save(scan.place[0].folder / "image.npy", body[None].astype(np.float16))
    drawn = draw_places(scan_with_floor(scan, 0.0), 5, 4, np.random.default_rng(0))
    assert body[tuple(drawn.T)].all()  # of the box alone it would be a tenth
    assert (drawn >= 4).all()


def scan_with_floor(scan, floor):
    case = scan.place[0]
    return Scan(
        scan.id, scan.key, scan.patient, scan.contrast,
        (CachedCase(case.id, case.folder, floor, case.record), 0),
    )  # fmt: skip


def test_the_bounding_box_keeps_relative_positions(tmp_path):
    found = []
    for number, (low, high) in enumerate([((4, 4, 4), (13, 23, 8)), ((10, 2, 6), (28, 21, 22))]):
        image = np.zeros((32, 26, 24))
        image[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))] = 1
        case = prepared(tmp_path, image, Geometry(image.shape, np.eye(4)), f"box{number}")
        found.append(Scan(f"toy/{number}", f"box{number}-0", number + 1, 0, (case, 0)))
    box, key = body_box(found[0]), found[1]
    assert box.tolist() == [[4, 4, 4], [13, 23, 8]]
    assert relative_place(np.array([4, 23, 6]), box, key).tolist() == [10, 21, 14]
    assert relative_place(np.array([13, 4, 8]), box, key).tolist() == [28, 2, 22]


def test_voxels_and_points_invert_each_other():
    affine = np.array([[0, -1.5, 0, 9], [0.8, 0, 0, -4], [0, 0, 2, 1], [0, 0, 0, 1]], float)
    geometry = Geometry((9, 8, 7), affine)
    voxels = np.random.default_rng(0).integers(0, (9, 8, 7), (30, 3))
    assert (to_voxels(to_points(voxels, geometry), geometry) == voxels).all()
    assert to_voxels(np.array([1e3, -1e3, 0]), geometry).tolist() == [0, 0, 0]


def test_contrasts_are_not_mixed(scans):
    mixed = [Scan(s.id, s.key, s.patient, n % 2, s.place) for n, s in enumerate(scans)]
    chosen = stream(mixed, partner="random")
    assert all(q[0].contrast == k[0].contrast for q, k in map(chosen.places, range(20)))


def test_one_patient_alone_is_refused_in_a_sentence(scans):
    with pytest.raises(DataError, match="no scan has a partner of another patient"):
        stream(scans[:2], partner="random")


def test_vectors_are_kept_by_voxels_and_weights(scans, embedded, tmp_path):
    embedded.prepare(scans)
    kept = sorted((tmp_path / "cache").rglob("fine.npy"))
    assert len(kept) == len(scans)
    stamps = [path.stat().st_mtime_ns for path in kept]
    embedded.prepare(scans)
    assert [path.stat().st_mtime_ns for path in kept] == stamps
    other = build_embedder(EmbedderSettings(width=4, features=6), 1)
    EmbeddedScans(tmp_path / "cache", other, torch.device("cpu")).prepare(scans[:1])
    assert len(sorted((tmp_path / "cache").rglob("fine.npy"))) == len(scans) + 1
    assert not sorted((tmp_path / "cache").rglob(".part-*"))


def test_damaged_vectors_are_computed_anew(scans, embedded, tmp_path):
    embedded.prepare(scans[:1])
    (path,) = (tmp_path / "cache").rglob("coarse.npy")
    whole = path.read_bytes()
    path.write_bytes(bytes([*whole[:150], whole[150] ^ 1, *whole[151:]]))
    embedded.prepare(scans[:1])
    assert path.read_bytes() == whole
    scan = scans[0]
    plain = torch.from_numpy(np.array(scan.volume, dtype=np.float32))
    fresh = embed(plain, scan.geometry, build_embedder(EmbedderSettings(width=4, features=6), 0))
    torch.testing.assert_close(embedded(scan).fine.float(), fresh.fine, atol=1e-3, rtol=0)
    assert embedded(scan).fine.dtype == torch.float16


def test_a_window_that_shares_half_of_another_is_as_near_as_is_said(scans, embedded):
    """`near` is the mean product with the places half a window away that lie in the scan."""
    place, apart = np.array([15, 14, 13]), np.array([8, 8, 8])
    own, near = anatomy_at(embedded(scans[0]), scans[0], place, apart)
    assert float(own.norm()) == pytest.approx(1, abs=1e-5)
    moved = [place + sign * np.eye(3, dtype=int)[axis] * 8 for axis in range(3) for sign in (1, -1)]
    found = [float(anatomy_at(embedded(scans[0]), scans[0], one, apart)[0] @ own) for one in moved]
    assert float(near) == pytest.approx(np.mean(found), abs=1e-5)


def test_places_outside_of_the_scan_do_not_count(scans, embedded):
    _, alone = anatomy_at(embedded(scans[0]), scans[0], np.array([15, 14, 13]), np.full(3, 100))
    assert float(alone) == 1


def test_what_the_embedding_says_comes_with_the_batch_where_it_is_asked(scans, embedded):
    assert stream(scans, embedded=embedded).batch(0).anatomy is None
    batch = stream(scans, embedded=embedded, overlap=0.25).batch(0)
    assert batch.anatomy.shape == (3, 2, 12)
    assert batch.near.shape == (3, 2)
    assert torch.allclose(batch.anatomy.norm(dim=2), torch.ones(3, 2), atol=1e-5)
    (query, place), (key, found) = stream(scans, embedded=embedded, overlap=0.25).places(1)
    apart = np.full(3, 12)
    assert torch.equal(batch.anatomy[1, 0], anatomy_at(embedded(query), query, place, apart)[0])
    assert torch.equal(batch.near[1, 1], anatomy_at(embedded(key), key, found, apart)[1])
    plain = stream(scans, embedded=embedded).batch(0)
    assert torch.equal(plain.source, batch.source)
