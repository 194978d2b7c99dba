"""The OHIF viewer itself opens what we write, in a browser without a screen.

Skipped unless the viewer is there: `npm pack @ohif/app@3.13.2 && tar xzf ohif-app-*.tgz` in
tests/export/ohif, 50 MB; playwright and a Chromium (Debian's package `chromium`) show it.
"""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.dicom.series import find_series
from medssl.data.labels import Label
from medssl.export.dicom_seg import write_dicom_seg
from medssl.export.result import Result
from tests.dicom_series import write_series
from tests.evaluate.test_study_page import BROWSERS
from tests.export.conftest import LABELS
from tests.export.ohif.served import DIST, Viewer
from tests.export.test_other_readers import GRIDS, JAPANESE, SHAPE, Geometry

PATIENCE_MS = 120_000
_WITHOUT_GPU = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_MARKED = """() => {
    const [found] = window.services.segmentationService.getSegmentations();
    const ids = found.representationData.Labelmap.imageIds;
    const images = ids.map(one => window.cornerstone.cache.getImage(one));
    return {
        names: Object.values(found.segments).map(one => [one.segmentIndex, one.label]),
        slices: images.map(one => [one.referencedImageId, [...one.voxelManager.getScalarData()]]),
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="install playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None or not DIST.is_dir():
        pytest.skip("the OHIF viewer or a browser is not there")
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=found, args=["--no-sandbox", *_WITHOUT_GPU])


EIGHTHS = (16, 12, 6)
"""Frames of which each begins with a byte, as those of most scans: a frame has 24 bytes of bits."""

FORMS = [
    ("binary", EIGHTHS),
    ("labelmap", EIGHTHS),
    ("labelmap", SHAPE),
    pytest.param(
        "binary",
        SHAPE,
        marks=pytest.mark.xfail(strict=True, reason="OHIF takes each frame to begin with a byte"),
    ),
]


@pytest.mark.parametrize(("kind", "shape"), FORMS)
@pytest.mark.parametrize("name", GRIDS)
def test_ohif_shows_every_voxel_of_a_segmentation_on_its_series(
    browser: Any, tmp_path: Path, name: str, kind: Any, shape: tuple[int, int, int]
) -> None:
    grid = Geometry(shape, GRIDS[name])
    values = np.random.default_rng(0).integers(0, 500, shape)
    series = find_series(write_series(tmp_path / "series", grid, values, StudyDate="20200101"))
    mask = np.zeros(shape, np.uint8)
    mask[1:12, 2:8, 0:4], mask[3:9, 3:7, 1:3] = 1, 0  # with a hole
    mask[4:7, 4:6, 2], mask[2:3, 9:11, 3:6] = 5, 2
    result = Result(mask, grid, LABELS, "mask", series)
    write_dicom_seg(result, tmp_path / "seg.dcm", kind)
    told = shown(browser, Viewer([*series.files, tmp_path / "seg.dcm"]), tmp_path / "shown.png")
    names = [[number, one.name] for number, one in enumerate(LABELS, start=1)]
    assert [one for one in told["names"] if one[0]] == names  # 0 is the background
    expected = result.segments(result.on_series(mask))
    seen, uids = np.zeros_like(expected), [one.uid for one in series.slices]
    for image, pixels in told["slices"]:  # in several layers where it makes some
        index = uids.index(re.search(r"/instances/([\d.]+)", image)[1])
        seen[..., index] += np.reshape(pixels, expected.shape[1::-1]).T.astype(np.uint8)
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_ohif_shows_the_letters_of_names(browser: Any, tmp_path: Path, kind: Any) -> None:
    grid = Geometry(EIGHTHS, GRIDS["straight"])
    values = np.random.default_rng(0).integers(0, 500, EIGHTHS)
    folder = write_series(tmp_path / "series", grid, values, StudyDate="20200101", **JAPANESE)
    series, mask = find_series(folder), np.zeros(EIGHTHS, np.uint8)
    mask[4:7, 4:6, 2] = 1
    labels = (Label(value=1, name="Leberläsion 肝"),)
    write_dicom_seg(Result(mask, grid, labels, "mask", series), tmp_path / "seg.dcm", kind)
    told = shown(browser, Viewer([*series.files, tmp_path / "seg.dcm"]), tmp_path / "shown.png")
    assert [one[1] for one in told["names"] if one[0]] == ["Leberläsion 肝"]


def shown(browser: Any, viewer: Viewer, picture: Path) -> dict[str, Any]:
    """What the viewer holds of the segmentation once a user has opened it, and a picture of it."""
    threading.Thread(target=viewer.serve_forever, daemon=True).start()
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    try:
        tours = json.dumps(["basicViewerTour"])
        page.add_init_script(f"localStorage.setItem('shownTours', '{tours}')")
        page.goto(viewer.address)
        page.locator("[data-cy=study-browser-thumbnail-no-image]").first.dblclick()
        page.wait_for_function("window.services.segmentationService.getSegmentations().length")
        page.wait_for_timeout(5000)
        page.screenshot(path=picture)
        found: dict[str, Any] = page.evaluate(_MARKED)
        return found
    finally:
        page.close()
        viewer.shutdown()
