"""Studies of pre-training: arms x seeds, each cell an ordinary run, compared by its probes."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.pipeline.config import find_pipeline, read_mapping, validate
from medssl.pipeline.pretrain.config import load_pretrain_config
from medssl.pipeline.pretrain.plan import PROBES, make_pretrain_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import read_json
from medssl.pipeline.study_grid import announced, write_study
from medssl.pipeline.study_report import machine
from medssl.settings import Section
from medssl.train.fingerprint import code_version

Numbers = Mapping[str, float]

COLUMNS = {
    "top1": "top-1",
    "top5": "top-5",
    "median_rank": "median rank",
    "gallery": "of",
    "distance": "cross-modal distance",
    "modality": "modality probe",
    "place": "place, few-shot",
    "rank": "effective rank",
    "masked_error": "masked error",
    "partner_top1": "partner, top-1",
    "partner_top5": "partner, top-5",
    "partners": "of",
    "moved_mm": "moved volume, mm",
    "moved_same_voxel_mm": "same voxel, mm",
    "centroid_mm": "label centroids, mm",
    "centroid_bounding_box_mm": "bounding box, mm",
    "centroid_random_mm": "random place, mm",
    "centroid_cut_mm": "view cut: label centroids, mm",
    "centroid_cut_bounding_box_mm": "bounding box, mm",
}
"""What a probe finds, and its heading; columns without a number are left out.

Retrieval is the mean over ordered pairs of contrasts; `place` tells eighths of a volume apart;
`masked_error` is a share of what a mean would leave; a partner is the same place in another
patient; mm are medians."""


class PretrainStudy(Section):
    """A study file whose pipeline pre-trains."""

    name: str
    title: str = ""
    pipeline: str
    arms: dict[str, tuple[str, ...]] = Field(description="name to overrides of the pipeline")
    seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="of the training and of the draw of probed patients"
    )


@dataclass(frozen=True)
class PretrainCell:
    """One run of a study."""

    arm: str
    seed: int
    overrides: tuple[str, ...]

    @property
    def words(self) -> dict[str, str]:
        """What `--only` can name."""
        return {"arm": self.arm, "seed": str(self.seed)}


def load_pretrain_study(name: str) -> PretrainStudy:
    """The study of that name or path.

    Raises:
        UsageError: no such study, or one with an unknown key.
    """
    path = find_pipeline(name)
    plain = read_mapping(path)
    if "arms" not in plain:
        raise UsageError(
            f"{path} is a pipeline that pre-trains and no study",
            "a study of pre-training names its arms and seeds in a file",
            "start from pipelines/ms_lesions_study.yaml",
        )
    return validate(PretrainStudy, {"name": path.stem, **plain})


def pretrain_cells(study: PretrainStudy) -> list[PretrainCell]:
    """All runs, seed by seed."""
    return [
        PretrainCell(arm, seed, (*overrides, f"seed={seed}", f"probe.seed={seed}"))
        for seed in study.seeds
        for arm, overrides in study.arms.items()
    ]


def run_pretrain_study(
    study: PretrainStudy,
    reporter: QuietReporter,
    only: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
) -> str:
    """Carry out the runs that are missing, write the report; returns a word on where it is.

    Args:
        only: e.g. ["arm=mim,seed=0"]; values of one axis add up, axes narrow each other.
        threads: CPU threads of each run; does not change which run it is.
        command: what to print in the report as the way to repeat it.

    Raises:
        UsageError, DataError, Stopped: what a run raises, which ends the study.
    """
    everything = pretrain_cells(study)
    for _, overrides in announced(everything, only, threads, reporter):
        from medssl.pipeline.pretrain.run import pretrain_stage

        config = load_pretrain_config(study.pipeline, overrides)
        pretrain_stage(make_pretrain_plan(config), reporter)
    found = _finished(study, everything)
    folder = runs_root() / load_pretrain_config(study.pipeline).pipeline.name
    folder = folder / f"study-{study.name}"
    text = _summary(study, found, len(everything), command)
    return write_study(folder, _csv(found), text, len(found), len(everything))


def _finished(
    study: PretrainStudy, grid: Sequence[PretrainCell]
) -> dict[PretrainCell, Mapping[str, Numbers]]:
    """What the probes of complete runs say: of "trained", "untrained" and each baseline."""
    found: dict[PretrainCell, Mapping[str, Numbers]] = {}
    for cell in grid:
        stage = make_pretrain_plan(load_pretrain_config(study.pipeline, cell.overrides)).stage
        if stage.done and (stage.folder / PROBES).is_file():
            found[cell] = read_json(stage.folder / PROBES)
    return found


def _rows(found: Mapping[PretrainCell, Mapping[str, Numbers]]) -> dict[str, list[Numbers]]:
    """Row of the table to the numbers of each seed; what needs no training comes first, once."""
    rows: dict[str, dict[int, Numbers]] = {}
    for cell, numbers in found.items():
        for name, values in numbers.items():
            row = name.replace("trained", cell.arm) if name.startswith("trained") else name
            rows.setdefault(row, {})[cell.seed] = values
    arms = {cell.arm for cell in found}
    order = sorted(rows, key=lambda row: row.split(", ")[0] in arms)
    return {row: list(rows[row].values()) for row in order}


def _summary(
    study: PretrainStudy,
    found: Mapping[PretrainCell, Mapping[str, Numbers]],
    planned: int,
    command: str,
) -> str:
    rows = _rows(found)
    told = {name for runs in rows.values() for run in runs for name in run}
    columns = {name: heading for name, heading in COLUMNS.items() if name in told}
    lines = [
        f"# {study.title or study.name}",
        "",
        f"{len(found)} of {planned} runs. Mean over seeds (standard deviation); each seed holds "
        "out other patients, whose scans no encoder of that seed has seen.",
        "",
        f"- command: `{command}`",
        f"- code: {code_version()}",
        f"- machine: {machine()}",
        "",
        "| arm | seeds | " + " | ".join(columns.values()) + " |",
        "|" + "---|" * (len(columns) + 2),
    ]
    for row, runs in rows.items():
        cells = [row, str(len(runs)), *(_mean_sd(runs, name) for name in columns)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def _mean_sd(runs: Sequence[Numbers], name: str) -> str:
    values = [run[name] for run in runs if name in run]
    return f"{np.mean(values):.3f} ({np.std(values):.3f})" if values else ""


def _csv(found: Mapping[PretrainCell, Mapping[str, Numbers]]) -> str:
    names = sorted({name for run in found.values() for row in run.values() for name in row})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["arm", "seed", "what", *names])
    for cell, run in found.items():
        for what, values in run.items():
            shown = [f"{values[name]:.6f}" if name in values else "" for name in names]
            writer.writerow([cell.arm, cell.seed, what, *shown])
    return text.getvalue()
