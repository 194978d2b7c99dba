"""The notebooks run from top to bottom, with fewer steps."""

import re
from pathlib import Path
from statistics import fmean

import nbformat
import pytest
from nbclient import NotebookClient

from medssl.data.csv_table import read_table

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"

MADE = {"first_masks": "new_scan/*.nii.gz", "your_own_scans": "scans/unlabelled-*/*.nii.gz"}
"""Masks that each notebook leaves, under `runs`."""

STEPS = {"first_masks": 150, "your_own_scans": 2}
"""Of training, here: so many that all structures are found, or any number."""


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("DATA", "RUNS", "CACHE"):
        monkeypatch.delenv(f"MEDSSL_{variable}", raising=False)
    monkeypatch.delenv("MPLBACKEND", raising=False)  # figures are shown, as in Jupyter
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs"), "notebooks are committed without outputs"
        cell.source = re.sub(r"STEPS = \d+", f"STEPS = {STEPS[path.stem]}", cell.source)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    assert list((tmp_path / "runs").glob(MADE[path.stem]))
    if path.stem == "first_masks":
        (scores,) = (tmp_path / "runs").rglob("evaluate-*/scores.csv")
        assert dice(scores, "deep grey matter") > 0.2
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    assert "image/png" in str(last.outputs), "the last cell shows pictures"


def dice(scores: Path, structure: str) -> float:
    """Mean over the cases of a table of scores."""
    return fmean(float(row["dice"]) for row in read_table(scores) if row["class"] == structure)
