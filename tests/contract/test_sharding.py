"""Two processes that each hold a part of the weights, and what that must not change.

That every method learns the same is in test_segment_in_two_processes and
test_others_in_two_processes.
"""

from functools import cache, partial

import pytest
import torch

from medssl.data.slide.tile_batch import TileBatch
from medssl.methods.method import Progress
from medssl.methods.pretrain.dino import Dino
from medssl.methods.settings.dino import Settings as DinoSettings
from medssl.networks.tile_settings import TileEncoderSettings
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.distributed import TEAM
from medssl.train.fine_tune import FineTune
from medssl.train.fine_tune_settings import FineTuneSettings
from medssl.train.loop import Callbacks, fit
from medssl.train.state import TrainState
from medssl.train.update import make_update
from tests.contract.conftest import build_method, make_streams
from tests.contract.killing import KillAfter, Killed
from tests.contract.test_pretrain_methods import Toys
from tests.contract.test_pretrain_methods import make as make_pretraining
from tests.contract.two_processes import CPU, both, must_agree, stepped

PATCH = (16, 16, 16)
ADAM, SGD = (
    OptimiserSettings(name=name, learning_rate=0.01, schedule="constant")
    for name in ("adamw", "sgd")
)


def loop(**given):
    chosen = {"steps": 6, "patch": PATCH, "optimiser": ADAM, "device": "cpu", "checkpoint_every": 2}
    return TrainSettings(**chosen | given)


def segment(name, **given):
    """Three steps of a method that segments."""
    method = build_method(PATCH, name)
    return stepped(method, make_streams(PATCH, method), loop(**given))


class Tiles:
    """Batches of tiles."""

    def batch(self, number):
        drawn = torch.Generator().manual_seed(number)
        tiles = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=drawn)
        return TileBatch(tiles, ("a", "b"))


def vision_transformer():
    """DINO on a ViT with a small head."""
    settings = DinoSettings(
        head={"hidden": 16, "bottleneck": 8, "outputs": 16},
        global_crops={"side": 32},
        local_crops={"side": 16, "count": 2},
    )
    return Dino(settings, TileEncoderSettings(name="vit_tiny", side=32), 0)


def held(sharded):
    """Bytes that this process holds after a step, by what they are of."""
    with TEAM.joined(CPU):
        method = vision_transformer()
        update = make_update(method, loop(sharded=sharded), 0, CPU)
        update({"tiles": Tiles().batch(0)}, Progress(1, 6))
        weights = list(method.parameters())
        gradients = [one.grad for one in weights if one.grad is not None]
        kept = [value for state in update.optimiser.state.values() for value in state.values()]
        parts = {"weights": weights, "gradients": gradients, "optimiser": kept}
        return {name: sum(map(size, of)) for name, of in parts.items()}


def size(tensor):
    here = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return here.numel() * here.element_size()


class Watching:
    """Callbacks that do what one process alone may do: answer other images, look, save."""

    def __init__(self, method):
        self.method, self.seen = method, {}

    @torch.no_grad()
    def validate(self, step):
        predictor = self.method.predictor()
        for _ in range(1 + TEAM.rank):  # as many as this process has cases
            answer = predictor(torch.ones(1, 1, *PATCH))
        return {"dice": float(answer.mean())}

    def save(self, kind, step, values):
        predictor = self.method.predictor().to(CPU)
        predictor(torch.ones(1, 1, *PATCH))
        state = predictor.state_dict()
        self.seen[f"{kind} {step}"] = {key: value.clone() for key, value in state.items()}

    def due(self, step):
        return step % 2 == 0

    def look(self, step):
        if TEAM.leads:
            self.method.predictor()(torch.ones(1, 1, *PATCH))

    def state(self):
        return {}

    def restore(self, state, step): ...


def whole_training(state_file, kill_after=0, optimiser=SGD, **given):
    """The loop with all that it calls, up to a kill or from it to the end."""
    method = build_method(PATCH, "mean_teacher")
    watching, reporter = Watching(method), KillAfter(kill_after)
    given = loop(validate_every=3, optimiser=optimiser, **given)
    callbacks = Callbacks(watching.validate, watching.save, search=watching)
    streams = make_streams(PATCH, method)
    try:
        fit(method, streams, given, 0, state_file, callbacks, reporter, reporter)
    except Killed:
        return {}
    return {"weights": method.state_dict(), "losses": [], "saved": watching.seen}


