"""A verb of medssl, carried out in this process."""

import importlib
import io
import os
import pkgutil
import sys
from contextlib import redirect_stderr, redirect_stdout

LATE = (
    "matplotlib.pyplot",
    "monai.networks.nets",
    "nilearn.plotting",
    "openslide",
    "pandas",
    "pydicom.pixels",
    "safetensors.numpy",
    "safetensors.torch",
    "scipy.stats",
    "sklearn.linear_model",
    "sklearn.metrics",
    "tifffile",
    "tiffslide",
)
"""Imported by medssl's libraries or functions when they are used."""

MLFLOW = ("mlflow.entities", "mlflow.store.tracking.sqlalchemy_store")


def load_all(more: tuple[str, ...] = ()) -> None:
    """Import medssl whole, and what its functions import late, so that a fork has it all."""
    import medssl

    for module in pkgutil.walk_packages(medssl.__path__, "medssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (*LATE, *more):
        importlib.import_module(name)

    from medssl.evaluate.curves import draw_curves
    from medssl.train.loop import configure_torch

    # Both import much when they are first used.
    configure_torch(1, True)
    renew_threads_when_forked()
    draw_curves([(1, {"loss": 1.0}), (2, {"loss": 0.5})])


def renew_threads_when_forked() -> None:
    """Let torch replace its pool of threads, which a fork loses, before two threads need it.

    Both would replace it at once, and one of them would fail with "Invalid thread pool".
    """
    import torch

    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def without_mlflow() -> None:
    """No store is ever opened in this process, which would take seconds."""
    from medssl.train.track import Tracker

    def refuse(_: Tracker) -> None:
        raise ConnectionError

    Tracker._open = refuse  # type: ignore[method-assign]


def medssl(*arguments: str) -> str:
    """What `medssl ARGUMENTS` prints on stdout; raises what goes wrong inside.

    Raises:
        SystemExit: the arguments are wrong (2), as Typer says it; never with 0.
    """
    from medssl.cli import main

    before, printed = sys.argv, io.StringIO()
    sys.argv = ["medssl", "--debug", *arguments]
    try:
        with redirect_stdout(printed), redirect_stderr(io.StringIO()):
            main()
    except SystemExit as end:
        if end.code not in (0, None):
            raise
    finally:
        sys.argv = before
    return printed.getvalue()
