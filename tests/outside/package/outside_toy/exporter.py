"""The exporter `volumes`: a folder of masks as a CSV table of volumes."""

from pathlib import Path

import numpy as np

from medssl.atomic import write_text
from medssl.data.csv_table import table_text
from medssl.data.files import images_in
from medssl.data.volume import read_mask
from medssl.errors import DataError
from medssl.export.exporter import Exporter


def write(source: Path, out: Path) -> None:
    """Write columns case and ml, of all that is not background."""
    rows = []
    for case, path in images_in(source).items():
        if not case.endswith("_entropy"):
            mask = read_mask(path)
            voxel = float(np.prod(mask.geometry.spacing)) / 1000
            rows.append((case, np.count_nonzero(mask.array) * voxel))
    if not rows:
        raise DataError(f"{source} holds no mask", do="name the folder of a prediction")
    write_text(out, table_text(("case", "ml"), rows))


VOLUMES = Exporter(write)
