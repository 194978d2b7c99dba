"""Joint 2D-3D pre-training by its sheet: phases, the three losses, what a step leaves behind."""

from math import log

import pytest
import torch
from pydantic import ValidationError
from torch.nn.functional import normalize

from medssl.data.mixed.batch import Images, MixedBatch, Volumes
from medssl.errors import MedsslError, UsageError
from medssl.methods.encoder_method import MixedTask
from medssl.methods.method import Progress
from medssl.methods.pretrain.joint2d3d import Joint2d3d
from medssl.methods.pretrain.joint_phases import phase_of
from medssl.methods.pretrain.slice_masking import draw_mask, hide, mask_loss
from medssl.methods.settings.joint2d3d import Masking, Settings
from medssl.networks.settings import NetworkSettings
from medssl.networks.slice_settings import SliceEncoderSettings, SliceTransformerSettings

NETWORK = NetworkSettings(
    name="slice_unet",
    slice_encoder={"name": "conv", "width": 4, "levels": 2},
    slice_transformer={
        "width": 8, "layers": 2, "heads": 2, "points": 2, "hidden": 16, "dropout": 0.0,
    },
)  # fmt: skip
SMALL = {
    "images": {"prototypes": 6, "freeze_steps": 0},
    "volumes": {"prototypes": 4, "freeze_steps": 0},
    "head": {"hidden": 16, "outputs": 8},
    "deepcluster": {"fill_steps": 1, "every": 1},
    "slices": 2,
}
WHOLE = Progress(90, 100)
"""A step of the last part of training."""

every_form = pytest.mark.parametrize("form", ["swav", "deepcluster"])


ROOMY = NETWORK.model_copy(
    update={
        "slice_encoder": SliceEncoderSettings(name="conv", width=8, levels=2, pooled="last"),
        "slice_transformer": SliceTransformerSettings(
            width=32, layers=1, heads=4, points=2, hidden=32, dropout=0.0
        ),
    }
)


def build(seed: int = 0, network: NetworkSettings = NETWORK, **settings) -> Joint2d3d:
    task = MixedTask(network, ("x", "v"), 5, 5 + 4 * 6, 4)
    return Joint2d3d(Settings(**{**SMALL, **settings}), task, seed).train()


def given(seed: int = 0, images: int = 5, lengths: tuple[int, ...] = (6, 4, 6, 5)) -> MixedBatch:
    """Five images and four volumes of up to six slices."""
    g = torch.Generator().manual_seed(seed)
    count, place = len(lengths), torch.arange(6)
    valid = place < torch.tensor(lengths).view(-1, 1)
    return MixedBatch(
        Images(
            torch.randn(images, 16, 16, generator=g),
            torch.arange(images),
            torch.zeros(images, dtype=torch.int64),
        ),
        Volumes(
            torch.randn(count, 6, 16, 16, generator=g),
            valid,
            torch.full((count,), 2.5),
            torch.rand(count, 6, generator=g) * valid,
            torch.arange(count),
            5 + torch.arange(count).view(-1, 1) * 6 + place,
            torch.ones(count, dtype=torch.int64),
        ),
        tuple(f"case{n}" for n in range(images + count)),
    )


def step(method: Joint2d3d, batch: MixedBatch | None = None, seed: int = 0, progress=WHOLE):
    torch.manual_seed(seed)
    batches = {"joint": batch or given()}
    return method(batches, progress, torch.Generator().manual_seed(seed))


# The phases of training


def names(settings: Settings) -> list[str]:
    found = []
    for count in range(1, 11):
        phase = phase_of(settings, Progress(count, 10))
        active = [name for name in ("intra", "mask", "inter") if getattr(phase, name)]
        found.append("+".join(active) + " resting" * phase.resting)
    return found


def test_joint_begins_with_images_and_slices_then_has_all_three_losses():
    assert names(Settings()) == ["intra"] * 2 + ["intra+mask+inter"] * 8


def test_hidden_slices_may_come_alone_in_between():
    found = names(Settings(warm_up=0.2, mask_only=0.3))
    assert found == ["intra"] * 2 + ["mask resting"] * 3 + ["intra+mask+inter"] * 5


