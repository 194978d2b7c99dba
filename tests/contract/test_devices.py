"""What trains or predicts stays on its device, and hardly ever makes the host wait for it.

Everything runs on a device that meets no tensor of the CPU (`strict_device`), in a process of its
own: what fails there would fail on every GPU.
"""

import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.multiprocessing import start_processes

from medssl.evaluate import class_metrics, mask_metrics
from medssl.infer.window import sliding_window, sliding_window_slabs
from medssl.methods.method import Progress
from medssl.networks.dropout import Dropout
from medssl.networks.rows import Rows, seeing
from medssl.settings import TrainSettings
from medssl.train.update import make_update
from medssl.transforms.catalogue import known_transforms
from tests.contract import test_others_in_two_processes as others
from tests.contract.conftest import PATCHES, build_method, make_streams
from tests.contract.strict_device import NAME, install, strict
from tests.contract.training import training
from tests.data.test_changes import MOVES, SURE, stream

SEGMENT = training("segment")
ON_CPU = {"bcp", "multi_augs"}
"""Methods of which a part is done on a CPU, and one more copy to it for that: of labels, for their
largest connected part, or for places to cut around."""
CLUSTERED = {"joint2d3d, deepcluster": {"nonzero": 1}}
"""What has to be counted when all items are clustered anew, every so many steps."""
CHANCES = {
    name: [{name: {"prob": 1}}]
    for name in known_transforms()
    if name.startswith("medssl:Rand") and name not in {*MOVES, "medssl:RandTurnShiftd"}
}
BASIC = {"rot90": True, "flip": "half", "gamma": 0.2, "noise": 0.05, "brightness": 0.1}
CHAINS = {name: [{name: args}] for name, args in MOVES.items()} | CHANCES
CHAINS |= {"standard": SURE, "basic": {"basic": BASIC | {"clip": [-1, 2]}}}
"""The random changes of patches; `medssl:RandTurnShiftd` is of radiographs, with the methods."""


def stepped(method, streams, settings, first=1, steps=2, double=False):
    """How often the host waited in each of two steps, and for copies of its own."""
    found = []
    with strict() as mode:
        update = make_update(method, settings, 0, install())
        for step in range(first, first + min(steps, 2)):
            mode.waited.clear()
            mode.uploads = 0
            given = {kind: one.batch(step - 1) for kind, one in streams.items()}
            update(given, Progress(step, settings.steps))
            found.append(dict(mode.waited) | {"uploads": mode.uploads})
        method.monitor()
        stays = {name for one in method.modules() for name in getattr(one, "on_host", ())}
        for name, value in [*method.named_parameters(), *method.named_buffers()]:
            assert value.device.type == NAME or name.rpartition(".")[2] in stays, name
    return found


def segment(name, patch, turns=1, **keys):
    method = build_method(patch, name, **keys)
    settings = TrainSettings(steps=1000, patch=patch, accumulate=turns)
    return stepped(method, make_streams(patch, method), settings, 900)


def changed(chain):
    """Largest difference of a batch that is changed on the device from one of the CPU."""
    boxes = stream(chain, on_device=True).batch(0)
    alone = boxes.to(torch.device("cpu"))
    with strict():
        found = boxes.to(install())
        assert found.image.device.type == found.truth.device.type == NAME
        apart = (found.image.cpu() - alone.image).abs().max()
        return [float(apart), float((found.truth.cpu() != alone.truth).sum())]


def windows(slabs):
    image = torch.randn(1, 20, 17, 9, generator=torch.Generator().manual_seed(0))
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    how = {"patch": (8, 8, 8), "stride": (4, 4, 4), "window_batch": 3}
    alone = sliding_window(image, network, **how)
    with strict():
        there = network.to(install())
        if not slabs:
            found = sliding_window(image.to(install()), there, device=install(), **how)
            return [float((found.cpu() - alone).abs().max())]
        parts = sliding_window_slabs(image.numpy(), there, device=install(), **how)
        return [float((one.logits.cpu() - alone[:, *one.where]).abs().max()) for one in parts]


def dropped_in_parts():
    """Dropout of each half of the rows, less that of all of them."""
    values, layer = torch.ones(4, 3, 5), Dropout(0.5).train()
    with strict():
        there = values.to(install())
        torch.manual_seed(0)
        whole = layer(there)
        halves = []
        for index in torch.arange(4).chunk(2):
            torch.manual_seed(0)
            with seeing(Rows(4, index)):
                halves.append(layer(there[: len(index)]))
        return [float((torch.cat(halves) - whole).abs().max().cpu())]


def measured(metric, given):
    """A metric's number on the device, less that on the CPU."""
    alone = metric()
    alone.update(*given)
    expected = alone.compute()
    with strict():
        there = metric().to(install())
        there.update(
            *(one.to(install()) if isinstance(one, torch.Tensor) else one for one in given)
        )
        found = there.compute()
        assert found.device.type == NAME
        return [float((found.cpu().double() - expected.double()).abs().max())]


