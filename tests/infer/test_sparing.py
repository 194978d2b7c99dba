"""Where memory does not suffice, prediction goes on with less, says so, and answers the same."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.multiprocessing import start_processes

from medssl.data.geometry import Geometry
from medssl.data.volume import Volume
from medssl.errors import UsageError
from medssl.infer import predict
from medssl.infer.cleaning import Cleaning
from medssl.infer.sparing import Once
from medssl.infer.window import sliding_window, sliding_window_slabs
from medssl.networks.ensemble import Ensemble
from medssl.networks.outputs import plain
from medssl.settings import PredictSettings
from medssl.transforms.chain import Preprocess
from medssl.transforms.compose import Preparation
from tests.contract.strict_device import install, strict

HOW = {"patch": (8, 8, 8), "stride": (4, 4, 4)}
FULL = "CUDA out of memory. Tried to allocate 2 GiB\nand more of what torch says"


class Full(nn.Module):
    """A network for which memory suffices up to so many windows."""

    def __init__(self, most):
        super().__init__()
        torch.manual_seed(5)
        self.conv = nn.Conv3d(1, 3, 3, padding=1)
        self.most, self.sizes = most, []

    def forward(self, windows):
        self.sizes.append(len(windows))
        if len(windows) > self.most:
            raise torch.OutOfMemoryError(FULL)
        return self.conv(windows)


def image(*shape):
    return torch.randn(1, *shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("most", "size", "told"),
    [
        (8, 8, []),
        (4, 7, ["3 windows"]),
        (3, 14, ["7 windows", "3 windows"]),
        (2, 7, ["3 windows", "one window"]),
    ],
)
@pytest.mark.parametrize("slabs", [False, True])
def test_calls_are_halved_until_they_fit_and_it_is_said(most, size, told, slabs):
    volume, network, notes = image(30, 12, 12), Full(most), []
    wanted = sliding_window(volume, Full(99), window_batch=1, **HOW)
    how = HOW | {"window_batch": size, "note": notes.append}
    if slabs:
        found = torch.empty_like(wanted)
        for one in sliding_window_slabs(volume, network, **how):
            found[(slice(None), *one.where)] = one.logits
    else:
        found = sliding_window(volume, network, **how)
    # Convolutions of torch may round otherwise for other numbers of windows.
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    beginning = "the GPU's memory does not suffice: from here on"
    assert notes == [f"{beginning} {one} at a time" for one in told]
    refused = [one for one in network.sizes if one > most]
    assert len(refused) == len(told), "what did not fit is not tried again"


def test_one_window_that_does_not_fit_is_refused_with_what_to_do():
    with pytest.raises(UsageError, match="for one window") as caught:
        sliding_window(image(9, 9, 9), Full(0), **HOW)
    assert caught.value.why == "CUDA out of memory. Tried to allocate 2 GiB"
    assert "--device cpu" in caught.value.do


def _on_cpu(_, at_first):
    """Memory of the device suffices for a window, but not for the sums beside it."""
    volume, notes = image(30, 12, 12), []
    network = Full(99)
    wanted = sliding_window(volume, network, window_batch=2, **HOW)

    def tight(windows):
        tight.calls += 1
        if not notes and tight.calls > at_first:
            raise torch.OutOfMemoryError(FULL)
        return network(windows)

    tight.calls = 0
    with strict():
        network.to(install())
        how = HOW | {"window_batch": 1, "device": install(), "note": notes.append}
        found = sliding_window(volume, tight, **how)
        assert found.device.type == "cpu"
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert notes == ["the GPU's memory does not suffice: windows are put together on the CPU"]


@pytest.mark.parametrize("at_first", [0, 3])
def test_then_windows_are_put_together_on_the_cpu(at_first):
    """Whether or not some were put together on the device before."""
    start_processes(_on_cpu, (at_first,), nprocs=1, start_method="fork")


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")],
)
def test_then_masks_are_made_slab_by_slab(error, monkeypatch):
    array = np.random.default_rng(0).normal(size=(1, 20, 9, 8)).astype(np.float32)
    volume = Volume(array, Geometry((20, 9, 8), np.eye(4)), "x")
    settings = PredictSettings.model_validate({"format": "nifti"})
    given = (
        volume,
        Preparation(Preprocess.of("mr")),
        (8, 8, 8),
        settings,
        plain("abc"),
        torch.device("cpu"),
    )
    given = *given, Cleaning(), (0,)
    ensemble = Ensemble([Full(99), Full(99)]).eval()
    whole, notes = predict.predict_case(ensemble, *given), []

    def failing(*_, **__):
        raise error

    monkeypatch.setattr(predict, "sliding_window", failing)
    for apart in (False, True):
        found = predict.predict_case(ensemble, *given, apart=apart, note=notes.append)
        np.testing.assert_array_equal(found.labels, whole.labels)
        np.testing.assert_allclose(found.entropy, whole.entropy, atol=1e-6)
        assert found.members == ()
    assert set(notes) == {"memory does not suffice for a whole volume: masks are made slab by slab"}


def test_other_faults_are_not_taken_for_want_of_memory(monkeypatch):
    def failing(*_, **__):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        sliding_window(image(9, 9, 9), failing, **HOW)


def test_a_thing_is_said_once():
    told = []
    once = Once(told.append)
    for text in ("a", "b", "a"):
        once(text)
    assert told == ["a", "b"]
