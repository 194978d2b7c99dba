"""A DICOM series on any grid, and a checkpoint that was never trained."""

import pytest

from medssl.data.labels import Code, Label
from tests.dicom_series import write_series

LABELS = (
    Label(
        value=1,
        name="hippocampus",
        code=Code(value="5366008", meaning="Hippocampus"),
        category=Code(value="91723000", meaning="Anatomical Structure"),
    ),
    Label(value=5, name="something new"),
    Label(value=2, name="white matter", code=Code(value="389080008", meaning="White Matter")),
)


@pytest.fixture
def make_series(tmp_path):
    """Writes slices along the third axis of a geometry; None removes an attribute."""

    def make(geometry, **header):
        return write_series(tmp_path / "series", geometry, **header)

    return make


@pytest.fixture
def checkpoint(tmp_path):
    """Folder of a tiny two-network checkpoint with the labels of LABELS."""
    from medssl.networks.build import build_network
    from medssl.networks.ensemble import Ensemble
    from medssl.networks.settings import NetworkSettings
    from medssl.settings import PredictSettings
    from medssl.train.checkpoint import Checkpoint, DataCard, save_checkpoint
    from medssl.transforms.chain import Preprocess

    network = NetworkSettings(name="unet3d", width=2, levels=2, dropout=0)
    members = Ensemble(build_network(network, 2, 4, seed) for seed in (0, 1))
    described = Checkpoint(
        network=network,
        members=2,
        channels=("t1", "flair"),
        labels=LABELS,
        modality="MR",
        patch=(16, 16, 8),
        preprocess=Preprocess.of({"mr": {"spacing": (1.0, 1.0, 3.0)}}),
        predict=PredictSettings(),
        method={"name": "tracoco"},
        paper="Liu et al., TraCoCo",
        split_hash="abc123",
        data=DataCard(
            name="toy", title="Toy brains", licence="CC BY 4.0", citation="Doe 2020", simulated=True
        ),
        code="0.1.0",
        step=500,
        metrics={"dice": 0.81239, "loss": 0.4},
    )
    save_checkpoint(tmp_path / "last", members, described)
    return tmp_path / "last"
