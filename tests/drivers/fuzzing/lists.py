"""Lists that say which files are cases: dataset.json, datalists, nnssl, BIDS, tables, data specs.

Every file that they name is a whole, small scan, so that what goes wrong is the list's doing.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.random import Generator

from tests.drivers.command import medssl
from tests.drivers.fuzzing.damage import damage_csv, damage_json, damage_yaml, pick
from tests.drivers.fuzzing.format import Format, Silent, Step
from tests.drivers.toys import TOYS, write_nifti

SPEC = {
    "title": "Toy", "modality": "MR", "channels": ["t1"], "root": "set", "licence": "CC0",
    "citation": "none", "labels": [{"value": 1, "name": "one"}],
}  # fmt: skip
NAMES = ("a", "b", "c")


def _scans(root: Path, image: str, label: str) -> None:
    """Three cases; `{}` stands for the name."""
    rng = np.random.default_rng(0)
    mask = np.zeros((6, 7, 8), np.uint8)
    mask[2:4, 2:5, 2:6] = 1
    for name in NAMES:
        scan = rng.normal(100, 10, mask.shape).astype(np.float32)
        write_nifti(root / image.format(name), scan)
        if label:
            write_nifti(root / label.format(name), mask)


def _declare(place: Path, layout: dict[str, Any], **keys: Any) -> Path:
    (place / "data_specs").mkdir(exist_ok=True)
    plain = SPEC | keys | {"layout": layout}
    (place / "data_specs" / "toy.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    return place / "data" / "set"


def _decathlon(place: Path) -> None:
    root = _declare(place, {"kind": "decathlon"})
    _scans(root, "imagesTr/{}.nii.gz", "labelsTr/{}.nii.gz")
    pairs = [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in NAMES]
    listing = {
        "name": "Toy", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "one"},
        "numTraining": 3, "numTest": 1, "training": pairs, "test": ["./imagesTs/d.nii.gz"],
    }  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(listing))


def _nnunet(version: int) -> Callable[[Path], None]:
    def make(place: Path) -> None:
        root = _declare(place, {"kind": "nnunet"})
        _scans(root, "imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz")
        listing: dict[str, Any] = {"numTraining": 3, "file_ending": ".nii.gz"}
        if version == 1:
            pairs = [
                {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"}
                for n in NAMES
            ]
            listing |= {"modality": {"0": "T1"}, "training": pairs, "test": []}
            listing["labels"] = {"0": "background", "1": "one"}
        else:
            listing |= {"channel_names": {"0": "T1"}, "regions_class_order": [1]}
            listing["labels"] = {"background": 0, "one": 1, "region": [1, 2]}
        (root / "dataset.json").write_text(json.dumps(listing))

    return make


def _datalist(place: Path) -> None:
    root = _declare(place, {"kind": "datalist"})
    _scans(root, "{}/image.nii.gz", "{}/label.nii.gz")
    entries = [{"image": f"{n}/image.nii.gz", "label": f"{n}/label.nii.gz"} for n in NAMES]
    listing = {
        "training": [{**entries[0], "id": "one", "patient": "p1", "session": "s1"}, entries[1]],
        "validation": [{**entries[2], "image": [entries[2]["image"]]}],
        "testing": [{"image": "d/image.nii.gz"}],
    }
    (root / "datalist.json").write_text(json.dumps(listing))


def _nnssl(place: Path) -> None:
    root = _declare(place, {"kind": "nnssl"}, labels=[])
    _scans(root, "{}/t1.nii.gz", "")
    rest = {"name": "t1", "modality": "t1", "associated_masks": None, "image_info": {}}
    sessions = {
        n: {"session_id": "s", "images": [{**rest, "image_path": f"{n}/t1.nii.gz"}]} for n in NAMES
    }
    subjects = {n: {"subject_id": n, "sessions": {n: sessions[n]}} for n in NAMES}
    dataset = {"name": "d", "dataset_index": 1, "subjects": subjects}
    listing = {"collection_index": 0, "collection_name": "c", "datasets": {"d": dataset}}
    (root / "pretrain_data.json").write_text(json.dumps(listing))


def _bids(place: Path) -> None:
    root = _declare(place, {"kind": "bids"}, labels=[], channels=["T1w"])
    _scans(root, "sub-{0}/ses-1/anat/sub-{0}_ses-1_T1w.nii.gz", "")
    _scans(root, "sub-{0}/ses-1/anat/sub-{0}_ses-1_ce-gd_run-1_T2w.nii.gz", "")
    (root / "dataset_description.json").write_text('{"Name": "Toy", "BIDSVersion": "1.8.0"}')


def _damage_names(place: Path, rng: Generator) -> str:
    """One file or folder renamed, emptied or made into the other kind."""
    root = place / "data" / "set"
    path = pick(rng, sorted(root.rglob("*")))
    parts = ("sub-", "ses-", "_T1w", ".nii.gz", "-", "_", "a", "anat", "1", "ce-gd", "run-1")
    how = pick(rng, ("name", "name", "name", "name", "empty", "kind", "gone"))
    if how == "name":
        part = pick(rng, [part for part in parts if part in path.name] or [path.name])
        odd = pick(
            rng, ("", "x", "..", "\n", "ä", "[b]", "-", "__", "x" * 150, " ", "=1", ".nii", "\x01")
        )
        name = path.name.replace(part, odd, 1)
        if name and name not in (".", "..") and not path.with_name(name).exists():
            path.rename(path.with_name(name))
        return f"{path.name} renamed {name!r:.60}"
    if path.is_file():
        path.unlink()
        if how != "gone":
            path.mkdir() if how == "kind" else path.touch()
    return f"{path.name}: {how}"


def _table(place: Path) -> None:
    root = _declare(place, {"kind": "table"})
    _scans(root, "{}.nii.gz", "{}_seg.nii.gz")
    rows = [f"{n},p{n},s,{n}.nii.gz,{n}_seg.nii.gz,train" for n in NAMES]
    (root / "cases.csv").write_text("\n".join(["case,patient,session,t1,label,part", *rows]) + "\n")


def _spec(place: Path) -> None:
    layout = {"kind": "glob", "images": {"t1": "{case}.nii.gz"}, "label": "{case}_seg.nii.gz"}
    keys = {"patient": "^(.)", "session": "(.)$", "aliases": {"t1": ["T1w"]}, "empty_masks": False,
            "simulated": True, "homepage": "https://example.org", "downloads": []}  # fmt: skip
    root = _declare(place, layout, **keys)
    spec = place / "data_specs" / "toy.yaml"
    code = {"value": "1", "scheme": "SCT", "meaning": "One"}
    plain = yaml.safe_load(spec.read_text())
    plain["labels"] = [{"value": 1, "name": "one", "code": code, "category": code}]
    spec.write_text(yaml.safe_dump(plain, sort_keys=False))
    _scans(root, "{}.nii.gz", "{}_seg.nii.gz")


def _file(name: str, damage: Callable[[Path, Generator], str]) -> Callable[[Path, Generator], str]:
    return lambda place, rng: damage(place / "data" / "set" / name, rng)


def _exercise(place: Path, base: Path) -> Iterable[Step]:
    from medssl.data.layouts import find_cases
    from medssl.data.spec import load_spec

    yield "cases", lambda: _refuse_odd_ids(find_cases(load_spec("toy")))
    yield "check", lambda: medssl("data", "check", "toy", "-q")
    if (base / "data" / "set" / "dataset.json").is_file():
        yield "folder", lambda: medssl("data", "check", "data/set", "-q")


def _refuse_odd_ids(cases: Iterable[Any]) -> None:
    """Ids name files: what leads out of a folder, or cannot be a name, must not come so far.

    Brackets may: nothing that prints an id takes them for markup.
    """
    for case in cases:
        if re.search(r"[/\\<>\x00-\x1f\x7f-\x9f\u2028]", case.id) or case.id in ("", ".", ".."):
            raise Silent(f"a case has the id {case.id[:40]!r}")
        if len(case.id) > 200:
            raise Silent(f"a case has an id of {len(case.id)} characters")


def _joint_table(place: Path) -> None:
    TOYS["joints"](place)
    table = place / "data" / "joints" / "labels.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:13]) + "\n")
    (place / "data_specs" / "joints.yaml").rename(place / "data_specs" / "toy.yaml")


def _slide_table(place: Path) -> None:
    TOYS["slides"](place)
    (place / "data_specs" / "slides.yaml").rename(place / "data_specs" / "toy.yaml")


def _of(folder: str) -> Callable[[Path, Generator], str]:
    """Damage to a table, or to its data spec one time in three."""

    def damage(place: Path, rng: Generator) -> str:
        if rng.random() < 0.33:
            return damage_yaml(place / "data_specs" / "toy.yaml", rng)
        return damage_csv(place / "data" / folder / "labels.csv", rng)

    return damage


FORMATS = (
    Format("decathlon", _decathlon, _file("dataset.json", damage_json), _exercise),
    Format("nnunet1", _nnunet(1), _file("dataset.json", damage_json), _exercise),
    Format("nnunet2", _nnunet(2), _file("dataset.json", damage_json), _exercise),
    Format("datalist", _datalist, _file("datalist.json", damage_json), _exercise),
    Format("nnssl", _nnssl, _file("pretrain_data.json", damage_json), _exercise),
    Format("bids", _bids, _damage_names, _exercise),
    Format("table", _table, _file("cases.csv", damage_csv), _exercise),
    Format("joint_table", _joint_table, _of("joints"), _exercise),
    Format("slide_table", _slide_table, _of("toys"), _exercise),
    Format(
        "data_spec", _spec,
        lambda place, rng: damage_yaml(place / "data_specs" / "toy.yaml", rng), _exercise,
    ),
)  # fmt: skip
