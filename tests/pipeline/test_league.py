"""A league: arms by tasks and protocols, resumable, with one page."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from medssl.cli import app
from medssl.errors import UsageError
from medssl.pipeline.config import load_config
from medssl.pipeline.league import League, load_any, places, select
from medssl.pipeline.league_page import standings
from medssl.pipeline.study import Study
from tests.conftest import Medssl
from tests.train.volume_encoder import NETWORK, write_encoder

LEAGUE = """
title: Balls in a league
tasks:
  balls:
    linear probe: {pipeline: balls, labels: 2, set: [network.decoder=linear, network.frozen=true]}
    nearest neighbours:
      {pipeline: balls, labels: 2,
       set: [network.decoder=neighbours, method=knn_segmentation, method.voxels=4]}
    fine-tuning: {pipeline: balls, labels: 2}
arms:
  random: []
  pre_trained: {balls: [pretrain=encoder]}
seeds: [0, 1]
"""


@pytest.fixture
def league(balls: Path) -> Path:
    """Working directory with the league `encoders_study` and two encoders."""
    (balls / "pipelines" / "encoders_study.yaml").write_text(LEAGUE)
    write_encoder(balls / "encoder")
    write_encoder(balls / "wider", NETWORK.model_copy(update={"width": 4}))
    return balls


def loaded(name: str = "encoders", **given: object) -> League:
    found = load_any(name, **given)  # type: ignore[arg-type]
    assert isinstance(found, League)
    return found


def page_of(folder: Path) -> str:
    return (folder / "runs" / "encoders_study" / "league.html").read_text()


def test_every_column_is_a_study_of_the_same_arms(league: Path) -> None:
    found = places(loaded())
    assert [(one.task, one.protocol) for one in found] == [
        ("balls", "linear probe"),
        ("balls", "nearest neighbours"),
        ("balls", "fine-tuning"),
    ]
    assert all(list(one.study.arms) == ["random", "pre_trained"] for one in found)
    assert found[0].study.arms["pre_trained"] == (
        "network.decoder=linear",
        "network.frozen=true",
        "pretrain=encoder",
    )
    column = load_any("encoders:balls:fine-tuning")
    assert isinstance(column, Study)
    assert column == found[2].study


def test_a_league_is_not_compared_with_one_arm(league: Path, medssl: Medssl) -> None:
    code, _, error = medssl("study", "encoders", "--reference", "random")
    assert code == 2
    assert "--reference random cannot be used with encoders" in error


def test_an_arm_that_fits_one_column_alone_is_left_out_of_the_others(league: Path) -> None:
    found = places(loaded(added=["shaped=network.decoder=fpn"]))
    assert [list(one.unfit) for one in found] == [[], ["shaped"], []]
    assert "set network.decoder=neighbours" in found[1].unfit["shaped"]
    with pytest.raises(UsageError, match=r"the arm wrong of encoders_study: .*did you mean 'vnet'"):
        places(loaded(added=["wrong=network.name=vnot"]))


def test_parts_are_chosen_by_task_protocol_arm_and_seed(league: Path) -> None:
    chosen = select(loaded(), ["protocol=fine-tuning,arm=random", "seed=1"])
    assert [(one.protocol, further) for one, further in chosen] == [
        ("fine-tuning", ["arm=random", "seed=1"])
    ]
    with pytest.raises(UsageError, match="did you mean 'fine-tuning'"):
        select(loaded(), ["protocol=fine-tunning"])


def test_a_league_is_run_in_parts_and_its_page_says_what_was_not(league: Path) -> None:
    ended = CliRunner().invoke(
        app, ["study", "encoders", "--quiet", "--only", "arm=random,arm=pre_trained,seed=0",
              "--only", "protocol=nearest neighbours,protocol=linear probe"]
    )  # fmt: skip
    assert ended.exit_code == 0, ended.output
    page = page_of(league)
    assert page.count("not run") == 2, "both arms of fine-tuning"
    assert page.count("1 of 2 seeds") == 4
    assert "http" not in page
    assert "(balls)" in page, "the data are simulated"
    before = {path: path.stat().st_mtime_ns for path in (league / "runs").rglob("last/weights.*")}
    assert len(before) == 4
    again = CliRunner().invoke(app, ["study", "encoders", "--quiet", "--only", "seed=0"])
    assert again.exit_code == 0, again.output
    after = {path: path.stat().st_mtime_ns for path in (league / "runs").rglob("last/weights.*")}
    assert {path: after[path] for path in before} == before
    assert "not run" not in page_of(league)
    rows = standings(loaded(), places(loaded()))
    assert all(row.columns == 3 and 0 <= row.beaten <= 1 for row in rows)
    assert sum(row.beaten for row in rows) == pytest.approx(1)
    assert re.search(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]", page_of(league))


def test_one_word_adds_an_encoder(league: Path) -> None:
    given = ["--quiet", "--only", "arm=mine,seed=0", "--only", "protocol=nearest neighbours"]
    ended = CliRunner().invoke(app, ["study", "encoders", "--arm", "mine=pretrain=wider", *given])
    assert ended.exit_code != 0
    assert "does not fit the pipeline's network" in ended.output
    assert "failed: " in page_of(league)
    mine = "mine=pretrain=wider network.width=4"
    ended = CliRunner().invoke(app, ["study", "encoders", "--arm", mine, *given])
    assert ended.exit_code == 0, ended.output
    assert "mine" in page_of(league)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("{balls: [pretrain", "{ball: [pretrain", "did you mean 'balls'"),
        ("pipeline: balls, labels: 2}", "pipline: balls, labels: 2}", "pipline"),
        ("arms:", "arm:", "did you mean 'arms'"),
    ],
)
def test_a_wrong_key_is_refused(league: Path, old: str, new: str, words: str) -> None:
    (league / "pipelines" / "encoders_study.yaml").write_text(LEAGUE.replace(old, new))
    with pytest.raises(UsageError, match=words):
        load_any("encoders")


@pytest.mark.parametrize("name", ["encoders", "slide_encoders"])
def test_every_pre_training_of_a_shipped_league_fits_where_it_is_used(name: str) -> None:
    for place in places(loaded(name)):
        assert not place.unfit
        for overrides in place.study.arms.values():
            config = load_config(place.study.pipeline, overrides)
            if config.start is None:
                continue
            inner = load_config(str(config.start.pipeline), config.start.set)
            part = config.initial.part  # type: ignore[union-attr]
            config.must_fit(getattr(inner.pipeline, part), "its encoder")