def test_the_release_has_its_three_stages_one_after_the_other():
    released = Settings.preset("released")
    found = [phase_of(released, Progress(count, 305)) for count in (1, 105, 106, 205, 206, 305)]
    assert [(p.intra, p.mask, p.inter) for p in found] == [
        *[(True, False, False)] * 2, *[(False, True, False)] * 2, *[(False, False, True)] * 2
    ]  # fmt: skip


def test_each_loss_counts_its_own_steps():
    settings = Settings(warm_up=0.2, mask_only=0.3)
    found = [phase_of(settings, Progress(count, 10)) for count in range(1, 11)]
    assert [p.intra_step for p in found] == [1, 2, 2, 2, 2, 3, 4, 5, 6, 7]
    assert [p.inter_step for p in found][5:] == [1, 2, 3, 4, 5]


def test_k_means_has_no_balance():
    Settings(volumes={"balance": "data_set"})
    with pytest.raises(ValidationError, match="balance=data_set is of clustering=swav"):
        Settings(clustering="deepcluster", volumes={"balance": "data_set"})


def test_the_small_preset_keeps_the_queues_of_the_method():
    """With eight volumes a step, sixteen clusters are only filled with those of earlier steps."""
    small, own = Settings.preset("small"), Settings()
    assert (small.images.queue, small.volumes.queue) == (own.images.queue, own.volumes.queue)
    assert small.volumes.queue >= small.volumes.prototypes


def test_phases_that_leave_nothing_or_have_no_loss_are_refused():
    with pytest.raises(ValidationError, match="leave nothing of training to volumes"):
        Settings(warm_up=0.6, mask_only=0.4)
    with pytest.raises(ValidationError, match="has the loss intra alone"):
        Settings(weights={"intra": 0})
    with pytest.raises(ValidationError, match="has the loss inter alone"):
        Settings(order="sequential", weights={"inter": 0})


@pytest.mark.parametrize("preset", Settings.presets)
def test_every_preset_takes_a_step_of_every_phase(preset):
    settings = Settings.preset(preset)
    method = Joint2d3d(settings, MixedTask(NETWORK, ("x", "v"), 5, 29, 4), 0).train()
    for count in (1, 50, 100):
        progress = Progress(count, 100)
        terms = step(method, progress=progress)
        assert terms
        assert all(bool(term.isfinite()) and term.ndim == 0 for term in terms.values())
        sum(terms.values()).backward()
        method.after_step(progress)


def test_a_resting_network_of_slices_gets_no_gradient_and_keeps_its_statistics():
    method = build(warm_up=0.1, mask_only=0.8)
    before = {name: value.clone() for name, value in method.trained.slices.state_dict().items()}
    step(method, progress=Progress(50, 100))["mask"].backward()
    assert all(p.grad is None for p in method.trained.slices.parameters())
    assert method.trained.project.weight.grad is None
    assert method.decoder.weight.grad.abs().max() > 0
    assert method.mask_token.grad.abs().max() > 0
    after = method.trained.slices.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert method.trained.slices.training


# Each loss by its definition


def test_the_warm_up_sees_only_the_picked_slices():
    method, seen = build(), []
    method.trained.slices.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape)))
    step(method, progress=Progress(1, 100))
    assert seen == [(2 * (5 + 4 * 2), 1, 16, 16)]
    seen.clear()
    step(method)
    assert seen == [(2 * (5 + 4 * 6), 1, 16, 16)]


def test_picked_slices_are_valid_different_and_not_air():
    method = build(slices=3)
    volumes = given(lengths=(6, 3, 2, 1)).volumes
    volumes.foreground[0] = torch.tensor([0.0, 0.5, 0.01, 0.9, 0.4, 0.0])
    for seed in range(20):
        picks = method._pick(volumes, torch.Generator().manual_seed(seed))
        assert sorted(picks[0].tolist()) == [1, 3, 4]
        assert sorted(picks[1].tolist()) == [0, 1, 2]
        assert set(picks[2].tolist()) == {0, 1}
        assert picks[3].tolist() == [0, 0, 0]


def test_more_foreground_is_picked_more_often():
    method = build(slices=1)
    volumes = given(lengths=(3,)).volumes
    volumes.foreground[:] = torch.tensor([[0.1, 0.3, 0.6, 0, 0, 0]])
    g = torch.Generator().manual_seed(0)
    picks = torch.cat([method._pick(volumes, g) for _ in range(2000)])
    shares = torch.bincount(picks.flatten(), minlength=6) / 2000
    torch.testing.assert_close(shares[:3], torch.tensor([0.1, 0.3, 0.6]), atol=0.04, rtol=0)


