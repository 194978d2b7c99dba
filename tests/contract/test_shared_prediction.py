"""What follows training, and probes of it, are shared out over processes, bit for bit as in one."""

import json
import os
import shutil
import signal

import pytest

from medssl.families.segment import work
from tests.contract.commands_together import Started
from tests.drivers.killing.compare import differences, leftovers
from tests.drivers.toys import balls, heads, joints, slides

RUNS = {
    "segment": (balls, ["balls", "train.steps=2", "split.folds=0", "predict.unlabelled=true"]),
    "grade": (joints, ["joints", "train.steps=2", "predict.batch=2"]),
    "slide": (slides, ["slides", "train.epochs=1"]),
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MEDSSL_KEY", str(tmp_path / "key"))
    return tmp_path


def start(place, runs, *words, processes=2, before=lambda _: None):
    """Exit codes, and what each process wrote; runs and caches lie in a folder of their own."""
    os.environ["MEDSSL_RUNS"] = str(place / runs / "runs")
    os.environ["MEDSSL_CACHE"] = str(place / runs / "cache")
    started = Started(place, *words, "-q", processes=processes, before=before)
    codes = started.wait()
    return codes, [started.told(rank) for rank in range(processes)]


def must_equal(folder, wanted):
    assert differences(folder, wanted) == []
    assert leftovers(folder, wanted) == []


def answers(place, runs):
    """What stages wrote, by stage and file."""
    return {
        f"{path.parts[-2]}/{path.name}": path
        for path in (place / runs).rglob("*")
        if path.is_file() and path.suffix in {".gz", ".csv", ".geojson", ".json"}
    }


@pytest.mark.parametrize("family", RUNS)
def test_two_processes_leave_the_files_of_one(family, place):
    make, words = RUNS[family]
    make(place)
    codes, told = start(place, "one", "train", *words, processes=1)
    assert codes == [0], told
    if family == "slide":  # the features too are made again
        shutil.rmtree(place / "one" / "cache" / "features")
    shutil.copytree(place / "one", place / "two")
    assert start(place, "one", "run", *words, processes=1)[0] == [0]
    codes, told = start(place, "two", "run", *words)
    assert codes == [0, 0], told
    assert told[1] == ("", ""), "the first process alone talks"
    must_equal(place / "two", place / "one")
    assert any("predict" in name for name in answers(place, "two"))


@pytest.mark.parametrize(
    ("make", "words", "validated"),
    [
        (joints, ["joints", "train.steps=2", "train.validate_every=1"], "log_loss"),
        (slides, ["slides", "train.epochs=1", "train.batch_bags=2"], "fold0/score"),
    ],
)
def test_validation_on_the_way_is_shared_out_and_gathered(make, words, validated, place):
    make(place)
    lines = {}
    for runs, processes in (("one", 1), ("two", 2)):
        codes, told = start(place, runs, "train", *words, processes=processes)
        assert set(codes) == {0}, told
        journals = sorted((place / runs / "runs").glob("*/train-*/**/metrics.jsonl"))
        lines[runs] = [json.loads(line) for one in journals for line in one.open()]
    clock = ("time", "steps_per_s", "wait_share")
    one, two = (
        [{key: line[key] for key in line if not key.endswith(clock)} for line in lines[runs]]
        for runs in ("one", "two")
    )
    assert any(validated in line for line in one)
    for line, other in zip(one, two, strict=True):
        assert line == pytest.approx(other, abs=1e-4)  # training rounds otherwise


def test_probes_of_pre_training_are_shared_out_too(place):
    heads(place)
    for runs, processes in (("one", 1), ("two", 2)):
        codes, told = start(
            place, runs, "pretrain", "encoder", "train.steps=1", processes=processes
        )
        assert set(codes) == {0}, told
    one, two = (
        json.loads(next((place / runs).rglob("probes.json")).read_text()) for runs in ("one", "two")
    )
    learnt = [found.pop("trained") for found in (one, two)]
    assert "untrained" in one
    assert one == two
    assert learnt[0] == pytest.approx(learnt[1], abs=1e-4)  # training rounds otherwise


@pytest.mark.parametrize(
    ("make", "words", "files"),
    [
        (joints, ["joints", "train.steps=2"], ["data/joints"]),
        (slides, ["slides", "train.epochs=1"], ["data/toys"]),
    ],
)
def test_loose_radiographs_and_slides_are_shared_out(make, words, files, place):
    make(place)
    assert start(place, "kept", "train", *words, processes=1)[0] == [0]
    (model,) = (place / "kept" / "runs" / words[0]).glob("train-*")
    asked = ["predict", str(model), *files, "-o"]
    if words[0] == "joints":
        asked[-1:] = ["--set", "side=L", "--set", "spacing=0.2", "-o"]
    codes, told = start(place, "kept", *asked, "one", processes=1)
    assert codes == [0], told
    shutil.rmtree(place / "kept" / "cache")
    codes, told = start(place, "kept", *asked, "two")
    assert codes == [0, 0], told
    assert (
        differences(place / "two", place / "one") == leftovers(place / "two", place / "one") == []
    )


def only(rank, case, act):
    """In one process: do something once a case is about to be written."""

    def prepare(here):
        leave = work.Work._leave

        def changed(self, name, *given):
            if here == rank and name == case:
                act()
            return leave(self, name, *given)

        work.Work._leave = changed

    return prepare


@pytest.fixture
def model(place):
    """Scans, and a checkpoint that has been trained on some of them."""
    balls(place)
    assert start(place, "kept", "train", "balls", "train.steps=2", processes=1)[0] == [0]
    (found,) = (place / "kept" / "runs" / "balls").glob("train-*")
    scans = place / "scans"
    scans.mkdir()
    for number in range(6):
        shutil.copy(place / "data" / "balls" / f"c{number}.nii.gz", scans)
    return found


def predict(place, model, out, **how):
    return start(place, "kept", "predict", str(model), "scans", "-o", out, **how)


def test_files_are_shared_out_too(place, model):
    assert predict(place, model, "one", processes=1)[0] == [0]
    codes, told = predict(place, model, "two")
    assert codes == [0, 0], told
    assert told[0][0].startswith("6 masks in two")
    assert told[1] == ("", "")
    assert (
        differences(place / "two", place / "one") == leftovers(place / "two", place / "one") == []
    )
    record = json.loads((place / "two" / "prediction.json").read_text())
    assert set(record["written"]) == {path.name for path in (place / "two").glob("*.nii.gz")}


def fail():
    raise RuntimeError("broken")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    ("act", "codes", "said"),
    [
        (fail, [1, 1], "RuntimeError: broken"),
        (kill, [1, -9], "another process of this training has ended"),
        (stop, [75, 75], "stopped"),
    ],
)
def test_one_that_ends_early_ends_all_and_the_same_command_continues(
    act, codes, said, place, model
):
    predict(place, model, "one", processes=1)
    found, told = predict(place, model, "two", before=only(1, "c3", act))
    assert found == codes, told
    words = told[0][1] + told[1][1]
    assert words.count("medssl: ") == 1, told
    assert said in words
    whole = {path.name for path in (place / "two").glob("*.nii.gz")}
    assert "c3.nii.gz" not in whole or act is stop
    for name in whole:
        assert (place / "two" / name).read_bytes() == (place / "one" / name).read_bytes()
    assert predict(place, model, "two")[0] == [0, 0]
    assert (
        differences(place / "two", place / "one") == leftovers(place / "two", place / "one") == []
    )
