"""Studies of pre-training: arms x seeds, each cell an ordinary run, compared by its probes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from medssl.data.rows import table_text
from medssl.environment import runs_root
from medssl.errors import UsageError
from medssl.names import FileName
from medssl.pipeline.config import validate
from medssl.pipeline.files import find_pipeline, read_mapping
from medssl.pipeline.pretrain.config import load_pretrain_config
from medssl.pipeline.pretrain.plan import PROBES, make_pretrain_plan
from medssl.pipeline.pretrain.probe_table import Numbers, named_rows, probe_table
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.stage import read_numbers
from medssl.pipeline.study_grid import announced, write_study
from medssl.pipeline.study_report import machine
from medssl.section import Section
from medssl.train.fingerprint import code_version


class PretrainStudy(Section):
    """A study file whose pipeline pre-trains."""

    name: FileName = Field(description="names the folder of its report")
    title: str = Field(default="", description="heads the report")
    pipeline: str = Field(description="name or path of the pipeline that all runs share")
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
            "start from pipelines/lesions/ms_lesions_study.yaml",
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
            found[cell] = read_numbers(stage.folder / PROBES)
    return found


def _summary(
    study: PretrainStudy,
    found: Mapping[PretrainCell, Mapping[str, Numbers]],
    planned: int,
    command: str,
) -> str:
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
        *probe_table(named_rows({(cell.arm, cell.seed): one for cell, one in found.items()})),
        "",
    ]
    return "\n".join(lines)


def _csv(found: Mapping[PretrainCell, Mapping[str, Numbers]]) -> str:
    names = sorted({name for run in found.values() for row in run.values() for name in row})
    rows = []
    for cell, run in found.items():
        for what, values in run.items():
            shown = [f"{values[name]:.6f}" if name in values else "" for name in names]
            rows.append([cell.arm, cell.seed, what, *shown])
    return table_text(["arm", "seed", "what", *names], rows)
