"""Alice against its sheet, section 14: nos. 5 to 8 and 13, and what an ablation leaves out."""

from copy import deepcopy
from dataclasses import replace
from math import log

import pytest
import torch
from pydantic import ValidationError

from medssl.data.scan.batch import ScanBatch
from medssl.errors import MedsslError, UsageError
from medssl.methods.ema import update_ema
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.alice import Alice, temperature
from medssl.methods.pretrain.crop_masking import draw_mask, reconstruction_loss
from medssl.methods.ramps import linear_ramp
from medssl.methods.settings.alice import Masking, Ramp, Settings, TeacherTemperature
from medssl.networks.settings import NetworkSettings
from medssl.pipeline.sections import validate
from medssl.settings import LoopSettings, OptimiserSettings
from medssl.train.update import make_update

PATCH = (16, 16, 16)
NETWORK = NetworkSettings(name="conv_fpn", width=4, levels=3)
TINY = {
    "masking": {"side": 4},
    "head": {"hidden": 16, "bottleneck": 8, "outputs": 12},
    "between": {"kind": "distillation", "balance": "centre", "student_temperature": 0.1},
    "within": {"hidden": 16, "heads": 4, "dropout": 0.0, "balance": "centre"},
    "ramp": {"start": 0.0, "length": 0.0},
}


def merged(one, other):
    deep = {
        k: merged(one[k], v) if isinstance(v, dict) and k in one else v for k, v in other.items()
    }
    return {**one, **deep}


def build(seed=0, network=NETWORK, patch=PATCH, **settings):
    chosen = Settings.model_validate(merged(TINY, settings))
    return Alice(chosen, PretrainTask(network, patch, ("t1",), 4), seed).train()


def pairs(seed=0, items=2):
    g = torch.Generator().manual_seed(seed)
    source = torch.nn.functional.interpolate(
        torch.randn(2 * items, 1, 5, 5, 5, generator=g), PATCH, mode="trilinear"
    )
    return ScanBatch(
        source.view(items, 2, 1, *PATCH),
        None,
        PATCH,
        torch.arange(items) + 1,
        torch.zeros(items, 2, dtype=torch.long),
        tuple(f"item{n}" for n in range(items)),
    )


def terms(method, batch=None, step=50, seed=0):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    return method({"pairs": batch or pairs()}, Progress(step, 100), generator)


def copy(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("window", "side"),
    [((64, 64, 64), 16), ((32, 32, 32), 8), ((24, 24, 24), 6), ((32, 32, 24), 8), ((7, 7, 7), 1)],
)
def test_masked_cells_suit_the_window_unless_set(window, side):
    assert Masking().side_in(window) == side
    assert Masking(side=4).side_in(window) == 4


@pytest.mark.parametrize("shape", ["cubes", "columns"])
def test_5_exactly_three_quarters_are_masked_in_every_crop(shape):
    mask = draw_mask(torch.empty(5, 1, 32, 32, 48), Masking(shape=shape, side=8), torch.Generator())
    assert mask.shape == (5, 1, 32, 32, 48)
    assert mask.float().mean((1, 2, 3, 4)).tolist() == [0.75] * 5
    cells = mask[:, :, ::8, ::8, ::8]
    whole = cells.repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    assert torch.equal(whole, mask)
    constant = bool((mask == mask[..., :1]).all())
    assert constant == (shape == "columns")
    assert not torch.equal(mask[0], mask[1])


@pytest.mark.parametrize("fill", ["zeros", "learned"])
def test_5_visible_voxels_stay_and_masked_ones_are_filled(fill):
    method = build(masking={"fill": fill})
    with torch.no_grad():
        method.mask_value.fill_(0.7)
    seen = {}
    method.student.encoder.register_forward_pre_hook(lambda _, given: seen.update(image=given[0]))
    batch = pairs()
    terms(method, batch)
    crops = torch.cat([batch.windows()[:, 0], batch.windows()[:, 1]])
    mask = draw_mask(
        torch.empty(4, 1, *PATCH), method.settings.masking, torch.Generator().manual_seed(0)
    )
    assert torch.equal(seen["image"][~mask], crops[~mask])
    assert torch.equal(seen["image"][mask], torch.full_like(crops[mask], 0.7))
    assert method.mask_value.requires_grad == (fill == "learned")
    assert build().mask_value == 0


