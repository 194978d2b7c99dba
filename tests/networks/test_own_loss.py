"""A loss that a network has of its own is learnt from beside the terms of every method."""

from functools import partial

import pytest
import torch
from torch import nn

from medssl.data.batch import Batch
from medssl.errors import UsageError
from medssl.methods.method import Progress
from medssl.networks.build import build_network
from medssl.networks.heads import ManyHeads
from medssl.networks.monai_answers import AutoencoderKL
from medssl.networks.monai_settings import MonaiSettings
from medssl.networks.own_loss import own_losses, total
from medssl.settings import OptimiserSettings, TrainSettings
from medssl.train.update import make_update
from tests.contract.conftest import build_method, make_streams
from tests.contract.two_processes import both, must_agree, stepped

SIDES = (16, 16, 16)
IMAGE = torch.randn(4, 1, *SIDES, generator=torch.Generator().manual_seed(0))
VAE = MonaiSettings(
    name="monai:SegResNetVAE",
    input_image_size=list(SIDES),
    init_filters=8,
    blocks_down=[1, 1],
    blocks_up=[1],
    vae_nz=4,
    vae_default_std=0.0,  # no noise, so that passes can be compared
)
KL = MonaiSettings(
    name="monai:AutoencoderKL",
    channels=[4, 4],
    num_res_blocks=1,
    norm_num_groups=2,
    attention_levels=[False, False],
    latent_channels=2,
    with_encoder_nonlocal_attn=False,
    with_decoder_nonlocal_attn=False,
)
CODES = MonaiSettings(
    name="monai:VQVAE",
    channels=[4],
    num_res_channels=[4],
    num_res_layers=1,
    downsample_parameters=[[2, 4, 1, 1]],
    upsample_parameters=[[2, 4, 1, 1, 0]],
    num_embeddings=4,
    embedding_dim=4,
)


