"""Lists, tables and data specs with one value of the wrong kind: a sentence, or it can be read."""

import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from medssl.data.check import check
from medssl.data.guess import guess_spec
from medssl.data.layouts import find_cases
from medssl.data.spec import DataSpec, load_spec, make_spec
from medssl.errors import MedsslError
from medssl.train.fingerprint import fingerprint
from tests.data.conftest import declare

NESTED: list[Any] = []
for _ in range(200):
    NESTED = [NESTED]

WRONG: list[Any] = [
    None, True, 0, -1, 1.5, float("nan"), float("inf"), 10**400, "", " ", ".", "..", "../../x",
    "/x", "a\0b", "a\x1b[2Jb", "\ud800", "<script>", "con", "x" * 300, "x" * 5000,
    "$NO_SUCH_VARIABLE/x", [], [[]], [None], ["a", "b"], {}, {"a": {}}, {"": 1}, NESTED,
]  # fmt: skip

LISTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "datalist.json": (
        {"kind": "datalist"},
        {
            "training": [{"image": "a.nii", "label": ["b.nii"], "id": "one", "patient": 1}],
            "test": [{"image": ["c.nii"], "label": "d.nii", "session": "s"}, "e.nii"],
        },
    ),
    "dataset.json": (
        {"kind": "decathlon"},
        {
            "modality": {"0": "T1"},
            "labels": {"0": "background", "1": "one", "two": 2, "region": [1, 2]},
            "training": [{"image": "./imagesTr/a.nii", "label": "./labelsTr/a.nii"}],
            "test": ["./imagesTs/b.nii", {"image": "./imagesTs/c.nii", "label": "x.nii"}],
        },
    ),
    "pretrain_data.json": (
        {"kind": "nnssl"},
        {
            "datasets": {
                "d": {"subjects": {"s": {"sessions": {"1": {
                    "images": [{"image_path": "a.nii", "modality": "t1"}]}}}}}
            }
        },
    ),
}  # fmt: skip

TABLE = "case,patient,t1,label,part\na,p,a.nii,b.nii,train\n"


def changed(plain: Any) -> Iterator[Any]:
    """Copies of `plain`, each with one value in it, or one key, replaced by a wrong one."""
    for path in places(plain):
        for wrong in WRONG:
            yield put(plain, path, wrong)
    for wrong in WRONG:
        yield wrong


def places(plain: Any) -> Iterator[list[Any]]:
    keys = (
        plain if isinstance(plain, dict) else range(len(plain)) if isinstance(plain, list) else ()
    )
    for key in keys:
        yield [key]
        yield from ([key, *rest] for rest in places(plain[key]))


def put(plain: Any, path: list[Any], wrong: Any) -> Any:
    result = copy.deepcopy(plain)
    inner = result
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = wrong
    return result


def survives(spec: DataSpec) -> bool:
    """Whether the cases of a spec can be listed; what cannot be must say so in a sentence."""
    with suppress(MedsslError):
        check(spec, workers=1)
    with suppress(MedsslError):
        fingerprint(find_cases(spec))
        return True
    return False


@pytest.mark.parametrize("name", LISTS)
def test_a_list_with_a_value_of_the_wrong_kind_is_read_or_refused(
    tmp_path: Path, name: str
) -> None:
    layout, plain = LISTS[name]
    spec = declare(tmp_path, layout=layout)
    read = []
    for wrong in changed(plain):
        (tmp_path / name).write_text(json.dumps(wrong))
        read.append(survives(spec))
        if name == "dataset.json":
            with suppress(MedsslError):
                guess_spec(tmp_path)
    assert len(read) > 200
    assert set(read) == {True, False}


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "1", '{"training": NaN}', "\ufeff{}", "[" * 100_000,
        '{"training": [{"image": "a.nii", "label": ' + "9" * 5000 + "}]}",
        '{"training": [], "training": [{"image": "a.nii"}]}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", LISTS)
def test_a_file_that_is_no_list_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert not survives(declare(tmp_path, layout=LISTS[name][0]))


def test_a_table_with_a_wrong_cell_is_read_or_refused(tmp_path: Path) -> None:
    spec = declare(tmp_path, layout={"kind": "table"})
    cells = [line.split(",") for line in TABLE.splitlines()]
    words = [word for word in WRONG if isinstance(word, str) and word != "\ud800"]
    for path in ([row, column] for row in range(2) for column in range(5)):
        for wrong in [*words, '"', "a,b", "a\nb", "\ufeff"]:
            lines = put(cells, path, wrong)
            (tmp_path / "cases.csv").write_text("\n".join(map(",".join, lines)), encoding="utf-8")
            survives(spec)
    for content in (b"", b"\xff\xfe", TABLE.encode("utf-16"), b"," * 10**6):
        (tmp_path / "cases.csv").write_bytes(content)
        assert not survives(spec)


SPEC: dict[str, Any] = {
    "name": "toy",
    "title": "Toy",
    "modality": "MR",
    "channels": ["t1"],
    "labels": [{"value": 1, "name": "one", "code": {"value": "1", "meaning": "x"}}],
    "regions": {"all": [1]},
    "layout": {"kind": "glob", "images": {"t1": "{case}.nii"}, "label": "m/{case}.nii"},
    "patient": "(.*)",
    "session": "()",
    "aliases": {"t1": ["T1w"]},
    "empty_masks": False,
    "licence": "CC0",
    "citation": "none",
    "downloads": [{"url": "https://example.org/a.zip", "bytes": 1, "sha256": "0", "unpack": True}],
}


LAYOUTS: list[dict[str, Any]] = [
    {"kind": "bags", "file": "b.npz", "classes": ["no", "yes"]},
    {"kind": "bids", "folders": ["anat"], "space": "x"},
    {"kind": "datalist", "file": "x.json"},
    {"kind": "decathlon", "images": "i", "labels": "l"},
    {"kind": "folders", "images": {"t1": "a.nii"}, "label": "l", "lists": {"train": "t"}},
    {"kind": "nnssl", "file": "x.json"},
    {"kind": "nnunet", "sessions": False},
    {"kind": "planted", "bags": 4, "patches": 4, "keys": [1, 2], "classes": ["no", "yes"]},
    {"kind": "radiographs", "table": "t", "columns": {"side": "s"}, "classes": ["no", "yes"]},
    {"kind": "slides", "table": "t.csv", "pattern": "*", "classes": ["no", "yes"]},
    {"kind": "table", "file": "t.csv"},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout["kind"])
def test_a_layout_with_a_value_of_the_wrong_kind_is_read_or_refused(
    tmp_path: Path, layout: dict[str, Any]
) -> None:
    for wrong in changed(layout):
        with suppress(MedsslError):
            survives(make_spec({**SPEC, "root": str(tmp_path), "layout": wrong}, "spec"))


def test_a_data_spec_with_a_value_of_the_wrong_kind_is_read_or_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    loaded = 0
    for wrong in changed({**SPEC, "root": str(tmp_path)}):
        with suppress(MedsslError):
            spec = make_spec(wrong, "spec")
            loaded += 1
            survives(spec)
    assert loaded > 20


@pytest.mark.parametrize("text", ["", "a: [", "{" * 400, "a: " + "9" * 5000, "\x00", "? [a]\n: b"])
def test_a_file_that_is_no_data_spec_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(MedsslError):
        load_spec(tmp_path / "spec.yaml")