def metrics():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.dirichlet((1, 1, 1), 40))
    truth = torch.arange(40) % 3
    pair = scores[:, :2] / scores[:, :2].sum(1, keepdim=True), truth % 2
    masks = [torch.from_numpy(rng.integers(0, 3, (6, 7, 8))) for _ in range(2)]
    found = {
        "AreaUnderRoc": (partial(class_metrics.AreaUnderRoc, 3), (scores, truth)),
        "AveragePrecision": (partial(class_metrics.AveragePrecision, 3), (scores, truth)),
        "BalancedAccuracy": (partial(class_metrics.BalancedAccuracy, 3), (scores, truth)),
        "CalibrationError": (class_metrics.CalibrationError, pair),
        "DelongAuroc": (class_metrics.DelongAuroc, (pair[0][:, 1], pair[1])),
        "QuadraticKappa": (partial(class_metrics.QuadraticKappa, 3), (scores, truth)),
        "Dice": (partial(mask_metrics.Dice, 3), masks),
        "Froc": (mask_metrics.Froc, (scores[:5, 0], scores[:4, 1])),
    }
    for name in ("HausdorffDistance95", "NormalisedSurfaceDistance", "SurfaceDistance"):
        found[name] = partial(getattr(mask_metrics, name), 3), (*masks, (1.0, 1.0, 2.0))
    return {name: partial(measured, *one) for name, one in found.items()}


STEPS = {
    **{f"{name} {dims}": partial(segment, name, side)
       for name in SEGMENT for dims, side in PATCHES.items()},
    "tracoco with batch norm and dropout": partial(
        segment, "tracoco", PATCHES["3d"], norm="batch", dropout=0.5),
    **{f"{name} in turns": partial(segment, name, PATCHES["3d"], turns=2, dropout=0.5)
       for name in ("tracoco", "unimatch")},
    **{name: case for name, case in others.CASES.items()
       if not isinstance(case, partial) or "preset" not in case.keywords},
}  # fmt: skip
METRICS = metrics()
VALUES = {
    **{f"change {name}": partial(changed, chain) for name, chain in CHAINS.items()},
    **{name: partial(windows, name == "slabs") for name in ("windows", "slabs")},
    **{f"metric {name}": case for name, case in METRICS.items()},
    "dropout in parts": dropped_in_parts,
}


def _child(_, folder):
    torch.set_num_threads(1)
    install()
    others.stepped = stepped
    found = {}
    for name, case in (STEPS | VALUES).items():
        try:
            found[name] = case()
        except Exception:
            found[name] = traceback.format_exc()[-3000:]
    torch.save(found, Path(folder) / "found.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strict")
    # A forked process takes no gradient on such a device where this one has taken any.
    start_processes(_child, (str(folder),), nprocs=1, start_method="spawn")
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", STEPS)
def test_a_step_stays_on_its_device_and_fetches_its_terms_alone(name, found):
    assert not isinstance(found[name], str), found[name]
    last = found[name][-1]
    uploads = last.pop("uploads")
    may, copies = CLUSTERED.get(name, {}), 1 + (name.split()[0] in ON_CPU)
    assert last == may | {"copy to the CPU": copies}
    assert uploads == 0
    assert found[name][0]["copy to the CPU"] == copies


@pytest.mark.parametrize("name", VALUES)
def test_values_on_a_device_are_those_of_the_cpu(name, found):
    assert not isinstance(found[name], str), found[name]
    assert max(found[name]) <= 1e-5  # random changes read axes in another order


def test_every_metric_is_among_them():
    kinds = {
        name
        for module in (class_metrics, mask_metrics)
        for name, one in vars(module).items()
        if isinstance(one, type) and one.__module__ == module.__name__ and name[0] != "_"
    }
    assert kinds == set(METRICS)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda there: there + torch.zeros(3), "tensors of the CPU"),
        (lambda there: torch.cat([there, torch.zeros(3)]), "tensors of the CPU"),
        (lambda there: there[torch.arange(2)], "tensors of the CPU"),
        (lambda there: torch.stack([there[0], torch.zeros(())]), "tensors of the CPU"),
        (lambda there: there @ torch.zeros(3), "tensors of the CPU"),
        (lambda there: torch.rand(3, generator=torch.Generator()) + there, "tensors of the CPU"),
        (lambda there: torch.rand(3, generator=torch.Generator(), device=NAME + ":0"), "generator"),
        (lambda there: there.numpy(), "numpy"),
    ],
)  # fmt: skip
def test_the_device_refuses_what_is_of_another(wrong, words, tmp_path):
    start_processes(_refuse, (wrong, words), nprocs=1, start_method="fork")


def _refuse(_, wrong, words):
    with strict(), pytest.raises((RuntimeError, TypeError), match=words):
        wrong(torch.zeros(3, device=install()))


def test_the_device_counts_what_it_is_waited_for():
    start_processes(_counted, nprocs=1, start_method="fork")


def _counted(_):
    with strict() as mode:
        there = torch.arange(4.0).to(install())
        (float(there[0]), bool(there[0] > 1), int(there[1]), there[1].item())
        assert mode.waited["item"] + mode.waited["bool"] == 4
        there.tolist()
        there.cpu()
        assert mode.waited["copy to the CPU"] == 2
        there.nonzero()
        there[there > 1]
        there[there > 1] = 0.0
        assert (mode.waited["nonzero"], mode.waited["boolean index"]) == (1, 1)
        assert mode.uploads == 1
        torch.tensor([1.0], device=install())
        torch.arange(3).to(install(), non_blocking=True)
        assert mode.uploads == 2
        there.add_(1)
        assert torch.equal(there.cpu(), torch.tensor([1.0, 2.0, 1.0, 1.0]))
