"""The benchmark for whoever has a GPU runs, at small size, where there is none."""

import pytest
import torch

from tests.benchmarks import gpu


def test_it_runs_small_and_leaves_no_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu, "PAGE", tmp_path / "gpu.md")
    monkeypatch.setattr(gpu, "MOST", 1)
    monkeypatch.setattr(gpu, "WARM", 0)
    monkeypatch.setattr(torch, "compile", _missing)
    found = gpu.main(["--small"])
    assert not (tmp_path / "gpu.md").exists()
    assert len(found) == 5 * 3 + 3 + 2 * 3, "works and the window in three modes, three compiled"
    assert not [one for one in found if "left out: no time" in one or "beyond" in one]
    assert len([one for one in found if "train.compile is left out" in one]) == 2 * 3


def _missing(*_, **__):
    raise RuntimeError("No working C++ compiler found")


def test_what_no_time_is_left_for_is_said(monkeypatch):
    monkeypatch.setattr(gpu, "LIMIT_S", -1)
    found = gpu.main(["--small", "snuffy", "window"])
    assert len(found) == 1 + 3
    assert all("left out: no time" in one for one in found)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_before_any_work(capsys):
    with pytest.raises(SystemExit) as caught:
        gpu.main([])
    assert caught.value.code == 2
    assert "torch finds no GPU here" in capsys.readouterr().err


def test_the_page_names_the_device_and_the_command(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    there = gpu.Device(torch.device("cpu"), dict.fromkeys(gpu.PRECISIONS, 2e12))
    text = gpu.page(there, ["| row |"])
    assert "on A GPU" in text
    assert "float32 2, tf32 2, bfloat16 2" in text
    assert text.endswith("|---|---|---|---|---|---|---|\n| row |\n")
