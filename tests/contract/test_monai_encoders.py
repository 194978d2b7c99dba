"""Every method that pre-trains an encoder of volumes trains every encoder in MONAI's networks."""

from dataclasses import replace
from math import isfinite

import pytest
import torch
from torch.nn.functional import interpolate

from medssl.data.scan.batch import ScanBatch
from medssl.methods.encoder_method import PretrainMethod, PretrainTask
from medssl.methods.method import Progress
from medssl.methods.registry import implementation, method_names, settings_class
from medssl.networks.build import build_encoder
from medssl.networks.monai_encoder_keys import MONAI_ENCODERS
from medssl.networks.monai_settings import MonaiSettings
from medssl.train.update import make_update
from tests.contract.killing import constant
from tests.methods.pretrain.scans import CONTRASTS, pair_batch, scan_batch

FEW = [4, 4, 4, 4, 4, 4]
NETWORKS = [
    MonaiSettings(name=f"monai:{name}", **given)
    for name, given in {
        "AttentionUnet": {"channels": [4, 4, 8, 8, 8], "strides": [[2, 2, 1], 2, 2, 2]},
        "AutoEncoder": {"channels": [4, 4, 8, 8, 8], "strides": [1, 2, 2, 2, 2]},
        "AutoencoderKL": {
            "channels": [4] * 5,
            "num_res_blocks": 1,
            "attention_levels": [False] * 5,
            "norm_num_groups": 2,
        },
        "BasicUNet": {"features": FEW},
        "BasicUNetPlusPlus": {"features": FEW},
        "DynUNet": {
            "kernel_size": [[3, 3, 1], 3, 3, 3, 3],
            "strides": [1, [2, 2, 1], 2, 2, 2],
            "upsample_kernel_size": [[2, 2, 1], 2, 2, 2],
            "filters": [4, 4, 8, 8, 8],
        },
        "FlexibleUNet": {"backbone": "efficientnet-b0"},
        "LocalNet": {"num_channel_initial": 2, "extract_levels": [0, 1, 2, 3, 4]},
        "MedNeXt": {"init_filters": 4, "kernel_size": 3},
        "RegUNet": {"num_channel_initial": 2, "depth": 4},
        "SegResNet": {"init_filters": 8},
        "SegResNetDS": {"init_filters": 4, "blocks_down": [1] * 5, "resolution": [1, 1, 3]},
        "SegResNetDS2": {"init_filters": 4, "blocks_down": [1] * 5},
        "SegResNetVAE": {"init_filters": 8, "input_image_size": [32] * 3},
        "SwinUNETR": {"feature_size": 12, "depths": [1] * 4, "num_heads": [1] * 4},
        "UNETR": {"hidden_size": 12, "mlp_dim": 12, "num_heads": 2, "img_size": [32] * 3},
        "UNet": {"channels": [4, 4, 8, 8, 8], "strides": [2, [2, 2, 1], 2, 2]},
        "VNet": {},
        "VQVAE": {
            "channels": [4] * 5,
            "num_res_channels": [4] * 5,
            "num_res_layers": 1,
            "downsample_parameters": [[1, 3, 1, 1], *[[2, 4, 1, 1]] * 4],
            "upsample_parameters": [*[[2, 4, 1, 1, 0]] * 4, [1, 3, 1, 1, 0]],
            "embedding_dim": 8,
        },
    }.items()
]
SMALLER = {
    "alice": {
        "masking": {"side": 8},
        "head": {"hidden": 16, "bottleneck": 16, "outputs": 16},
        "between": {"queue": 0},
    },
    "all4one": {"hidden": 16, "outputs": 16, "predictor": 16, "queue": 8},
    "barlow_twins": {"hidden": 16, "outputs": 16},
    "decoupled_contrastive": {"hidden": 16, "outputs": 16},
    "gmml": {},
    "masked_image_modelling": {"masking": {"cell": 16}},
    "modality_invariant": {"masking": {"cell": 16}, "projector": {"hidden": 16, "outputs": 16}},
    "vicreg": {"hidden": 16, "outputs": 16},
    "whitening": {"hidden": 16, "outputs": 4, "tokens": 16},
}
METHODS = [
    name
    for name in method_names()
    if settings_class(name).family == "pretrain"
    and not settings_class(name).own_network
    and issubclass(implementation(settings_class(name)()), PretrainMethod)
]
PATCH = (32, 32, 32)


def larger(batch: ScanBatch) -> ScanBatch:
    """The toy with twice as many voxels a side."""
    source = interpolate(batch.source.flatten(1, 2), PATCH).unsqueeze(2)
    return replace(batch, source=source, patch=PATCH)


def test_these_are_all() -> None:
    assert {one.name for one in NETWORKS} == MONAI_ENCODERS.keys()
    assert set(METHODS) == SMALLER.keys()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.name)
def test_a_step_changes_what_the_encoder_hands_on(name: str, network: MonaiSettings) -> None:
    settings = settings_class(name)(**SMALLER[name])
    task = PretrainTask(network, PATCH, CONTRASTS, 6)
    method = implementation(settings)(settings, task, 0)
    before = {key: value.clone() for key, value in method.encoder().state_dict().items()}
    made = {"pairs": pair_batch, "scans": scan_batch}
    batches = {kind: larger(made[kind]((1, 2))) for kind in method.streams}
    update = make_update(method, constant(1), 0, torch.device("cpu"))
    assert isfinite(update(batches, Progress(1, 1))["loss"])
    after = method.encoder().state_dict()
    assert not torch.equal(before[method.encoder().stem], after[method.encoder().stem])
    build_encoder(network, 1, 0).load_state_dict(after)