def test_6_the_loss_of_masked_voxels_ignores_visible_ones_unless_as_released():
    g = torch.Generator().manual_seed(0)
    image, found = torch.randn(2, 1, *PATCH, generator=g), torch.randn(2, 1, *PATCH, generator=g)
    mask = draw_mask(torch.empty(2, 1, *PATCH), Masking(side=4), g)
    changed = torch.where(mask, found, found + 1)
    for where, same in (("masked", True), ("all", False)):
        one, other = (reconstruction_loss(image, x, mask, where) for x in (found, changed))
        assert torch.equal(one, other) == same


def test_11_the_released_reconstruction_of_a_hand_example():
    image = torch.tensor([1.0, 0, 0, 1]).view(1, 1, 4, 1, 1)
    found = torch.tensor([0.5, 0, 0, 1]).view(1, 1, 4, 1, 1)
    loss = reconstruction_loss(image, found, torch.zeros(1, 1, 4, 1, 1, dtype=torch.bool), "all")
    weight = Settings.preset("released").reconstruction.weight
    assert weight * loss.item() == pytest.approx(10 / 2 * 0.0625) == pytest.approx(0.3125)


@pytest.mark.parametrize("context", ["encoder", "decoder"])
@pytest.mark.parametrize("average", [True, False])
def test_7_no_gradient_reaches_the_teacher(context, average):
    method = build(within={"target_context": context, "average": average})
    sum(terms(method).values()).backward()
    assert all(p.grad is None and not p.requires_grad for p in method.teacher.parameters())
    own = {id(p) for p in method.casa.parameters()} | {id(p) for p in method.zeta.parameters()}
    for module in (method.target_casa, method.target_zeta):
        for parameter in module.parameters() if module is not None else ():
            assert id(parameter) in own or parameter.grad is None
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    assert all(bool(p.grad.any()) for p in trained.values() if p.ndim > 1)
    held = {id(p) for network in method.networks() for p in network.parameters()}
    assert {id(p) for p in trained.values()} <= held


def test_7_the_target_is_detached_from_the_teachers_tokens():
    method = build(within={"target_context": "decoder", "average": False})
    image = torch.randn(4, 1, *PATCH)
    student, teacher = method.student(image), method.student(image)
    own, target = method._align(student, teacher)
    assert own.requires_grad
    assert not target.requires_grad


def test_7_the_average_of_two_and_four_with_half_momentum_is_three():
    old, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    for module, value in ((old, 2.0), (new, 4.0)):
        torch.nn.init.constant_(module.weight, value)
    update_ema(old.requires_grad_(False), new, 0.5)
    assert old.weight.item() == 3.0


def test_7_all_averages_follow_at_the_scheduled_momentum():
    method = build(teacher={"momentum": 0.5})
    before = copy(method)
    terms(method)
    with torch.no_grad():
        for module in (method.student, method.casa, method.zeta):
            for parameter in module.parameters():
                parameter.add_(1)
    method.after_step(Progress(1, 100))  # momentum 0.5 at the first step
    for name in ("teacher.head.mlp.0.weight", "target_casa.key.weight", "target_zeta.direction"):
        torch.testing.assert_close(method.state_dict()[name], before[name] + 0.5)
    asked = method.state_dict()
    assert torch.equal(asked["target_casa.query.weight"], asked["casa.query.weight"])
    method.after_step(Progress(101, 100))  # momentum 1
    again = method.state_dict()["teacher.head.mlp.0.weight"]
    torch.testing.assert_close(again, before["teacher.head.mlp.0.weight"] + 0.5)


def test_8_swapping_the_two_windows_leaves_every_loss():
    method = build().eval()
    batch = pairs()
    student = method.student(torch.cat([batch.source[:, 0], batch.source[:, 1]]))
    teacher = method.teacher(torch.cat([batch.source[:, 0], batch.source[:, 1]]) + 0.1)
    plain = method._distil(student, teacher, pairs(), Progress(50, 100))
    both = [type(a)(*(x if x is None else x.roll(2, 0) for x in a)) for a in (student, teacher)]
    swapped = method._distil(*both, pairs(), Progress(50, 100))
    for name, loss in plain.items():
        torch.testing.assert_close(swapped[name], loss)


