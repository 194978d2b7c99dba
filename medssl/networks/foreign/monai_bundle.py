"""Bundles of MONAI: a folder with a network's definition as plain JSON, and its weights.

Only a definition that names a class of monai.networks.nets and plain arguments is read; whatever it
would have MONAI compute ("$...") is refused. MONAI's version in the metadata says how SwinUNETR
merges cells.
"""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from medssl.errors import DataError, UsageError
from medssl.networks.build import build_network, encoder_of
from medssl.networks.foreign.beside import checked, read_object
from medssl.networks.foreign.recognised import Facts, Recognised
from medssl.networks.merging import LEGACY
from medssl.networks.monai_list import PREFIX
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.weights_file import read_weights
from medssl.section import Channels

_CONFIGS = ("inference.json", "train.json")
_WEIGHTS = ("model.safetensors", "model.pt", "model.pth")
_GIVEN = ("_target_", "in_channels", "out_channels", "spatial_dims", "dimensions", "img_size")


class Ends(BaseModel):
    """How many channels a network takes and gives."""

    in_channels: Channels
    out_channels: Channels


def weights_in(folder: Path) -> Path:
    """The file of weights of a bundle.

    Raises:
        UsageError: the folder is no bundle.
    """
    for name in _WEIGHTS:
        if (path := folder / "models" / name).is_file():
            return path
    raise UsageError(
        f"{folder} is no bundle of MONAI",
        f"it has none of {', '.join(f'models/{name}' for name in _WEIGHTS)}",
        "name a file of weights, or the folder that `python -m monai.bundle download` made",
    )


def read(folder: Path) -> Recognised:
    """The encoder in a bundle's network, which all of its weights fit.

    Raises:
        UsageError: the folder is no bundle, or its network has no encoder that can be pre-trained.
        DataError: it cannot be read, or its weights are not those of its network.
    """
    path = weights_in(folder)
    defined, meta = _definition(folder), read_object(folder / "configs" / "metadata.json")
    name = str(defined.get("_target_", "")).rpartition(".")[2]
    arguments = {key: value for key, value in defined.items() if key not in _GIVEN}
    ends = checked(Ends, defined, f"the network of the bundle {folder}")
    if ours := sorted({"name", "frozen", "decoder", "nearest"} & arguments.keys()):
        raise _unplain(folder, f"no network of MONAI has the argument {ours[0]}")
    if name == "SwinUNETR" and "downsample" not in arguments:
        arguments["downsample"] = LEGACY if _before_1_5(meta, folder) else "merging"
    try:
        settings = MonaiSettings(name=f"{PREFIX}{name}", **arguments)
    except ValidationError as error:
        raise _unplain(folder, str(error.errors()[0]["msg"])) from error
    settings.must_have_encoder()
    network = build_network(settings, ends.in_channels, ends.out_channels, seed=0)
    tensors = {f"network.{name}": value for name, value in read_weights(path).items()}
    own = network.state_dict()
    shared = {key for key in own if key.startswith("network.")}
    wrong = sorted(
        key
        for key in shared | tensors.keys()
        if key not in shared or key not in tensors or own[key].shape != tensors[key].shape
    )
    wrong = [key for key in wrong if not key.endswith("relative_position_index")]
    if wrong:
        raise DataError(
            f"{path} does not hold the weights of the network that the bundle defines",
            f"it lacks, has another shape of, or has no place for {wrong[0]}",
            "take another copy of the bundle",
        )
    network.load_state_dict({**own, **tensors}, strict=False)
    encoder = encoder_of(network, settings)
    return Recognised(
        "monai_bundle",
        f"monai {name}",
        settings.model_dump(mode="json", exclude_none=True),
        True,
        ends.in_channels,
        dict(encoder.state_dict()),
        tuple(sorted(key.removeprefix("network.") for key in tensors)),
        Facts(
            str(meta.get("name") or f"a bundle of MONAI with {name}"),
            licence=_licence(folder),
            citation=_references(meta),
        ),
    )


def _definition(folder: Path) -> dict[str, Any]:
    """The plain arguments of the network, from the first configuration that has it."""
    for name in _CONFIGS:
        plain = read_object(folder / "configs" / name)
        found = plain.get("network_def", plain.get("network"))
        if isinstance(found, dict):
            text = json.dumps(found)
            if re.search(r'"[$@%]', text):
                raise _unplain(folder, f"configs/{name} computes arguments of its network")
            return found
    raise _unplain(folder, f"configs has no network_def in {' or '.join(_CONFIGS)}")


def _before_1_5(meta: dict[str, Any], folder: Path) -> bool:
    """Whether MONAI still merged cells as it did at first.

    Raises:
        UsageError: the bundle does not say with which version it was trained.
    """
    found = re.match(r"(\d+)\.(\d+)", str(meta.get("monai_version", "")))
    if found is None:
        raise UsageError(
            f"{folder} does not say by which version of MONAI it was trained",
            "its SwinUNETR merged cells otherwise until MONAI 1.4",
            "write monai_version into its configs/metadata.json",
        )
    return (int(found[1]), int(found[2])) < (1, 5)


def _references(meta: dict[str, Any]) -> str:
    told = meta.get("references")
    return "; ".join(map(str, told)) if told and isinstance(told, list) else "not stated"


def _licence(folder: Path) -> str:
    for name in ("LICENSE", "LICENSE.txt", "docs/LICENSE"):
        path = folder / name
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
            return next((line.strip() for line in lines if line.strip()), "not stated")[:80]
    return "not stated"


def _unplain(folder: Path, why: str) -> DataError:
    return DataError(
        f"the network of the bundle {folder} cannot be built",
        why,
        "give its network_def as a class of monai.networks.nets with plain arguments",
    )
