"""What other packages add works as what is shipped does, wherever the package lies."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import MISSING, dataclass, fields
from pathlib import Path

import numpy as np
import pytest

from medssl.data.csv_table import read_table
from medssl.data.geometry import Geometry
from medssl.data.volume import read_mask, write_mask, write_volume
from medssl.pipeline.family import Family

PACKAGE = Path(__file__).parent / "package"

SPEC = """
title: Toy pairs
modality: MR
channels: [T1]
labels: [{value: 3, name: ball}]
root: balls
layout: {kind: pairs, file: list.txt}
simulated: true
licence: CC0
citation: none
"""

PIPELINE = """
title: All from outside
data: balls
split: {labels: 2, validation: 0.5, test: 3}
preprocess: [mr, {damped: {factor: 0.5}}, {Flipd: {spatial_axis: 0}}]
network: {name: two_levels, width: 4}
method: {name: steady, noise: 0.2}
train: {steps: 3, patch: [8, 8, 8], device: cpu}
evaluate: {bootstrap: 100, overlays: 0, metrics: [volume_error]}
"""


VOLUMETRY = """
data: balls
split: {labels: 2, validation: 0, test: 3}
method: mean_volume
"""

STUDY = """
pipeline: volumes
labels: [2]
arms: {mean: [], half: [method.factor=0.5]}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A working directory with eight balls of 16^3 voxels, their data spec and a pipeline."""
    for folder, text in (("data_specs", SPEC), ("pipelines", PIPELINE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "balls.yaml").write_text(text)
    rng, grid = np.random.default_rng(0), Geometry((16, 16, 16), np.diag([2.0, 1.0, 1.0, 1.0]))
    data, lines = tmp_path / "data" / "balls", []
    for number in range(8):
        distance = ((np.indices(grid.shape) - rng.uniform(5, 10, (3, 1, 1, 1))) ** 2).sum(0)
        mask = (distance < 16).astype(np.uint8)
        image = (mask + 0.1 * rng.normal(size=mask.shape)).astype(np.float32)
        write_volume(image, grid, data / f"image{number}.nii.gz")
        write_mask(3 * mask, grid, data / f"mask{number}.nii.gz")
        lines.append(f"c{number} image{number}.nii.gz mask{number}.nii.gz")
    (data / "list.txt").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder that holds the package as an installer leaves it; outside of the source tree."""
    return install(tmp_path / "site")


def install(site: Path) -> Path:
    """Copy the package and write what its pyproject.toml says, as an installer does."""
    shutil.copytree(PACKAGE / "outside_toy", site / "outside_toy")
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    about = site / f"outside_toy-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (about / "entry_points.txt").write_text("\n".join(lines))
    return site


EACH = """
import shlex, sys
from medssl import cli
for line in sys.argv[1:]:
    sys.argv = ["medssl", *shlex.split(line)]
    code = 0
    try:
        cli.main()
    except SystemExit as ended:
        code = ended.code or 0
    print("EXIT", code, flush=True)
"""


@dataclass
class Done:
    """What commands did.

    Attributes:
        codes: exit codes.
        stdout: of each.
        stderr: of all.
    """

    codes: list[int]
    stdout: list[str]
    stderr: str


