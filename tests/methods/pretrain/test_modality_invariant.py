"""Modality-invariant learning, step by step, against its sheet, sections 2, 5 and 10.1."""

import pytest
import torch
from torch.nn.functional import normalize

from medssl.errors import MedsslError
from medssl.methods.method import Progress
from medssl.methods.pretrain.masked_image_modelling import masked_loss
from medssl.methods.pretrain.modality_invariant import ramp
from medssl.methods.settings.modality_invariant import Ramp, Settings
from tests.methods.pretrain.scans import STILL, both, build, copy, pair_batch, scan_batch, terms

NAME = "modality_invariant"
CONTRASTIVE = ["cl", "mcl", "cl_mim", "mcl_mim"]
FILLING = ["mim", "cl_mim", "mcl_mim"]
QUEUE = {"negatives": {"source": "queue", "queue": 32}}
ALWAYS = {"alpha": Ramp(start=1, end=1, begin=0, stop=0)}
KEYS = {"keys": 8, "rank": 1.5}


def given(method):
    return {stream: batch for stream, batch in both().items() if stream in method.streams}


def count_passes(method):
    """How often each network runs in a step, and on how many scans."""
    seen = {}

    def count(name, module):
        module.register_forward_hook(
            lambda _, __, output: seen.setdefault(name, []).append(len(output))
        )

    count("decoder", method.filler.decoder)
    count("encoder", method.encoder().blocks[-1])
    count("projector", method.embedder.projector)
    if method.momentum is not None:
        count("momentum", method.momentum.encoder.blocks[-1])
    return seen


@pytest.mark.parametrize(
    ("arm", "names", "passes"),
    [
        ("cl", {"contrast"}, {"encoder": [8], "projector": [8], "momentum": [8]}),
        ("mcl", {"contrast"}, {"encoder": [8], "projector": [8], "momentum": [8]}),
        ("mim", {"masked_scans"}, {"encoder": [2], "decoder": [2]}),
        ("cl_mim", {"masked_pairs", "contrast", "masked_scans"}, None),
        ("mcl_mim", {"masked_pairs", "contrast", "masked_scans"}, None),
    ],
)
def test_an_arm_runs_what_it_needs_and_no_more(arm, names, passes):
    """Four pairs: 8 masked, 8 query and 8 momentum passes, then the 2 single scans."""
    method = build(NAME, arm=arm)
    seen = count_passes(method)
    assert set(terms(method, given(method))) == names
    full = {"encoder": [8, 8, 2], "decoder": [8, 2], "projector": [8], "momentum": [8]}
    assert seen == (passes or full)


@pytest.mark.parametrize("arm", ["cl", "mcl", "mim", "cl_mim", "mcl_mim"])
def test_an_arm_asks_for_its_pairs(arm):
    method = build(NAME, arm=arm)
    pairs = method.pairs()
    if arm == "mim":
        assert pairs is None
        assert method.streams == ("scans",)
        return
    assert pairs.kind == ("same_scan" if arm.startswith("cl") else "modalities")
    assert (pairs.sampler, pairs.contrasts_differ) == ("session", True)
    assert method.streams == (("pairs", "scans") if "mim" in arm else ("pairs",))


def test_one_scan_twice_without_any_change_is_found_at_once():
    """The arm CL with both views equal: query and key agree, so the positive has cosine 1."""
    method = build(NAME, arm="cl", momentum=Ramp(start=0, end=0, begin=0, stop=0), **STILL)
    batch = pair_batch()
    batch.source[:, 1] = batch.source[:, 0]
    seen = method._see(
        batch.windows().transpose(0, 1).flatten(0, 1), method.momentum, Progress(1, 10)
    )
    torch.testing.assert_close((seen.query * seen.key.roll(4, 0)).sum(1), torch.ones(8))


def test_single_scans_may_be_missing():
    method = build(NAME)
    assert set(terms(method, {"pairs": pair_batch()})) == {"masked_pairs", "contrast"}


