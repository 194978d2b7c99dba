"""Snuffy against the numbers and properties of its sheet."""

import pytest
import torch

from medssl.errors import DataError
from medssl.methods.method import BagTask, Progress
from medssl.methods.settings.snuffy import Settings
from medssl.methods.slide.snuffy import Snuffy
from medssl.networks.selection import top_tokens

NO_DROPOUT = {"block_dropout": 0.0, "attn_dropout": 0.0}
MODES = ["A", "B", "B_normalised"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def step(method, batches, seed=0):
    return method(batches, Progress(1, 10), seeded(seed))


def features(batches):
    return batches["bags"].features


class TestByHand:
    """Sheet section 13: mode B, identity maps, feed-forward zero."""

    @pytest.fixture
    def make(self):
        def make(tokens):
            settings = Settings(
                mode="B", key_norm="raw", heads=1, lambda_total=tokens, random_share=0, **NO_DROPOUT
            )
            method = Snuffy(settings, BagTask(2, ("n", "p"), (1, 1)), 0)
            with torch.no_grad():
                for parameter in method.parameters():
                    if parameter.ndim == 1 and parameter.numel() == 2:
                        continue  # norms 1 and 0, biases 0
                    parameter.zero_()
                attention = method.network.encoder.blocks[0].attention
                for name in ("query", "key", "value", "out"):
                    getattr(attention, name).weight.copy_(torch.eye(2))
                method.network.head.weight.copy_(torch.tensor([[1.0, 0.0]]))
                method.network.readout.weight.copy_(torch.tensor([[1.0, 0.0]]))
            return method

        return make

    @pytest.mark.parametrize(
        ("tokens", "logit", "loss", "probability"),
        [
            (1, -0.65820, 0.56202, 0.64686),
            (2, -0.33333, 0.46111, 0.68500),
            (3, None, 0.461112, None),
        ],
    )
    def test_the_whole_model(self, make, bag, tokens, logit, loss, probability):
        method, batches = make(tokens), bag(3, width=2)
        batches["bags"].features = torch.tensor([[3.0, 1.0], [0.0, 2.0], [1.0, 1.5]])
        scores = method.network(features(batches), seeded())
        assert scores.best.item() == pytest.approx(3.0)
        if logit is not None:
            assert scores.bag.item() == pytest.approx(logit, abs=1e-5)
        assert sum(step(method, batches).values()).item() == pytest.approx(loss, abs=1e-5)
        if probability is not None:
            answer = method.predictor()(features(batches)).probability
            assert answer.tolist() == pytest.approx([1 - probability, probability], abs=1e-5)

    def test_the_selected_rows_with_two_tokens(self, make):
        block = make(2).network.encoder.blocks[0]
        rows = torch.tensor([[3.0, 1.0], [1.0, 1.5], [0.0, 2.0]])  # S = {0, 2} of the sheet first
        found = torch.cat(block(rows, 2, lambda piece: piece))
        expected = torch.tensor([[3.5625, 0.4375], [-0.5624, 3.0624], [0.0, 2.0]])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


class TestTokens:
    def test_top_tokens_are_equal_in_all_layers_and_random_ones_are_not(
        self, build, bag, monkeypatch
    ):
        method = build("snuffy", lambda_total=8, random_share=0.5, depth=3)
        taken = []
        encoder = method.network.encoder

        def record(features, select):
            taken.extend(select().tolist() for _ in range(3))
            return features.mean(0)

        monkeypatch.setattr(encoder, "forward", record)
        scores = method.network(features(bag(40)), seeded()).patches
        best = top_tokens(scores, 4).tolist()
        assert all(tokens[:4] == best and len(set(tokens)) == 8 for tokens in taken)
        assert taken[0] != taken[1] != taken[2]

    def test_layers_after_the_first_meet_the_patches_they_ask_for(self, build, bag):
        """Rows are kept in another order from layer to layer; the answer must not show it."""
        method = build(
            "snuffy", mode="A", nonselected="identity", depth=3, lambda_total=5, **NO_DROPOUT
        ).eval()
        network, rows = method.network, features(bag(12))
        choices = [torch.tensor([3, 8, 1]), torch.tensor([8, 0]), torch.tensor([11, 3, 2, 8])]
        asked = iter(choices)
        found = network.encoder(rows, lambda: next(asked))
        for block, chosen in zip(network.encoder.blocks, choices, strict=True):
            order = torch.cat([chosen, torch.tensor([i for i in range(12) if i not in chosen])])
            rows = torch.empty_like(rows).index_copy(
                0, order, torch.cat(block(rows[order], len(chosen), lambda piece: piece))
            )
        torch.testing.assert_close(found, network.encoder.norm(rows).mean(0))

    def test_pooling_over_the_tokens_takes_their_rows_alone_after_reading_all(self, build, bag):
        network = build("snuffy", mode="B", pool="selected", **NO_DROPOUT).eval().network
        rows, chosen = features(bag(12)), torch.tensor([4, 2, 9, 0, 1])
        order = torch.cat([chosen, torch.tensor([3, 5, 6, 7, 8, 10, 11])])
        left = torch.cat(network.encoder.blocks[0](rows[order], 5, lambda piece: piece))
        expected = network.encoder.norm(left[:5]).mean(0)
        torch.testing.assert_close(network.encoder(rows, lambda: chosen), expected)
        rows[11, 0] += 1
        assert not torch.allclose(network.encoder(rows, lambda: chosen), expected)

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize(
        ("patches", "share"), [(1, 0.5), (3, 0.5), (30, 0.0), (30, 1.0), (1, 1.0), (10, 0.5)]
    )
    def test_bags_of_every_size_and_share_train_and_answer(self, build, bag, mode, patches, share):
        method = build("snuffy", mode=mode, lambda_total=10, random_share=share, chunk=8)
        batches = bag(patches)
        terms = step(method, batches)
        sum(terms.values()).backward()
        assert all(bool(p.grad.isfinite().all()) for p in method.parameters())
        answer = method.eval().predictor()(features(batches))
        assert answer.instances.shape == (patches, 2)
        assert answer.probability.sum().item() == pytest.approx(1)

    def test_an_empty_bag_is_refused(self, build, bag):
        method = build("snuffy")
        with pytest.raises(DataError, match="no patch"):
            step(method, bag(0))
        with pytest.raises(DataError, match="no patch"):
            method.predictor()(features(bag(0)))


class TestPermutation:
    @pytest.mark.parametrize("mode", MODES)
    def test_without_random_tokens_the_order_of_patches_does_not_matter(self, build, bag, mode):
        method = build("snuffy", mode=mode, lambda_total=6, random_share=0, depth=2, chunk=7).eval()
        rows, order = features(bag(30)), torch.randperm(30, generator=seeded(4))
        one, other = (method.predictor()(given) for given in (rows, rows[order]))
        torch.testing.assert_close(one.probability, other.probability)
        torch.testing.assert_close(one.instances[order], other.instances)

    def test_with_random_tokens_it_does_not_matter_which_row_a_drawn_patch_has(self, build, bag):
        encoder = build("snuffy", depth=1).eval().network.encoder
        rows, order = features(bag(30)), torch.randperm(30, generator=seeded(4))
        chosen = torch.tensor([5, 17, 2, 29])
        moved = order.argsort()[chosen]
        torch.testing.assert_close(
            encoder(rows, lambda: chosen), encoder(rows[order], lambda: moved)
        )


class TestDeterminism:
    def test_a_seed_decides_the_tokens_and_another_seed_takes_others(self, build, bag):
        method, batches = build("snuffy", lambda_total=6, **NO_DROPOUT), bag(40)
        one, same, other = (step(method, batches, seed)["bag"].item() for seed in (0, 0, 1))
        assert one == same
        assert one != other

    def test_without_dropout_training_and_prediction_are_the_same(self, build, bag):
        network = build("snuffy", lambda_total=6, chunk=7, **NO_DROPOUT).network
        rows = features(bag(40))
        trained = network.train()(rows, seeded(3)).bag
        with torch.inference_mode():
            torch.testing.assert_close(trained.detach(), network.eval()(rows, seeded(3)).bag)

    def test_a_bag_always_gets_the_same_answer_whatever_came_before(self, build, bag):
        method = build("snuffy", lambda_total=6, eval_draws=3).eval()
        first = method.predictor()(features(bag(40))).probability
        method.predictor()(features(bag(35, seed=1)))
        torch.manual_seed(11)
        assert torch.equal(first, method.predictor()(features(bag(40))).probability)

    def test_draws_are_averaged_and_come_closer_to_one_another(self, build, bag):
        """The spread over seeds of the mean of 16 draws is about a quarter of a single one's."""
        rows = features(bag(60))

        def spread(draws):
            answers = [
                build("snuffy", mode="B", lambda_total=4, eval_draws=draws, eval_seed=seed)
                .eval()
                .predictor()(rows)
                .probability[1]
                for seed in range(12)
            ]
            return torch.stack(answers).std().item()

        assert 0 < spread(16) < 0.5 * spread(1)


class TestMix:
    @pytest.mark.parametrize("mix", [0.0, 0.25, 1.0])
    def test_w_weighs_losses_and_probabilities(self, build, bag, mix):
        method, batches = build("snuffy", mix=mix, lambda_total=6, **NO_DROPOUT).eval(), bag(5)
        whole = step(build("snuffy", mix=0.5, lambda_total=6, **NO_DROPOUT), batches)
        terms = step(method, batches)
        torch.testing.assert_close(terms["bag"], 2 * mix * whole["bag"])
        torch.testing.assert_close(terms["max"], 2 * (1 - mix) * whole["max"])
        scores = method.network(features(batches), seeded())
        expected = mix * scores.bag.sigmoid() + (1 - mix) * scores.best.sigmoid()
        found = method.predictor()(features(batches)).probability
        torch.testing.assert_close(found[1:], expected)

    def test_without_the_transformer_s_share_it_gets_no_gradient(self, build, bag):
        method = build("snuffy", mix=0.0)
        sum(step(method, bag(9)).values()).backward()
        assert not any(bool(p.grad.any()) for p in method.network.encoder.parameters())
        assert bool(method.network.head.weight.grad.any())

    def test_a_fixed_w_is_no_parameter_but_is_kept_with_the_weights(self, build):
        method = build("snuffy", mix=0.3)
        assert "network.mix" in method.state_dict()
        assert "network.mix" not in dict(method.named_parameters())
        assert [factor for factor, _ in method.rate_factors()] == [1.0]

    def test_a_learned_w_follows_the_difference_of_the_losses_at_its_own_rate(self, build, bag):
        method, batches = build("snuffy", mix_learned=True, mix_rate=0.1, **NO_DROPOUT), bag(9)
        terms = step(method, batches)
        sum(terms.values()).backward()
        difference = 2 * (terms["bag"] - terms["max"]).detach()
        torch.testing.assert_close(method.network.mix.grad, difference)
        groups = dict(method.rate_factors())
        assert groups[0.1] == [method.network.mix]
        owned = [p for group in groups.values() for p in group]
        assert {id(p) for p in owned} == {id(p) for p in method.parameters()}
        assert len(owned) == len(list(method.parameters()))

    def test_a_learned_w_is_logged_and_a_fixed_one_is_not(self, build):
        assert build("snuffy", mix_learned=True).monitor() == {"mix": 0.5}
        assert build("snuffy").monitor() == {}

    @pytest.mark.parametrize(("value", "kept"), [(1.7, 1.0), (-0.2, 0.0), (0.4, 0.4)])
    def test_a_learned_w_stays_a_share(self, build, value, kept):
        method = build("snuffy", mix_learned=True)
        torch.nn.init.constant_(method.network.mix, value)
        method.after_step(Progress(1, 10))
        assert method.network.mix.item() == pytest.approx(kept)


def test_several_classes_have_an_output_each(build, bag):
    method, batches = build("snuffy", classes=3, lambda_total=4, random_share=0), bag(9, label=2)
    sum(step(method, batches).values()).backward()
    assert method.network.head.weight.grad.abs().sum(1).min() > 0
    answer = method.eval().predictor()(features(batches))
    assert answer.probability.sum().item() == pytest.approx(1)
    scores = method.network(features(batches), seeded())
    assert torch.equal(answer.instances, scores.patches.sigmoid())
    mixed = (scores.bag.sigmoid() + scores.best.sigmoid()) / 2
    torch.testing.assert_close(answer.probability, mixed / mixed.sum())


@pytest.mark.parametrize("mode", MODES)
def test_autocast_changes_little_and_ranks_patches_in_single_precision(build, bag, mode):
    method, batches = build("snuffy", mode=mode, lambda_total=6, chunk=7, **NO_DROPOUT), bag(40)
    exact = step(method, batches)
    with torch.autocast("cpu", torch.bfloat16):
        found = step(method, batches)
        assert method.network(features(batches), seeded()).patches.dtype == torch.float32
    sum(found.values()).backward()
    assert torch.equal(found["max"], exact["max"])
    torch.testing.assert_close(found["bag"], exact["bag"], rtol=0.05, atol=0.02)
    assert all(bool(p.grad.isfinite().all()) for p in method.parameters())
