"""A plain vision transformer for tiles, with the parameter names of DINO's and timm's weights.

Pre-norm blocks, class token, learned positions (Dosovitskiy et al., ICLR 2021; DINO: Caron et al.,
ICCV 2021). MONAI's ViT lays its parameters out otherwise, so those weights would not fit it.

Legend: B images, H W pixels, P pixels of a patch's side, N patches, E features, A attention heads.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

from medssl.networks.adapter import Adapter
from medssl.networks.rows import drawn_for_all

EPSILON = 1e-6
"""Of every LayerNorm, as the published weights were trained."""

MLP_RATIO = 4


class PatchEmbed(nn.Module):
    """Every patch of P x P pixels by one linear map."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W] to tokens [B, N, E], row by row."""
        tokens: Tensor = self.proj(image).flatten(2).transpose(1, 2)
        return tokens


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, E] to [B, N, E]."""
        items, count, width = tokens.shape
        split = self.qkv(tokens).view(items, count, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each [B, A, N, E / A]
        mixed = scaled_dot_product_attention(query, key, value)
        found: Tensor = self.proj(mixed.transpose(1, 2).reshape(items, count, width))
        return found


class Mlp(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, E] to [B, N, E]."""
        found: Tensor = self.fc2(self.act(self.fc1(tokens)))
        return found


class DropPath(nn.Module):
    """Stochastic depth: leaves out a branch for whole images while training (Huang et al. 2016).

    Draws from torch's own generator, as dropout does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = 0.0

    def forward(self, branch: Tensor) -> Tensor:
        """Branch [B, ...], or 0; scaled so that its mean stays."""
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        drawn = drawn_for_all(
            lambda shape: torch.rand(shape, device=branch.device),
            (len(branch), 1, 1),
        )
        kept = drawn < keep
        return branch * kept / keep


class Block(nn.Module):
    """Attention and MLP, each with a residual; an adapter may run beside the MLP."""

    def __init__(self, width: int, heads: int, epsilon: float = EPSILON) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=epsilon)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=epsilon)
        self.mlp = Mlp(width)
        self.drop_path = DropPath()
        self.adapter: Adapter | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, E] to [B, N, E]."""
        attended = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        found: Tensor = attended + self.drop_path(self.mlp(self.norm2(attended)))
        return found if self.adapter is None else found + self.adapter(attended)


class VisionTransformer(nn.Module):
    """Images to one feature vector each.

    Args:
        side: of the images whose positions are learned; others get them interpolated.
        patch: pixels; divides `side`.
        pooling: "cls": class token after the last norm (DINO); "mean": last norm of the mean
            patch token (MAE); others as `pooled_tokens`.
        epsilon: of every norm.
    """

    def __init__(
        self,
        side: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        pooling: str = "cls",
        epsilon: float = EPSILON,
    ) -> None:
        super().__init__()
        self.patch, self.tokens_width, self.pooling = patch, width, pooling
        self.width = 2 * width if pooling == "cls_mean" else width
        self.patch_embed = PatchEmbed(patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (side // patch) ** 2, width))
        self.blocks = nn.ModuleList(Block(width, heads, epsilon) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=epsilon)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def layers(self) -> list[Block]:
        """The blocks, first to last."""
        return [cast("Block", block) for block in self.blocks]

    def set_drop_path(self, rate: float) -> None:
        """Leave out branches while training: of the first block never, of the last with `rate`."""
        blocks = self.layers
        for index, block in enumerate(blocks):
            block.drop_path.rate = rate * index / max(1, len(blocks) - 1)

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, 3, H, W], H and W multiples of the patch, to features [B, E]."""
        tokens = self.tokens(image)
        if self.pooling not in ("cls", "mean"):
            return pooled_tokens(self.norm(tokens), 1, self.pooling)
        # The norm is of each token alone, so those that are not read need none.
        pooled = tokens[:, 0] if self.pooling == "cls" else tokens[:, 1:].mean(1)
        found: Tensor = self.norm(pooled)
        return found

    def tokens(self, image: Tensor) -> Tensor:
        """Tokens [B, 1 + N, E] after the last block, before the last norm; the class token first.

        Raises:
            ValueError: a side is no multiple of the patch.
        """
        rows, columns = (side // self.patch for side in image.shape[-2:])
        if (rows * self.patch, columns * self.patch) != image.shape[-2:]:
            raise ValueError(
                f"images of {tuple(image.shape[-2:])} pixels cannot be cut into patches of "
                f"{self.patch}"
            )
        patches = self.patch_embed(image)
        tokens = torch.cat([self.cls_token.expand(len(image), -1, -1), patches], dim=1)
        tokens = tokens + resize_positions(self.pos_embed, rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def pooled_tokens(tokens: Tensor, before: int, pooling: str) -> Tensor:
    """Tokens [B, before + N, E] after the last norm to features [B, E], or [B, 2 E].

    Args:
        before: the class token, which is the first, and registers, which no mean is taken of.
        pooling: "cls"; "token_mean": of the patches; "cls_mean": both, side by side.
    """
    if pooling == "cls":
        return tokens[:, 0]
    mean = tokens[:, before:].mean(1)
    return mean if pooling == "token_mean" else torch.cat([tokens[:, 0], mean], dim=1)


def resize_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Positions [1, 1 + n * n, E] as [1, 1 + rows * columns, E].

    The class token's, the first, stays. The others are resized bicubically, as by DINO, whose code
    enlarges the grid by 0.1 patches to be safe from rounding; asking for the size makes that
    needless.
    """
    count, width = positions.shape[1] - 1, positions.shape[2]
    side = int(count**0.5)
    if (rows, columns) == (side, side):
        return positions
    grid = positions[:, 1:].view(1, side, side, width).permute(0, 3, 1, 2)
    resized = interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
    flat = resized.permute(0, 2, 3, 1).reshape(1, rows * columns, width)
    return torch.cat([positions[:, :1], flat], dim=1)


def add_adapters(network: VisionTransformer, bottleneck: int, scale: float) -> None:
    """Give every block an adapter and freeze all else; weights from torch's own generator.

    Args:
        bottleneck: width of the branch; DINO 32, MAE 64.
        scale: of the branch; DINO 10, MAE 1.
    """
    network.requires_grad_(False)
    for block in network.layers:
        block.adapter = Adapter(network.tokens_width, bottleneck, scale).train(network.training)
