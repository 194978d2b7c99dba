"""Scans unlike those of training: distances by hand and by brute force, limits, and the file."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from medssl.data.geometry import Geometry
from medssl.errors import DataError
from medssl.infer.checkpoint_guard import read_guard, save_guard
from medssl.infer.guard import LEAST, Guard, Spread, Verdict, left_out_distances
from medssl.infer.scan_traits import (
    CONTRAST,
    FEATURES,
    LAYOUT,
    PARTS,
    RAW,
    SEEN,
    VIEW,
    VOXELS,
    Listener,
    bottleneck,
    layout,
    look,
    windows_of,
)
from medssl.infer.uncertainty import flipped
from medssl.infer.window import sliding_window
from medssl.networks.outputs import plain
from medssl.networks.vnet import VNet
from medssl.train.description import CHECKSUMS, DESCRIPTION, GUARD, WEIGHTS, checksums

CPU = torch.device("cpu")


def test_a_point_is_measured_by_all_others_as_if_the_rest_were_fitted_anew() -> None:
    points = np.random.default_rng(0).normal(size=(9, 4)) * [1, 2, 0.1, 5]
    shrinkage = 0.3
    target = np.trace(np.cov(points.T, bias=True)) / 4  # stays that of all points
    for index, found in enumerate(left_out_distances(points - points.mean(0), shrinkage)):
        rest = np.delete(points, index, axis=0)
        covariance = (1 - shrinkage) * np.cov(rest.T, bias=True)
        covariance += (shrinkage * target * 9 / 8 + 1) * np.eye(4)
        apart = points[index] - rest.mean(0)
        wanted = np.sqrt(apart @ np.linalg.inv(covariance) @ apart / 4)
        assert found == pytest.approx(wanted, rel=1e-9)


def test_scans_that_are_all_alike_allow_a_tenth_and_not_the_double() -> None:
    rows = np.log(np.full((20, 3), 1.0))
    spread, scores = Spread.of(rows, np.full(3, np.log(1.5)))
    assert not scores.any()
    # ln 1.1 / ln 1.5 = 0.235, ln 1.235 = 0.211, over the least width of 0.1
    assert spread.score(np.log(np.full(3, 1.1))) == pytest.approx(2.11, abs=0.01)
    assert spread.score(np.log(np.full(3, 2.0))) > 9


def test_a_far_point_scores_higher_the_farther_it_is() -> None:
    rows = np.random.default_rng(1).normal(size=(30, 6))
    spread, scores = Spread.of(rows, np.full(6, 0.1))
    assert np.mean(scores) == pytest.approx(0, abs=1e-9)
    assert np.std(scores, ddof=1) == pytest.approx(1, abs=1e-9)
    later, less = Spread.of(rows, np.full(6, 0.1), handicap=1.0)
    np.testing.assert_allclose(less, scores - 1)
    assert later.score(np.full(6, 4.0)) == pytest.approx(spread.score(np.full(6, 4.0)) - 1)
    far = [spread.score(np.full(6, step)) for step in (0.0, 2.0, 4.0, 8.0)]
    assert far == sorted(far)
    assert far[2] > scores.max()
    assert ledoit_wolf(rows)[1] > 0


def _looks(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    draw = np.random.default_rng(seed)
    sizes = {VOXELS: 3, VIEW: 3, RAW: 7, SEEN: 8, LAYOUT: 64, FEATURES: 12, CONTRAST: 11}
    return [{part: 1 + 0.1 * draw.normal(size=sizes[part]) for part in PARTS} for _ in range(count)]


def test_the_limit_lets_the_wanted_share_of_scans_like_training_pass() -> None:
    guard = Guard.of("m", _looks(49))
    assert guard is not None
    for rate, rank in ((0.02, 49), (0.1, 45), (0.4, 30)):
        assert guard.limit(rate) == guard.scores[rank - 1]
        assert guard.false_alarms(rate) == pytest.approx(1 - rank / 50)
    assert guard.false_alarms(0.001) == pytest.approx(1 / 50)  # all that 49 scans can say
    marked = []
    for draw in range(20):
        guard = Guard.of("m", _looks(49, draw))
        assert guard is not None
        limit = guard.limit(0.1)
        marked += [guard.judge(one).score > limit for one in _looks(100, 1000 + draw)]
    assert np.mean(marked) == pytest.approx(0.1, abs=0.04)


def test_fewer_scans_than_five_say_nothing() -> None:
    assert Guard.of("m", _looks(LEAST - 1)) is None
    assert Guard.of("m", _looks(LEAST)) is not None


@pytest.mark.parametrize(("count", "less"), [(16, 1.0), (64, 0.5)])
def test_contrast_counts_more_than_other_parts_the_fewer_scans_there_are(
    count: int, less: float
) -> None:
    looks = _looks(count)
    guard = Guard.of("m", looks)
    assert guard is not None
    for part in (LAYOUT, CONTRAST):
        rows, at = np.stack([one[part] for one in looks]), guard.spreads[part].tolerance
        alone = Spread.of(rows, at)[0].score(rows[0])
        wanted = alone - (less if part == LAYOUT else 0)
        assert guard.judge(looks[0]).scores[part] == pytest.approx(wanted)


def test_what_is_unlike_is_named_the_most_unlike_first() -> None:
    verdict = Verdict({VOXELS: 1.0, VIEW: 7.0, RAW: 0.0, SEEN: 9.0, LAYOUT: 1.0, FEATURES: 2.0})
    assert verdict.unlike(3.0) == (SEEN, VIEW)
    assert verdict.score == 9.0
    assert Verdict.from_plain({"guard": verdict.to_plain()}) == verdict
    assert Verdict.from_plain({"doubt": 0.1}) is None  # of a record without a guard


def test_features_come_from_the_deepest_level_and_the_decoder_is_not_asked() -> None:
    network = VNet(1, 2, width=4, levels=3, norm="instance", dropout=0).eval()
    module = bottleneck(network, 1, (16, 16, 16), CPU)
    assert module.startswith("encoder.")
    network.ups[0].register_forward_hook(lambda *_: pytest.fail("the decoder was asked"))
    image, patch = np.random.default_rng(0).normal(size=(1, 20, 16, 12)), (16, 16, 16)
    image = image.astype(np.float32)
    listener = Listener(network, module, windows_of(image, patch, (8, 8, 8)))
    features = listener.features(image, CPU)
    assert features.shape == (16,)  # 4 * 2^2
    grid = Geometry((20, 16, 12), np.diag([1.0, 1.0, 3.0, 1.0]))
    given = grid, np.zeros((1, 7)), patch, (), features
    found = look(image, *given)
    np.testing.assert_allclose(found[VOXELS], np.log([1, 1, 3]))
    np.testing.assert_allclose(found[VIEW], np.log([16, 20, 36]))
    np.testing.assert_array_equal(found[FEATURES], features)
    assert len(found[SEEN]) == 8
    smooth = image * 0 + np.linspace(0, 1, 20, dtype=np.float32)[:, None, None]
    assert look(smooth, *given)[SEEN][-1] < found[SEEN][-1] - 1  # how rough the image is


def test_a_network_in_one_piece_is_heard_by_its_logits() -> None:
    class OnePiece(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.cat([1 - image, image], 1)

    network, patch = OnePiece(), (8, 8, 8)
    image = np.full((1, 12, 8, 8), 3, np.float32)
    module = bottleneck(network, 1, patch, CPU)
    listener = Listener(network, module, windows_of(image, patch, patch))
    np.testing.assert_allclose(listener.features(image, CPU), [-2, 3])


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("shape", [(40, 20, 12), (12, 12, 12)])
def test_a_prediction_is_listened_to_and_gives_what_a_pass_of_its_own_gives(
    shape: tuple[int, int, int], batch: int | None
) -> None:
    network = VNet(1, 2, width=4, levels=3, norm="instance", dropout=0).eval()
    patch, stride = (16, 16, 16), (8, 8, 8)
    module = bottleneck(network, 1, patch, CPU)
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    windows = windows_of(image, patch, stride)
    alone = Listener(network, module, windows).features(image, CPU)
    answer = flipped(
        network, (0, 1), plain(("background", "one"))
    )  # mirrored copies are not what is listened to
    with Listener(network, module, windows) as heard:
        how = {"window_batch": batch, "outside": float(image.min()), "told": heard.tell}
        sliding_window(torch.from_numpy(image), answer, patch, stride, **how)
    network.register_forward_hook(lambda *_: pytest.fail("the network was asked once more"))
    np.testing.assert_allclose(heard.features(image, CPU), alone, rtol=1e-4, atol=1e-5)


def test_the_layout_knows_up_from_down_but_not_brightness_or_size() -> None:
    image = np.zeros((2, 40, 32, 20), np.float32)
    image[0, :, :10], image[1, :, :, 15:] = 3.0, -1.0
    found = layout(image)
    assert found.shape == (128,)
    np.testing.assert_allclose(layout(image * 7 + 100), found, atol=1e-5)
    larger = image.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    np.testing.assert_allclose(layout(larger), found, atol=1e-5)
    assert np.abs(layout(image[:, :, ::-1]) - found).max() > 1
    np.testing.assert_allclose(layout(image[:, ::-1]), found, atol=1e-5)  # it is symmetric there
    mirrored = layout(image[:, :, ::-1], (1,))  # training has seen both
    np.testing.assert_allclose(mirrored, layout(image, (1,)), atol=1e-5)
    assert not layout(np.ones((1, 9, 9, 1), np.float32)).any()  # nothing to be seen


def test_a_guard_that_measures_other_things_is_none(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    guard = Guard.of("m", _looks(20))
    assert guard is not None
    save_guard(folder, guard)
    (folder / CHECKSUMS).unlink()
    save_file(load_file(folder / GUARD), folder / GUARD, {"module": "m", "parts": "features"})
    assert read_guard(folder) is None


def test_few_training_scans_bound_false_alarms_loosely() -> None:
    """Of the greatest of n scans: a share p lies beyond all with probability (1 - p)^n."""
    for count in (10, 64):
        guard = Guard.of("m", _looks(count))
        assert guard is not None
        assert (1 - guard.false_alarms_at_most(0.001)) ** count == pytest.approx(0.05)
        assert guard.false_alarms(0.2) < guard.false_alarms_at_most(0.2) < 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a checkpoint without a guard looks like, as far as the guard cares."""
    place = tmp_path / "last"
    place.mkdir()
    for name in (WEIGHTS, DESCRIPTION):
        (place / name).write_bytes(b"{}")
    (place / CHECKSUMS).write_text(checksums(place))
    return place


