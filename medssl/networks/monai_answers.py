"""Networks of MONAI that answer with more than logits, as logits and a scalar loss of their own.

Their weights have the names that they have in MONAI.

Legend: B items, C channels, K classes, L channels of the latents, X Y Z voxels, x y z of latents;
2-D ones have no Z.
"""

from typing import Any, ClassVar

import torch
from monai.networks import nets
from torch import Tensor

from medssl.networks.rows import drawn_for_all


class AutoencoderKL(nets.AutoencoderKL):  # type: ignore[misc]
    """In training a sample of the latents is decoded, otherwise their mean: nothing is drawn."""

    def forward(self, x: Tensor) -> Any:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z] and, in training, a divergence.

        The divergence is that of the latents [B, L, x, y, z] from a standard normal distribution,
        their sum, a mean over items.
        """
        mean, deviation = self.encode(x)
        if not self.training:
            return self.decode(mean)
        kind = {"dtype": mean.dtype, "device": mean.device}
        noise = drawn_for_all(lambda shape: torch.randn(shape, **kind), mean.shape)
        wide, spread = mean.float(), deviation.float()
        each = (wide**2 + spread**2 - 1) / 2 - spread.log()
        return self.decode(mean + noise * deviation), each.flatten(1).sum(1).mean()


class VQVAE(nets.VQVAE):  # type: ignore[misc]
    """Its codes are a running statistic, as those of batch norms are: no gradient moves them.

    Attributes:
        passed_once: each pass in training moves the codes, so none can be carried out again.
    """

    passed_once: ClassVar = True

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        codes = self.quantizer.quantizer.embedding
        weight = codes.weight.detach()
        del codes.weight
        codes.register_buffer("weight", weight)


class ViTAutoEnc(nets.ViTAutoEnc):  # type: ignore[misc]
    """Without the hidden states of its blocks."""

    def forward(self, x: Tensor) -> Any:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z]."""
        answer, _ = super().forward(x)
        return answer


class SegResNetDS2(nets.SegResNetDS2):  # type: ignore[misc]
    """All maps of both its decoders, which are taught alike; the first one's largest answers."""

    def forward(self, x: Tensor) -> Any:
        """Images [B, C, X, Y, Z] to logits [B, K, X, Y, Z], then those of smaller maps."""
        branches = super().forward(x)
        lists = (one if isinstance(one, list) else [one] for one in branches)
        return [answer for answers in lists for answer in answers]


CLASSES = {one.__name__: one for one in (AutoencoderKL, SegResNetDS2, VQVAE, ViTAutoEnc)}
"""In place of the classes of MONAI of these names."""
