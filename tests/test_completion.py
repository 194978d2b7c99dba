"""What a shell is offered where a word is half typed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from medssl import cli

Offers = Callable[[str], list[str]]


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offers:
    """What bash is offered for the last word of a line."""

    def call(line: str) -> list[str]:
        monkeypatch.setenv("_MEDSSL_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        monkeypatch.setattr("sys.argv", ["medssl"])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr().out.split()

    return call


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline, a data set and a model of one's own, as working directory."""
    for file in ("pipelines/xmine.yaml", "data_specs/xours.yaml", "runs/mine/README"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    for stage in ("train-1/checkpoint/last", "pretrain-2/checkpoint/last", "train-3/checkpoint"):
        folder = tmp_path / "runs" / "mine" / stage
        folder.mkdir(parents=True)
        (folder / "weights.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MEDSSL_RUNS", raising=False)
    return tmp_path


@pytest.mark.parametrize("verb", ["run", "train", "pretrain", "study", "compare"])
def test_pipelines_are_offered_by_name(offers: Offers, verb: str) -> None:
    assert offers(f"medssl {verb} xm") == ["xmine"]


def test_a_study_is_offered_studies_beside_the_pipelines_it_can_be_made_of(
    offers: Offers, project: Path
) -> None:
    (project / "pipelines/xmine_study.yaml").write_text("")
    assert offers("medssl study xm") == ["xmine", "xmine_study"]
    assert "left_atrium_study" in offers("medssl study left_atrium")
    assert offers("medssl run xm") == ["xmine"]


@pytest.mark.parametrize("verb", ["data check", "data show", "data fetch", "evaluate masks --data"])
def test_data_specs_are_offered_by_name(offers: Offers, verb: str) -> None:
    assert offers(f"medssl {verb} xo") == ["xours"]


def test_those_shipped_with_medssl_are_offered_too(offers: Offers) -> None:
    assert "hippocampus" in offers("medssl run hippo")
    assert offers("medssl data check brain_c") == ["brain_cohort"]


@pytest.mark.parametrize("verb", ["predict", "export package"])
def test_folders_of_trained_models_are_offered_and_those_of_encoders_are_not(
    offers: Offers, verb: str
) -> None:
    assert offers(f"medssl {verb} ru") == [
        "runs/mine/train-1/checkpoint/last",
        "runs/mine/train-3/checkpoint",
    ]


def test_models_are_offered_from_the_runs_folder_that_is_set(
    offers: Offers, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "runs").rename(project / "elsewhere")
    monkeypatch.setenv("MEDSSL_RUNS", str(project / "elsewhere"))
    assert offers("medssl predict runs") == []
    assert offers(f"medssl predict {project}/else") == [
        str(project / "elsewhere/mine/train-1/checkpoint/last"),
        str(project / "elsewhere/mine/train-3/checkpoint"),
    ]


def test_where_no_name_fits_the_shell_is_left_to_offer_files(offers: Offers) -> None:
    assert offers("medssl run pipelines/xm") == []
    assert offers("medssl predict ./ru") == []
