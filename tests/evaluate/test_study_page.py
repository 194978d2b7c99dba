"""The page of a study: what a browser unpacks, how it lies, and what a reader sees and does."""

import base64
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medssl.data.geometry import Geometry
from medssl.evaluate import study_volume
from medssl.evaluate.study_page import Guarded, Structure, StudyPage, preview_of, write_study_page
from medssl.evaluate.study_volume import packed

SHAPE = (12, 10, 8)
LABELLED = [("liver", "#56b4e9"), ("<tumour>", "#e69f00")]


def scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """On left-posterior-superior axes: bright at the left, anterior, superior corner."""
    image = np.random.default_rng(0).uniform(0, 10, SHAPE).astype(np.float32)
    image[8:, :3, 5:] = 100
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:8, 2:5] = 1
    labels[3, 4, 3] = 2
    entropy = np.zeros(SHAPE, np.float32)
    entropy[:, :, 6] = 1
    return image, labels, entropy


def laid(code: str) -> tuple[Geometry, Any]:
    """The grid of the same scan stored on other axes, and what turns an array to them."""
    return Geometry(SHAPE, np.diag([-1.0, -1.5, 2.0, 1.0])).oriented(code)


def study(code: str = "LPS") -> dict[str, Any]:
    image, labels, entropy = scan()
    grid, turn = laid(code)
    turned = [turn.apply(one) for one in (image, labels, entropy)]
    return packed(turned[0][None], ["t1"], *turned[1:], grid, LABELLED)


def unpacked(text: str, shape: tuple[int, ...], differences: bool = False) -> np.ndarray:
    """What the browser makes of it, [x, y, z]."""
    rows = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(shape[::-1])
    rows = np.cumsum(rows, axis=2, dtype=np.uint8) if differences else rows
    return rows.transpose(2, 1, 0)


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR", "SAL", "IRP"])
def test_what_is_shown_lies_left_posterior_superior_however_it_was_stored(code: str) -> None:
    found = study(code)
    _, labels, entropy = scan()
    np.testing.assert_array_equal(unpacked(found["mask"], SHAPE), labels)
    grey = unpacked(found["images"][0], SHAPE, differences=True)
    assert (grey[8:, :3, 5:] == 255).all()
    assert grey[:8].max() < 40
    np.testing.assert_array_equal(unpacked(found["entropy"], SHAPE), 255 * entropy)
    assert found["letters"] == [["R", "L"], ["A", "P"], ["I", "S"]]
    assert found["spacing"] == [1, 1.5, 2]
    assert found["largest"][0] in range(2, 6)
    assert found["doubtful"][2] == 6


def test_axes_between_two_directions_have_two_letters() -> None:
    turn = np.deg2rad(30)
    affine = np.eye(4)
    affine[:2, :2] = [[-np.cos(turn), np.sin(turn)], [-np.sin(turn), -np.cos(turn)]]
    image, labels, _ = scan()
    grid = Geometry(SHAPE, affine)
    found = packed(image[None], ["t1"], labels, None, grid, LABELLED)
    # The first axis leads to the left and half as much backwards.
    assert found["letters"] == [["RA", "LP"], ["AL", "PR"], ["I", "S"]]
    assert found["entropy"] is None


def test_a_large_scan_is_averaged_over_blocks_and_a_picture_has_no_letters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(study_volume, "MOST", 300)
    found = study()
    assert np.prod(found["shape"]) <= 300
    assert found["reduced"][2] == 1  # 2 mm apart, where the others are 1 and 1.5
    spacing = [step * f for step, f in zip((1, 1.5, 2), found["reduced"], strict=True)]
    assert found["spacing"] == spacing
    whole = unpacked(found["mask"], found["shape"])
    assert whole.max() >= 1
    flat = Geometry((12, 10, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    image = np.zeros((1, 12, 10, 1), np.float32)
    assert (
        packed(image, ["red"], image[0].astype(np.uint8), None, flat, LABELLED)["letters"] is None
    )


def page(**changes: Any) -> StudyPage:
    values: dict[str, Any] = {
        "case": "scan_1",
        "model": "Livers",
        "warnings": ["Beware <script>alert(1)</script>"],
        "volumes": [Structure("liver", "#56b4e9", 1234.5678, "1200 to 1300", 99, "0.1")],
        "card": [("tested", "Dice 0.9")],
        "doubt": 0.25,
        "unit": "ml",
        "members": 5,
        "left_out": 0,
        "tested": False,
        "guard": Guarded([("features", 7.0)], 3.0, 0.02, 0.05),
        "unguarded": "",
        "study": study(),
        "preview": b"PNG here",
    }
    return StudyPage(**values | changes)


def test_the_page_asks_for_nothing_and_runs_nothing_that_it_was_given(tmp_path: Path) -> None:
    write_study_page(tmp_path / "page.html", page())
    text = (tmp_path / "page.html").read_text()
    assert "<script>alert" not in text
    assert not re.search(r"https?://|src=\"(?!data:)|@import|url\(", text)
    assert "default-src 'none'" in text
    for fact in ("scan_1", "1235", "1200 to 1300", "between 5 networks", "Not a medical device"):
        assert fact in text
    assert preview_of(tmp_path / "page.html") == b"PNG here"
    data = re.search(r'id="study">(.*?)</script>', text, re.DOTALL)
    assert data
    assert json.loads(data[1])["labels"][1]["name"] == "<tumour>"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "between 5 networks, ml"),
        ({"members": 1}, "so there is no interval"),
        ({"members": 1, "tested": True}, "There is no interval: in the cross-validation"),
        ({"tested": True}, "between 5 networks, ml"),
        ({"left_out": 8}, "95 % interval, ml"),
        ({"left_out": 8}, "wrong about up to 8 cases that a cross-validation had left"),
        ({"left_out": 8, "members": 1}, "95 % interval, ml"),
    ],
)
def test_the_page_says_what_its_intervals_are(changes, said, tmp_path: Path) -> None:
    write_study_page(tmp_path / "page.html", page(**changes))
    assert said in (tmp_path / "page.html").read_text()


BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser of this machine."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser is installed: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens a page; fails where it asks for anything or a script fails."""
    view, wrong = browser.new_page(viewport={"width": 1400, "height": 1000}), list[str]()
    view.on("pageerror", lambda error: wrong.append(str(error)))
    view.on("console", lambda one: wrong.append(one.text) if one.type == "error" else None)
    view.on("request", lambda one: wrong.append(one.url) if one.url.startswith("http") else None)

    def show(given: StudyPage) -> Any:
        write_study_page(tmp_path / "page.html", given)
        view.goto((tmp_path / "page.html").as_uri())
        view.wait_for_selector("body[data-ready=yes]")
        view.evaluate("new Promise(requestAnimationFrame)")
        return view

    yield show
    view.close()
    assert wrong == []


def pixel(view: Any, plane: str, across: float, down: float) -> list[int]:
    """Red, green and blue at shares of a plane's width and height, once it is drawn."""
    script = """([plane, u, v]) => new Promise((done) => requestAnimationFrame(() =>
      requestAnimationFrame(() => {
        const one = document.getElementById(plane);
        const at = [Math.floor(u * one.width), Math.floor(v * one.height)];
        done(Array.from(one.getContext("2d").getImageData(...at, 1, 1).data.slice(0, 3)));
      })))"""
    found: list[int] = view.evaluate(script, [plane, across, down])
    return found


def titles(view: Any) -> list[str]:
    view.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    found: list[str] = view.locator("#views figcaption").all_text_contents()
    return found


@pytest.mark.parametrize("code", ["LPS", "RAS", "PIR"])
def test_left_anterior_superior_is_where_the_marks_say(opened: Any, code: str) -> None:
    view = opened(page(study=study(code) | {"largest": [10, 1, 6]}))
    for plane, letters in (("axial", "RLAP"), ("coronal", "RLSI"), ("sagittal", "APSI")):
        frame = view.locator(f".frame:has(#{plane})")
        found = [
            frame.locator(f".{side}").text_content() for side in ("left", "right", "top", "bottom")
        ]
        assert "".join(found) == letters
    bright = [255, 255, 255]
    assert pixel(view, "axial", 0.9, 0.1) == bright  # left is on the right, anterior on top
    assert pixel(view, "axial", 0.1, 0.1) != bright
    assert pixel(view, "axial", 0.9, 0.9) != bright
    assert pixel(view, "coronal", 0.9, 0.1) == bright  # superior on top
    assert pixel(view, "coronal", 0.9, 0.9) != bright
    assert pixel(view, "sagittal", 0.1, 0.1) == bright  # anterior on the left
    assert pixel(view, "sagittal", 0.9, 0.1) != bright


def test_wheel_keys_slider_and_clicks_move_through_the_scan(opened: Any) -> None:
    view = opened(page(study=study() | {"largest": [4, 5, 3]}))
    assert titles(view) == ["axial 4 / 8", "coronal 6 / 10", "sagittal 5 / 12"]
    view.locator("#axial").hover()
    view.mouse.wheel(0, -100)
    assert titles(view)[0] == "axial 5 / 8"
    frame = view.locator(".frame:has(#axial)")
    for key, wanted in (("ArrowDown", 4), ("PageDown", 1), ("ArrowLeft", 1), ("ArrowUp", 2)):
        frame.press(key)
        assert titles(view)[0] == f"axial {wanted} / 8"
    view.locator("input[aria-label='Slice, coronal']").fill("9")
    assert titles(view)[1] == "coronal 10 / 10"
    box = view.locator("#axial").bounding_box()
    view.mouse.click(box["x"] + 0.95 * box["width"], box["y"] + 0.05 * box["height"])
    assert titles(view)[1:] == ["coronal 1 / 10", "sagittal 12 / 12"]
    view.locator("#doubtful").click()
    assert titles(view)[0] == "axial 7 / 8"
    view.locator("#largest").click()
    assert titles(view)[0] == "axial 4 / 8"


def test_masks_outlines_uncertainty_and_single_structures_are_switched(opened: Any) -> None:
    view = opened(page(study=study() | {"largest": [4, 5, 3]}))
    inside, outside = (0.45, 0.6), (0.95, 0.95)

    def blue(place: tuple[float, float]) -> bool:
        red, _, found = pixel(view, "axial", *place)
        return found > red + 20

    assert blue(inside)
    assert not blue(outside)
    view.keyboard.press("m")
    assert not blue(inside)  # an outline is left
    edge = (2 / 12 + 0.002, 0.6)
    assert pixel(view, "axial", *edge) == [0x56, 0xB4, 0xE9]
    view.locator("#outlined").click()
    assert not blue(edge)
    view.keyboard.press("m")
    view.locator("#labels input").first.click()
    assert not blue(inside)
    view.locator("#doubtful").click()
    before = pixel(view, "axial", *outside)
    view.keyboard.press("u")
    red, _, found = pixel(view, "axial", *outside)
    assert red > before[0] + 50
    assert red > found + 50
    names = view.locator("#labels label").all_text_contents()
    assert names == ["liver", "<tumour>"]
