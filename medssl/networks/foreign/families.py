"""Every family of encoders of other projects, and which of them a file is of."""

import json
from pathlib import Path

from medssl.networks.foreign import convolutions, monai_bundle, nnunet, primus, swin_unetr, vit
from medssl.networks.foreign.left_out import must_not_be_left_out
from medssl.networks.foreign.recognised import Family, Recognised, one_of
from medssl.networks.weights_file import read_file

FAMILIES: dict[str, Family] = {
    **swin_unetr.FAMILIES,
    **nnunet.FAMILIES,
    **primus.FAMILIES,
    **vit.FAMILIES,
    **convolutions.FAMILIES,
}


NOTE = "medssl_encoder.json"
"""What `medssl export encoder` says of an encoder beside its weights: its family."""


def recognise(path: Path, family: str | None = None) -> Recognised:
    """What encoder a file holds, or the folder of a bundle of MONAI.

    Args:
        family: that it is of; None: by the names in it.

    Raises:
        UsageError: there is no such file or family, or several could be meant.
        DataError: it cannot be read, or is of no family that medssl imports.
    """
    if path.is_dir():
        return monai_bundle.read(path)
    file = read_file(path)
    must_not_be_left_out(file)
    return one_of(FAMILIES, file, family or _noted(path)).read(file)


def _noted(path: Path) -> str | None:
    try:
        found = json.loads((path.parent / NOTE).read_bytes()).get("family")
    except (OSError, ValueError, RecursionError, AttributeError):
        return None
    return found if isinstance(found, str) and found in FAMILIES else None
