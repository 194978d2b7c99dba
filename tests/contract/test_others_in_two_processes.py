"""Every method that grades, pre-trains or calls slides learns in two processes what it does in one.

Of bags, one process learns from as many in a step. So it does where each process holds a part of
the weights, which is not offered for slides.
"""

import sys
from functools import cache, partial

import pytest
import torch

from medssl.data.bags.bag import BagStream
from medssl.data.slide.tile_batch import TileBatch
from medssl.methods.pretrain.dino import Dino
from medssl.methods.settings.dino import Settings as DinoSettings
from medssl.networks.tile_settings import TileEncoderSettings
from tests.contract import test_grade_methods as grade
from tests.contract import test_pretrain_methods as pretrain
from tests.contract import test_slide_methods as slide
from tests.contract.killing import constant
from tests.contract.training import training
from tests.contract.two_processes import both, must_agree, stepped
from tests.methods.pretrain import test_joint2d3d as joint

LOOP = constant(6, rate=0.01, name="sgd")


class Fixed:
    """A stream from a function of the batch's number."""

    def __init__(self, make):
        self.batch = make


def train_grader(name, views=2):
    method = grade.make(name, views=views)
    return stepped(method, {kind: grade.Knees(kind, views=views) for kind in method.streams}, LOOP)


def pretrain_scans(name, **more):
    method = pretrain.make(name, **more)
    return stepped(method, {kind: pretrain.Toys(kind) for kind in method.streams}, LOOP)


def pretrain_tiles():
    encoder = TileEncoderSettings(name="vit_tiny", side=32)
    settings = DinoSettings(
        head={"hidden": 16, "bottleneck": 8, "outputs": 16},
        global_crops={"side": 32},
        local_crops={"side": 16, "count": 2},
        drop_path=0.2,
    )
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    stream = Fixed(lambda number: TileBatch(tiles.roll(number, 3), ("a", "b", "c")))
    return stepped(Dino(settings, encoder, 0), {"tiles": stream}, LOOP)


def pretrain_jointly(clustering, **more):
    method = joint.build(clustering=clustering, warm_up=0.2, **more)
    return stepped(method, {"joint": Fixed(joint.given)}, LOOP)


RELEASED_HEAD = {"hidden": 16, "bottleneck": 16, "outputs": 16, "project_crops": False}

APART = {
    "images": {"prototypes": 6, "freeze_steps": 0, "queue": 13, "balance": "data_set"},
    "volumes": {"prototypes": 4, "freeze_steps": 0, "queue": 5, "balance": "data_set"},
    "swav": {"queue_from": 0},
}


def call_slides(name, bags):
    method = slide.make(name)
    return stepped(method, {"bags": BagStream(slide.bags(), 0, bags)}, LOOP, steps=4)


CASES = {
    **{name: partial(train_grader, name) for name in grade.METHODS},
    "supervised_grading, whole images": partial(train_grader, "supervised_grading", views=1),
    **{name: partial(pretrain_scans, name) for name in pretrain.METHODS},
    **{
        f"{name}, {preset}": partial(pretrain_scans, name, preset=preset)
        for name, preset in pretrain.PRESETS
    },
    "dino": pretrain_tiles,
    "joint2d3d, swav": partial(pretrain_jointly, "swav"),
    "joint2d3d, deepcluster": partial(pretrain_jointly, "deepcluster"),
    "joint2d3d, balanced within data sets": partial(pretrain_jointly, "swav", **APART),
    "alice, targets by place": partial(
        pretrain_scans, "alice", within={"target_query": "teacher"}, head=RELEASED_HEAD
    ),
    **{name: partial(call_slides, name, 2) for name in slide.METHODS},
    "abmil, an odd rest": partial(call_slides, "abmil", 3),
}


def test_no_method_is_missing():
    named = {name.partition(",")[0] for name in CASES}
    assert named >= {*training("grade"), *training("pretrain"), *training("slide")}


SHARDED = [name for name in CASES if name.partition(",")[0] not in slide.METHODS]


@cache
def alone(name):
    return CASES[name]()


def sharded(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "LOOP", LOOP.model_copy(update={"sharded": True}))
        return CASES[name]()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    torch.set_num_threads(1)
    more = {f"{name}, sharded": partial(sharded, name) for name in SHARDED}
    return both(CASES | more, tmp_path_factory.mktemp("both"))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_does(name, found):
    must_agree(found[name], alone(name))


@pytest.mark.parametrize("name", SHARDED)
def test_so_they_do_where_each_holds_a_part_of_the_weights(name, found):
    must_agree(found[f"{name}, sharded"], alone(name))