def test_small_crops_have_their_side_and_reach_the_loss():
    local = {"local": {"count": 3, "side": 8}}
    method, seen = build(crops=local), []
    method.trained.slices.register_forward_pre_hook(lambda _, x: seen.append(tuple(x[0].shape)))
    with_local = step(method)["intra"]
    assert seen[1] == (3 * (5 + 8), 1, 8, 8)
    assert len(method._steps["images"].crops) == 5
    assert with_local.item() != step(build())["intra"].item()


def test_at_least_one_slice_is_hidden_and_at_least_one_seen():
    """ceil(0.1 n), at least 1, at most n - 1; the release's 7 of 64."""
    lengths = torch.tensor([64, 31, 10, 2, 1])
    valid = torch.arange(64) < lengths[:, None]
    mask = draw_mask(valid, 0.1, torch.Generator().manual_seed(0))
    assert mask.sum(1).tolist() == [7, 4, 1, 1, 0]
    assert not (mask & ~valid).any()
    counts = torch.stack(
        [draw_mask(valid, 0.1, torch.Generator().manual_seed(seed))[1] for seed in range(300)]
    ).sum(0)
    assert counts[:31].min() > 10, "every valid slice has its turn"


def test_what_is_masked_is_hidden_bit_for_bit():
    """The sheet's test 8."""
    method = build().eval()
    embedded = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[False, False, True, False, False, False]])
    valid = torch.ones(1, 6, dtype=torch.bool)

    def predicted(tokens: torch.Tensor) -> torch.Tensor:
        hidden = hide(tokens, mask, method.mask_token)
        return method.decoder(method.trained.tokens(hidden, valid, torch.ones(1)))

    masked, visible = embedded.clone(), embedded.clone()
    masked[0, 2] += 5
    visible[0, 1] += 5
    assert torch.equal(predicted(masked), predicted(embedded))
    assert not torch.equal(predicted(visible)[0, 2], predicted(embedded)[0, 2])


def test_the_mask_loss_is_over_masked_slices_alone():
    """Zero if they are right, whatever is said of the others."""
    g = torch.Generator().manual_seed(0)
    views = [torch.randn(2, 4, 3, generator=g) for _ in range(2)]
    valid = torch.ones(2, 4, dtype=torch.bool)
    masks = [torch.eye(4, dtype=torch.bool)[[0, 2]], torch.eye(4, dtype=torch.bool)[[1, 1]]]
    right = [
        torch.where(mask.unsqueeze(2), normalize(view, dim=2), torch.full_like(view, 9.0))
        for view, mask in zip(views, masks, strict=True)
    ]
    assert mask_loss(right, views, masks, valid, Masking()).item() == pytest.approx(0, abs=1e-12)
    right[0][0, 0, 0] += 0.5
    right[1][1, 1, 2] -= 1.0
    found = mask_loss(right, views, masks, valid, Masking()).item()
    assert found == pytest.approx((0.25 + 1.0) / 4)


def test_the_released_mask_loss_counts_all_slices_and_divides_by_6_while_7_are_masked():
    g = torch.Generator().manual_seed(0)
    views = [torch.randn(2, 64, 3, generator=g) for _ in range(2)]
    said = [torch.randn(2, 64, 3, generator=g) for _ in range(2)]
    valid = torch.ones(2, 64, dtype=torch.bool)
    mask = draw_mask(valid, 0.1, g)
    assert mask.sum(1).tolist() == [7, 7]
    settings = Masking(loss="all", target="raw", views="shared")
    pairs = list(zip(said, views, strict=True))
    expected = sum(torch.nn.functional.mse_loss(*pair) for pair in pairs) / 6
    found = mask_loss(said, views, [mask, mask], valid, settings)
    torch.testing.assert_close(found, expected)


def test_no_gradient_flows_into_the_targets_of_hidden_slices():
    views = [torch.randn(1, 3, 2).requires_grad_() for _ in range(2)]
    said = [torch.randn(1, 3, 2).requires_grad_() for _ in range(2)]
    every = torch.ones(1, 3, dtype=torch.bool)
    mask_loss(said, views, [every, every], every, Masking()).backward()
    assert said[0].grad is not None
    assert views[0].grad is None


