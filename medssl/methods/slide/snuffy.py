"""Snuffy: a max-pooling branch scores the patches, and a sparse transformer reads the whole bag.

Source: Jafarinia et al., ECCV 2024 (arXiv 2408.08258), and its release. The branches share nothing
but the choice of tokens: the bag's loss gives no gradient to the patch scores, nor the other way.

Legend: N patches, E features, K classes, C sigmoid outputs, S tokens.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from medssl.data.bags.bag import BagBatch
from medssl.methods.method import BagPrediction, BagTask, Progress
from medssl.methods.settings.snuffy import Init, Settings
from medssl.methods.slide.outputs import (
    SigmoidHead,
    bag_probability,
    each_class,
    refuse_empty,
    sigmoid_outputs,
)
from medssl.networks.selection import random_tokens, token_counts, top_tokens
from medssl.networks.sparse_attention import build_attention
from medssl.networks.sparse_encoder import SparseBlock, SparseEncoder


class Scores(NamedTuple):
    """Logits of both branches: patches [N, C] and bag [C]."""

    patches: Tensor
    bag: Tensor

    @property
    def best(self) -> Tensor:
        """[C], the bag's logits by its best patch of each output."""
        return self.patches.amax(0)


class SnuffyNetwork(nn.Module):
    """Both branches and their mix; no projection, positions or class token (sheet section 2).

    Attributes:
        mix: w, the transformer's share; a parameter where it is learned.
    """

    mix: Tensor

    def __init__(self, settings: Settings, width: int, outputs: int) -> None:
        super().__init__()
        settings.must_divide(width)
        self.settings = settings
        self.head = nn.Linear(width, outputs)
        self.encoder = SparseEncoder(
            [build_block(settings, width) for _ in range(settings.depth)], width, settings.pool
        )
        self.readout = nn.Linear(width, outputs)
        if settings.mix_learned:
            self.mix = nn.Parameter(torch.tensor(settings.mix))
        else:
            self.register_buffer("mix", torch.tensor(settings.mix))
        for part in (self.encoder, self.readout):
            initialise(part, settings.init)
        initialise(self.head, settings.init_head)

    def forward(self, features: Tensor, generator: Generator) -> Scores:
        """Features [N, E] to the scores; `generator` draws the random tokens of every layer."""
        refuse_empty(features)
        if self.settings.l2_features:
            features = functional.normalize(features, dim=1)
        with torch.autocast(features.device.type, enabled=False):
            # In half precision many patches would tie for the top.
            patches = self.head(features)
        pooled = self.encoder(features, self._selector(patches, generator))
        return Scores(patches, self.readout(pooled))

    def drawn_at_random(self, patches: int) -> bool:
        """Whether two calls on the same bag of so many patches can choose different tokens."""
        _, random = token_counts(self.settings.lambda_total, self.settings.random_share)
        return random > 0 and patches > self.settings.lambda_total

    def _selector(self, scores: Tensor, generator: Generator) -> Callable[[], Tensor]:
        """Tokens of a layer: the best by score, the same in all layers, and fresh random ones."""
        top, random = token_counts(self.settings.lambda_total, self.settings.random_share)
        best = top_tokens(scores, top)

        def select() -> Tensor:
            return torch.cat([best, random_tokens(best, len(scores), random, generator)])

        return select


class SnuffyPredictor(nn.Module):
    """Answers for a bag; the same bag always gets the same answer.

    The random tokens come from a seed that is the same for every bag; several draws are averaged.
    """

    def __init__(self, network: SnuffyNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> BagPrediction:
        """Features [N, E] to the mix of both branches' probabilities.

        More than two classes are sigmoids of one class against the rest, normalised for the bag's
        probability and left as they are for the patches. There is no attention to show: the patch
        scores are the heat map.
        """
        settings = self.network.settings
        draws = settings.eval_draws if self.network.drawn_at_random(len(features)) else 1
        generator = torch.Generator(features.device).manual_seed(settings.eval_seed)
        found = [self.network(features, generator) for _ in range(draws)]
        mix, patches = self.network.mix, found[0].patches
        bag = torch.stack([scores.bag.float().sigmoid() for scores in found]).mean(0)
        mixed = mix * bag + (1 - mix) * found[0].best.sigmoid()
        return BagPrediction(bag_probability(mixed), each_class(patches.sigmoid()), None)


class Snuffy(SigmoidHead[SnuffyNetwork]):
    """Learns both branches from the bag's label.

    Raises:
        UsageError: the number of heads does not divide the width.
    """

    def build(self, settings: Settings, task: BagTask) -> SnuffyNetwork:
        """The network of a task."""
        return SnuffyNetwork(settings, task.width, sigmoid_outputs(task))

    def losses(self, bag: BagBatch, generator: Generator) -> dict[str, Tensor]:
        """The losses of both branches, weighted with w and 1 - w."""
        mix = self.network.mix
        scores = self.network(bag.features, generator)
        return {
            "bag": mix * self.loss(scores.bag, bag.label),
            "max": (1 - mix) * self.loss(scores.best, bag.label),
        }

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Keep a learned w in [0, 1]."""
        if self.settings.mix_learned:
            self.network.mix.clamp_(0, 1)

    def rate_factors(self) -> Iterable[tuple[float, list[nn.Parameter]]]:
        """A learned w has a learning rate of its own."""
        mix = self.network.mix
        yield 1.0, [p for p in self.parameters() if p is not mix]
        if isinstance(mix, nn.Parameter):
            yield self.settings.mix_rate, [mix]

    def monitor(self) -> dict[str, float]:
        """A learned w: at 0 the transformer learns nothing more, at 1 the patch scores do not."""
        return {"mix": float(self.network.mix.detach())} if self.settings.mix_learned else {}

    def predictor(self) -> nn.Module:
        """The network, whose answer is the weighted mean of both branches."""
        return SnuffyPredictor(self.network)


def build_block(settings: Settings, width: int) -> SparseBlock:
    """One layer of the transformer."""
    attention = build_attention(
        settings.mode,
        width,
        settings.heads,
        settings.key_norm == "raw",
        settings.attn_dropout,
        settings.nonselected == "attend",
    )
    return SparseBlock(
        attention,
        width,
        settings.mlp_ratio,
        settings.activation,
        settings.block_dropout,
        settings.chunk,
        settings.checkpoint,
    )


@torch.no_grad()
def initialise(part: nn.Module, kind: Init) -> None:
    """Weight matrices as `kind` says, biases 0; norms keep 1 and 0."""
    for module in part.modules():
        if isinstance(module, nn.Linear):
            if kind == "truncated":
                nn.init.trunc_normal_(module.weight, std=1.0, a=-2.0, b=2.0)
            elif kind == "xavier_normal":
                nn.init.xavier_normal_(module.weight)
            else:
                nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