def read_and_kept(state_file):
    """What is kept of a state that was read, without a step in between."""
    method = build_method(PATCH, "mean_teacher")
    with TEAM.joined(CPU):
        update = make_update(method, loop(sharded=True), 0, CPU)
        update.restore(TrainState.load(state_file, CPU))
        optimiser = update.optimiser_state()
        with update.whole():
            weights = {key: value.clone() for key, value in method.state_dict().items()}
    return {"method": weights, "optimiser": optimiser}


def overflow(spoilt):
    """Weights that a step in half precision moves.

    Args:
        spoilt: in which processes a gradient is not finite.
    """
    method = vision_transformer()
    with TEAM.joined(CPU):
        update = make_update(method, loop(sharded=True, precision="float16"), 0, CPU)
        update.scaler.load_state_dict(update.scaler.state_dict() | {"scale": 8.0})
        passed = update.sharding.pass_gradients

        def pass_spoilt():
            passed()
            if TEAM.rank in spoilt:
                update.optimiser.param_groups[0]["params"][0].grad.view(-1)[0] = torch.inf

        update.sharding.pass_gradients = pass_spoilt
        before = {key: value.clone() for key, value in whole_weights(update).items()}
        update({"tiles": Tiles().batch(0)}, Progress(1, 6))
        after = whole_weights(update)
    moved = [
        key for key, value in after.items() if "student" in key and not value.equal(before[key])
    ]
    return {"moved": len(moved), "scale": update.scaler.get_scale()}


def whole_weights(update):
    with update.whole():
        return dict(update.method.state_dict())


def masked(rule=None, **given):
    """Four steps of masked images, in single precision."""
    method = make_pretraining("masked_image_modelling")
    with TEAM.joined(CPU):
        update = make_update(method, loop(steps=4, optimiser=SGD, **given), 0, CPU, rule)
        losses = [
            update({kind: Toys(kind).batch(step) for kind in method.streams}, Progress(step, 4))
            for step in range(1, 5)
        ]
        update.gather()
    return {"weights": method.state_dict(), "losses": losses}


RESTING = FineTune(FineTuneSettings(schedule="frozen_then_whole", frozen=0.5))
"""By which an encoder rests for two of these steps."""


def notes(**given):
    told = []
    with TEAM.joined(CPU):
        make_update(build_method(PATCH, "supervised"), loop(sharded=True, **given), 0, CPU,
                    note=told.append)  # fmt: skip
    return {"told": told}


SETTINGS = {
    "clipped": {"clip_norm": 0.01},
    "each tensor clipped": {"clip_norm": 0.001, "clip_by": "tensor"},
    "in turns": {"accumulate": 2},
    "computed again": {"checkpointing": True},
    "all of it": {"accumulate": 2, "checkpointing": True, "clip_norm": 0.01},
}
"""Under which a method with a teacher must learn the same by Adam."""


def resumed_by_one(folder):
    both({"begin": partial(whole_training, folder / "state.pt", 3, sharded=True)}, folder)
    return [whole_training(folder / "state.pt")]


def resumed_by_two(folder):
    whole_training(folder / "state.pt", 3)
    rest = partial(whole_training, folder / "state.pt", sharded=True)
    return both({"rest": rest}, folder)["rest"]


SPOILT = [(), (1,), (0, 1)]
"""Processes in which a gradient is not finite."""


