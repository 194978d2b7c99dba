"""A trained predictor on disk: weights in safetensors, and one JSON that says all the rest.

The folder is enough to predict where neither pipeline nor data exist. Nothing in it is pickled.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from torch import Tensor, nn

from medssl.atomic import appearing
from medssl.data.dicom.grids import Grids
from medssl.data.dicom.rule import SeriesRule
from medssl.data.labels import Label
from medssl.data.regions import regions_of
from medssl.data.spec import DataSpec
from medssl.errors import DataError, MedsslError, UsageError
from medssl.infer.size_error import SizeError
from medssl.networks.build import build_network
from medssl.networks.ensemble import Ensemble
from medssl.networks.monai_settings import AnyNetwork
from medssl.networks.outputs import Outputs
from medssl.section import Size
from medssl.settings import PredictSettings
from medssl.train.description import (
    CHECKSUMS,
    DECODER,
    DESCRIPTION,
    WEIGHTS,
    checksums,
    description_of,
    verified,
    weights_hash,
)
from medssl.transforms.chain import Preprocess

Described = TypeVar("Described", bound=BaseModel)


def _spelt_out(given: Any) -> Any:
    """A chain from the keys that checkpoints had before chains."""
    if not isinstance(given, Mapping) or "intensity" not in given:
        return given
    windowed = given["intensity"] == "ct_window"
    other = "intensity" if windowed else "window"
    return {"ct" if windowed else "mr": {k: v for k, v in given.items() if k != other}}


Treatment = Annotated[Preprocess, BeforeValidator(_spelt_out)]
"""What was done to the images that weights were trained on."""


class DataCard(BaseModel):
    """What the weights were trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    licence: str
    citation: str
    simulated: bool

    @classmethod
    def of(cls, spec: DataSpec) -> Self:
        """The card of a data spec."""
        return cls(
            name=spec.name,
            title=spec.title,
            licence=spec.licence,
            citation=spec.citation,
            simulated=spec.simulated,
        )


class EncoderCard(BaseModel):
    """The pre-trained encoder that a network started from.

    Attributes:
        weights: SHA-256 of its weights file.
        method: its name and settings.
        step: update after which its weights were taken.
        data: what it learned from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str
    method: dict[str, Any]
    paper: str
    step: int
    data: tuple[DataCard, ...]


class Checkpoint(BaseModel):
    """The description beside the weights.

    Attributes:
        members: networks averaged when predicting.
        channels: input channels by name, in order.
        labels: foreground classes, in the order of the logits after background.
        regions: label values of each region, if the logits are those of regions, in their order.
        regions_class_order: the value that each is written as; None: see `regions_of`.
        patch: training patch, voxels of the network grid.
        step: update after which the weights were taken.
        metrics: numbers at that step, by name.
        encoder: what the networks' encoders started from; None: from a seed.
        mirrored: axes of the network grid along which training mirrored; None: not known.
        empty_masks: whether a training mask was empty; None: not known.
        packages: those beside medssl that the network is of, with their versions in training.
        grids: what the scans of training measured; None: not known.
        series: which series of a DICOM study each channel is, as the data spec says.
        resample_channels: whether channels on other grids are put on that of the first.
        tested: how others that were trained alike answered cases they had not seen, in a sentence.
        size_errors: how far their sizes of a class were off in these cases, by its name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    network: AnyNetwork
    members: int
    channels: tuple[str, ...]
    labels: tuple[Label, ...]
    modality: str
    patch: tuple[Size, Size, Size]
    preprocess: Treatment
    predict: PredictSettings
    method: dict[str, Any]
    paper: str
    split_hash: str
    data: DataCard
    code: str
    step: int
    metrics: dict[str, float]
    encoder: EncoderCard | None = None
    mirrored: tuple[int, ...] | None = None
    empty_masks: bool | None = None
    packages: dict[str, str] = {}
    grids: Grids | None = None
    series: dict[str, SeriesRule] = {}
    resample_channels: bool = False
    tested: str = ""
    size_errors: dict[str, SizeError] = {}
    regions: dict[str, tuple[int, ...]] = {}
    regions_class_order: tuple[int, ...] | None = None

    @property
    def outputs(self) -> Outputs:
        """What the networks answer with."""
        labels = [(label.name, label.value) for label in self.labels]
        order = self.regions_class_order
        regions = regions_of(self.regions, labels, order) if self.regions else ()
        return Outputs(self.classes, regions)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their indices; background first."""
        return ("background", *(label.name for label in self.labels))

    @property
    def size_factors(self) -> tuple[float | None, ...]:
        """By which sizes of each foreground class may be off; empty where it is known of none."""
        errors = [self.size_errors.get(name) for name in self.classes[1:]]
        return tuple(one.factor if one else None for one in errors) if any(errors) else ()

    @property
    def label_values(self) -> tuple[int, ...]:
        """Mask values in the order of the class indices; 0 first."""
        return (0, *(label.value for label in self.labels))


def save_checkpoint(
    folder: Path, predictor: nn.Module, checkpoint: BaseModel, decoder: nn.Module | None = None
) -> None:
    """Write weights and description as one folder that appears at once, replacing an older one.

    Args:
        decoder: handed on beside an encoder.

    Raises:
        MedsslError: a weight is not a finite number, or the folder cannot be written.
    """
    from safetensors.torch import save_file

    weights, beside_it = _weights_of(predictor), {} if decoder is None else _weights_of(decoder)
    if odd := _not_finite(weights) or _not_finite(beside_it):
        raise MedsslError(
            f"{folder} is not written",
            f"the weights {odd} are no longer finite numbers: the training has diverged",
            "lower train.optimiser.learning_rate, and train anew with --fresh",
        )
    with appearing(folder, durable=True) as beside:
        beside.mkdir()
        save_file(weights, beside / WEIGHTS)
        if decoder is not None:
            save_file(beside_it, beside / DECODER)
        (beside / DESCRIPTION).write_text(checkpoint.model_dump_json(indent=2))
        (beside / CHECKSUMS).write_text(checksums(beside))


def _weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}


def read_description(folder: Path) -> Checkpoint:
    """The description of a segmentation checkpoint alone.

    Raises:
        UsageError: the folder is no checkpoint, or one of something else.
        DataError: its description cannot be understood.
    """
    family = description_of(folder).get("family", "segment")
    if family == "pretrain":
        raise UsageError(
            f"{folder} is a pre-trained encoder",
            "it segments nothing",
            f"train a network that starts from it: medssl train PIPELINE pretrain={folder}",
        )
    if family != "segment":
        raise UsageError(
            f"{folder} is a checkpoint of the family '{family}'",
            "it segments nothing",
            "name a checkpoint of a pipeline that segments",
        )
    return understood(folder, Checkpoint)


def load_weights(
    folder: Path,
    network: nn.Module,
    then: Mapping[str, str] | None = None,
    now: Mapping[str, str] | None = None,
) -> None:
    """Give a network the weights of a checkpoint.

    Args:
        then, now: packages beside medssl that the network is of, with the versions in training and
            here.

    Raises:
        DataError: they are damaged, not finite, or not those of such a network.
    """
    weights = read_weights(folder)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        wrong = _other_weights(folder)
        if then and then != now:
            there, here = (
                " ".join(f"{name}=={version}" for name, version in packages.items())
                for packages in (then, now or {})
            )
            reason = f"its network is of {there}, and here is {here}"
            raise DataError(wrong.what, reason, f"install {there}") from error
        raise wrong from error


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint by name, on the CPU.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: they are damaged, or not finite.
    """
    weights_hash(folder)
    return _read(folder, WEIGHTS)


