"""In what precision networks are passed, and what belongs to it in a saved state."""

import pytest
import torch
from pydantic import ValidationError

from medssl.settings import LoopSettings, TrainSettings
from medssl.train.loop import float32_products
from medssl.train.state import TrainState
from tests.contract.conftest import PATCHES, build_method, make_streams
from tests.contract.killing import trained


@pytest.mark.parametrize(
    ("short", "name"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_short_names_mean_the_same(short, name):
    assert LoopSettings(precision=short) == LoopSettings(precision=name)


def test_another_precision_is_refused_with_those_there_are():
    with pytest.raises(ValidationError, match="'float32', 'tf32', 'bfloat16' or 'float16'"):
        LoopSettings(precision="float8")


def test_products_of_float32_are_of_all_bits_unless_tf32_is_asked_for():
    torch.backends.cudnn.allow_tf32 = True
    before = torch.get_float32_matmul_precision()
    for tf32, matmul in ((False, "highest"), (True, "high")):
        with float32_products(tf32):
            assert torch.get_float32_matmul_precision() == matmul
            assert torch.backends.cudnn.allow_tf32 == tf32
    assert torch.get_float32_matmul_precision() == before
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_killed_training_in_half_precision_ends_with_the_bits_of_an_unbroken_one(
    precision, tmp_path
):
    def run(file, kill_after=0, seed=5):
        method = build_method(PATCHES["2d"], "supervised", seed=seed)
        settings = TrainSettings(
            steps=4, patch=PATCHES["2d"], checkpoint_every=2, precision=precision, device="cpu"
        )
        streams = make_streams(PATCHES["2d"], method)
        return trained(method, streams, settings, tmp_path / file, kill_after)

    unbroken = run("unbroken.pt")
    run("broken.pt", kill_after=3)
    kept = TrainState.load(tmp_path / "broken.pt", torch.device("cpu"))
    assert bool(kept.scaler) == (precision == "float16")
    continued = run("broken.pt", seed=99)
    assert all(torch.equal(unbroken[key], continued[key]) for key in unbroken)


def test_the_scale_of_gradients_is_part_of_a_saved_state(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    network = torch.nn.Linear(2, 1)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    state = TrainState(step=3)
    state.keep(network, optimiser.state_dict(), scaler)
    state.save(tmp_path / "state.pt")
    other = torch.amp.GradScaler("cpu")
    TrainState.load(tmp_path / "state.pt", torch.device("cpu")).restore(network, optimiser, other)
    assert other.get_scale() == 8.0