@cache
def alone(name):
    return segment("mean_teacher", **SETTINGS[name])


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What one process learns and saves."""
    return whole_training(tmp_path_factory.mktemp("whole") / "state.pt")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("both")
    whole_training(folder / "adam.pt", 3, ADAM)
    trainings = {
        name: partial(segment, "mean_teacher", sharded=True, **given)
        for name, given in SETTINGS.items()
    }
    for precision in ("bfloat16", "float16"):
        for sharded in (False, True):
            how = partial(masked, precision=precision, sharded=sharded)
            trainings[f"{precision}, {sharded}"] = how
    trainings["resting"] = partial(masked, RESTING, sharded=True)
    for spoilt in SPOILT:
        trainings[f"overflow {spoilt}"] = partial(overflow, spoilt)
    trainings["held"] = partial(held, True)
    trainings["loop"] = partial(whole_training, folder / "state.pt", sharded=True)
    trainings["again"] = partial(whole_training, folder / "again.pt", sharded=True)
    trainings["read"] = partial(read_and_kept, folder / "adam.pt")
    trainings["notes"] = partial(notes, channels_last=True, compile=True)
    return both(trainings, folder) | {"state": folder / "state.pt", "adam": folder / "adam.pt"}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_loop_go_together_with_shards(name, found):
    must_agree(found[name], alone(name))


def test_a_process_holds_about_half_of_weights_gradients_and_optimiser(found):
    whole = held(sharded=False)
    for name, size in whole.items():
        for process in found["held"]:
            assert process[name] < 0.6 * size, name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_shards_round_in_half_precision_as_whole_weights_do(precision, found):
    must_agree(found[f"{precision}, True"], found[f"{precision}, False"][0], 1e-6)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_step_is_left_out_by_all_where_one_finds_what_is_not_finite(spoilt, found):
    one, other = found[f"overflow {spoilt}"]
    assert one == other
    assert (one["moved"] == 0, one["scale"]) == ((True, 4.0) if spoilt else (False, 8.0))


def test_an_encoder_rests_and_wakes_in_shards_too(found):
    must_agree(found["resting"], masked(RESTING), 1e-6)


@pytest.mark.parametrize("name", ["loop", "again"])
def test_validation_search_and_saving_have_the_whole_method(name, found, unbroken):
    """Also in the second training of the same processes, as folds are."""
    must_agree(found[name], unbroken, 1e-5)
    leader, other = (process["saved"] for process in found[name])
    assert leader.keys() == unbroken["saved"].keys()
    assert not other
    for checkpoint, weights in leader.items():
        torch.testing.assert_close(weights, unbroken["saved"][checkpoint], rtol=1e-5, atol=1e-5)


def test_a_state_is_the_file_that_it_is_without_shards(found, tmp_path):
    whole_training(tmp_path / "state.pt")
    one, other = (TrainState.load(file, CPU) for file in (found["state"], tmp_path / "state.pt"))
    assert one.step == other.step
    assert one.optimiser["param_groups"] == other.optimiser["param_groups"]
    assert list(one.method) == list(other.method)
    torch.testing.assert_close(one.method, other.method, rtol=1e-5, atol=1e-5)
    assert one.optimiser["state"].keys() == other.optimiser["state"].keys()
    torch.testing.assert_close(
        one.optimiser["state"], other.optimiser["state"], rtol=1e-4, atol=1e-5
    )


def test_what_is_read_is_kept_to_the_last_bit(found):
    state, (leader, _) = TrainState.load(found["adam"], CPU), found["read"]
    assert "failed" not in leader, leader["failed"]
    torch.testing.assert_close(leader["method"], state.method, rtol=0, atol=0)
    assert leader["optimiser"]["param_groups"] == state.optimiser["param_groups"]
    torch.testing.assert_close(
        leader["optimiser"]["state"], state.optimiser["state"], rtol=0, atol=0
    )


@pytest.mark.parametrize("resumed", [resumed_by_one, resumed_by_two])
def test_another_number_of_processes_goes_on_with_or_without_shards(resumed, unbroken, tmp_path):
    first, *others = resumed(tmp_path)
    must_agree([first, *(others or [first])], unbroken, 1e-5)


def test_what_cannot_be_done_with_shards_is_left_out_and_said(found):
    assert found["notes"][0]["told"] == [
        "train.compile is left out: it does not go together with several processes, "
        "train.accumulate and train.checkpointing",
        "train.channels_last is left out: weights that are sharded have one layout",
    ]


def test_one_process_is_told_once_that_nothing_changes():
    assert notes()["told"] == ["train.sharded changes nothing: there is one process"]
    must_agree([segment("supervised", sharded=True)] * 2, segment("supervised"), 0)
