"""What pipelines of methods with two views, and of GMML, refuse before anything is read."""

from pathlib import Path

import pytest

from medssl.errors import UsageError
from medssl.methods.settings.gmml import Corruption
from medssl.pipeline.config import load_config


def test_an_instance_norm_leaves_no_scan_to_compare(balls: Path) -> None:
    given = ["method=decoupled_contrastive", "network.norm=instance", "data=[balls]"]
    balls.joinpath("pipelines/views.yaml").write_text("data: balls\nmethod: vicreg\n")
    with pytest.raises(UsageError, match="averages over a scan, of which an instance norm"):
        load_config("views", given)
    load_config("views", [*given, "method.rows=tokens"])


def test_scans_must_fill_sets(balls: Path) -> None:
    balls.joinpath("pipelines/white.yaml").write_text(
        "data: balls\nmethod: whitening\nnetwork: {name: conv_fpn}\n"
    )
    load_config("white", [])
    with pytest.raises(UsageError, match=r"set train\.batch_pairs=64, a smaller method\.outputs"):
        load_config("white", ["method.rows=scans"])
    load_config("white", ["method.rows=scans", "train.batch_pairs=64"])


def test_boxes_that_do_not_fit_name_those_that_do(balls: Path) -> None:
    balls.joinpath("pipelines/groups.yaml").write_text(
        "data: balls\nmethod: gmml\nnetwork: {name: conv_fpn}\ntrain: {patch: [32, 32, 32]}\n"
    )
    load_config("groups", [])
    with pytest.raises(UsageError, match=r"align=5 does not fit .* choose one of 1, 2, 4, 8"):
        load_config("groups", ["method.corruption.align=5"])
    with pytest.raises(UsageError, match="leaves no other scan to take boxes from"):
        load_config("groups", ["train.batch_scans=1"])
    with pytest.raises(ValueError, match="nothing is spoilt"):
        Corruption(fills=[], alien=False)
