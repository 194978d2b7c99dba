"""A checkpoint of an encoder of volumes, as pre-training leaves one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.keyed import own_key
from medssl.networks.build import build_encoder
from medssl.networks.settings import NetworkSettings
from medssl.train.checkpoint import DataCard, save_checkpoint
from medssl.train.encoder_checkpoint import VolumeEncoderCheckpoint
from medssl.transforms.chain import Preprocess

NETWORK = NetworkSettings(name="vnet", width=2, levels=2, norm="instance", dropout=0)


def write_encoder(
    folder: Path,
    network: Any = NETWORK,
    seen: Sequence[str] = (),
    seed: int = 9,
    **preprocess: Any,
) -> Path:
    """Untrained weights of one channel; `seen` are keys of patients, `preprocess` keys of mr."""
    described = VolumeEncoderCheckpoint(
        network=network,
        contrasts=("T1",),
        preprocess=Preprocess.of({"mr": preprocess}),
        patch=(8, 8, 8),
        method={"name": "masked_image_modelling"},
        paper="",
        data=(DataCard(name="unlabelled", title="", licence="", citation="", simulated=True),),
        code="",
        step=3,
        metrics={},
        seen=tuple(sorted(seen)),
        key=own_key().name,
    )
    save_checkpoint(folder, build_encoder(network, 1, seed), described)
    return folder
