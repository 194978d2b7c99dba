"""AdaptFormer's adapter: a narrow branch beside the MLP of a frozen transformer block.

Source: Chen et al., AdaptFormer, NeurIPS 2022, in the form of Snuffy's released code (sheet of
Snuffy, section 7).

Legend: B images, N tokens, E features, b bottleneck.
"""

from math import sqrt

from torch import Tensor, nn
from torch.nn.functional import relu

DROPOUT = 0.1


class Adapter(nn.Module):
    """s * Up(dropout(ReLU(Down(x)))); 0 at the start, so the block is what it was.

    Reads the tokens after the attention's residual, without a norm, and has no residual itself:
    out = x + MLP(LN(x)) + adapter(x).
    """

    def __init__(self, width: int, bottleneck: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(width, bottleneck)
        self.dropout = nn.Dropout(DROPOUT)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_normal_(self.down.weight, a=sqrt(5))
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, E] to what is added to the block's output, [B, N, E]."""
        found: Tensor = self.up(self.dropout(relu(self.down(tokens))))
        return self.scale * found
