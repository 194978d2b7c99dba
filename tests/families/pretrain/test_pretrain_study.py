"""A study of pre-training: its cells, its table, and what it leaves out."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.study import cells, load_study
from medssl.pipeline.study_run import run_study


def test_cells_go_seed_by_seed_and_redraw_the_probed_patients(heads: Path) -> None:
    found = cells(load_study("heads_study"))
    assert [(cell.seed, cell.arm) for cell in found] == [
        (0, "mim"), (0, "mcl"), (1, "mim"), (1, "mcl"),
    ]  # fmt: skip
    assert found[2].overrides == ("method.arm=mim", "seed=1", "probe.seed=1")


def test_the_table_has_arms_beside_what_needs_no_training(heads: Path) -> None:
    study = load_study("heads_study")
    said = run_study(study, QuietReporter(), ["seed=0"], command="medssl study x")
    assert said.said.startswith("2 of 4 runs finished")
    folder = heads / "runs" / "encoder" / "study-heads_study"
    summary = (folder / "summary.md").read_text()
    rows = [line.split("|")[1].strip() for line in summary.splitlines() if line.startswith("|")]
    assert rows[2:] == [
        "raw intensity", "gradient magnitude", "outline", "untrained", "untrained, z", "mim",
        "mcl", "mcl, z",
    ]  # fmt: skip
    assert "`medssl study x`" in summary
    assert "| top-1 |" in summary
    assert "mm |" not in summary  # no arm is an embedding that says how many
    again = run_study(study, QuietReporter(), ["seed=0", "arm=mim"])
    assert again.said.startswith("2 of 4 runs finished")


def test_embeddings_are_compared_in_mm(heads: Path) -> None:
    (heads / "pipelines" / "embedding_study.yaml").write_text(
        "pipeline: encoder\narms:\n  embedding: [method=anatomical_embedding, "
        "method.embedder.width=4, method.embedder.features=4, 'train.patch=[16,16,16]']\n"
    )
    study = load_study("embedding_study")
    run_study(study, QuietReporter(), command="medssl study x")
    summary = (heads / "runs" / "encoder" / "study-embedding_study" / "summary.md").read_text()
    assert "| arm | seeds | moved volume, mm | same voxel, mm |" in summary


def test_label_budgets_of_pre_training_are_refused(heads: Path) -> None:
    with pytest.raises(UsageError, match="family 'pretrain' do not differ in it"):
        load_study("encoder", labels="4")
