"""TraCoCo in the training loop, on simulated ellipsoids (properties 20 to 22, sheet 13.3)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from medssl.data.stream import PatchStream
from medssl.methods.method import Method, Task
from medssl.methods.segment.tracoco import TraCoCo
from medssl.methods.settings.tracoco import Settings
from medssl.networks.settings import NetworkSettings
from medssl.settings import TrainSettings
from medssl.train.loop import Callbacks, fit
from medssl.transforms.chain import Augment

PATCH = (8, 8, 8)


@dataclass
class Ellipsoid:
    """A bright ellipsoid in noise; reading a label that is not known fails."""

    id: str
    image: np.ndarray
    truth: np.ndarray
    known: bool
    floor: float = 0.0
    partial: bool = False
    outlined: tuple[bool, ...] | None = None

    @property
    def mask(self) -> np.ndarray:
        if not self.known:
            raise FileNotFoundError(f"the label of {self.id} was read")
        return self.truth


def ellipsoid(index: int, side: int, known: bool) -> Ellipsoid:
    rng = np.random.default_rng(index)
    radii = rng.uniform(0.2, 0.35, 3) * side
    centre = rng.uniform(0.4, 0.6, 3) * side
    grid = np.moveaxis(np.indices((side,) * 3), 0, -1)
    truth = (((grid - centre) / radii) ** 2).sum(-1) < 1
    image = truth + rng.normal(0, 0.3, truth.shape)
    name = f"case{index}"
    return Ellipsoid(name, image[None].astype(np.float32), truth.astype(np.uint8), known)


@dataclass
class Run:
    """A training that keeps what it is told."""

    method: Method
    state_file: Path
    labelled: list[Ellipsoid]
    unlabelled: list[Ellipsoid]
    on_step: Callable[[int], None] = lambda step: None
    losses: dict[int, dict[str, float]] = field(default_factory=dict)

    def train(self, steps: int, rate: float = 0.1, **settings: Any) -> "Run":
        changes = Augment.of({"basic": {"rot90": True, "flip": "half", "brightness": 0.1}})
        sampler = self.method.sampler(PATCH)
        streams = {
            kind: PatchStream(kind, cases, sampler, changes, 2, seed=0)
            for kind, cases in (("labelled", self.labelled), ("unlabelled", self.unlabelled))
        }
        chosen = {"steps": steps, "patch": PATCH, "device": "cpu", **settings}
        chosen["optimiser"] = {"learning_rate": rate}
        fit(
            self.method,
            streams,
            TrainSettings(**chosen),
            0,
            self.state_file,
            Callbacks(None, lambda *_: None),
            self,
            self,
        )
        return self

    def begin(self, total: int, start: int) -> None: ...

    def step(self, step: int, values: dict[str, float]) -> None:
        self.losses[step] = {k: v for k, v in values.items() if k.startswith("loss")}
        self.on_step(step)

    def note(self, text: str) -> None: ...

    def end(self) -> None: ...

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


@pytest.fixture
def run(tmp_path):
    def make(
        cases: tuple[int, int] = (2, 4),
        side: int = 12,
        norm: str = "batch",
        dropout: float = 0.0,
        on_step: Callable[[int], None] = lambda step: None,
        **settings: Any,
    ) -> Run:
        sizes = NetworkSettings(width=4, levels=2, norm=norm, dropout=dropout)
        task = Task(("simulated",), ("background", "ellipsoid"), PATCH, sizes)
        settings = {"noise": {"amplitude": 0.05}, **settings}
        found = [ellipsoid(n, side, known=n < cases[0]) for n in range(sum(cases))]
        return Run(
            TraCoCo(Settings(**settings), task, 0),
            tmp_path / "state.pt",
            found[: cases[0]],
            found[cases[0] :],
            on_step,
        )

    return make


def dice(method: Method, case: Ellipsoid) -> float:
    """Of the ensemble on the whole volume, whose side is a multiple of 2."""
    method.eval()
    with torch.no_grad():
        found = method.predictor()(torch.from_numpy(case.image)[None])[0].argmax(0).numpy()
    method.train()
    return float(2 * (found * case.truth).sum() / (found.sum() + case.truth.sum()))


def confident_share(method: TraCoCo, cases: list[Ellipsoid]) -> float:
    """Share of voxels from which CBC would learn, both networks together."""
    method.eval()
    image = torch.from_numpy(np.stack([case.image for case in cases]))
    with torch.no_grad():
        confidence = torch.stack([net(image).softmax(1).amax(1) for net in method.pair])
    method.train()
    return float((confidence >= method.settings.pseudo.positive_threshold).double().mean())


def bits(method: Method) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in method.state_dict().items()}


class Killed(Exception):
    pass


def test_a_resumed_training_ends_with_the_same_bits(run):
    """Property 21: both networks with their statistics and momenta, the step and all draws."""

    def kill(step: int) -> None:
        if step == 4:
            raise Killed

    how = {"steps": 5, "checkpoint_every": 3}
    unbroken = run(dropout=0.5).train(**how)
    unbroken.state_file.unlink()
    with pytest.raises(Killed):
        run(dropout=0.5, on_step=kill).train(**how)
    resumed = run(dropout=0.5).train(**how)
    assert list(resumed.losses) == [4, 5]
    assert resumed.losses[5] == unbroken.losses[5]
    expected = bits(unbroken.method)
    assert all(torch.equal(value, expected[key]) for key, value in bits(resumed.method).items())


def test_one_labelled_case_is_learnt_by_heart(run):
    """Property 22."""
    found = run(cases=(1, 1), side=8).train(steps=50)
    assert dice(found.method, found.labelled[0]) > 0.95


def test_two_labels_and_sixteen_unlabelled_volumes(run):
    """The smoke test: finite losses, growing confidence, two networks, no label read unasked."""
    trained = run(cases=(2, 16), unsupervised={"weight": 0.3, "rampup_steps": 20})
    before = bits(trained.method)
    share = confident_share(trained.method, trained.unlabelled)
    trained.train(steps=40)
    assert all(np.isfinite(list(values.values())).all() for values in trained.losses.values())
    assert len(trained.losses) == 40
    assert set(trained.losses[40]) == {"loss"} | {
        f"loss/{term}_{network}"
        for term in ("supervised", "translation", "entropy", "pseudo")
        for network in (1, 2)
    }
    assert confident_share(trained.method, trained.unlabelled) > share + 0.1
    after = bits(trained.method)
    for key, value in after.items():
        if key.endswith("weight"):
            assert not torch.equal(value, before[key])
    first, second = (net.head.weight for net in trained.method.pair)
    assert (first - second).abs().mean() > 1e-2
