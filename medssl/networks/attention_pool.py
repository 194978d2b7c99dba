"""Scores by which patches are weighted before they are summed.

Source: Ilse et al., ICML 2018 (arXiv 1802.04712), equations 8 and 9.

Legend: N patches, E features, L hidden width, A attentions.
"""

from torch import Tensor, nn


class AttentionScores(nn.Module):
    """w^T tanh(V h), or w^T (tanh(V h) * sigmoid(U h)) if gated; a softmax over N is still to come.

    Args:
        attentions: A, columns of w.
        dropout: after tanh and after the gate.
    """

    def __init__(
        self, width: int, hidden: int, attentions: int, gated: bool, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.tanh = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.gate = (
            nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid(), nn.Dropout(dropout))
            if gated
            else None
        )
        self.score = nn.Linear(hidden, attentions)

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [N, E] to scores [N, A]."""
        hidden = self.tanh(rows)
        if self.gate is not None:
            hidden = hidden * self.gate(rows)
        scores: Tensor = self.score(hidden)
        return scores