@pytest.mark.parametrize("negatives", [{"source": "batch"}, QUEUE["negatives"]])
def test_the_contrast_is_the_papers_formula(negatives):
    """L_mcl = 1/2 [L(q_a, k_b) + L(q_b, k_a)], negatives of other patients alone."""
    method = build(NAME, arm="mcl", negatives=negatives, **ALWAYS, **STILL)
    batch = pair_batch((1, 2, 2, 3))
    if method.queue is not None:
        stored = normalize(torch.randn(6, 8, generator=torch.Generator().manual_seed(0)), dim=1)
        method.queue.push(stored, torch.tensor([1, 2, 3, 7, 7, 8]))
        others, whose = stored, [1, 2, 3, 7, 7, 8]
    found = terms(method, {"pairs": batch})["contrast"]
    with torch.no_grad():
        a, b = (batch.source[:, view] for view in (0, 1))
        q_a, q_b = (method.embedder.project(method.encoder()(x)) for x in (a, b))
        k_a, k_b = (method.momentum.project(method.momentum.encoder(x)) for x in (a, b))
        if method.queue is None:
            others, whose = torch.cat([k_a, k_b]), [1, 2, 2, 3, 1, 2, 2, 3]
        rows = []
        for query, key in ((q_a, k_b), (q_b, k_a)):
            for i, patient in enumerate((1, 2, 2, 3)):
                fits = [j for j, owner in enumerate(whose) if owner != patient]
                scores = torch.cat([key[i : i + 1], others[fits]]) @ query[i] / 0.2
                rows.append(-scores.log_softmax(0)[0])
    torch.testing.assert_close(found, torch.stack(rows).mean())


@pytest.mark.parametrize("more", [{}, QUEUE])
def test_swapping_both_scans_leaves_the_contrast(more):
    method = build(NAME, arm="mcl", **more, **STILL)
    plain, swapped = pair_batch(), pair_batch()
    swapped.source = swapped.source.flip(1)
    if more:
        terms(method, {"pairs": pair_batch((7, 8, 9))})
    state = copy(method)
    first = terms(method, {"pairs": plain})["contrast"]
    method.load_state_dict(state)
    torch.testing.assert_close(terms(method, {"pairs": swapped})["contrast"], first)


def test_one_patient_alone_has_no_contrast_and_a_finite_gradient():
    method = build(NAME, arm="mcl")
    loss = terms(method, {"pairs": pair_batch((3, 3))})["contrast"]
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in method.parameters())


def test_both_scans_of_a_pair_are_filled_in_with_masks_of_their_own():
    """Half the mean over the hidden voxels of all a, and half of all b."""
    method = build(NAME, arm="mcl_mim", **STILL)
    batch, calls = pair_batch(), []
    method.filler.register_forward_pre_hook(lambda _, inputs: calls.append(inputs))
    found = terms(method, {"pairs": batch})["masked_pairs"]
    (image, cells), clean = calls[0], batch.source
    assert torch.equal(image, torch.cat([clean[:, 0], clean[:, 1]]))
    assert not torch.equal(cells[:4], cells[4:])
    with torch.no_grad():
        filled = method.filler(image, cells)
    halves = [
        masked_loss(filled[rows], clean[:, view], cells[rows])
        for view, rows in ((0, slice(0, 4)), (1, slice(4, 8)))
    ]
    torch.testing.assert_close(found, (halves[0] + halves[1]) / 2)


def test_queries_and_keys_see_whole_scans_and_the_same_changes():
    """The contrast does not depend on the masks, and both passes get one changed stack."""
    method = build(NAME, arm="cl_mim")
    images = []
    for encoder in (method.encoder(), method.momentum.encoder):
        encoder.register_forward_pre_hook(lambda _, inputs: images.append(inputs[0]))
    terms(method, {"pairs": pair_batch()})
    assert len(images) == 2
    assert torch.equal(images[0], images[1])
    changed = images[0] - pair_batch().windows().transpose(0, 1).flatten(0, 1)
    assert changed.abs().amax((1, 2, 3, 4)).min() > 0


@pytest.mark.parametrize("arm", ["cl", "mcl", "mim", "cl_mim", "mcl_mim"])
def test_gradients_reach_all_that_is_trained_and_never_the_momentum_copies(arm):
    method = build(NAME, arm=arm)
    sum(terms(method, given(method)).values()).backward()
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())
    assert all(p.grad.abs().max() > 0 for p in trained.values())
    if arm == "mim":
        assert method.momentum is None
    else:
        assert all(p.grad is None and not p.requires_grad for p in method.momentum.parameters())
    assert any(name.startswith("filler.decoder") for name in trained) == (arm in FILLING)
    assert ("filler.token" in trained) == (arm in FILLING)
    assert any("projector" in name for name in trained) == (arm in CONTRASTIVE)


