"""A list of studies: shared out, continued, and never ended by one of them."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from medssl.data.csv_table import read_table
from medssl.errors import DataError, MedsslError, UsageError
from medssl.families.segment import work
from medssl.families.segment.model import open_model
from medssl.pipeline.manifest import ALL, Line, Shard, read_list
from medssl.pipeline.progress import LineReporter, QuietReporter

NAME = "Hopper_Grace"


@pytest.fixture
def model(balls, untrained_checkpoint):
    return open_model(untrained_checkpoint, [], "cpu")


@pytest.fixture
def place(tmp_path, balls, model, monkeypatch):
    """Five scans, each in a folder of its patient."""
    monkeypatch.setenv("MEDSSL_KEY", str(tmp_path / "key"))
    place = tmp_path / "place"
    for number in range(5):
        (place / f"{NAME}{number}").mkdir(parents=True)
        scan = place / f"{NAME}{number}" / f"scan{number}.nii.gz"
        shutil.copy(balls / "data" / "balls" / f"c{number}.nii.gz", scan)
    listed(place, *(f"{NAME}{number}/scan{number}.nii.gz" for number in range(5)))
    return place


def listed(place, *lines):
    (place / "list.txt").write_text("".join(f"{line}\n" for line in lines))


def predict(place, model, out="out", shard=ALL, reporter=None, list_="list.txt"):
    lines = read_list(place / list_)
    return model.predict_lines(lines, shard, place / out, reporter or QuietReporter())


def record(place, out="out"):
    return json.loads((place / out / "prediction.json").read_text())


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_list_leaves_what_its_files_do(place, model):
    assert predict(place, model) == 5
    scans = [line.path for line in read_list(place / "list.txt")]
    model.predict(scans, place / "wanted", QuietReporter(), False, place / "wanted" / "volumes.csv")
    found, wanted = files(place / "out"), files(place / "wanted")
    told = [json.loads(one.pop("prediction.json")) for one in (found, wanted)]
    assert found == wanted
    assert {**told[0], "lines": None} == {**told[1], "lines": None}
    assert len(told[0]["lines"]) == 5


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shards_together_leave_what_one_does(order, place, model):
    predict(place, model, "whole")
    done = [predict(place, model, shard=Shard(rank, 3)) for rank in order]
    assert sorted(done) == [1, 2, 2]
    assert files(place / "out") == files(place / "whole")


def test_what_cannot_be_predicted_is_noted_and_the_rest_goes_on(place, model, capsys):
    (place / f"{NAME}1" / "scan1.nii.gz").write_bytes(b"no image")
    shutil.copy(place / f"{NAME}0" / "scan0.nii.gz", place / f"{NAME}2" / "scan0.nii.gz")
    (place / f"{NAME}3" / "scan3.nii.gz").unlink()
    lines = (place / "list.txt").read_text().split()
    listed(place, *lines, f"{NAME}2/scan0.nii.gz")
    console = io.StringIO()
    with pytest.raises(DataError, match=r"3 of 6 lines have no mask: see .*failed\.csv"):
        predict(place, model, reporter=LineReporter(Console(file=console), pause=0))
    assert {path.name for path in (place / "out").glob("scan?.nii.gz")} == {
        f"scan{number}.nii.gz" for number in (0, 2, 4)
    }
    why = {row["line"]: row["why"] for row in read_table(place / "out" / "failed.csv")}
    assert list(why) == ["2", "4", "6"]
    assert "does not exist" in why["4"]
    assert "would replace those of another" in why["6"] or "name of another line" in why["6"]
    said = [console.getvalue(), *capsys.readouterr(), *why.values()]
    said += [path.read_text() for path in (place / "out").glob("*.json")]
    assert "5/6" in console.getvalue() or "6/6" in console.getvalue()
    assert not [words for words in said if NAME in words]
    # What was wrong is mended, and the same command does what is missing.
    shutil.copy(place / f"{NAME}4" / "scan4.nii.gz", place / f"{NAME}1" / "scan1.nii.gz")
    shutil.copy(place / f"{NAME}4" / "scan4.nii.gz", place / f"{NAME}3" / "scan3.nii.gz")
    listed(place, *lines)
    assert predict(place, model) == 5
    assert not (place / "out" / "failed.csv").exists()
    failed = record(place)["failed"]
    assert not [line for line in read_list(place / "list.txt") if line.key in failed]


def count(monkeypatch, fail_at=None, error=None):
    """Cases that are predicted from now on; at one of them something fails."""
    predicted = []
    once = work.predict_case

    def case(network, volume, *given, **more):
        predicted.append(volume.source)
        if len(predicted) == fail_at:
            raise error
        return once(network, volume, *given, **more)

    monkeypatch.setattr(work, "predict_case", case)
    return predicted


class Killed(BaseException):
    """As a kill: nothing is tidied up."""


def test_after_a_kill_only_what_is_missing_is_done(place, model, monkeypatch):
    predict(place, model, "whole")
    with monkeypatch.context() as patch:
        # As the system lets go of the locks of a process that is gone.
        patch.setattr(work.Outputs, "end", lambda self, alone=False: self._record._held.close())
        patch.setattr("medssl.families.segment.listed._write_tables", lambda *given: None)
        count(patch, 4, Killed())
        with pytest.raises(Killed):
            predict(place, model)
    assert list((place / "out").glob("prediction-*.jsonl")), "the journal is still there"
    predicted = count(monkeypatch)
    assert predict(place, model) == 5
    assert len(predicted) == 2
    assert files(place / "out") == files(place / "whole")


def test_a_line_whose_journal_was_cut_off_is_done_again(place, model, monkeypatch):
    predict(place, model)
    plain = record(place)
    key = read_list(place / "list.txt")[2].key
    cut = json.dumps({"written": {"scan2.nii.gz": plain["written"].pop("scan2.nii.gz")}})
    del plain["lines"][key]
    (place / "out" / "prediction.json").write_text(json.dumps(plain))
    (place / "out" / "scan2.nii.gz").unlink()
    (place / "out" / "prediction-0.jsonl").write_text(cut + "\n" + cut[:20])
    predicted = count(monkeypatch)
    assert predict(place, model) == 5
    assert len(predicted) == 1
    assert not list((place / "out").glob("*.jsonl"))


@pytest.mark.parametrize("error", [RuntimeError(NAME), MemoryError(), ValueError("x")])
def test_one_odd_case_stops_nothing(error, place, model, monkeypatch):
    count(monkeypatch, 2, error)
    with pytest.raises(DataError, match="1 of 5 lines"):
        predict(place, model)
    (row,) = read_table(place / "out" / "failed.csv")
    assert row["line"] == "2"
    assert "memory" in row["why"] or row["why"].startswith(f"unexpected {type(error).__name__}")
    assert NAME not in row["why"]


def test_a_full_disk_is_no_fault_of_a_case(place, model, monkeypatch):
    def full(*given):
        raise MedsslError("the mask cannot be written", "the disk is full")

    monkeypatch.setattr(work.Work, "_leave", full)
    with pytest.raises(MedsslError, match="disk is full"):
        predict(place, model)


def test_a_line_may_name_its_results_and_stand_for_several_cases(place, model):
    both = place / "both"
    both.mkdir()
    for number in (0, 1):
        shutil.copy(place / f"{NAME}{number}" / f"scan{number}.nii.gz", both / f"b{number}.nii.gz")
    (place / "list.csv").write_text(
        f"path,name\n{NAME}0/scan0.nii.gz,first\nboth,\n{NAME}1/scan1.nii.gz,second\nboth,third\n"
    )
    with pytest.raises(DataError, match="1 of 4 lines"):
        predict(place, model, list_="list.csv")
    masks = {path.name.partition(".")[0] for path in (place / "out").glob("*[!y].nii.gz")}
    assert masks == {"first", "b0", "b1", "second"}
    (row,) = read_table(place / "out" / "failed.csv")
    assert "stands for 2 cases, and names one" in row["why"]


def test_a_list_is_read_as_text_or_table(tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffx.nii.gz\n\n  /y z.nii.gz \nx.nii.gz\n")
    assert read_list(tmp_path / "a.txt") == [
        Line(1, tmp_path / "x.nii.gz"),
        Line(3, Path("/y z.nii.gz")),
    ]
    (tmp_path / "a.csv").write_text("name,path,more\nn,x.nii.gz,1\n,y.nii.gz,2\n")
    assert read_list(tmp_path / "a.csv") == [
        Line(2, tmp_path / "x.nii.gz", "n"),
        Line(3, tmp_path / "y.nii.gz"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.txt", None, "does not exist"),
        ("empty.txt", "\n\n", "names no path"),
        ("a.csv", "file\nx\n", "lacks the column path"),
        ("a.csv", "path,name\nx,a/b\n", "cannot be named as line 2"),
    ],
)
def test_a_list_that_is_none_is_refused(name, text, said, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read_list(tmp_path / name)


def test_every_line_is_in_one_shard():
    lines = [Line(number, Path(str(number))) for number in range(100)]
    for size in (1, 3, 64, 128):
        parts = [Shard.of(f"{rank + 1}/{size}").own(lines) for rank in range(size)]
        assert sorted(line.number for part in parts for line in part) == list(range(100))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0"])
def test_a_shard_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="is no part of a list"):
        Shard.of(text)


def test_a_sentence_forgets_where_the_file_lies():
    line = Line(7, Path("/data/Anna/scan.nii.gz"))
    said = "/data/Anna/scan.nii.gz and /data/Anna/x of /data/Anna are odd: scan.nii.gz"
    assert "Anna" not in line.without_place(said)
    assert "scan" not in line.without_place(said)