def read_decoder(folder: Path) -> dict[str, Tensor] | None:
    """The weights of the decoder that an encoder's checkpoint hands on; None where it has none.

    Raises:
        DataError: they are damaged, or not finite.
    """
    if not (folder / DECODER).is_file():
        return None
    verified(folder, DECODER)
    return _read(folder, DECODER)


def _read(folder: Path, name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(folder / name)
    except SafetensorError as error:
        raise _other_weights(folder, name) from error
    if odd := _not_finite(weights):
        raise DataError(
            f"{folder / name} cannot be used",
            f"the weights {odd} are not finite numbers",
            "copy the checkpoint folder again, whole, or train anew",
        )
    return weights


def _not_finite(weights: Mapping[str, Tensor]) -> str:
    """Name of the first tensor that holds NaN or infinity; empty where none does."""
    odd = (key for key, value in weights.items() if not bool(value.isfinite().all()))
    return next(odd, "")


def _other_weights(folder: Path, name: str = WEIGHTS) -> DataError:
    return DataError(
        f"{folder / name} does not hold the weights that {DESCRIPTION} describes",
        "the file is damaged or from another checkpoint",
        "copy the checkpoint folder again, whole",
    )


def understood(folder: Path, kind: type[Described]) -> Described:
    """The description of a checkpoint, of the wanted kind.

    Raises:
        UsageError: the folder is no checkpoint.
        DataError: its description cannot be understood.
    """
    plain = description_of(folder)
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"{folder / DESCRIPTION} cannot be understood",
            f"{where}: {first['msg']}" if where else first["msg"],
            "use the version of medssl that wrote it, with the packages that it used",
        ) from error


def load_checkpoint(folder: Path) -> tuple[Ensemble, Checkpoint]:
    """The predictor, in evaluation mode on the CPU, and its description.

    Raises:
        UsageError, DataError: as `read_description`; also when the weights do not fit it.
    """
    found = read_description(folder)
    outputs = found.outputs
    networks = [
        build_network(found.network, len(found.channels), outputs.count, seed=0)
        for _ in range(found.members)
    ]
    predictor = Ensemble(networks, outputs)
    load_weights(folder, predictor, found.packages, found.network.packages)
    return predictor.eval(), found
