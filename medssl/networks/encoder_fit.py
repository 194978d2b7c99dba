"""Whether a network can hold a given encoder, and what would make it; free of torch."""

from collections.abc import Mapping
from typing import Any, get_args

from medssl.errors import UsageError
from medssl.networks.choice import SKIP, NetworkChoice, Probe
from medssl.networks.image_fpn_settings import NAME, ImageFpnSettings
from medssl.networks.monai_list import SIDES
from medssl.networks.tile_settings import AnyEncoder, must_be_tile_encoder


def must_hold(network: NetworkChoice, trained: NetworkChoice | AnyEncoder, what: str) -> None:
    """Refuse an encoder of another network.

    Args:
        network: of a pipeline.
        trained: of which the encoder is.
        what: the encoder in words, for the message.

    Raises:
        UsageError: names the keys to set.
    """
    if isinstance(trained, AnyEncoder):
        if not isinstance(network, ImageFpnSettings):
            raise UsageError(
                f"{what} does not fit the pipeline's network",
                f"it encodes images, and the pipeline has network.name={network.name}",
                f"set network.name={NAME}",
            )
        must_be_tile_encoder(network.image_encoder, trained, what, "network.image_encoder")
        return
    if network.is_flat != trained.is_flat:
        flat, box = "2-D images", "volumes"
        raise UsageError(
            f"{what} does not fit the pipeline's network",
            f"it encodes {flat if trained.is_flat else box}, and the pipeline's network is for "
            f"{flat if network.is_flat else box}",
            "set train.patch to two sides, or pre-train on boxes"
            if trained.is_flat
            else "set train.patch to three sides, or pre-train with a train.patch of two",
        )
    own, other = _shape(network), _shape(trained)
    if own is None:
        raise UsageError(
            f"network.name={network.name} has no encoder that pretrain could fill",
            do=f"set network.name={trained.name}, as in pre-training",
        )
    if own == other or other is None:
        return
    differing = [key for key, value in other.items() if own.get(key) != value]
    here = ", ".join(f"{key} {own[key]}" for key in differing if key in own)
    there = ", ".join(f"{key} {other[key]}" for key in differing)
    keys = " ".join(f"network.{key}={other[key]}".replace(" ", "") for key in differing)
    raise UsageError(
        f"{what} does not fit the pipeline's network",
        f"it has {there}; the pipeline has {here}",
        f"set {keys}",
    )


def holding(given: Any, trained: NetworkChoice) -> dict[str, Any]:
    """The keys of a section `network` with those of a trained network's encoder over them.

    Of another network, only what any takes is kept: `frozen` and probes in place of a decoder.

    Args:
        given: the section as in a pipeline file: keys, a name, or nothing.
        trained: of which the encoder is.
    """
    own = dict(given) if isinstance(given, Mapping) else {"name": given}
    if own.get("name") != trained.name:
        own = _kept(own)
    return {**own, **(_shape(trained) or {})}


def learnt_sides(trained: NetworkChoice) -> tuple[int, ...] | None:
    """Sides of the images that an encoder's learnt places are for; None where it has none."""
    keys = trained.encoder() or {}
    return next((tuple(keys[name]) for name in SIDES if keys.get(name)), None)


def _shape(network: NetworkChoice) -> dict[str, Any] | None:
    """What an encoder's weights depend on, but for the size of images: places can be resized."""
    keys = network.encoder()
    return None if keys is None else {key: keys[key] for key in keys if key not in SIDES}


def holding_images(given: Any, encoder: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a section `network` of 2-D images with an encoder of images.

    Args:
        given: the section as in a pipeline file: keys, a name, or nothing.
        encoder: keys of the encoder.
    """
    own = given if isinstance(given, Mapping) else {}
    width = ("decoder_width",) if own.get("name") == NAME else ()
    kept = {key: own[key] for key in width if key in own}
    return {**_kept(own), **kept, "name": NAME, "image_encoder": {**encoder, "weights": None}}


def _kept(own: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a network that another one takes too."""
    kept = {key: own[key] for key in ("frozen", "nearest") if key in own}
    everywhere = own.get("decoder") in (*get_args(Probe), SKIP)
    return {**kept, "decoder": own["decoder"]} if everywhere else kept
