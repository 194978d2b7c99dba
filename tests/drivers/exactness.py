"""How far the features of imported encoders are from those of the class that they are of.

`python -m tests.drivers.exactness` prints the table of docs/results/encoders.md: every family that
`medssl import` knows, with random weights. It needs the libraries of `pip install
'medssl[originals]'`; a family without its library is named as not measured.
"""

import sys
import tempfile
from pathlib import Path

import torch

from medssl.train.imported import rebuilt
from tests.networks.foreign.images import CASES as IMAGES
from tests.networks.foreign.originals import NotInstalled, difference
from tests.networks.foreign.volumes import CASES as VOLUMES


@torch.no_grad()
def main() -> None:
    """Print a row for each family."""
    print("| file | family | features of | largest difference |")
    print("|---|---|---|---|")
    for name, make in {**VOLUMES, **IMAGES}.items():
        with tempfile.TemporaryDirectory() as place:
            try:
                case = make(Path(place))
            except NotInstalled as missing:
                print(f"| {name} | | {missing} | not measured |")
                continue
            imported = rebuilt(case.path, case.family)
            card = imported.description.imported
            found = difference(case.features(case.image), case.ours(imported.network)(case.image))
            print(f"| {name} | `{card.family}` | {card.original} | {found:.1e} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