def test_8_the_teachers_view_of_k_moves_the_global_term_and_not_the_patches_of_q():
    method = build().eval()
    image = torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(0))  # one Q, one K
    other = image.clone()
    other[1] += torch.randn(1, *PATCH, generator=torch.Generator().manual_seed(1))
    student = method.student(image)
    one, two = method.teacher(image, values=False), method.teacher(other, values=False)
    _, target = method._align(student, one)
    _, changed = method._align(student, two)
    assert torch.equal(target[0], changed[0])
    assert not torch.allclose(target[1], changed[1])
    losses = [method._distil(student, a, pairs(), Progress(50, 100))["between"] for a in (one, two)]
    assert not torch.equal(*losses)


def hidden_everywhere(method, target):
    """The target of a crop of which the student sees nothing."""
    image = torch.randn(2, 1, *PATCH, generator=torch.Generator().manual_seed(0))
    method.settings = Settings.model_validate(merged(TINY, {"within": {"target_query": target}}))
    student, teacher = method.student(torch.zeros_like(image)), method.teacher(image, values=False)
    moved = teacher._replace(tokens=teacher.tokens.flip(1))
    return [method._align(student, one)[1] for one in (teacher, moved)]


def test_a_students_query_asks_of_all_places_and_a_teachers_of_its_own():
    """Tokens that are asked are a set: only whose tokens ask can tell one place from another."""
    method = build().eval()
    of_all, moved = hidden_everywhere(method, "student")
    torch.testing.assert_close(moved, of_all)
    by_place, moved = hidden_everywhere(method, "teacher")
    assert not torch.allclose(by_place, of_all)
    torch.testing.assert_close(moved, by_place.flip(1))


def test_the_pooled_features_pass_the_tokens_projection_unless_as_released():
    plain, released = build().student, build(head={"project_crops": False}).student
    assert all(torch.equal(plain.state_dict()[k], v) for k, v in released.state_dict().items())
    pooled = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    head = released.head
    torch.testing.assert_close(head.crop(pooled), head.unit(pooled))
    torch.testing.assert_close(plain.head.crop(pooled), head.unit(head.project(pooled)))
    image = torch.randn(2, 1, *PATCH)
    assert torch.equal(plain(image).tokens, released(image).tokens)
    assert not torch.allclose(plain(image).scores, released(image).scores)


def test_the_weights_multiply_their_terms():
    plain = terms(build())
    heavy = terms(
        build(reconstruction={"weight": 15}, between={"weight": 2}, within={"weight": 0.5})
    )
    for name, factor in (("reconstruction", 3), ("between", 2), ("within", 0.5)):
        torch.testing.assert_close(heavy[name], factor * plain[name])


def test_reconstruction_comes_first_and_the_other_terms_ramp_up():
    settings = Ramp(start=0.2, length=0.4)
    found = [
        linear_ramp(Progress(step, 100), settings.length, settings.start)
        for step in (1, 20, 40, 60, 100)
    ]
    assert found == pytest.approx([0, 0, 0.5, 1, 1])
    assert linear_ramp(Progress(1, 100), 0, 0) == 1
    method = build(ramp={"start": 0.2, "length": 0.4})
    full, half, none = (terms(method, step=step) for step in (80, 40, 10))
    for name in ("between", "within"):
        torch.testing.assert_close(half[name], full[name] / 2)
        assert none[name] == 0
    assert torch.equal(none["reconstruction"], full["reconstruction"])


def test_the_teachers_temperature_is_linear_in_its_share_of_training():
    settings = TeacherTemperature(first=0.04, last=0.07, warmup=0.3)
    found = [temperature(settings, Progress(step, 100)) for step in (1, 11, 31, 100)]
    assert found == pytest.approx([0.04, 0.05, 0.07, 0.07])


def test_the_centres_are_running_means_over_rows_and_over_tokens_and_rows():
    method = build()
    terms(method)
    scores, aligned = method._step.scores, method._step.aligned
    method.after_step(Progress(1, 100))
    torch.testing.assert_close(method.crop_centre, 0.1 * scores.mean(0))
    torch.testing.assert_close(method.patch_centre, 0.1 * aligned.mean((0, 1)))


