"""Files of weights: what is read, and what would run code or fill the memory."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from medssl.errors import DataError
from medssl.networks.weights_file import read_file, read_weights


def test_numbers_of_numpy_and_paths_beside_weights_are_read(tmp_path: Path):
    """nnU-Net keeps its curves as numpy's numbers, others the path of their run."""
    held = {
        "network_weights": {"a": torch.ones(2)},
        "curves": [np.float64(0.5), np.float32(1), np.int64(3), np.ones(2)],
        "folder": Path("runs"),
    }
    torch.save(held, tmp_path / "w.pth")
    found = read_file(tmp_path / "w.pth")
    assert found.tensors["a"].tolist() == [1, 1]
    assert found.beside["curves"][0] == 0.5


def test_a_pickled_network_is_refused_with_the_way_to_convert_it(tmp_path: Path):
    torch.save(nn.Linear(2, 2), tmp_path / "w.pt")
    with pytest.raises(
        DataError, match=r"never unpickled: torch\.nn\.modules\.linear\.Linear"
    ) as e:
        read_weights(tmp_path / "w.pt")
    assert "safetensors.torch.save_file" in e.value.do


def test_a_tensor_larger_than_its_bytes_is_refused(tmp_path: Path):
    """A view of one number, a billion times: it takes no memory until it is copied."""
    torch.save({"a": torch.ones(1).expand(10**9)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="a has more values than the file holds of it"):
        read_weights(tmp_path / "w.pth")


def test_many_tensors_of_the_same_bytes_are_refused(tmp_path: Path):
    one = torch.ones(10**5)
    torch.save({str(number): one for number in range(100)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="its tensors take 40000000 bytes"):
        read_weights(tmp_path / "w.pth")


def test_a_file_that_unfolds_is_refused(tmp_path: Path):
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as whole,
        zipfile.ZipFile(tmp_path / "w.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    assert (tmp_path / "w.pth").stat().st_size < 10**5
    with pytest.raises(DataError, match="cannot be read as weights"):
        read_weights(tmp_path / "w.pth")
