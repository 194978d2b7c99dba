"""OME-TIFFs: scale and pyramid as tifffile finds them, and XML that harms nobody."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from medssl.data.slide.ome import ome_properties
from medssl.data.slide.reader import open_slide
from medssl.data.slide.settings import TileSettings
from medssl.data.slide.tiles import tile_grid
from medssl.errors import DataError
from tests.data.slide.conftest import painted


def write_ome(path: Path, pixels: np.ndarray, levels: int = 3, **metadata: Any) -> Path:
    """A pyramid as QuPath and bfconvert write it: smaller levels as SubIFDs."""
    planar = pixels.shape[0] == 3
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for level in range(levels):
            step = 2**level
            part = pixels[:, ::step, ::step] if planar else pixels[::step, ::step]
            options: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb"}
            if level == 0:
                axes = {"axes": "CYX" if planar else "YXS"}
                tiff.write(part, subifds=levels - 1, metadata=axes | metadata, **options)
            else:
                tiff.write(part, subfiletype=1, metadata=None, **options)
    return path


def with_description(path: Path, description: str, pixels: np.ndarray) -> Path:
    tifffile.imwrite(
        path, pixels, tile=(64, 64), photometric="rgb", description=description, metadata=None
    )
    return path


def ome(pixels: str = "", more: str = "") -> str:
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:1"><Image><Pixels SizeX="500" {pixels}>{more}</Pixels></Image></OME>'
    )


def test_scale_and_levels_are_those_that_tifffile_finds(tmp_path: Path) -> None:
    pixels = painted((512, 384), (100, 100, 300, 300))
    path = write_ome(
        tmp_path / "a.ome.tif",
        pixels,
        PhysicalSizeX=0.25,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=0.25,
        PhysicalSizeYUnit="µm",
    )
    with tifffile.TiffFile(path) as tiff:
        shapes = [level.shape[:2] for level in tiff.series[0].levels]
        smallest = tiff.series[0].levels[2].asarray()
    assert shapes == [(384, 512), (192, 256), (96, 128)]
    with open_slide(path) as slide:
        assert (slide.mpp, slide.levels, slide.size) == (0.25, (1.0, 2.0, 4.0), (512, 384))
        assert np.array_equal(slide.read(90, 70, 200, 130), pixels[70:200, 90:290])
        assert np.array_equal(slide.read(0, 0, 512, 384, (128, 96)), smallest)
        grid = tile_grid(slide, TileSettings(size=32, mpp=0.5, tissue="all"))
    assert (grid.span, grid.mpp, grid.notes) == (64, 0.5, ())


def test_colours_may_lie_in_planes(tmp_path: Path) -> None:
    pixels = painted((256, 192), (50, 50, 150, 150))
    planes = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    size = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    write_ome(tmp_path / "together.ome.tif", planes, **size)
    tifffile.imwrite(
        tmp_path / "apart.ome.tif", planes, tile=(64, 64), photometric="minisblack", ome=True,
        metadata={"axes": "CYX", **size},
    )  # fmt: skip
    for name in ("together", "apart"):
        with open_slide(tmp_path / f"{name}.ome.tif") as slide:
            assert (slide.size, slide.mpp) == ((256, 192), 0.25)
            assert np.array_equal(slide.read(40, 40, 80, 60), pixels[40:100, 40:120])


@pytest.mark.parametrize(
    ("stated", "mpp"),
    [
        ('PhysicalSizeX="0.5" PhysicalSizeY="0.5"', 0.5),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm"', 0.25),
        ('PhysicalSizeY="0.0005" PhysicalSizeYUnit="mm"', 0.5),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="&#956;m"', 0.25),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="um" PhysicalSizeY="0.27"', 0.26),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="pixel"', None),
        ('PhysicalSizeX="quarter"', None),
        ('PhysicalSizeX="nan"', None),
        ('PhysicalSizeX="-1"', None),
        ("", None),
    ],
)
def test_lengths_have_units(tmp_path: Path, stated: str, mpp: float | None) -> None:
    pixels = painted((500, 400), (0, 0, 500, 400))
    path = with_description(tmp_path / "a.tif", ome(stated), pixels)
    with open_slide(path) as slide:
        assert slide.mpp == pytest.approx(mpp)


def test_the_objective_counts_where_the_scale_is_not_stated() -> None:
    text = ome().replace("<Image>", '<Objective NominalMagnification="20"/><Image>')
    assert ome_properties(text, Path("a.tif")) == {"objective-power": 20}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
            "<OME>&b;</OME>",
            "declares a document type or entities",
        ),
        (
            '<?xml version="1.0"?><!DOCTYPE OME SYSTEM "file:///etc/passwd"><OME/>',
            "declares a document type or entities",
        ),
        (ome()[:-3], "cannot be read as XML"),
        (
            ome(more='<TiffData><UUID FileName="../b.tif">urn:uuid:2</UUID></TiffData>'),
            "is one of several files",
        ),
    ],
)
def test_xml_that_names_what_is_not_there_is_refused(
    tmp_path: Path, description: str, message: str
) -> None:
    pixels = painted((500, 400), (0, 0, 500, 400))
    path = with_description(tmp_path / "a.tif", description, pixels)
    with pytest.raises(DataError, match=f"a.tif {message}"):
        open_slide(path)


def test_a_file_that_names_itself_is_whole(tmp_path: Path) -> None:
    own = ome(more='<TiffData><UUID FileName="old_name.tif">urn:uuid:1</UUID></TiffData>')
    assert ome_properties(own, tmp_path) == {}


def test_a_pyramid_whose_smaller_levels_were_cut_off_is_refused(tmp_path: Path) -> None:
    path = write_ome(tmp_path / "a.ome.tif", painted((512, 384), (100, 100, 300, 300)))
    content = path.read_bytes()
    for share in (0.5, 0.8, 0.99):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match=r"a\.ome\.tif cannot be read as a slide"):
            open_slide(path)


def test_fluorescence_is_no_slide_in_colour(tmp_path: Path) -> None:
    pixels = np.zeros((5, 128, 128), np.uint16)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", pixels, tile=(64, 64), photometric="minisblack", ome=True,
        metadata={"axes": "CYX"},
    )  # fmt: skip
    with pytest.raises(DataError, match=r"a\.ome\.tif is no slide in red, green and blue"):
        open_slide(tmp_path / "a.ome.tif")


def test_tiles_that_no_memory_could_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    pixels = painted((128, 96), (30, 30, 90, 90))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), photometric="rgb")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tiff:
        for name in ("TileWidth", "TileLength"):
            tiff.pages[0].tags[name].overwrite(2**15)
    with pytest.raises(DataError, match=r"a\.tif cannot be read as a slide"):
        open_slide(tmp_path / "a.tif")


def test_tiffs_may_be_damaged_anywhere(tmp_path: Path) -> None:
    """Directory, description and pixels; never another error than the file's name."""
    path = write_ome(tmp_path / "a.tif", painted((128, 96), (30, 30, 90, 90)), levels=2)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        changed = bytearray(whole)
        place = int(rng.integers(1200 if rng.random() < 0.8 else len(whole)))
        changed[place] = int(rng.integers(256))
        path.write_bytes(changed)
        try:
            with open_slide(path) as slide:
                outcomes.add(slide.read(0, 0, 64, 64, (16, 16)).shape == (16, 16, 3))
        except DataError as error:
            outcomes.add("a.tif" in str(error))
    assert outcomes == {True}