@pytest.mark.parametrize(("views", "same"), [("shared", True), ("own", False)])
def test_both_views_hide_the_same_slices_or_their_own(views, same, monkeypatch):
    method, seen = build(masking={"views": views, "share": 0.4}), []
    monkeypatch.setattr(
        "medssl.methods.pretrain.joint2d3d.hide",
        lambda view, mask, token: seen.append(mask) or hide(view, mask, token),
    )
    step(method, given(lengths=(6, 6, 6, 6)))
    assert torch.equal(seen[0], seen[1]) == same


def test_the_inter_loss_compares_the_unmasked_vectors_of_both_views():
    method = build()
    terms = step(method)
    left = method._steps["volumes"]
    assert [tuple(crop.shape) for crop in left.crops] == [(4, 8)] * 2
    for crop in left.crops:
        torch.testing.assert_close(crop.norm(dim=1), torch.ones(4))
    again = method.volume_clusters(left.crops, left.items, torch.Generator()).loss
    torch.testing.assert_close(terms["inter"], again)


def test_slices_that_fill_up_never_matter_to_volumes():
    method = build().eval()
    one, other = given(), given()
    other.volumes.slices[1, 4:] = 7.0
    found = [step(method, batch) for batch in (one, other)]
    for name in ("mask", "inter"):
        torch.testing.assert_close(found[0][name], found[1][name], atol=1e-5, rtol=1e-5)


def test_weights_scale_their_terms():
    plain = step(build())
    scaled = step(build(weights={"intra": 2.0, "mask": 3.0, "inter": 0.5}))
    for name, factor in {"intra": 2, "mask": 3, "inter": 0.5}.items():
        torch.testing.assert_close(scaled[name], factor * plain[name])


def test_a_weight_of_zero_leaves_a_loss_out():
    two_d = build(weights={"mask": 0.0, "inter": 0.0})
    assert set(step(two_d)) == {"intra"}
    assert set(step(build(weights={"mask": 0.0}))) == {"intra", "inter"}


def test_hidden_slices_lose_weight_once_they_are_easy_while_volumes_are_at_chance():
    method, other = build(), build(weights={"halve_mask": False})
    for one in (method, other):
        step(one)
        one._losses = {"mask": torch.tensor(0.04), "inter": torch.tensor(0.99 * log(4))}
        one.after_step(Progress(21, 100))
    assert method.mask_share.item() == 0.5
    assert other.mask_share.item() == 1
    before = build()
    torch.testing.assert_close(step(method)["mask"], 0.5 * step(before)["mask"])


# A step as a whole


@every_form
def test_gradients_reach_all_that_is_trained(form):
    method = build(clustering=form)
    step(method)
    method.after_step(WHOLE)  # deepcluster has something to cluster then
    sum(step(method, seed=1).values()).backward()
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert form == "deepcluster"
            assert "prototypes" in name
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.ndim == 1 or parameter.grad.abs().max() > 0, name
    held = [id(p) for network in method.networks() for p in network.parameters()]
    assert sorted(held) == sorted(id(p) for p in method.parameters())


@every_form
def test_all_randomness_comes_from_what_is_handed_in(form):
    method = build(clustering=form)
    batch = given()
    first, same, other = (step(method, batch, seed) for seed in (0, 0, 1))
    assert {n: t.item() for n, t in first.items()} == {n: t.item() for n, t in same.items()}
    assert first["mask"].item() != other["mask"].item()
    assert torch.equal(batch.volumes.slices, given().volumes.slices)
    assert torch.equal(batch.images.pixels, given().images.pixels)


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    first, same, other = (build(seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_without_images_and_without_volumes_the_rest_still_learns():
    assert set(step(build(), given(images=0))) == {"intra", "mask", "inter"}
    task = MixedTask(NETWORK, ("x",), 5, 5, 0)
    chosen = {**SMALL, "weights": {"mask": 0.0, "inter": 0.0}}
    method = Joint2d3d(Settings(**chosen), task, 0)
    batch = given(lengths=())
    batch.volumes.slices = batch.volumes.slices.view(0, 6, 16, 16)
    assert set(step(method, batch)) == {"intra"}


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (MixedTask(NETWORK, ("x",), 5, 5, 0), {}, "no volumes to learn from.*x hold images alone"),
        (MixedTask(NETWORK, ("v",), 0, 9, 2), {"slices": 0}, "no images or slices to cluster"),
    ],
)
def test_what_cannot_be_learnt_is_refused(task, settings, message):
    with pytest.raises(UsageError, match=message):
        Joint2d3d(Settings(**{**SMALL, **settings}), task, 0)


