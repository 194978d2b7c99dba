"""Devices by name: a wrong one is refused at once, with what is there."""

import subprocess
import sys

import pytest
import torch

from medssl.device import choose_device, named_device
from medssl.errors import UsageError


@pytest.fixture(autouse=True)
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    ("name", "chosen"), [("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")]
)
def test_what_is_there_is_chosen(name: str, chosen: str) -> None:
    assert choose_device(name) == torch.device(chosen)


def test_without_a_gpu_auto_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="the device cuda is not here; torch finds cpu; choose"):
        choose_device("cuda")


def test_a_gpu_too_many_is_told_which_there_are() -> None:
    with pytest.raises(UsageError, match="cuda:2 is not here; torch finds cpu and cuda:0 and cud"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "", "cuda:-1"])
def test_a_word_that_names_no_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="choose auto, cpu, cuda"):
        named_device(name)
    with pytest.raises(UsageError, match="is unknown"):
        choose_device(name)


def test_a_wrong_name_is_refused_without_torch() -> None:
    code = (
        "import sys; from medssl.settings import LoopSettings\n"
        "try: LoopSettings(device='gpu')\n"
        "except ValueError: sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
