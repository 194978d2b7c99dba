import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medssl.data.slide import tiles as tiles_module
from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import read_tile, tile_grid
from medssl.errors import DataError
from medssl.infer import features as module
from medssl.infer.features import Extraction, extract_features, read_features
from medssl.transforms.tile_chain import TilePreprocess
from tests.data.slide.conftest import write_slide

SETTINGS = TileSettings(size=32)


class Colours(nn.Module):
    """Mean and largest value of each channel; notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[tuple[int, ...], torch.dtype, float, bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        shape, top = tuple(images.shape), float(images.max())
        self.given.append((shape, images.dtype, top, self.training, torch.is_grad_enabled()))
        return torch.cat([images.mean((2, 3)), images.amax((2, 3))], 1)


@pytest.fixture
def slides(tmp_path: Path) -> dict[str, Path]:
    for seed, name in enumerate("ab"):
        write_slide(tmp_path / f"{name}.tif", seed=seed)
    return {name: tmp_path / f"{name}.tif" for name in "ab"}


def extract(slides: dict[str, Path], folder: Path, **changes: Any) -> Extraction:
    plain: dict[str, Any] = {"encoder": Colours(), "encoder_key": "colours", "settings": SETTINGS}
    return extract_features(slides, folder, **{**plain, "batch": 8, **changes})


def test_a_file_per_slide_holds_its_tiles_in_the_order_of_the_grid(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    found = extract(slides, tmp_path / "out")
    assert list(found.paths) == ["a", "b"]
    for name, path in found.paths.items():
        with open_slide(slides[name]) as slide:
            grid = tile_grid(slide, SETTINGS)
            pixels = np.stack([read_tile(slide, grid, i) for i in range(len(grid))]) / 255
        bag = read_features(path, label=1)
        expected = np.concatenate([pixels.mean((1, 2)), pixels.max((1, 2))], 1)
        assert bag.features.dtype == np.float16
        assert np.abs(bag.features - expected).max() < 1e-3
        assert np.array_equal(bag.places, grid.places)
        assert (bag.id, bag.span, bag.slide_size) == (name, 32, (500, 400))
        assert (bag.header.encoder, bag.header.mpp, bag.header.size) == ("colours", 0.5, 32)


def test_the_encoder_gets_batches_of_images_in_evaluation_mode(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    encoder = Colours().train()
    found = extract(slides, tmp_path / "out", encoder=encoder)
    sizes = [shape[0] for shape, *_ in encoder.given]
    assert sum(sizes) == found.tiles
    assert max(sizes) == 8
    for shape, dtype, top, training, gradients in encoder.given:
        assert (shape[1:], dtype, training, gradients) == ((3, 32, 32), torch.float32, False, False)
        assert 0.5 < top <= 1


def test_neither_batch_nor_threads_change_the_features(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    first = extract(slides, tmp_path / "1").paths
    second = extract(slides, tmp_path / "2", batch=5, workers=5).paths
    for name in slides:
        assert np.array_equal(
            read_features(first[name]).features, read_features(second[name]).features
        )


def test_what_is_done_is_not_done_again(slides: dict[str, Path], tmp_path: Path) -> None:
    out, encoder = tmp_path / "out", Colours()
    first = extract({"a": slides["a"]}, out, encoder=encoder)
    calls, written = len(encoder.given), first.paths["a"].read_bytes()
    seen: list[tuple[int, int]] = []
    second = extract(slides, out, encoder=encoder, on_progress=lambda *now: seen.append(now))
    assert (first.skipped, second.skipped) == ((), ("a",))
    assert len(encoder.given) == 2 * calls  # slides a and b have as many tiles
    assert first.paths["a"].read_bytes() == written
    assert seen == [(1, 2), (2, 2)]
    third = extract(slides, out, encoder=encoder)
    assert (third.skipped, third.tiles, third.busy_share) == (("a", "b"), 0, None)
    assert len(encoder.given) == 2 * calls


def test_no_flipped_bit_of_the_features_passes(slides: dict[str, Path], tmp_path: Path) -> None:
    one = {"a": slides["a"]}
    path = extract(one, tmp_path / "out").paths["a"]
    whole, features = path.read_bytes(), read_features(path).features
    for place in np.random.default_rng(0).integers(0, 8 * len(whole), 60).tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(DataError, match="truncated, damaged"):
            read_features(path)
    assert not extract(one, tmp_path / "out").skipped
    np.testing.assert_array_equal(read_features(path).features, features)


@pytest.mark.parametrize("what", ["encoder", "tiles", "preprocess", "slide", "damage"])
def test_what_was_made_otherwise_is_made_anew(
    slides: dict[str, Path], tmp_path: Path, what: str
) -> None:
    one = {"a": slides["a"]}
    path = extract(one, tmp_path / "out").paths["a"]
    changes: dict[str, Any] = {}
    if what == "encoder":
        changes = {"encoder_key": "colours, trained longer"}
    elif what == "tiles":
        changes = {"settings": TileSettings(size=32, tissue_share=0.9)}
    elif what == "preprocess":
        changes = {"chain": TilePreprocess.of("Flipd")}
    elif what == "slide":
        write_slide(slides["a"], seed=5)
    else:
        path.write_bytes(path.read_bytes()[:-3])
    again = extract(one, tmp_path / "out", **changes)
    assert again.skipped == ()
    assert again.tiles == len(read_features(path).features) > 0


def test_tiles_go_through_the_chain_before_they_are_encoded(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    plain = read_features(extract(slides, tmp_path / "plain").paths["a"]).features
    negative = {"ScaleIntensityRanged": {"a_min": 0, "a_max": 255, "b_min": 255, "b_max": 0}}
    chain = TilePreprocess.of([negative])
    done = extract(slides, tmp_path / "out", chain=chain)
    found = read_features(done.paths["a"]).features
    assert np.abs(found[:, :3] - (1 - plain[:, :3])).max() < 2e-3  # means
    assert extract(slides, tmp_path / "out", chain=chain).skipped == ("a", "b")


def test_a_failure_keeps_the_slides_before_it_and_leaves_nothing_half_written(
    slides: dict[str, Path], tmp_path: Path
) -> None:
    slides["b"].write_bytes(b"no slide")
    with pytest.raises(DataError, match=r"b\.tif cannot be read as a slide"):
        extract(slides, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.safetensors"]
    write_slide(slides["b"], seed=1)
    assert extract(slides, tmp_path / "out").skipped == ("a",)


def test_a_tile_that_cannot_be_read_ends_the_work(
    slides: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(reader: Any, grid: Any, number: int) -> np.ndarray:
        if number == 11:
            raise DataError("a.tif cannot be read at 1, 2")
        return tiles_module.read_tile(reader, grid, number)

    monkeypatch.setattr(module, "read_tile", fail)
    before = threading.active_count()
    with pytest.raises(DataError, match="cannot be read at 1, 2"):
        extract(slides, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert threading.active_count() == before


def test_slides_without_tissue_or_missing_are_named(tmp_path: Path) -> None:
    write_slide(tmp_path / "bare.tif", tissue=(0, 0, 0, 0))
    with pytest.raises(DataError, match=r"no tissue was found on .*bare\.tif"):
        extract({"bare": tmp_path / "bare.tif"}, tmp_path / "out")
    with pytest.raises(DataError, match=r"there is no slide .*gone\.tif"):
        extract({"gone": tmp_path / "gone.tif"}, tmp_path / "out")


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images.mean((2, 3))


@pytest.mark.parametrize("factor", [float("nan"), 1e6])
def test_features_that_do_not_fit_16_bits_are_refused(
    slides: dict[str, Path], tmp_path: Path, factor: float
) -> None:
    with pytest.raises(DataError, match=r"a\.tif that do not fit 16-bit floats"):
        extract(slides, tmp_path / "out", encoder=Scaled(factor))
    assert not (tmp_path / "out").exists()


def test_an_encoder_must_give_one_row_per_image(slides: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must give \[B, E\]"):
        extract(slides, tmp_path / "out", encoder=nn.Identity())


def test_only_a_few_batches_are_read_ahead(
    slides: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, held, most = threading.Lock(), 0, 0

    def counted(reader: Any, grid: Any, number: int) -> np.ndarray:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return tiles_module.read_tile(reader, grid, number)

    class Counting(Colours):
        def forward(self, images: Tensor) -> Tensor:
            nonlocal held
            with lock:
                held -= len(images)
            return super().forward(images)

    monkeypatch.setattr(module, "read_tile", counted)
    extract(slides, tmp_path / "out", encoder=Counting(), batch=2, workers=4)
    assert held == 0
    assert 2 <= most <= 2 * (module._AHEAD + 1)


def test_the_next_slide_is_opened_while_one_is_encoded(
    slides: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()

    def announced(path: Path) -> Any:
        if path == slides["b"]:
            opened.set()
        return open_slide(path)

    class Waiting(Colours):
        def forward(self, images: Tensor) -> Tensor:
            assert opened.wait(60), "the second slide was not opened"
            return super().forward(images)

    monkeypatch.setattr(module, "open_slide", announced)
    assert extract(slides, tmp_path / "out", encoder=Waiting(), batch=4).tiles > 0


def test_what_was_assumed_and_how_busy_the_encoder_was_is_told(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.tif", mpp=None)
    found = extract({"a": tmp_path / "a.tif"}, tmp_path / "out")
    (note,) = found.notes
    assert "assumed_mpp=0.5" in note
    assert found.busy_share is not None
    assert 0 < found.busy_share < 1
    assert found.seconds > 0


def test_real_slides(shared_data: Path, tmp_path: Path) -> None:
    paths = sorted((shared_data / "slides").glob("*.svs"))
    settings = TileSettings(tissue="edges", mpp=1.0)
    found = extract({path.stem: path for path in paths}, tmp_path / "out", settings=settings)
    bags = [read_features(path) for path in found.paths.values()]
    assert [bag.slide_size for bag in bags] == [(2220, 2967), (4443, 3567)]
    assert found.tiles == sum(len(bag.features) for bag in bags)
    for bag in bags:
        assert (bag.places < bag.slide_size).all()
        assert (bag.features[:, 0] > 0).all()
        assert (bag.features[:, 0] < 1).all()
