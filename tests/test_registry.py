"""Things by name: shipped ones, and those that other packages offer by an entry point."""

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from medssl.cli_data import export_app
from medssl.data.layout import Layout
from medssl.errors import UsageError
from medssl.evaluate.classification import SCORES as CALLS
from medssl.evaluate.grading import SCORES as GRADES
from medssl.evaluate.metric import MEASURED
from medssl.evaluate.segmentation import ClassScore
from medssl.methods.settings import MethodSettings
from medssl.networks.choice import Network
from medssl.pipeline.config import load_config
from medssl.registry import EXPORTERS, LAYOUTS, METHODS, METRICS, NETWORKS, Registry

Offer = Callable[..., None]


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """`offer("medssl.layouts", "pairs = mine:PAIRS", "PAIRS = 3")`: an installed package `mine`."""

    def install(group: str, point: str, source: str, package: str = "mine") -> None:
        site = tmp_path / package
        about = site / f"{package}-1.2.dist-info"
        about.mkdir(parents=True)
        (site / f"{package}.py").write_text(source)
        (about / "METADATA").write_text(f"Name: {package}\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


TOYS = Registry("medssl.toys", "toy", {"shipped": "medssl.toys:TOY", "shape": "math:pi"})


def test_shipped_things_and_those_of_other_packages_have_one_list(offer: Offer) -> None:
    offer("medssl.toys", "ball = mine:BALL", "BALL = 3.5")
    assert TOYS.names() == ["ball", "shape", "shipped"]
    assert TOYS.find("ball", float) == 3.5
    assert TOYS.find("shape", float) == pytest.approx(3.14159, abs=1e-5)
    assert (TOYS.package("ball"), TOYS.package("shape")) == ("mine 1.2", "medssl")


def test_to_list_names_imports_nothing(offer: Offer) -> None:
    offer("medssl.toys", "ball = mine:BALL", "raise RuntimeError")
    assert "ball" in TOYS.names()
    assert "mine" not in sys.modules


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("shap", "no toy is called 'shap' in the box; did you mean 'shape'?"),
        ("x", "no toy is called 'x' in the box; choose one of: shape, shipped"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        TOYS.find(name, float, "the box")
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("1 / 0", "of mine 1.2 cannot be loaded; ZeroDivisionError: division by zero; correct"),
        ("", "of mine 1.2 cannot be loaded; AttributeError: module 'mine' has no attribute"),
        ("BALL = '3'", "of mine 1.2 cannot be used; mine:BALL is not an object of the class"),
    ],
)
def test_a_package_that_is_broken_is_named(offer: Offer, source: str, sentence: str) -> None:
    offer("medssl.toys", "ball = mine:BALL", source)
    with pytest.raises(UsageError, match=sentence):
        TOYS.find("ball", float)


def test_a_name_that_is_offered_twice_is_refused(offer: Offer) -> None:
    offer("medssl.toys", "shape = mine:SHAPE", "SHAPE = 1.0")
    offer("medssl.toys", "ball = mine:SHAPE", "SHAPE = 1.0", package="other")
    offer("medssl.toys", "ball = third:SHAPE", "SHAPE = 1.0", package="third")
    for name, packages in (("shape", "medssl and mine 1.2"), ("ball", "third 1.2 and other 1.2")):
        with pytest.raises(UsageError, match=f"'{name}' is offered by {packages}; which of them"):
            TOYS.find(name, float)


def test_a_class_must_be_derived_from_that_of_its_kind(offer: Offer) -> None:
    source = "from medssl.methods.settings.cps import Settings\nclass Other: ..."
    offer("medssl.methods", "elsewhere = mine:Settings\nodd = mine:Other", source)
    assert {"elsewhere", "odd", "tracoco"} <= set(METHODS.names())
    assert issubclass(METHODS.find_class("elsewhere", MethodSettings), MethodSettings)
    with pytest.raises(UsageError, match=r"not a class derived from .*MethodSettings"):
        METHODS.find_class("odd", MethodSettings)


@pytest.mark.parametrize(("registry", "kind"), [(LAYOUTS, Layout), (NETWORKS, Network)])
def test_everything_shipped_is_what_its_kind_asks_for(registry: Registry, kind: type) -> None:
    assert len(registry.shipped) > 5
    for name in registry.shipped:
        assert isinstance(registry.find(name, kind), kind)


def test_names_with_a_meaning_of_medssl_are_reserved(offer: Offer) -> None:
    columns = {field.name for field in fields(ClassScore)} - {"name", "further"}
    summaries = {"images", "slides", "threshold", "standard_error", *GRADES, *CALLS}
    assert METRICS.reserved == columns | {"case", "class"} | summaries
    assert {metric.key for metric in MEASURED} <= METRICS.reserved
    commands = typer.main.get_command(export_app).commands  # type: ignore[attr-defined]
    assert EXPORTERS.reserved == set(commands)
    offer("medssl.metrics", "dice = mine:DICE", "DICE = 1")
    assert "dice" not in METRICS.names()
    with pytest.raises(UsageError, match="'dice' cannot name a metric of another package"):
        METRICS.require("dice")


