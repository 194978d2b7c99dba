"""A verb of medssl, carried out in this process."""

import importlib
import io
import pkgutil
import sys
from contextlib import redirect_stderr, redirect_stdout


def load_all() -> None:
    """Import medssl whole, and what its functions import late, so that a fork has it all."""
    import medssl

    for module in pkgutil.walk_packages(medssl.__path__, "medssl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("mlflow", "mlflow.entities", "matplotlib.pyplot", "monai.networks.nets", "nilearn",
                 "openslide", "tiffslide", "tifffile", "shapely", "safetensors.torch",
                 "pydicom.pixels", "pandas", "jinja2", "sklearn.metrics", "sklearn.linear_model",
                 "scipy.stats"):  # fmt: skip
        importlib.import_module(name)


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
