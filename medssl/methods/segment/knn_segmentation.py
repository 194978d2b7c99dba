"""Segmentation by nearest neighbours in a frozen encoder's features: nothing is trained.

Legend: B patches, N voxels, E features, X Y Z voxels of a patch.
"""

import torch
from torch import Generator, Tensor

from medssl.data.batch import Batch, Stream
from medssl.data.patches import PatchSampler, SinglePatch
from medssl.methods.method import Progress, SegmentMethod, Task
from medssl.methods.settings.knn_segmentation import Settings
from medssl.networks.ensemble import Ensemble
from medssl.networks.flat import Flat
from medssl.networks.neighbours import NeighbourNetwork, at


class KnnSegmentation(SegmentMethod):
    """Every step keeps a few voxels of labelled patches."""

    streams: tuple[Stream, ...] = ("labelled",)

    def __init__(self, settings: Settings, task: Task, seed: int) -> None:
        super().__init__()
        self.settings, self.outputs = settings, task.outputs
        self.network = task.new_network(1000 * seed)
        inner = self.network.network if isinstance(self.network, Flat) else self.network
        if not isinstance(inner, NeighbourNetwork):
            raise TypeError("the network keeps no voxels")
        self._inner = (inner,)  # in a tuple, where torch does not count its modules again

    def sampler(self, patch: tuple[int, int, int]) -> PatchSampler:
        """Uniform single patches."""
        return SinglePatch(patch)

    @torch.no_grad()
    def forward(
        self, batches: dict[str, Batch], progress: Progress, generator: Generator, part: int = 0
    ) -> dict[str, Tensor]:
        """Keep voxels; the term is the share of them that those kept before name wrongly."""
        batch, (inner,) = batches["labelled"], self._inner
        image = batch.image[:, 0]
        flat = isinstance(self.network, Flat)
        features = inner.features(image.squeeze(-1) if flat else image)
        shape = image.shape[2:4] if flat else image.shape[2:]
        found, labels = [], []
        for item, known in enumerate(_known(batch).flatten(1)):
            truth = batch.truth[item].flatten()
            for one in torch.unique(truth[known]):
                voxels = self._some((known & (truth == one)).nonzero()[:, 0], generator)
                found.append(at([level[item : item + 1] for level in features], shape, voxels))
                labels.append(truth[voxels].long())
        rows, truth = torch.cat(found), torch.cat(labels)
        wrong = (inner.decoder(rows).argmax(1) != truth).float()
        inner.decoder.keep(rows, truth)
        return {"named_wrongly": wrong.sum() / max(1, len(wrong))}

    def _some(self, places: Tensor, generator: Generator) -> Tensor:
        """At most as many of the places as are kept of each class."""
        drawn = torch.randperm(len(places), generator=generator, device=generator.device)
        return places[drawn[: self.settings.voxels].to(places.device)]

    def predictor(self) -> Ensemble:
        """The network with what it has kept."""
        return Ensemble([self.network], self.outputs)


def _known(batch: Batch) -> Tensor:
    """[B, X, Y, Z], where a voxel's class is known."""
    truth = batch.truth
    known = torch.ones_like(truth, dtype=torch.bool) if batch.known is None else batch.known
    if batch.outlined is None:
        return known
    whole = batch.outlined.all(1)[:, None, None, None]
    return known & (whole | (truth > 0))
