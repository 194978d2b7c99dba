"""Small files as scanners, exporters and other programs write them, and a model to predict with."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def inputs() -> Path:
    """The files, read-only."""
    return Path(__file__).parent / "inputs"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work in an empty folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def one_channel_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one MR channel that has learned nothing."""
    from medssl.data.labels import Label
    from medssl.networks.build import build_network
    from medssl.networks.ensemble import Ensemble
    from medssl.networks.settings import NetworkSettings
    from medssl.settings import PredictSettings
    from medssl.train.checkpoint import Checkpoint, DataCard, save_checkpoint
    from medssl.transforms.chain import Preprocess

    network = NetworkSettings(name="unet3d", width=2, levels=2)
    folder = tmp_path_factory.mktemp("model") / "last"
    described = Checkpoint(
        network=network,
        members=1,
        channels=("t1",),
        labels=(Label(value=1, name="organ"),),
        modality="MR",
        patch=(16, 16, 8),
        preprocess=Preprocess.of("mr"),
        predict=PredictSettings(),
        method={"name": "supervised"},
        paper="",
        split_hash="",
        data=DataCard(name="toy", title="Toy", licence="CC0", citation="none", simulated=True),
        code="",
        step=0,
        metrics={},
    )
    save_checkpoint(folder, Ensemble([build_network(network, 1, 2, seed=0)]), described)
    return folder
