"""The vectors of whole volumes, computed once and kept as float16 arrays.

An entry is keyed by the voxels and by the weights of the embedder, and appears by one rename.

Legend: d features, X Y Z voxels, x y z fine cells, u v w coarse cells.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from medssl.atomic import appearing, discard
from medssl.data.geometry import Geometry
from medssl.data.scan.matched_stream import Scan
from medssl.data.scan.matching import EmbeddedVolume, cell_geometry
from medssl.data.sealed import is_kept, seal
from medssl.networks.anatomical_embedding import AnatomicalEmbedder, Embedding

Triple = tuple[int, int, int]


def embedder_key(embedder: AnatomicalEmbedder) -> str:
    """16 hex characters over the network's settings and weights."""
    digest = hashlib.blake2b(embedder.settings.model_dump_json().encode(), digest_size=8)
    for name, value in sorted(embedder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def embed(volume: Tensor, geometry: Geometry, embedder: AnatomicalEmbedder) -> EmbeddedVolume:
    """Vectors of a volume [X, Y, Z] float32 on the embedder's device, in evaluation mode.

    The volume goes through in one piece, its far borders repeated to whole coarse cells.
    """
    embedder.eval()
    shape = (volume.shape[0], volume.shape[1], volume.shape[2])
    # Two coarse cells at least, as a norm over one place has nothing to measure.
    missing = [
        max(-(-length // step), 2) * step - length
        for length, step in zip(shape, embedder.coarse_stride, strict=True)
    ]
    amounts = [amount for short in reversed(missing) for amount in (0, short)]
    image = pad(volume[None, None], amounts, mode="replicate")
    found: Embedding = embedder(image)
    cells = cell_geometry(geometry, embedder.fine_stride)
    x, y, z = cells.shape
    return EmbeddedVolume(
        found.fine[0, :, :x, :y, :z].clone(), found.coarse[0].clone(), cells, _ratio(embedder)
    )


class EmbeddedScans:
    """The vectors of scans by one embedder, from the cache where they are there.

    Args:
        root: of the cache.
        device: where the network runs and where vectors are wanted.
        keep: so many volumes stay in memory.
    """

    def __init__(
        self, root: Path, embedder: AnatomicalEmbedder, device: torch.device, keep: int = 64
    ) -> None:
        self._embedder = embedder.to(device).eval()
        self._device, self._keep = device, keep
        self._folder = root / "embeddings" / embedder_key(embedder)
        self._held: dict[str, EmbeddedVolume] = {}

    def prepare(
        self, scans: Sequence[Scan], on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Compute what is missing or damaged."""
        for count, scan in enumerate(scans, 1):
            folder = self._folder / scan.key
            if not all(is_kept(folder / f"{name}.npy") for name in ("fine", "coarse")):
                discard(folder)
                self._fill(scan)
            if on_progress is not None:
                on_progress(count, len(scans))

    def __call__(self, scan: Scan) -> EmbeddedVolume:
        """The vectors of one scan on the device, float32 once joined."""
        if scan.key in self._held:
            return self._held[scan.key]
        folder = self._folder / scan.key
        if not folder.exists():
            self._fill(scan)
        fine, coarse = (
            torch.from_numpy(np.load(folder / f"{name}.npy", allow_pickle=False)).to(self._device)
            for name in ("fine", "coarse")
        )
        cells = cell_geometry(scan.geometry, self._embedder.fine_stride)
        found = EmbeddedVolume(fine, coarse, cells, _ratio(self._embedder))
        if len(self._held) >= self._keep:
            self._held.pop(next(iter(self._held)))
        self._held[scan.key] = found
        return found

    def _fill(self, scan: Scan) -> None:
        volume = torch.from_numpy(np.array(scan.volume, dtype=np.float32)).to(self._device)
        found = embed(volume, scan.geometry, self._embedder)
        folder = self._folder / scan.key
        with appearing(folder, first_wins=True) as beside:
            beside.mkdir()
            for name, vectors in (("fine", found.fine), ("coarse", found.coarse)):
                np.save(beside / f"{name}.npy", vectors.cpu().numpy().astype(np.float16))
                seal(beside / f"{name}.npy")


def _ratio(embedder: AnatomicalEmbedder) -> Triple:
    steps = zip(embedder.coarse_stride, embedder.fine_stride, strict=True)
    first, second, third = (coarse // fine for coarse, fine in steps)
    return first, second, third