class Scaled(nn.Module):
    """w x, and the mean of w^2 x^2 as a loss of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, image):
        answer = self.weight * image
        return answer, None, (answer**2).mean()


def test_a_scalar_among_the_answers_is_no_head_and_is_given_away_where_the_network_learns() -> None:
    network = ManyHeads(Scaled(), own_loss=0.5)
    with own_losses() as found:
        (answer,) = network.heads(IMAGE)
        with torch.no_grad():
            network(IMAGE)
        network.eval()(IMAGE)
    assert torch.equal(answer, 2 * IMAGE)
    ((owner, value, rows),) = found
    assert owner is network
    assert rows == 4
    torch.testing.assert_close(value.detach(), 0.5 * (4 * IMAGE**2).mean())
    network.train()(IMAGE)  # nobody asks
    assert len(found) == 1


def test_a_network_counts_once_by_all_its_rows_however_often_it_is_passed() -> None:
    first, second = ManyHeads(Scaled()), ManyHeads(Scaled())
    with own_losses() as found:
        first(IMAGE[:1])
        first(IMAGE[1:])
        second(IMAGE)
    torch.testing.assert_close(total(found), 2 * (4 * IMAGE**2).mean())
    assert total([]) is None


def method(settings, seed=0):
    return build_method(SIDES, "supervised", network=settings, seed=seed)


def batches(trained) -> dict[str, Batch]:
    return {kind: one.batch(0) for kind, one in make_streams(SIDES, trained).items()}


def step(trained, **how):
    settings = TrainSettings(
        steps=10,
        patch=SIDES,
        device="cpu",
        clip_norm=None,
        optimiser=OptimiserSettings(learning_rate=1e-3, schedule="constant"),
        **how,
    )
    update = make_update(trained, settings, 0, torch.device("cpu"))
    return update(batches(trained), Progress(1, 10))


def gradients(trained):
    return {key: one.grad for key, one in trained.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("weight", [None, 3.0])
def test_gradients_are_those_of_the_sum_of_the_methods_loss_and_the_weighted_own_one(
    weight,
) -> None:
    trained = method(VAE.model_copy(update={"own_loss": weight}))
    values = step(trained)
    found = gradients(trained)
    assert any("vae_fc3" in key for key in found)

    plain = method(VAE)
    (network,) = plain.members
    terms = plain(batches(plain), Progress(1, 10), torch.Generator().manual_seed(0))
    _, own = network.network(batches(plain)["labelled"].image[:, 0])
    factor = 0.1 if weight is None else weight
    (sum(terms.values()) + factor * own).backward()
    expected = gradients(plain)
    assert found.keys() == expected.keys()
    for key, one in expected.items():
        torch.testing.assert_close(found[key], one, msg=key)
    assert values["loss/network"] == pytest.approx(factor * float(own.detach()))
    assert values["loss"] == pytest.approx(float((sum(terms.values()) + factor * own).detach()))


def test_scaled_gradients_of_half_precision_have_the_same_parts(monkeypatch) -> None:
    plain = method(VAE)
    step(plain)
    expected = gradients(plain)

    class Scaling:
        """A scaler as that of float16, on a CPU."""

        def scale(self, loss):
            return loss * 1024

        def step(self, optimiser):
            pass

        def update(self):
            pass

    monkeypatch.setattr("torch.amp.GradScaler", lambda *_, **__: Scaling())
    scaled = method(VAE)
    step(scaled)
    for key, one in gradients(scaled).items():
        torch.testing.assert_close(one / 1024, expected[key], msg=key)


@pytest.mark.parametrize("how", [{"accumulate": 2}, {"checkpointing": True}])
def test_turns_and_blocks_that_are_computed_again_change_nothing(how) -> None:
    plain, less = method(VAE), method(VAE)
    values, again = step(plain), step(less, **how)
    assert again["loss/network"] == pytest.approx(values["loss/network"])
    expected = gradients(plain)
    for key, one in gradients(less).items():
        torch.testing.assert_close(one, expected[key], rtol=1e-4, atol=1e-6, msg=key)


def in_processes(sharded=False):
    settings = TrainSettings(
        steps=10,
        patch=SIDES,
        optimiser=OptimiserSettings(learning_rate=0.01, schedule="constant"),
        device="cpu",
        sharded=sharded,
    )
    trained = method(VAE)
    return stepped(trained, make_streams(SIDES, trained), settings, 1, 2)


def test_two_processes_learn_what_one_does(tmp_path) -> None:
    torch.set_num_threads(1)
    ways = {"whole": in_processes, "sharded": partial(in_processes, sharded=True)}
    found, alone = both(ways, tmp_path), in_processes()
    for way in ways:
        must_agree(found[way], alone)


def test_a_mean_teacher_neither_answers_otherwise_nor_adds_to_it() -> None:
    trained = build_method(SIDES, "mean_teacher", network=VAE)
    with own_losses() as found:
        trained(batches(trained), Progress(900, 1000), torch.Generator().manual_seed(0))
    assert {one.network for one in found} == {trained.student}


def test_latents_are_drawn_to_learn_and_their_mean_answers() -> None:
    network = build_network(KL, 1, 2, seed=0)
    with own_losses() as found:
        first, second = network(IMAGE), network(IMAGE)
    assert not torch.equal(first, second)
    inner = network.network
    assert isinstance(inner, AutoencoderKL)
    mean, deviation = inner.encode(IMAGE)
    normal = torch.distributions.Normal(mean, deviation)
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(found[0].value, 1e-6 * expected.sum() / len(IMAGE))
    network.eval()
    assert torch.equal(network(IMAGE), network(IMAGE))
    assert torch.equal(network(IMAGE), inner.reconstruct(IMAGE))


def test_codes_move_as_running_statistics_do_and_passes_are_not_repeated() -> None:
    network = build_network(CODES, 1, 2, seed=0)
    codes = network.network.quantizer.quantizer.embedding
    before = codes.weight.clone()
    assert "network.quantizer.quantizer.embedding.weight" in dict(network.named_buffers())
    network.eval()(IMAGE)
    assert torch.equal(codes.weight, before)
    network.train()(IMAGE)
    assert not torch.equal(codes.weight, before)
    for how in ({"accumulate": 2}, {"checkpointing": True}):
        with pytest.raises(UsageError, match="each pass moves its codes"):
            step(method(CODES), **how)


def test_the_weight_is_of_classes_with_a_loss_of_their_own() -> None:
    assert [one.weight_of_own_loss for one in (VAE, KL, CODES)] == [0.1, 1e-6, 1.0]
    with pytest.raises(ValueError, match="monai:VNet has no loss of its own: leave own_loss out"):
        MonaiSettings(name="monai:VNet", own_loss=1.0)