def test_prototypes_rest_for_the_first_steps_if_asked():
    method = build(head={"freeze_steps": 3})
    sum(terms(method, step=3).values()).backward()
    assert method.student.head.crops.direction.grad is None
    sum(terms(method, step=4).values()).backward()
    assert method.student.head.crops.direction.grad is not None


ARMS = {
    "no alignment": {"within": {"align": False}},
    "no patches": {"within": {"weight": 0}},
    "no crops": {"between": {"weight": 0}},
    "reconstruction only": {"between": {"weight": 0}, "within": {"weight": 0}},
    "no reconstruction": {"reconstruction": {"weight": 0}},
    "nt_xent": {"between": {"kind": "nt_xent", "queue": 6}},
    "dcl": {"between": {"kind": "dcl", "queue": 0}},
    "sinkhorn": {"between": {"balance": "sinkhorn"}, "within": {"balance": "sinkhorn"}},
    "layer norm": {"within": {"prototypes": False}},
    "code": {"within": {"prototypes": False, "target_context": "decoder", "average": False}},
    "learned": {"masking": {"fill": "learned", "shape": "columns"}},
    "pooled as released": {"head": {"project_crops": False}},
    "pooled as released, no patches": {"head": {"project_crops": False}, "within": {"weight": 0}},
    "targets by place": {"within": {"target_query": "teacher"}},
    "targets by place, code": {
        "within": {"target_query": "teacher", "target_context": "decoder", "average": False}
    },
}


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_learns_with_a_gradient_to_all_that_it_trains(arm):
    method = build(**ARMS[arm])
    found = terms(method)
    sum(found.values()).backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.ndim == 1 or bool(parameter.grad.any()), name
        else:
            assert parameter.grad is None, name
    before = method.monitor()
    method.after_step(Progress(50, 100))
    assert all(isinstance(value, float) for value in before.values())
    kept = {"reconstruction", "between", "within"}
    gone = {
        "no patches": {"within"},
        "pooled as released, no patches": {"within"},
        "no crops": {"between"},
        "no reconstruction": {"reconstruction"},
    }
    if arm == "reconstruction only":
        assert set(found) == {"reconstruction"}
    else:
        assert set(found) == kept - gone.get(arm, set())


def test_no_mining_and_no_module_are_only_left_out():
    """Reconstruction of the same weights does not depend on the other arms."""
    every, alone = terms(build()), terms(build(**ARMS["reconstruction only"]))
    assert torch.equal(every["reconstruction"], alone["reconstruction"])


def test_the_queue_holds_the_teachers_latest_crops_in_a_ring():
    method = build(between={"kind": "nt_xent", "queue": 6})
    seen = []
    for step in (1, 2):
        terms(method, pairs(step), step)
        seen.append(method._step.unit)
        method.after_step(Progress(step, 100))
    assert int(method.queue.pointer) == 2  # 8 keys in a ring of 6
    keys = method.queue.keys
    torch.testing.assert_close(keys[:2], seen[1][2:])
    torch.testing.assert_close(keys[2:4], seen[0][2:])
    torch.testing.assert_close(keys[4:], seen[1][:2])


@pytest.mark.parametrize("side", [5, 16])
def test_cells_that_do_not_fit_are_refused_with_those_that_do(side):
    """5 does not divide the window, of 16 there is one, which would be all or nothing."""
    Masking(side=4).must_fit(PATCH)
    with pytest.raises(UsageError, match=rf"masking\.side={side} does not fit .* of 1, 2, 4, 8$"):
        Masking(side=side).must_fit(PATCH)


