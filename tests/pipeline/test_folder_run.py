"""A folder in, masks out, as on the command line; then the model under any name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medssl.data.csv_table import read_table
from medssl.data.geometry import Geometry
from medssl.data.volume import read_geometry, read_mask, write_mask, write_volume
from tests.conftest import Medssl

TINY = [
    "network={name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}",
    "train={steps: 2, patch: [8, 8, 8], device: cpu}",
]
GRIDS = [Geometry((8, 9, 8 + n), np.diag([1.0, 1.0, 1.0 + n / 4, 1.0])) for n in range(6)]

Command = Callable[..., str]


@pytest.fixture
def command(directory: Path, medssl: Medssl) -> Command:
    """Run `medssl ...` in a working directory with the folder `clinic`; what it prints."""
    generator = np.random.default_rng(0)
    for number, grid in enumerate(GRIDS):
        mask = np.zeros(grid.shape, np.uint8)
        mask[2:6, 3:6, 2 : 5 + number % 3] = 1
        image = mask + 0.1 * generator.normal(size=grid.shape)
        write_volume(image.astype(np.float32), grid, directory / f"clinic/scan_{number}.nii.gz")
        if number < 3:
            write_mask(mask, grid, directory / f"clinic/seg_{number}.nii.gz")

    def call(*arguments: str) -> str:
        code, out, error = medssl(*arguments)
        assert code == 0, error
        return out

    return call


def test_a_folder_is_run_and_its_model_used_under_any_name(
    command: Command, tmp_path: Path
) -> None:
    said = command("run", "clinic", *TINY, "--quiet")
    assert "3 have a mask, 3 have none; seg_(.+) belongs to scan_(.+)" in said
    assert "3 cases without a label have a mask now; correct first" in said
    (folder,) = (tmp_path / "runs/clinic").glob("unlabelled-*")
    for number in (3, 4, 5):
        assert read_mask(folder / f"{number}.nii.gz").geometry.matches(GRIDS[number])
    assert f"unlabelled {folder.relative_to(tmp_path)}" in said
    rows = read_table(folder / "volumes.csv")
    assert {row["case"] for row in rows} == {"3", "4", "5"}
    assert all(float(row["ml_low"]) <= float(row["ml_high"]) for row in rows)  # two networks

    again = command("run", "clinic/", *TINY, "--quiet")
    assert "clinic/ is initialised already" in again

    (trained,) = (tmp_path / "runs/clinic").glob("train-*")
    command("export", "package", str(trained), "--out", "model.zip")
    images = sorted((tmp_path / "clinic").glob("scan_*.nii.gz"))
    for path in images[:2]:  # a folder for each case
        (tmp_path / "new" / path.name.partition(".")[0]).mkdir(parents=True)
        (tmp_path / "new" / path.name.partition(".")[0] / path.name).write_bytes(path.read_bytes())
    asked = {
        "model.zip": "mha",
        "runs/clinic": "nrrd",
        str(trained): "nifti",
        str(trained / "checkpoint"): "png",
        str(trained / "checkpoint" / "last"): "mha",
    }
    endings = {"mha": ".mha", "nrrd": ".nrrd", "nifti": ".nii.gz", "png": ".png.zip"}
    for number, (model, form) in enumerate(asked.items()):
        told = command(
            "predict", model, "new", "--out", f"o{number}", "--format", form,
            "--statistics", f"s{number}.csv", "--quiet",
        )  # fmt: skip
        assert told == f"2 masks in o{number}, their volumes in s{number}.csv\n"
        mask = tmp_path / f"o{number}" / f"scan_0{endings[form]}"
        assert read_geometry(mask).matches(GRIDS[0])
    tables = {(tmp_path / f"s{number}.csv").read_text() for number in range(len(asked))}
    assert len(tables) == 1

    mask.write_bytes(b"another file")
    with pytest.raises(AssertionError, match=r"scan_0\.mha .*--overwrite"):
        command("predict", "model.zip", "new", "--out", "o4", "--format", "mha", "--quiet")
    command(
        "predict", "model.zip", "new", "--out", "o4", "--format", "mha", "--overwrite", "--quiet"
    )
    assert read_geometry(mask).matches(GRIDS[0])
