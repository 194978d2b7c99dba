"""Whole slides: TIFF and OME-TIFF, their directories and bytes; features in the cache."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_bytes, flip_bit, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.fuzzing.trained import finished
from tests.drivers.fuzzing.volumes import name_subject, subject

ODD_TAG_VALUES = (0, 1, 2, 3, 5, 7, 8, 255, 34712, 65535, 10**6, 2**31 - 1, 2**32 - 1)


def _make(place: Path) -> None:
    finished("slides", place / "ran")
    (next((place / "ran" / "runs").glob("slides/train-*/checkpoint"))).rename(place / "checkpoint")
    features = next((place / "ran" / "cache").rglob("s0.safetensors"))
    features.rename(place / "features.safetensors")
    rng = np.random.default_rng(0)
    pixels = np.full((160, 192, 3), 244, np.uint8)
    pixels[32:128, 32:160] = np.array((150, 60, 140)) + rng.integers(-30, 30, (96, 128, 3))
    eight = {"resolution": (1250, 1250), "resolutionunit": "CENTIMETER", "photometric": "rgb"}
    (place / "kinds").mkdir()
    tifffile.imwrite(place / "kinds/tiled.tiff", pixels, tile=(64, 64), **eight)
    tifffile.imwrite(place / "kinds/strips.tiff", pixels, rowsperstrip=32, **eight)
    tifffile.imwrite(
        place / "kinds/zipped.tiff", pixels, tile=(64, 64), compression="zlib", **eight
    )
    ome = {"axes": "YXS", "PhysicalSizeX": 8.0, "PhysicalSizeY": 8.0}
    with tifffile.TiffWriter(place / "kinds/pyramid.ome.tiff", ome=True) as writer:
        writer.write(pixels, tile=(64, 64), subifds=1, metadata=ome, **eight)
        writer.write(pixels[::2, ::2], tile=(64, 64), subfiletype=1, photometric="rgb")
    _clean(place)


def _clean(place: Path) -> None:
    import shutil

    shutil.rmtree(place / "ran")
    (place / "data_specs").mkdir()
    (place / "data_specs/toy.yaml").write_text(
        "{title: T, modality: SM, channels: [rgb], root: slides, licence: CC0, citation: none,\n"
        " layout: {kind: slides}}\n"
    )
    (place / "data" / "slides").mkdir(parents=True)


def _damage(place: Path, rng: Generator) -> str:
    kind = pick(rng, sorted((place / "kinds").iterdir()))
    path = place / "data" / "slides" / f"bad{kind.name.removeprefix(kind.stem)}"
    if kind.name.endswith(".ome.tiff"):
        path = path.with_name("bad.ome.tiff")
    path.write_bytes(kind.read_bytes())
    name_subject(place, path)
    how = pick(rng, ("tag", "tag", "tag", "bytes", "picture"))
    if how == "picture":
        return f"{kind.name}: {_picture(path, rng)}"
    return f"{kind.name}: {_odd_tag(path, rng) if how == 'tag' else damage_bytes(path, rng)}"


def _odd_tag(path: Path, rng: Generator) -> str:
    """One entry of a directory of a little-endian TIFF: its tag, type, count or value."""
    raw = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", raw, 4)
    (count,) = struct.unpack_from("<H", raw, first)
    entry = first + 2 + 12 * int(rng.integers(count))
    tag, *_ = struct.unpack_from("<H", raw, entry)
    where, layout = pick(rng, ((0, "<H"), (2, "<H"), (4, "<I"), (8, "<I"), (8, "<I"), (8, "<I")))
    odd = pick(rng, ODD_TAG_VALUES) % 2 ** (8 * struct.calcsize(layout))
    struct.pack_into(layout, raw, entry + where, odd)
    path.write_bytes(raw)
    return f"tag {tag}, byte {where} = {odd}"


def _picture(path: Path, rng: Generator) -> str:
    """Another picture: tiny, white, grey, of 16 bits, of several pages, of no stated scale."""
    kind = pick(
        rng, ("1x1", "white", "grey", "16 bits", "pages", "no scale", "black", "RGBA", "float")
    )
    pixels = np.full((96, 96, 3), 150, np.uint8)
    pixels[..., 1] = 60
    if kind == "1x1":
        pixels = pixels[:1, :1]
    elif kind in ("white", "black"):
        pixels[...] = 255 * (kind == "white")
    elif kind == "grey":
        pixels = pixels[..., 0]
    elif kind == "16 bits":
        pixels = pixels.astype(np.uint16) * 100
    elif kind == "pages":
        pixels = np.stack([pixels] * 3)
    elif kind == "RGBA":
        pixels = np.concatenate([pixels, pixels[..., :1]], -1)
    elif kind == "float":
        pixels = pixels.astype(np.float32)
    tile = {} if kind == "1x1" else {"tile": (64, 64)}
    tifffile.imwrite(path, pixels, photometric="minisblack" if kind == "grey" else "rgb", **tile)
    return kind


def _exercise(place: Path, _: Path) -> Iterable[Step]:
    from medssl.data.slide.reader import open_slide
    from medssl.data.slide.settings import TileSettings
    from medssl.data.slide.tiles import read_tile, tile_grid

    path = subject(place)

    def cut() -> None:
        with open_slide(path) as reader:
            reader.thumbnail(64)
            for tissue in ("otsu", "edges", "all"):
                grid = tile_grid(reader, TileSettings(size=32, mpp=8, tissue=tissue))
                if len(grid):
                    read_tile(reader, grid, len(grid) - 1)

    yield "tiles", cut
    yield "check", lambda: medssl("data", "check", "toy", "-q")
    yield "show", lambda: medssl("data", "show", "toy", "-o", "out/sheet.png")
    yield "predict", lambda: medssl("predict", "checkpoint", str(path), "-o", "out", "-q")


def _damage_features(place: Path, rng: Generator) -> str:
    path = place / "features.safetensors"
    return flip_bit(path, rng) if rng.random() < 0.5 else damage_bytes(path, rng)


def _exercise_features(place: Path, base: Path) -> Iterable[Step]:
    from medssl.data.slide.bag import read_features

    def read() -> None:
        bag = read_features(place / "features.safetensors")
        values = np.asarray(bag.features), bag.places, bag.header
        whole = read_features(base / "features.safetensors")
        wanted = np.asarray(whole.features), whole.places, whole.header
        same = [np.array_equal(a, b) for a, b in zip(values[:2], wanted[:2], strict=True)]
        if not (all(same) and values[2] == wanted[2]):
            raise Silent("damaged features are taken for whole ones")

    yield "read", read


FORMAT = Format("slide", _make, _damage, _exercise, weight=0.5)
FEATURES = Format("features", _make, _damage_features, _exercise_features)
