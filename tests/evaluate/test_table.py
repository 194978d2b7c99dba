import csv

import pytest

from medssl.evaluate.table import write_scores


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_row_per_case_and_class_with_all_digits(tmp_path, scored):
    cases = [scored("a", 1), scored("b, left", without=2)]
    write_scores(tmp_path / "scores.csv", cases)
    found = rows(tmp_path / "scores.csv")
    assert [(row["case"], row["class"], row["outcome"]) for row in found] == [
        ("a", "near", "found"),
        ("a", "far", "found"),
        ("b, left", "near", "found"),
        ("b, left", "far", "missed"),
    ]
    assert float(found[0]["jaccard"]) == cases[0].classes[0].jaccard == 1 / 3
    assert float(found[3]["hd95"]) == cases[1].classes[1].hd95


def test_columns_follow_what_was_measured(tmp_path, scored):
    write_scores(tmp_path / "mm.csv", [scored("a")])
    write_scores(tmp_path / "both.csv", [scored("a", 1, voxels=True)])
    assert "hd95_voxels" not in rows(tmp_path / "mm.csv")[0]
    assert float(rows(tmp_path / "both.csv")[0]["hd95_voxels"]) == 1.0


def test_a_failed_write_leaves_the_old_table(tmp_path, scored, monkeypatch):
    write_scores(tmp_path / "scores.csv", [scored("old")])

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("medssl.atomic.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_scores(tmp_path / "scores.csv", [scored("new")])
    assert rows(tmp_path / "scores.csv")[0]["case"] == "old"
