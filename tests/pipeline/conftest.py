"""A toy data set in a working directory of its own, and a training stage that costs nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from medssl.data.geometry import Geometry
from medssl.data.volume import write_mask, write_volume
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import Job
from medssl.train.track import Tracker

CASES, SIDE = 8, 12

SPEC = """
title: Balls
modality: MR
channels: [T1]
labels: [{value: 3, name: ball}]
root: balls
layout: {kind: glob, images: {T1: "{case}.nii.gz"}, label: "{case}_seg.nii.gz"}
simulated: true
licence: CC0
citation: none
"""

DISCS = """
title: Discs
modality: ultrasound
channels: [grey]
labels: [{value: 1, name: disc}]
root: discs
layout: {kind: glob, images: {grey: "images/{case}.png"}, label: "masks/{case}.png"}
simulated: true
licence: CC0
citation: none
"""

PIPELINE = """
title: Balls
data: balls
split: {labels: 2, validation: 0.5, test: 3}
network: {name: vnet, width: 2, levels: 2, norm: instance, dropout: 0}
method: supervised
train: {steps: 2, patch: [8, 8, 8], device: cpu}
evaluate: {bootstrap: 100, overlays: 1}
"""


def refuse(_: Tracker) -> None:
    """As where MLflow cannot be reached."""
    raise ConnectionError


@pytest.fixture(autouse=True)
def no_mlflow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow answers only tests that ask for `mlflow_store`: to open a store takes seconds."""
    if "mlflow_store" not in request.fixturenames:
        monkeypatch.setattr(Tracker, "_open", refuse)


@pytest.fixture(autouse=True)
def blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures stay blank but for tests that ask for `figures`: to draw takes longer than to run."""
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(Figure, "draw", lambda *_: None)


@pytest.fixture
def figures() -> None:
    """Figures are drawn, as they are for users."""


@pytest.fixture
def mlflow_store(balls: Path) -> str:
    """Address of the store that runs in `balls` write to."""
    return f"sqlite:///{balls / 'runs' / 'mlflow.db'}"


@pytest.fixture
def balls(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with the data set `balls`, its spec and its pipeline."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    for folder, text in (("data_specs", SPEC), ("pipelines", PIPELINE)):
        (directory / folder).mkdir()
        (directory / folder / "balls.yaml").write_text(text)
    generator = np.random.default_rng(0)
    grid = Geometry((SIDE, SIDE, SIDE), np.diag([2.0, 1.0, 1.0, 1.0]))
    axes = np.indices(grid.shape)
    for number in range(CASES):
        centre = generator.uniform(4, 8, (3, 1, 1, 1))
        mask = (((axes - centre) ** 2).sum(0) < 9).astype(np.uint8)
        image = mask + 0.1 * generator.normal(size=mask.shape)
        folder = directory / "data" / "balls"
        write_volume(image.astype(np.float32), grid, folder / f"c{number}.nii.gz")
        write_mask(3 * mask, grid, folder / f"c{number}_seg.nii.gz")
    return directory


@pytest.fixture
def discs(balls: Path) -> Path:
    """`balls`, with the data set `discs` of eight pictures beside it."""
    (balls / "data_specs" / "discs.yaml").write_text(DISCS)
    write_grey(balls / "data" / "discs", 8)
    return balls


def write_grey(root: Path, count: int) -> None:
    """Grey pictures of a bright disc, 24 x 32, and their masks."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((24, 32))
    for number in range(count):
        y, x = rng.uniform(8, 16, 2)
        mask = (rows - y) ** 2 + (columns - x - 4) ** 2 < 25
        image = (60 + 120 * mask + 8 * rng.normal(size=mask.shape)).clip(0, 255)
        for folder, array in (("images", image), ("masks", mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(root / folder / f"d{number}.png")


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training stage that writes freshly initialised weights; the label of every call."""
    calls: list[str] = []

    def train(job: Job, tracker: Tracker) -> dict[str, Any]:
        calls.append(job.plan.config.label)
        write_untrained(job.plan.config, job.plan.folder("train"))
        return {}

    monkeypatch.setattr("medssl.families.segment.train.train", train)
    return calls


@pytest.fixture
def untrained_checkpoint(balls: Path) -> Path:
    """A checkpoint of freshly initialised weights."""
    return write_untrained(load_config("balls"), balls / "trained") / "last"


def write_untrained(config: Any, folder: Path) -> Path:
    """Checkpoint `last` with the weights that the method starts from."""
    from medssl.networks.build import build_network
    from medssl.networks.ensemble import Ensemble
    from medssl.train.checkpoint import Checkpoint, DataCard, save_checkpoint

    spec, pipeline = config.spec, config.pipeline
    seed = pipeline.seed
    network = build_network(pipeline.network, len(spec.channels), len(spec.classes), seed)
    description = Checkpoint(
        network=pipeline.network,
        members=1,
        channels=spec.channels,
        labels=spec.labels,
        modality=spec.modality,
        patch=pipeline.train.patch,
        preprocess=pipeline.preprocess,
        predict=pipeline.predict,
        method={"name": pipeline.method.name},
        paper=config.method.paper,
        split_hash="",
        data=DataCard.of(spec),
        code="",
        step=0,
        metrics={},
    )
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    save_checkpoint(folder / "checkpoint" / "last", Ensemble([network]), description)
    return folder / "checkpoint"
