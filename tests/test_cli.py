"""What a person sees on the command line: one sentence, and the exit code of its kind."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from medssl import cli
from medssl.errors import DataError, MedsslError, Stopped, UsageError
from tests.conftest import Medssl


def test_help_names_every_verb(medssl: Medssl) -> None:
    code, out, _ = medssl("--help")
    assert code == 0
    verbs = "demo init run data pretrain train predict evaluate export study compare methods"
    for verb in verbs.split():
        assert f" {verb} " in out


def test_the_version_is_printed_and_of_a_checkout_its_commit(
    medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.train.fingerprint.code_version", lambda: "1.2.3 0a1b2c3d4e")
    assert medssl("--version") == (0, "medssl 1.2.3 0a1b2c3d4e\n", "")


def test_data_help_names_its_verbs(medssl: Medssl) -> None:
    _, out, _ = medssl("data", "--help")
    for verb in ("list", "check", "show", "fetch"):
        assert f" {verb} " in out


def test_the_data_check_names_files_and_ends_with_the_code_of_rejected_data(
    medssl: Medssl, shared_data: Path
) -> None:
    code, out, error = medssl("data", "check", str(shared_data / "dirty_hippocampus"))
    assert code == 3
    assert error.splitlines()[-1].startswith("medssl: ")
    assert sum(line.startswith("error: ") for line in out.splitlines()) == 2
    assert re.search(r"\d+ labelled and 1 unlabelled cases, errors 2, warnings 1", error)


def test_a_bare_folder_is_checked_as_what_it_is_read_as(medssl: Medssl, tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a_0000.nii.gz").write_bytes(b"no image")
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "T1"}}')
    code, out, error = medssl("data", "check", "--quiet", str(tmp_path))
    assert code == 3
    assert out.splitlines()[0] == f"{tmp_path} is read as 'nnunet': 1 cases with the channels T1"
    assert "errors 1, warnings 0" in error


def test_what_a_terminal_would_obey_is_printed_and_not_obeyed(
    medssl: Medssl, tmp_path: Path
) -> None:
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr" / "a\x1b[2J.nii.gz").write_bytes(b"no image")
    _, out, error = medssl("data", "check", "--quiet", str(tmp_path))
    assert "\x1b" not in out + error
    assert r"a\x1b[2J" in out


def few_knees(source: Path, target: Path) -> None:
    """Six real knees of each part and grade."""
    head, *lines = (source / "labels.csv").read_text().splitlines()
    kept: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        _, part, grade, *_ = line.split(",")
        kept.setdefault((part, grade), []).append(line)
    target.mkdir(parents=True)
    (target / "images").symlink_to(source / "images")
    rows = [line for group in kept.values() for line in group[:6]]
    (target / "labels.csv").write_text("\n".join([head, *rows]) + "\n")


def test_radiographs_are_graded_by_the_verbs_of_all_families(
    medssl: Medssl, shared_data: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    few_knees(shared_data / "knee", directory / "data" / "knee")
    monkeypatch.setattr("medssl.train.track.Tracker._open", lambda _: None)
    small = ["split.labels=3", "split.lists=false", "train.watched=4", "train.steps=2"]
    small += [
        "network.width=2",
        "preprocess.joint.side=24",
        "evaluate.overlays=1",
        "evaluate.bootstrap=100",
    ]
    code, out, error = medssl("run", "knee", *small, "-q")
    assert (code, error) == (0, "")
    paths = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
    assert set(paths) == {"model", "grades", "scores", "report", "MLflow"}
    image = shared_data / "knee" / "images" / "knee_0000.png"
    code, out, _ = medssl("predict", paths["model"], str(image), "-o", "new", "--set", "side=R")
    assert (code, out.split()) == (0, ["grades", "new/grades.csv"])
    code, out, _ = medssl("compare", "knee")
    assert code == 0
    assert "semixup" in out


def test_data_sets_are_listed_with_their_licence(medssl: Medssl) -> None:
    code, out, _ = medssl("data", "list")
    assert code == 0
    assert "brain_cohort     made here" in out
    assert "CC-BY-SA 4.0" in out


def test_a_data_spec_that_is_wrong_does_not_end_the_list(
    medssl: Medssl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_specs").mkdir()
    (tmp_path / "data_specs" / "apples.yaml").write_text("title: Apples")
    code, out, _ = medssl("data", "list")
    assert code == 0
    assert out.startswith("apples           wrong")
    assert "\nhippocampus " in out


def test_methods_are_listed_with_their_papers(medssl: Medssl) -> None:
    code, out, _ = medssl("methods")
    assert code == 0
    for word in ("supervised", "mean_teacher", "cps", "tracoco", "arXiv 2203.14523"):
        assert word in out


@pytest.mark.parametrize(("word", "near"), [("trian", "train"), ("predcit", "predict")])
def test_a_wrong_verb_names_the_nearest(medssl: Medssl, word: str, near: str) -> None:
    code, _, error = medssl(word)
    assert code == 2
    assert near in error


def test_a_wrong_key_is_one_sentence(medssl: Medssl) -> None:
    code, out, error = medssl("run", "hippocampus", "trian.steps=5")
    assert (code, out) == (2, "")
    assert error == "medssl: unknown key 'trian.steps'; did you mean 'train'?\n" or error == (
        "medssl: unknown key 'trian'; did you mean 'train'?\n"
    )


def test_pretraining_refuses_a_pipeline_that_trains_no_encoder(medssl: Medssl) -> None:
    code, _, error = medssl("pretrain", "hippocampus")
    assert code == 2
    assert "hippocampus trains no encoder" in error


@pytest.mark.parametrize(
    ("failure", "code"),
    [(MedsslError("a", "b", "c"), 1), (UsageError("a", "b", "c"), 2),
     (DataError("a", "b", "c"), 3), (Stopped("a", "b", "c"), 75)],
)  # fmt: skip
def test_each_kind_of_failure_has_its_code(
    medssl: Medssl, monkeypatch: pytest.MonkeyPatch, failure: MedsslError, code: int
) -> None:
    monkeypatch.setattr("medssl.pipeline.config.load_config", _raiser(failure))
    assert medssl("run", "hippocampus") == (code, "", "medssl: a; b; c\n")


def test_an_unexpected_failure_is_short_and_hints_at_debug(
    medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medssl.pipeline.config.load_config", _raiser(ZeroDivisionError("oh")))
    code, _, error = medssl("run", "hippocampus")
    assert code == 1
    assert error == "medssl: unexpected ZeroDivisionError: oh; add --debug to see where\n"


@pytest.mark.parametrize("where", [0, 2])
def test_debug_shows_the_traceback_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    monkeypatch.setattr("medssl.pipeline.config.load_config", _raiser(UsageError("a")))
    arguments = ["run", "hippocampus"]
    arguments.insert(where, "--debug")
    monkeypatch.setattr("sys.argv", ["medssl", *arguments])
    with pytest.raises(UsageError):
        cli.main()


def test_a_file_that_is_no_checkpoint_is_refused(medssl: Medssl, tmp_path: Path) -> None:
    code, _, error = medssl("predict", str(tmp_path), "x.nii.gz", "--out", str(tmp_path / "o"))
    assert code == 2
    assert "is not a checkpoint" in error
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("family", "writes"),
    [
        ("grade", "grades.csv"),
        ("slide", "calls.csv, and SLIDE.png and SLIDE.geojson of each slide"),
    ],
)
@pytest.mark.parametrize(
    "asked", [("--format", "nrrd"), ("--set", "format=nrrd"), ("format=nrrd",)]
)
def test_where_the_format_is_no_choice_what_is_written_is_said(
    medssl: Medssl, tmp_path: Path, family: str, writes: str, asked: tuple[str, ...]
) -> None:
    (tmp_path / "checkpoint.json").write_text(f'{{"family": "{family}"}}')
    (tmp_path / "weights.safetensors").write_bytes(b"")
    code, out, error = medssl("predict", str(tmp_path), "image.png", *asked, "-o", "new")
    assert (code, out) == (2, "")
    assert error == (
        f"medssl: format=nrrd cannot be chosen for a checkpoint of the family '{family}'; "
        f"it writes {writes}; leave the format out\n"
    )


def _raiser(failure: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise failure

    return fail


def test_a_path_that_no_disk_takes_is_named(medssl: Medssl) -> None:
    code, _, error = medssl("export", "package", "x" * 300, "-o", "out.zip")
    assert code in (2, 3)
    assert error.startswith("medssl: ")
    assert "unexpected" not in error


def test_a_file_that_may_not_be_read_is_named(
    medssl: Medssl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "scans/a.nii.gz")

    monkeypatch.setattr("medssl.data.spec.list_specs", refuse)
    code, _, error = medssl("data", "list")
    assert code == 3
    assert error == (
        "medssl: scans/a.nii.gz cannot be used; permission denied; "
        "check the path and its permissions\n"
    )