def test_the_momentum_copies_move_before_the_queries():
    """theta_k <- m theta_k + (1 - m) theta_q, and the keys of the step are already the new ones."""
    method = build(NAME, arm="mcl", momentum=Ramp(start=0.75, end=0.75, begin=0, stop=0), **STILL)
    with torch.no_grad():
        for parameter in method.embedder.parameters():
            parameter.add_(0.1)
    old, new = copy(method.momentum), copy(method.embedder)
    batch = pair_batch()
    terms(method, {"pairs": batch})
    for name, value in method.momentum.state_dict().items():
        torch.testing.assert_close(value, 0.75 * old[name] + 0.25 * new[name], atol=1e-6, rtol=0)
    with torch.no_grad():
        stack = batch.windows().transpose(0, 1).flatten(0, 1)
        expected = method.momentum.project(method.momentum.encoder(stack))
    torch.testing.assert_close(method.latest.keys[:8], expected)


def test_the_copies_begin_as_what_they_copy():
    method = build(NAME)
    old, new = method.momentum.state_dict(), method.embedder.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old)


def test_alpha_and_momentum_climb_linearly_between_shares_of_training():
    """Sheet, section 6: alpha 0.1 -> 1 from 5 to 10 %, momentum 0.996 -> 0.999 from 5 to 20 %."""
    settings = Settings()
    steps = (1, 50, 75, 100, 125, 200, 1000)
    alpha = [ramp(settings.alpha, Progress(step, 1000)) for step in steps]
    assert alpha == pytest.approx([0.1, 0.1, 0.55, 1, 1, 1, 1])
    momentum = [ramp(settings.momentum, Progress(step, 1000)) for step in steps]
    assert momentum == pytest.approx([0.996, 0.996, 0.9965, 0.997, 0.9975, 0.999, 0.999])


def test_alpha_weighs_the_contrast_alone():
    method = build(NAME, arm="mcl_mim", momentum=Ramp(start=1, end=1, begin=0, stop=0))
    early, late = (terms(method, both(), step=step) for step in (1, 100))
    torch.testing.assert_close(early["contrast"], 0.1 * late["contrast"])
    assert torch.equal(early["masked_pairs"], late["masked_pairs"])
    assert torch.equal(early["masked_scans"], late["masked_scans"])


@pytest.mark.parametrize(
    ("source", "patients", "queued"),
    [("auto", 199, False), ("auto", 200, True), ("batch", 1000, False), ("queue", 2, True)],
)
def test_few_patients_are_told_apart_within_the_batch(source, patients, queued):
    method = build(NAME, negatives={"source": source, "queue": 16}, patients=patients)
    assert (method.queue is not None) == queued


def test_keys_of_both_scans_enter_the_queue_with_their_patients():
    method = build(NAME, arm="mcl", **QUEUE)
    terms(method, {"pairs": pair_batch((4, 9, 9))})
    assert method.queue.pointer == 6
    assert method.queue.patients[:7].tolist() == [4, 9, 9, 4, 9, 9, 0]
    torch.testing.assert_close(method.queue.keys[:6].norm(dim=1), torch.ones(6))
    assert not method.queue.keys[:6].requires_grad


def test_entries_of_the_same_patient_change_nothing():
    """Not even one that lies on the query; the same entry of another patient does."""
    losses = []
    for owner in (None, 1, 3):
        method = build(NAME, arm="mcl", **QUEUE)
        keys = normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)), dim=1)
        method.queue.push(keys, torch.tensor([7, 8]))
        if owner is not None:
            with torch.no_grad():
                alike = method.parts_of(pair_batch((1,)).source[:, 0])["z"]
            method.queue.push(alike, torch.tensor([owner]))
        losses.append(terms(method, {"pairs": pair_batch((1, 1))})["contrast"])
    assert torch.equal(losses[0], losses[1])
    assert losses[2] > losses[0]