def test_columns_are_counted_in_two_axes():
    with pytest.raises(UsageError, match=r"of 1, 2, 4$"):
        Masking(shape="columns", side=8).must_fit((8, 8, 16))
    Masking(side=8).must_fit((8, 8, 32))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"within": {"heads": 5}}, "12 outputs cannot be divided among 5 heads"),
        ({"reconstruction": {"weight": 0}, **ARMS["reconstruction only"]}, "nothing to learn from"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_before_anything_is_read(
    settings, sentence
):
    with pytest.raises(UsageError, match=sentence):
        validate(Settings, merged(TINY, settings), "method.")


def test_unknown_keys_are_refused():
    with pytest.raises(ValidationError):
        Settings(between={"wieght": 1})


class TestCollapse:
    """No. 12: a run that has collapsed ends with one sentence."""

    def stop(self, method, **changed):
        for step in range(1, 9):
            terms(method, step=step)
            losses = {**method._step.losses, **changed.get("losses", {})}
            own = changed.get("own", torch.eye(8)[:4])
            method._step = method._step._replace(losses=losses, own=own)
            method.after_step(Progress(step, 100))

    def test_a_constant_teacher_stops_it(self):
        method = build(collapse={"patience": 5})
        with pytest.raises(
            MedsslError, match=r"collapsed at step 5: .*was ln\(method.head.outputs"
        ):
            self.stop(method, losses={"between": torch.tensor(log(12) + 0.009)})

    def test_too_easy_an_alignment_stops_it_early_in_training(self):
        method = build(collapse={"patience": 5})
        with pytest.raises(MedsslError, match=r"within a volume was below 0.05"):
            self.stop(method, losses={"within": torch.tensor(0.04)})
        late = build(collapse={"patience": 5, "early": 0.04})
        self.stop(late, losses={"within": torch.tensor(0.04)})

    def test_features_that_are_all_alike_stop_it(self):
        method = build(collapse={"patience": 5})
        with pytest.raises(MedsslError, match=r"features of crops differed by less than"):
            self.stop(method, own=torch.ones(4, 8))

    def test_a_healthy_run_and_signs_with_a_break_go_on(self):
        self.stop(build(collapse={"patience": 5}))
        method = build(collapse={"patience": 5})
        for step in range(1, 12):
            terms(method, step=step)
            own = torch.eye(8)[:4] if step % 5 == 0 else torch.ones(4, 8)
            method._step = method._step._replace(own=own)
            method.after_step(Progress(step, 100))

    def test_signs_do_not_count_before_the_terms_do(self):
        method = build(collapse={"patience": 5}, ramp={"start": 0.99})
        self.stop(method, own=torch.ones(4, 8))


def update(method, seed=0):
    optimiser = OptimiserSettings(name="adamw", learning_rate=1e-3, schedule="constant")
    settings = LoopSettings(steps=20, optimiser=optimiser, clip_norm=3.0)
    return make_update(method, settings, seed, torch.device("cpu"))


def test_twenty_steps_lower_the_loss():
    step = update(build(between={"kind": "nt_xent", "queue": 0}))
    found = [step({"pairs": pairs()}, Progress(k, 20))["loss"] for k in range(1, 21)]
    assert sum(found[-3:]) < 0.9 * sum(found[:3])


def test_13_a_resumed_run_goes_on_as_the_unbroken_one():
    """Alignment module, centres, averages and queue travel with the weights."""
    settings = {"between": {"kind": "nt_xent", "queue": 16}, "within": {"dropout": 0.1}}
    whole = update(build(**settings))
    for k in range(1, 4):
        whole({"pairs": pairs(k)}, Progress(k, 20))
    saved, rates = copy(whole.method), deepcopy(whole.optimiser.state_dict())
    expected = whole({"pairs": pairs(4)}, Progress(4, 20))
    other = update(build(seed=9, **settings))
    other.method.load_state_dict(saved)
    other.optimiser.load_state_dict(rates)
    assert other({"pairs": pairs(4)}, Progress(4, 20)) == expected
    one, two = whole.method.state_dict(), other.method.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_equal_seeds_give_equal_weights_and_building_draws_nothing():
    before = torch.random.get_rng_state()
    one, same, other = (build(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_the_encoder_handed_on_is_the_networks_own():
    from medssl.networks.build import build_network
    from medssl.networks.transfer import PretrainedEncoder

    student, teacher = build(), build(hand_on="teacher")
    for method in (student, teacher):
        with torch.no_grad():
            for parameter in method.student.parameters():
                parameter.add_(0.01)
    assert student.encoder() is student.student.encoder
    assert teacher.encoder() is teacher.teacher.encoder
    weights = student.encoder().state_dict()
    network = build_network(NETWORK, 1, 3, 0, PretrainedEncoder(weights, 0.95, "repeat"))
    found = network.encoder.state_dict()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_the_decoder_is_handed_on_where_it_has_learnt_to_fill_in():
    student, teacher = build(), build(hand_on="teacher")
    assert student.decoder_too() is student.student.decoder
    assert teacher.decoder_too() is teacher.teacher.decoder
    assert build(reconstruction={"weight": 0}).decoder_too() is None


def test_the_predictor_pools_the_deepest_level_and_probes_get_the_heads_vector():
    method = build().eval()
    image = torch.randn(3, 1, *PATCH)
    features = method.predictor()(image)
    torch.testing.assert_close(features, method.student(image).pooled)
    torch.testing.assert_close(method.parts_of(image)["head"].norm(dim=1), torch.ones(3))
    assert build(**ARMS["reconstruction only"]).parts_of(image) == {}
    found = method.reconstruct(image, torch.Generator().manual_seed(0))
    assert found.mask.float().mean() == 0.75
    assert found.prediction.shape == image.shape
    assert build(reconstruction={"weight": 0}).reconstruct(image, torch.Generator()) is None


def test_the_papers_presets_are_as_published():
    paper, released = Settings.preset("paper"), Settings.preset("released")
    for chosen in (paper, released):
        assert (chosen.masking.side, chosen.masking.ratio) == (16, 0.75)
        assert (chosen.head.hidden, chosen.head.bottleneck, chosen.head.outputs) == (2048, 256, 512)
        assert chosen.between.teacher_temperature.first == 0.008
        assert chosen.within.teacher_temperature.last == 0.01
        assert chosen.teacher.momentum == 0.996
        assert (chosen.views.candidates, chosen.views.matching.similarity) == (101, 0.7)
        assert not chosen.within.prototypes
        assert (chosen.ramp.start, chosen.ramp.length) == (0, 0)
        assert chosen.between.kind == "distillation"
        assert {chosen.between.balance, chosen.within.balance} == {"centre"}
    assert (paper.within.target_context, paper.within.average) == ("encoder", True)
    assert (released.within.target_context, released.within.average) == ("decoder", False)
    assert (paper.head.project_crops, released.head.project_crops) == (True, False)
    assert paper.within.target_query == released.within.target_query == "student"
    assert (paper.masking.shape, released.masking.shape) == ("cubes", "columns")
    assert (paper.reconstruction.where, released.reconstruction.where) == ("masked", "all")


def told(anatomy, near):
    batch = pairs(items=len(anatomy))
    return replace(batch, anatomy=torch.tensor(anatomy), near=torch.tensor(near))


def contrasted(**settings):
    chosen = Settings.model_validate(
        merged(
            TINY, {"between": {"kind": "nt_xent", "queue": 8}, "within": {"weight": 0}, **settings}
        )
    )
    return Alice(chosen, PretrainTask(NETWORK, PATCH, ("t1",), 4, anatomy=2), 0).train()


ALIKE = [[[1.0, 0.0]] * 2] * 2
APART = [[[1.0, 0.0]] * 2, [[0.0, 1.0]] * 2]
NEAR = [[0.5, 0.5]] * 2


def test_windows_of_the_same_anatomy_are_no_negatives():
    barred = terms(contrasted(), told(ALIKE, NEAR))["between"]
    apart = terms(contrasted(), told(APART, NEAR))["between"]
    plain = terms(contrasted(), pairs())["between"]
    assert float(barred.detach()) == 0  # nothing is left to be told from
    assert torch.equal(apart, plain)


def test_nor_are_those_of_the_queue():
    method = contrasted()
    terms(method, told(ALIKE, NEAR))
    method.after_step(Progress(50, 100))
    assert int((method.anatomies.patients > 0).sum()) == 4
    assert torch.equal(method.anatomies.keys[:4], torch.tensor([[1.0, 0.0]] * 4))
    seen = terms(method, told(ALIKE, NEAR))["between"]
    other = terms(method, told([[[0.0, 1.0]] * 2] * 2, NEAR))["between"]
    assert float(seen.detach()) == 0
    assert float(other.detach()) > 0


def test_how_many_are_barred_is_told():
    method = contrasted()
    terms(method, told(APART, NEAR))
    assert method.monitor()["barred"] == pytest.approx(4 / 12)  # of 4 crops each has one like it