@pytest.fixture
def install(offer: Offer, tmp_path: Path) -> Callable[..., None]:
    """`install(version, file=text)`: a package `mine` whose toy is `ball`, with more files."""

    def installed(version: str, **files: str) -> None:
        offer("medssl.toys", "ball = mine:BALL", "BALL = 3.5")
        site = tmp_path / "mine"
        about = site / "mine-1.2.dist-info"
        stated = f"Version: {version}\n" if version else ""
        (about / "METADATA").write_text(f"Name: mine\n{stated}")
        for name, text in files.items():
            (about / f"{name}.json").write_text(text)

    return installed


@pytest.mark.parametrize(
    "files",
    [{}, {"direct_url": '{"url": "file:///x", "dir_info": {}}'}],
    ids=["released", "from a folder"],
)
def test_what_a_version_stands_for_can_be_kept(install: Callable[..., None], files: dict) -> None:
    install("1.2", **files)
    TOYS.require_steady("ball")
    TOYS.require_steady("shape")


@pytest.mark.parametrize(
    ("version", "files", "why"),
    [
        ("", {}, "its version, none, does not say which code it is"),
        ("0.0.0", {}, "its version, 0.0.0, does not say"),
        ("0+unknown", {}, "does not say which code it is"),
        ("1.2.dev3+gabc123.d20261129", {}, "does not say which code it is"),
        ("1.2", {"direct_url": '{"url": "file:///x", "dir_info": {"editable": true}}'},
         "it is installed in editable mode, so its code changes while its version stays"),
    ],
)  # fmt: skip
def test_what_may_change_while_its_version_stays_cannot_be_kept(
    install: Callable[..., None], version: str, files: dict, why: str
) -> None:
    install(version, **files)
    with pytest.raises(UsageError, match=f"makes cannot be kept; .*{re.escape(why)}.*; give"):
        TOYS.require_steady("ball")


def test_a_package_that_is_run_from_where_it_is_written_cannot_be_kept(
    install: Callable[..., None], tmp_path: Path
) -> None:
    install("1.2")
    (tmp_path / "mine" / "pyproject.toml").write_text("")
    with pytest.raises(UsageError, match=r"of mine 1\.2 makes cannot be kept; .*editable"):
        TOYS.require_steady("ball")


@pytest.mark.parametrize("name", ["hippocampus", "joint2d3d", "knee", "slides", "slides_dino"])
def test_a_transform_without_a_version_is_refused_by_pipelines_of_all_families(
    offer: Offer, tmp_path: Path, name: str
) -> None:
    source = (
        "from monai.transforms import MapTransform\n"
        "class Same(MapTransform):\n"
        "    def __call__(self, data):\n"
        "        return dict(data)\n"
    )
    offer("medssl.transforms", "same = mine:Same", source)
    chain = {"hippocampus": "mr", "joint2d3d": "mr", "knee": "joint"}.get(name, "slide")
    chosen = [f"preprocess=[same, {chain}]"]
    if name == "knee":
        chosen = ["preprocess=[same, {joint: {field: null}}]"]
    assert "same" in str(load_config(name, chosen).pipeline.preprocess)
    (tmp_path / "mine" / "pyproject.toml").write_text("")
    with pytest.raises(UsageError, match=r"what the transform 'same' of mine 1\.2 makes"):
        load_config(name, chosen)


def test_a_pipeline_refuses_a_transform_whose_code_has_no_version(
    offer: Offer, tmp_path: Path
) -> None:
    source = "from monai.transforms import Identityd\nclass Mined(Identityd):\n    pass\n"
    offer("medssl.transforms", "mined = mine:Mined", source)
    load_config("hippocampus", ["preprocess=[mr, mined]"])
    about = tmp_path / "mine" / "mine-1.2.dist-info" / "METADATA"
    about.write_text("Name: mine\nVersion: 0.0.0\n")
    with pytest.raises(UsageError, match=r"transform 'mined' .* cannot be kept; its version, 0\.0"):
        load_config("hippocampus", ["preprocess=[mr, mined]"])
    load_config("hippocampus", ["augment=[mined]"])  # of which nothing is kept


def test_a_transform_whose_package_is_broken_is_told_as_such(offer: Offer) -> None:
    offer("medssl.transforms", "torn = mine:Torn", "import no_such_module")
    with pytest.raises(UsageError, match=r"torn.* mine 1\.2 .*no_such_module") as refused:
        load_config("hippocampus", ["augment=[torn]"])
    assert "did you mean" not in str(refused.value)
