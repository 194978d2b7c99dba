"""From a file of another project to an encoder's checkpoint of medssl."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from medssl.checksum import sha256_of
from medssl.data.slide.settings import TileSettings
from medssl.environment import cache_root, encoders_root
from medssl.errors import DataError, UsageError
from medssl.names import some_of, unfit
from medssl.networks.build import build_encoder
from medssl.networks.foreign.families import recognise
from medssl.networks.foreign.recognised import Recognised
from medssl.networks.load_report import LoadReport, must_be_numbers
from medssl.networks.monai_settings import AnyNetwork
from medssl.networks.tile_encoder import build_tile_encoder
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.train.checkpoint import DataCard, save_checkpoint
from medssl.train.description import description_of
from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint
from medssl.train.fingerprint import code_version
from medssl.train.import_card import ImportCard
from medssl.train.tile_checkpoint import TileEncoderCheckpoint
from medssl.transforms.chain import Preprocess

FOLLOWS = "relative_position_index"
"""A buffer that follows from the shape of its network, and is in no file that medssl reads."""

SIDES = (0, 0, 0)
"""Of the patch of an encoder, where they are not known."""


@dataclass(frozen=True)
class Imported:
    """An encoder of another project, rebuilt.

    Attributes:
        network: the encoder, in evaluation mode on the CPU.
        description: what its checkpoint says.
        report: what of the file went where.
    """

    network: nn.Module
    description: Any
    report: LoadReport


def import_file(
    path: Path, name: str | None = None, family: str | None = None
) -> tuple[Path, LoadReport]:
    """The verb: an imported encoder's checkpoint in the folder of encoders.

    Args:
        path: a file of weights, or the folder of a bundle of MONAI.
        name: what `pretrain` shall call it; None: after the file.
        family: of the file; None: by its names.

    Returns:
        The checkpoint's folder, and what of the file went where; the file is not needed any more.

    Raises:
        UsageError: there is no such file, family or name, or another encoder has the name.
        DataError: the file cannot be read, or holds no whole encoder.
    """
    chosen = name or path.name.split(".")[0]
    if reason := unfit(chosen):
        raise UsageError(
            f"an encoder cannot be called {chosen!r}", reason, "give another name with --as"
        )
    folder = encoders_root() / chosen
    imported = rebuilt(path, family)
    if folder.exists():
        _must_be_the_same(folder, imported)
    else:
        save_checkpoint(folder, imported.network, imported.description)
    return folder, imported.report


def kept(path: Path) -> Path:
    """The checkpoint of a file that a pipeline names; it is made once and lies in the cache.

    Raises:
        UsageError, DataError: as `import_file`.
    """
    folder = cache_root() / "encoders" / _sha256(path)[:16]
    if not folder.is_dir():
        imported = rebuilt(path)
        save_checkpoint(folder, imported.network, imported.description)
    return folder


def rebuilt(path: Path, family: str | None = None) -> Imported:
    """The encoder in a file, with all of its weights and nothing else.

    Raises:
        UsageError, DataError: as `import_file`.
    """
    found = recognise(path, family)
    network, described = _of_volumes(found) if found.volumes else _of_images(found)
    report = filled(network, found.weights, str(path))
    card = ImportCard(
        family=found.family,
        original=found.original,
        title=found.facts.title,
        licence=found.facts.licence,
        citation=found.facts.citation,
        commerce=found.facts.commerce,
        sha256=_sha256(path),
        size=_size(path),
        left_out=_parts(found.left_out),
        images_known=not found.volumes or bool(found.facts.preprocess),
        mpp=found.facts.mpp,
    )
    told = described.model_copy(update={"imported": card})
    return Imported(network.eval(), told, report)


def filled(network: nn.Module, weights: dict[str, Tensor] | Any, source: str) -> LoadReport:
    """Give a network all of its weights.

    Raises:
        DataError: one is missing, of another shape, not finite, or has no place.
    """
    own = {
        name: value.detach()
        for name, value in network.state_dict().items()
        if not name.endswith(FOLLOWS)
    }
    counted = {name for name, _ in network.named_parameters()}
    report, told = LoadReport.of(own, weights, counted), f"the weights in {source}"
    report.refuse_less(1.0, told, "")
    if report.unexpected:
        raise DataError(
            f"{told} hold what the encoder has no place for: {some_of(report.unexpected)}",
            "without it the features would be others",
            "name the family that they are of with --family",
        )
    must_be_numbers(own, weights, report.matched, told)
    network.load_state_dict({name: weights[name] for name in report.matched}, strict=False)
    return report


def _of_volumes(found: Recognised) -> tuple[nn.Module, Any]:
    try:
        settings: Any = TypeAdapter(AnyNetwork).validate_python(dict(found.network))
    except ValidationError as error:
        raise _unbuilt(found, error) from error
    patch = found.facts.patch if len(found.facts.patch) == 3 else SIDES
    described = VolumeEncoderCheckpoint(
        preprocess=Preprocess.of(dict(found.facts.preprocess) or []),
        patch=patch,
        network=settings,
        channels=found.channels,
        contrasts=(),
        **_told(found),
    )
    return build_encoder(settings, found.channels, seed=0), described


def _of_images(found: Recognised) -> tuple[nn.Module, Any]:
    try:
        settings = TileEncoderSettings.model_validate(dict(found.network))
    except ValidationError as error:
        raise _unbuilt(found, error) from error
    told = _told(found)
    described = TileEncoderCheckpoint(
        tiles=TileSettings(size=settings.side, mpp=found.facts.mpp or 0.5),
        encoder=settings,
        **{**told, "data": told["data"][0]},
    )
    return build_tile_encoder(settings, seed=0), described


def _unbuilt(found: Recognised, error: ValidationError) -> DataError:
    return DataError(
        f"the file's encoder cannot be built: {error.errors()[0]['msg']}",
        f"it says {dict(found.network)}",
        "take another copy",
    )


def _told(found: Recognised) -> dict[str, Any]:
    """What every imported encoder says of itself."""
    facts = found.facts
    data = DataCard(
        name=found.family,
        title=facts.title,
        licence=facts.licence,
        citation=facts.citation,
        simulated=False,
    )
    return {
        "method": {"name": "imported", "family": found.family},
        "paper": facts.citation,
        "data": (data,),
        "code": code_version(),
        "step": 0,
        "metrics": {},
        "seen": (),
    }


def _must_be_the_same(folder: Path, imported: Imported) -> None:
    there = description_of(folder).get("imported") or {}
    if there.get("sha256") != imported.description.imported.sha256:
        raise UsageError(
            f"there is another encoder in {folder}",
            "its file was another one",
            "give a name with --as, or delete the folder",
        )


def _parts(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.partition(".")[0] for name in names))


def _sha256(path: Path) -> str:
    """Of a file; of the weights in a bundle."""
    from medssl.networks.foreign.monai_bundle import weights_in

    return sha256_of(weights_in(path) if path.is_dir() else path)


def _size(path: Path) -> int:
    from medssl.networks.foreign.monai_bundle import weights_in

    return (weights_in(path) if path.is_dir() else path).stat().st_size