def test_released_phantoms_add_to_the_loss_of_a_young_queue():
    negatives = {"source": "queue", "queue": 64}
    plain, released = (
        build(NAME, arm="mcl", negatives={**negatives, "phantoms": phantoms}, **ALWAYS)
        for phantoms in (False, True)
    )
    assert terms(plain, {"pairs": pair_batch()})["contrast"].item() == 0
    assert terms(released, {"pairs": pair_batch()})["contrast"].item() > 0


def test_keys_that_are_equal_but_for_rounding_are_collapsed():
    """Their effective rank is high, as rounding errors have no direction."""
    method = build(NAME, arm="mcl", collapse={**KEYS, "patience": 20})
    noise = 1e-6 * torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    method.latest.push(normalize(1 + noise, dim=1), torch.arange(1, 9))
    assert method.monitor()["key_rank"] > 1.5
    assert method.monitor()["key_deviation"] < 0.02
    for step in (10, 11, 19):
        method.after_step(Progress(step, 100))
    with pytest.raises(MedsslError, match=r"collapsed at step 20: for 20 steps .* below 0\.02"):
        method.after_step(Progress(20, 100))


def test_keys_on_one_line_are_collapsed():
    method = build(NAME, arm="mcl", collapse={**KEYS, "patience": 10})
    line = torch.eye(8)[[0]] * torch.tensor([1.0, -1.0] * 4)[:, None]
    method.latest.push(line, torch.arange(1, 9))
    found = method.monitor()
    assert found["key_rank"] == pytest.approx(1, abs=1e-4)
    assert found["key_deviation"] == pytest.approx(8**0.5 / 8)  # one of eight deviates by 1
    with pytest.raises(MedsslError, match=r"effective rank of the last 8 keys has been below 1\.5"):
        method.after_step(Progress(10, 100))


def test_only_collapsed_steps_in_a_row_count():
    method = build(NAME, arm="mcl", collapse={**KEYS, "patience": 30})
    healthy, alike = torch.cat([torch.eye(8)[:4], -torch.eye(8)[:4]]), torch.ones(8, 8) / 8**0.5
    for step, keys in enumerate((alike, alike, healthy, alike, alike), start=1):
        method.latest.push(keys, torch.arange(1, 9))
        method.after_step(Progress(10 * step, 100))
    assert method.collapsed == 20


def test_too_few_keys_are_not_judged():
    method = build(NAME, arm="mcl", collapse={"keys": 16, "rank": 5, "patience": 1})
    terms(method, {"pairs": pair_batch()})
    method.after_step(Progress(10, 100))
    assert method.collapsed == 0
    assert method.monitor() == {}


def test_the_monitor_tells_of_keys_and_of_reconstructions():
    method = build(NAME, collapse={"keys": 16, "rank": 5})
    for _ in range(2):
        assert set(terms(method, both())) == {"contrast", "masked_pairs", "masked_scans"}
    assert set(method.monitor()) == {"key_rank", "key_deviation", "masked_error"}
    assert 0 < method.monitor()["key_rank"] <= 8


def test_what_is_handed_on_and_probed():
    method = build(NAME).eval()
    image = scan_batch().windows()[:, 0]
    with torch.no_grad():
        assert method.predictor()(image).shape == (2, 16)
        parts = method.parts_of(image)
        assert parts.keys() == {"z"}
        torch.testing.assert_close(parts["z"].norm(dim=1), torch.ones(2))
        filled = method.reconstruct(image, torch.Generator())
    assert filled.prediction.shape == filled.mask.shape == image.shape
    assert build(NAME, arm="mcl").reconstruct(image, torch.Generator()) is None
    assert build(NAME, arm="mim").parts_of(image) == {}
    assert method.encoder() is method.embedder.encoder is method.filler.encoder


def test_half_precision_keeps_embeddings_and_losses_whole():
    method = build(NAME)
    with torch.autocast("cpu", torch.bfloat16):
        found = terms(method, both())
    assert all(value.dtype == torch.float32 for value in found.values())
    assert method.latest.keys.dtype == torch.float32
    exact = terms(build(NAME), both())
    for name, value in found.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.05), name


def test_the_mim_arm_is_masked_image_modelling():
    """The control of both methods is one and the same."""
    arm, method = build(NAME, arm="mim"), build("masked_image_modelling")
    found = terms(arm, {"scans": scan_batch()})["masked_scans"]
    assert torch.equal(found, terms(method, {"scans": scan_batch()})["masked"])