def medssl(place: Path, site: Path, *lines: str) -> Done:
    """Verbs, one after the other, in a process that finds the packages in `site`."""
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "MEDSSL_DATA": str(place / "data"),
        "MEDSSL_RUNS": str(place / "runs"),
        "MEDSSL_CACHE": str(place / "cache"),
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",  # nobody answers: a store takes seconds
        "COLUMNS": "200",
    }
    found = subprocess.run(
        [sys.executable, "-c", EACH, *lines],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    said = re.split(r"^EXIT (\d+)\n", found.stdout, flags=re.MULTILINE)
    return Done([int(code) for code in said[1::2]], said[:-1:2], found.stderr)


def test_a_pipeline_of_things_from_outside_runs_end_to_end(place: Path, installed: Path) -> None:
    """Method, network, layout, metric and exporter."""
    done = medssl(place, installed, "run balls --quiet")
    assert done.codes == [0], done.stderr
    (scores,) = place.glob("runs/balls/evaluate-*/scores.csv")
    rows = read_table(scores)
    assert len(rows) == 3
    (masks,) = place.glob("runs/balls/predict-*")
    for row in rows:
        number = row["case"].removeprefix("c")
        truth = read_mask(place / f"data/balls/mask{number}.nii.gz").array > 0
        found = read_mask(masks / f"{row['case']}.nii.gz").array > 0
        error = abs(int(found.sum()) - int(truth.sum())) / max(found.sum(), truth.sum())
        assert float(row["volume_error"]) == pytest.approx(error)
    page = (scores.parent / "report.html").read_text()
    assert "Volume error" in page
    assert "difference of both volumes over the larger one" in page

    done = medssl(place, installed, f"export volumes {masks} --out volumes.csv")
    assert (done.codes, done.stdout) == ([0], ["volumes.csv\n"]), done.stderr
    volumes = {row["case"]: float(row["ml"]) for row in read_table(place / "volumes.csv")}
    expected = {row["case"]: pytest.approx(float(row["prediction_ml"])) for row in rows}
    assert volumes == expected


def test_a_family_from_outside_runs_is_compared_and_studied(place: Path, installed: Path) -> None:
    """The engine gives it finished stages, keys, a table of runs, studies and its keys in print."""
    (place / "pipelines" / "volumes.yaml").write_text(VOLUMETRY)
    (place / "pipelines" / "volumes_study.yaml").write_text(STUDY)
    lines = ["run volumes -q", "study volumes_study -q", "compare volumes", "keys volumetry"]
    done = medssl(place, installed, *lines)
    assert done.codes == [0] * 4, done.stderr
    run, study, compared, keys = done.stdout
    (model,) = [line for line in run.splitlines() if line.startswith("model ")]
    found = json.loads((place / model.split()[1]).read_text())
    split = json.loads(next(place.glob("runs/volumes/train-*/split.json")).read_text())
    shown = [
        2 * int((read_mask(place / f"data/balls/mask{name[1:]}.nii.gz").array > 0).sum())
        for name in split["labelled"]
    ]
    assert found == pytest.approx(np.mean(shown))
    assert "2 of 2 runs finished" in study
    assert "mean_volume factor=0.5" in compared
    assert "# volumetry: pipelines that measure volumes" in keys
    page = next(place.glob("runs/volumes/study-*/summary.md")).read_text()
    assert "Errors of volumes in mm³." in page
    assert "| half | 1 |" in page
    assert next(place.glob("runs/volumes/study-*/learning_curve.png")).is_file()


def test_a_family_has_to_say_seven_things() -> None:
    """That of the package says these and no more; all else has a default."""
    needed = {one.name for one in fields(Family) if one.default is MISSING}
    assert len(needed) == 7
    tree = ast.parse((PACKAGE / "outside_toy" / "family.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    (family,) = [call for call in calls if ast.unparse(call.func) == "Family"]
    assert {key.arg for key in family.keywords} == needed


def test_its_data_are_checked_and_shown_as_those_of_every_layout(
    place: Path, installed: Path
) -> None:
    (place / "data" / "balls" / "mask3.nii.gz").unlink()
    lines = ["data check balls --quiet", "data show balls --cases 2 --out s.png"]
    done = medssl(place, installed, *lines)
    assert done.codes == [3, 0], done.stderr
    assert "mask3.nii.gz" in done.stdout[0]
    assert (place / "s.png").is_file()


def test_help_lists_what_a_broken_package_offers_and_only_its_use_fails(
    place: Path, installed: Path
) -> None:
    (installed / "outside_toy" / "exporter.py").write_text("import a_package_that_is_not_there")
    done = medssl(place, installed, "export --help", "export volumes masks --out x.csv")
    assert "volumes    By the package outside-toy 0.1." in done.stdout[0]
    assert (done.codes, done.stderr.strip()) == (
        [0, 2],
        "medssl: the exporter 'volumes' of outside-toy 0.1 cannot be loaded; ModuleNotFoundError: "
        "No module named 'a_package_that_is_not_there'; correct or uninstall outside-toy 0.1",
    )


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("network=two_level", "did you mean 'two_levels'?"),
        ("evaluate.metrics=[volume_eror]", "did you mean 'volume_error'?"),
        ("train.patch=[7,8,8]", "its sides must be multiples of 2 from 2 to 4096 voxels"),
    ],
)
def test_a_wrong_name_or_size_is_refused_before_anything_runs(
    place: Path, installed: Path, override: str, sentence: str
) -> None:
    done = medssl(place, installed, f"run balls {override}")
    assert done.codes == [2]
    assert sentence in done.stderr
    assert not (place / "runs").exists()


def test_loose_masks_are_scored_by_a_metric_that_is_named(place: Path, installed: Path) -> None:
    (place / "masks").mkdir()
    for number in range(3):
        shutil.copy(place / f"data/balls/mask{number}.nii.gz", place / f"masks/c{number}.nii.gz")
    given = "evaluate masks --data balls --out scores"
    lines = f"{given} metrics=[volume_error]", f"{given} metrics=[volume_eror]"
    done = medssl(place, installed, *lines)
    assert done.codes == [0, 2], done.stderr
    assert "Dice 1.000 [1.000, 1.000], volume_error 0.000 [0.000, 0.000]" in done.stdout[0]
    rows = read_table(place / "scores" / "scores.csv")
    assert [float(row["volume_error"]) for row in rows] == [0.0] * 3
    assert "did you mean 'volume_error'?" in done.stderr
