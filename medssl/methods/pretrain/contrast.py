"""Telling scans of one place apart from those of other patients: InfoNCE with a patient filter.

Source: MoCo (He et al., CVPR 2020) as modality-invariant learning uses it (its sheet, section 5,
steps 8 to 10, and section 9, item 1).

Legend: B queries, K entries, E features; all embeddings have unit length.
"""

import torch
from torch import Tensor, nn

from medssl.methods.segment.losses import at_least_float32


def contrastive_loss(
    query: Tensor, key: Tensor, others: Tensor, allowed: Tensor, temperature: float,
    phantoms: bool = False,
) -> Tensor:  # fmt: skip
    """-log of the share that a query's own key has among itself and the allowed others; mean.

    A query without any allowed entry costs nothing. Never in half precision.

    Args:
        query, key: [B, E]; row i belongs to row i.
        others: [K, E].
        allowed: [B, K] bool, the entries that are negatives of each query.
        phantoms: count entries that are not allowed as negatives of cosine -1, as the released
            code does by mistake.
    """
    query, key, others = (at_least_float32(part) for part in (query, key, others))
    with torch.autocast(query.device.type, enabled=False):
        own = (query * key).sum(1, keepdim=True)
        likeness = (query @ others.T).clamp(-1, 1)
    absent = -1.0 if phantoms else -torch.inf
    logits = torch.cat([own, torch.where(allowed, likeness, absent)], dim=1) / temperature
    return -logits.log_softmax(1)[:, 0].mean()


def of_others(patient: Tensor, stored: Tensor) -> Tensor:
    """[B, K] bool: which stored entries are of another patient than the query.

    Args:
        patient: [B], the queries' patients, from 1.
        stored: [K], the entries' patients; 0 marks an empty place.
    """
    return (stored > 0) & (stored != patient.unsqueeze(1))


class KeyQueue(nn.Module):
    """A ring of the latest keys and whose they are.

    Attributes:
        keys: [K, E], zero where empty.
        patients: [K] int64, 0 where empty.
        pointer: where the next key goes.
    """

    keys: Tensor
    patients: Tensor
    pointer: Tensor

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(places, width))
        self.register_buffer("patients", torch.zeros(places, dtype=torch.int64))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, keys: Tensor, patients: Tensor) -> None:
        """Keys [n, E] over the oldest; of more than fit, the last."""
        places = len(self.patients)
        keys, patients = keys[-places:], patients[-places:]
        index = (self.pointer + torch.arange(len(keys), device=keys.device)) % places
        self.keys[index] = keys.to(self.keys.dtype)
        self.patients[index] = patients
        self.pointer.copy_((self.pointer + len(keys)) % places)

    @property
    def full(self) -> bool:
        """Whether every place is filled."""
        return bool((self.patients > 0).all())
