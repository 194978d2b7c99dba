"""`medssl select`: which scans are enough to pre-train on."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medssl.cli import app
from medssl.data.coreset import SELECTORS
from medssl.errors import UsageError
from medssl.families.pretrain.select import Wanted, select_scans
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import cohort_of, make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run

PIPELINE = (
    "data: balls\nmethod: {name: masked_image_modelling, masking: {cell: 4}}\n"
    "network: {name: vnet, width: 2, levels: 2, norm: group}\nprobe: {patients: 0}\n"
    "train: {patch: [8, 8, 8], steps: 2, batch_scans: 2}\n"
)


@pytest.fixture
def proxy(balls: Path) -> Path:
    """An encoder that was pre-trained on all eight balls for two steps."""
    balls.joinpath("pipelines/all_balls.yaml").write_text(PIPELINE)
    model: Path = run(load_config("all_balls"), QuietReporter())["model"]
    return model


def choose(proxy: Path, out: str = "ids.json", **how: object) -> dict:
    wanted = Wanted(**{"fraction": 0.5, "classes": 1, **how})
    select_scans("all_balls", [], proxy, wanted, Path(out), QuietReporter())
    return json.loads(Path(out).read_text())


def test_what_is_kept_is_what_is_learnt_from(
    proxy: Path, balls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.data.coreset.SMALL", 2)
    said = choose(proxy)
    kept = {case for unit in said["kept"] for case in unit["cases"]}
    dropped = {case for unit in said["dropped"] for case in unit["cases"]}
    assert (len(kept), len(dropped)) == (4, 4)
    assert not kept & dropped
    assert all(unit["nearest"] in kept for unit in said["dropped"])
    config = load_config("all_balls", ["selected=ids.json"])
    cohort = cohort_of(config)
    assert {f"balls/{case.id}" for _, part in cohort.train for case in part} == kept
    whole = make_plan(load_config("all_balls"))
    assert make_plan(config).last.folder != whole.last.folder


@pytest.mark.parametrize("selector", SELECTORS)
def test_equal_seeds_choose_alike(
    proxy: Path, selector: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.data.coreset.SMALL", 2)
    one, same = (choose(proxy, f"{n}.json", selector=selector) for n in ("one", "same"))
    assert one == same
    assert one["selector"] == selector
    assert len(one["proxy"]) > 8


def test_few_scans_are_all_kept(proxy: Path) -> None:
    assert len(choose(proxy)["kept"]) == 8


def test_what_is_rare_is_not_lost_in_silence(proxy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medssl.data.coreset.SMALL", 2)
    monkeypatch.setattr(
        "medssl.families.pretrain.select._shares", lambda *_: {"class tumour": (0.2, 0.05)}
    )
    with pytest.raises(UsageError, match="class tumour would fall from 20% to 5% of the scans"):
        choose(proxy)
    assert not Path("ids.json").exists()
    assert choose(proxy, allow_loss=True)["shares"] == {
        "class tumour": {"before": 0.2, "after": 0.05}
    }


def test_the_command_says_what_is_kept(proxy: Path) -> None:
    given = ["select", "all_balls", "--proxy", str(proxy), "--out", "ids.json", "--quiet"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert "8 of 8 sessions are kept: ids.json" in done.output
    assert "class ball: " in done.output
    assert "learn from them with selected=ids.json" in done.output


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"fraction": 1.0}, "chooses nothing, or everything"),
        ({"selector": "cuts"}, "no selector is called cuts"),
        ({"windows": 0}, "--windows 0 is none"),
    ],
)
def test_what_cannot_be_chosen_is_refused(proxy: Path, how: dict, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        choose(proxy, **how)


def test_files_of_other_choices_are_refused(proxy: Path, balls: Path) -> None:
    config = load_config("all_balls", ["selected=none.json"])
    with pytest.raises(UsageError, match=r"none\.json does not exist; make it with"):
        cohort_of(config)
    Path("none.json").write_text("{}")
    with pytest.raises(UsageError, match=r"none\.json is no choice of scans"):
        cohort_of(config)
    Path("none.json").write_text(
        json.dumps({"data": ["balls"], "kept": [{"cases": ["balls/other"]}]})
    )
    with pytest.raises(UsageError, match="balls/other, which is not in this pipeline"):
        cohort_of(config)
    Path("exists.json").touch()
    with pytest.raises(UsageError, match=r"exists\.json exists"):
        choose(proxy, "exists.json")