def test_a_guard_comes_back_from_its_file_and_judges_alike(folder: Path) -> None:
    guard = Guard.of("encoder.dropout", _looks(20))
    assert guard is not None
    assert read_guard(folder) is None
    save_guard(folder, guard)
    again = read_guard(folder)
    assert again is not None
    assert again.module == "encoder.dropout"
    assert again.limit(0.02) == guard.limit(0.02)
    for one in _looks(5, seed=3):
        assert again.judge(one) == guard.judge(one)
    assert GUARD in (folder / CHECKSUMS).read_text()
    assert (folder / GUARD).stat().st_size < 60_000


def test_a_guard_of_before_contrast_was_measured_judges_by_what_it_knows(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    guard = Guard.of("m", _looks(20))
    assert guard is not None
    save_guard(folder, guard)
    (folder / CHECKSUMS).unlink()
    arrays = {name: one for name, one in load_file(folder / GUARD).items() if name[:2] != "6."}
    save_file(arrays, folder / GUARD, {"module": "m", "parts": ", ".join(PARTS[:-1])})
    before = read_guard(folder)
    assert before is not None
    (scan,) = _looks(1, seed=3)
    wanted = {part: score for part, score in guard.judge(scan).scores.items() if part != CONTRAST}
    assert before.judge(scan).scores == wanted


@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_guard_is_refused_with_its_name(folder: Path, sealed: bool) -> None:
    guard = Guard.of("m", _looks(20))
    assert guard is not None
    save_guard(folder, guard)
    if not sealed:
        (folder / CHECKSUMS).unlink()
    whole = (folder / GUARD).read_bytes()
    (folder / GUARD).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"guard\.safetensors.*is damaged|guard\.safetensors cannot"
    ):
        read_guard(folder)


@pytest.mark.parametrize("change", ["nan", "shape", "width", "gone"])
def test_arrays_that_do_not_fit_together_are_refused(folder: Path, change: str) -> None:
    from safetensors.numpy import load_file, save_file

    guard = Guard.of("m", _looks(20))
    assert guard is not None
    save_guard(folder, guard)
    (folder / CHECKSUMS).unlink()
    arrays = load_file(folder / GUARD)
    if change == "nan":
        arrays["2.mean"][0] = np.nan
    elif change == "shape":
        arrays["2.mean"] = arrays["2.mean"][:-1].copy()
    elif change == "width":
        arrays["2.distances"][1] = 0
    else:
        del arrays["scores"]
    save_file(arrays, folder / GUARD, {"module": "m", "parts": ", ".join(PARTS)})
    with pytest.raises(DataError, match=r"guard\.safetensors cannot be used"):
        read_guard(folder)
