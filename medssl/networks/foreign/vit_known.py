"""What no tensor says of a transformer: heads, epsilon, normalisation, pooling, licence."""

from dataclasses import dataclass, replace

from medssl.errors import DataError, UsageError
from medssl.networks.foreign.beside import checked, read_object
from medssl.networks.foreign.published import HEADS, Published
from medssl.networks.foreign.recognised import Facts
from medssl.networks.foreign.vit_config import Config, Images
from medssl.networks.foreign.vit_shape import Shape
from medssl.networks.weights_file import WeightsFile


def config_of(file: WeightsFile) -> Config:
    """What config.json beside the file says; empty without one."""
    path = file.path.parent / "config.json"
    return checked(Config, read_object(path), path)


@dataclass(frozen=True)
class Known:
    """What no file of weights says: from a published model, or from the files beside it.

    Attributes:
        epsilon: of every norm; None: timm's for such a model.
    """

    heads: int
    epsilon: float
    values: tuple[tuple[float, ...], tuple[float, ...]]
    pooling: str
    resize: str
    facts: Facts


def known_beside(file: WeightsFile, model: Published | None) -> Known | None:
    """What config.json and preprocessor_config.json beside the file say; None: nothing."""
    said = config_of(file)
    if said.heads is None:
        return None
    path = file.path.parent / "preprocessor_config.json"
    images, cfg = checked(Images, read_object(path), path), said.pretrained_cfg
    mean, std = images.image_mean or cfg.mean, images.image_std or cfg.std
    if mean is None or std is None:
        if model is None:
            raise UsageError(
                f"{file.path} does not say how its images were normalised",
                "there is no preprocessor_config.json with image_mean and image_std beside it",
                "put it there, or name the published model that it is with --family",
            )
        mean, std = model.values
    gated = said.use_swiglu_ffn or said.use_gated_mlp
    if said.hidden_act != "gelu" and not gated:
        raise DataError(
            f"{file.path} is of a transformer with another activation",
            f"its config.json says {said.hidden_act}",
            "give one with gelu or SwiGLU",
        )
    facts = model.facts if model else Facts(said.architecture)
    return Known(
        said.heads,
        said.layer_norm_eps,
        (mean, std),
        model.pooling if model else "cls",
        "bicubic" if cfg.interpolation == "bicubic" else "bilinear",
        replace(facts, licence=cfg.license or facts.licence),
    )


def known_of(file: WeightsFile, shape: Shape, name: str, model: Published) -> Known:
    """What is known of a published model, of whose size the file is.

    Raises:
        DataError: it is of another.
    """
    own = (shape.width, shape.depth, shape.patch, shape.registers, shape.scaled, shape.gated)
    its = (model.width, model.depth, model.patch, model.registers, model.scaled, model.gated)
    if own != its:
        raise DataError(
            f"{file.path} is no {name}",
            f"its width, depth, patch, registers, LayerScale and SwiGLU are {list(own)}, and "
            f"{name} has {list(its)}",
            "name another family, or put its config.json beside it",
        )
    return Known(HEADS[model.width], 1e-6, model.values, model.pooling, model.resize, model.facts)
