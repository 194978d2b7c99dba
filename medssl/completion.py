"""What the shell offers for a word that is half typed, quickly and free of torch.

Where nothing fits, the answer is empty, and the shell completes names of files.
"""

from collections.abc import Iterable
from pathlib import Path


def pipelines(incomplete: str) -> list[str]:
    """Names of pipelines, the user's own and those shipped."""
    from medssl.pipeline.config import pipeline_names

    return _starting_with(incomplete, pipeline_names())


def studies(incomplete: str) -> list[str]:
    """Names of studies, and of the pipelines that a study can be made of."""
    from medssl.named_files import PIPELINES

    return _starting_with(incomplete, PIPELINES.names())


def data_specs(incomplete: str) -> list[str]:
    """Names of data specs, the user's own and those shipped."""
    from medssl.data.spec import list_specs

    return _starting_with(incomplete, list_specs())


def checkpoints(incomplete: str) -> list[str]:
    """Folders of trained models in the runs folder, which `predict` and `export` take."""
    from medssl.data.files import matching
    from medssl.environment import runs_root
    from medssl.train.description import WEIGHTS

    found: list[Path] = matching(runs_root(), f"*/train-*/checkpoint/**/{WEIGHTS}")
    return _starting_with(incomplete, (str(path.parent) for path in found))


def _starting_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