def test_what_is_handed_on_is_the_encoder_of_the_network():
    from medssl.networks.build import build_encoder

    method = build()
    assert method.encoder() is method.predictor()
    build_encoder(NETWORK, 1, seed=3).load_state_dict(method.encoder().state_dict())


def test_a_collapse_is_told_after_steps_in_a_row():
    method = build(collapse={"patience": 2})
    batch = given(lengths=(6, 6, 6, 6))
    batch.volumes.slices[:] = 0
    network = method.trained
    torch.nn.init.zeros_(network.project.weight)
    step(method, batch)
    method.after_step(WHOLE)
    assert method.monitor()["volumes_deviation"] < 0.1
    with pytest.raises(MedsslError, match=r"collapsed at step 90.*same answer.*learning_rate"):
        method.after_step(WHOLE)


def test_a_healthy_step_starts_the_count_again():
    method = build(collapse={"patience": 3, "deviation": 0.0})
    method.collapsed.fill_(2)
    step(method)
    method.after_step(WHOLE)
    assert method.collapsed.item() == 0


def test_the_monitor_tells_of_clusters_and_data_sets():
    method = build()
    assert method.monitor() == {}
    step(method)
    method.after_step(WHOLE)
    found = method.monitor()
    assert set(found) == {
        "images_used", "images_source_nmi", "volumes_used", "volumes_source_nmi",
        "volumes_deviation", "mask_share",
    }  # fmt: skip
    assert 0 < found["images_used"] <= 1
    assert found["volumes_source_nmi"] == 0, "all volumes are of one data set"


@pytest.mark.parametrize(
    ("form", "balance"), [("swav", "all"), ("swav", "data_set"), ("deepcluster", "all")]
)
def test_a_saved_state_continues_to_the_same_bits(form, balance):
    """What forward and after_step keep is all in the state."""
    images = {"prototypes": 6, "queue": 13, "freeze_steps": 1, "balance": balance}
    chosen = {"clustering": form, "images": images,
              "swav": {"queue_from": 1}, "deepcluster": {"fill_steps": 2, "every": 2}}  # fmt: skip

    def run(method: Joint2d3d, begin: int, end: int) -> Joint2d3d:
        optimiser = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), 0.1)
        for number in range(begin, end):
            optimiser.zero_grad()
            progress = Progress(20 + number, 30)
            sum(step(method, given(number), number, progress).values()).backward()
            optimiser.step()
            method.after_step(progress)
        return method

    unbroken = run(build(**chosen), 0, 6).state_dict()
    half = run(build(**chosen), 0, 3)
    continued = build(seed=9, **chosen)
    continued.load_state_dict(half.state_dict())
    found = run(continued, 3, 6).state_dict()
    assert all(torch.equal(found[name], value) for name, value in unbroken.items())


def test_four_volumes_find_four_clusters():
    """The sheet's test 13: L_inter below 0.1 after 200 steps, each volume its own cluster."""
    method = build(
        weights={"intra": 0.0, "mask": 0.0},
        network=ROOMY,
        warm_up=0.0,
        augment={"rotation": 5.0, "blur": 0.0, "noise": 0.05},
    )
    optimiser = torch.optim.AdamW(method.parameters(), 3e-3)
    batch = given(lengths=(6, 6, 6, 6))
    for volume, (across, down) in enumerate([(0, 3), (3, 0), (0, 7), (7, 0)]):
        rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
        wave = (2 * torch.pi * (down * rows + across * columns) / 16).sin()
        batch.volumes.slices[volume] = wave
    for count in range(1, 201):
        optimiser.zero_grad()
        loss = step(method, batch, count, Progress(count, 200))["inter"]
        loss.backward()
        optimiser.step()
        method.after_step(Progress(count, 200))
    assert loss.item() < 0.1
    assert sorted(method._steps["volumes"].found.cluster.tolist()) == [0, 1, 2, 3]
