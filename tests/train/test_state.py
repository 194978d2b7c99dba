"""The training state on disk: whole or not there, and refused in one sentence when damaged."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medssl.data.sealed import seal
from medssl.errors import DataError
from medssl.train.state import TrainState

CPU = torch.device("cpu")


@pytest.fixture
def trained():
    """Network, optimiser with momentum, scaler: one step has been taken."""
    network = nn.Conv3d(1, 2, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    network(torch.ones(1, 1, 2, 2, 2)).sum().backward()
    optimiser.step()
    return network, optimiser, torch.amp.GradScaler("cpu", enabled=False)


def keep(state, trained):
    network, optimiser, scaler = trained
    state.keep(network, optimiser.state_dict(), scaler)


@pytest.fixture
def saved(trained, tmp_path):
    state = TrainState(step=7, best=0.5, best_step=4)
    keep(state, trained)
    state.save(tmp_path / "state.pt")
    return tmp_path / "state.pt"


def test_all_of_it_comes_back(saved, trained):
    state = TrainState.load(saved, CPU)
    assert (state.step, state.best, state.best_step) == (7, 0.5, 4)
    network = nn.Conv3d(1, 2, 2)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    state.restore(network, optimiser, torch.amp.GradScaler("cpu", enabled=False))
    for one, other in zip(network.parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(one, other)
        one.grad = torch.zeros_like(one)
        other.grad = torch.zeros_like(other)
    optimiser.step()  # momentum alone moves them
    trained[1].step()
    for one, other in zip(network.parameters(), trained[0].parameters(), strict=True):
        assert torch.equal(one, other)


def test_nothing_else_is_left_beside_it(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["state.pt"]


def test_a_failed_write_keeps_the_old_state(saved, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="no space"):
        TrainState(step=8).save(saved)
    assert TrainState.load(saved, CPU).step == 7
    assert [path.name for path in saved.parent.iterdir()] == ["state.pt"]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:400])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 8)


def another_object(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)
    seal(path)


@pytest.mark.parametrize("damage", [cut_short, emptied, noise, another_object])
def test_a_damaged_file_is_refused(saved, damage):
    damage(saved)
    with pytest.raises(DataError, match=r"does not hold a training state.*--fresh"):
        TrainState.load(saved, CPU)


def test_no_flipped_bit_passes(saved):
    whole = saved.read_bytes()
    places = np.random.default_rng(0).integers(0, 8 * len(whole), 200)
    for place in places.tolist():
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        saved.write_bytes(flipped)
        with pytest.raises(DataError, match="does not hold a training state"):
            TrainState.load(saved, CPU)


def test_equal_states_are_equal_files(saved, trained, tmp_path):
    state = TrainState(step=7, best=0.5, best_step=4)
    keep(state, trained)
    state.save(tmp_path / "other" / "name.pt")
    assert (tmp_path / "other" / "name.pt").read_bytes() == saved.read_bytes()


class Malicious:
    def __reduce__(self):
        return (Path.touch, (Path("pickled-code-ran"),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_pickled_code_is_not_run(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write in (lambda o: torch.save(o, saved), lambda o: saved.write_bytes(pickle.dumps(o))):
        write({"step": 1, "method": Malicious()})
        seal(saved)
        with pytest.raises(DataError):
            TrainState.load(saved, CPU)
    assert not Path("pickled-code-ran").exists()


def test_a_state_of_another_network_is_refused(saved):
    other = nn.Conv3d(1, 3, 2)
    optimiser = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(DataError, match="does not fit the method"):
        TrainState.load(saved, CPU).restore(
            other, optimiser, torch.amp.GradScaler("cpu", enabled=False)
        )
