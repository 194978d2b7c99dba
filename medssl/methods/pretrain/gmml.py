"""GMML: an encoder restores groups of voxels that are noise, or of another scan.

Source: Atito et al., arXiv 2205.14986, and its released code, as the sheet of GMML reads them; in
3-D boxes are cuboids, and a light decoder restores voxels from every level. Two slips of the
release are mended: a scan is never its own partner, and boxes reach the last cells of an axis.

Legend: B scans, X Y Z voxels, m boxes.
"""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Stream
from medssl.data.draws import host, placed, uniform
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.matched_stream import affine_of
from medssl.data.scan.settings import AffineSettings
from medssl.methods.encoder_method import PretrainMethod, PretrainTask, Reconstruction
from medssl.methods.method import Progress
from medssl.methods.pretrain.masking import enlarge
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.gmml import Corruption, Settings
from medssl.networks.build import build_encoder
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.fpn import FpnDecoder
from medssl.networks.pooled import Pooled

BOXES = 256
"""That are drawn at once; more are drawn where they do not cover enough."""


class Restorer(nn.Module):
    """An encoder and the light decoder: scans [B, 1, X, Y, Z] to scans."""

    def __init__(self, encoder: VolumeEncoder, decoder_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = FpnDecoder(encoder.widths, encoder.strides, 1, decoder_width)

    def forward(self, image: Tensor) -> Tensor:
        """Scans as they should be; same shape."""
        restored: Tensor = self.decoder(self.encoder(image))
        return restored


def draw_boxes(like: Tensor, shares: Tensor, settings: Corruption, generator: Generator) -> Tensor:
    """[B, 1, X, Y, Z] bool: boxes at random places, until they cover `shares` of each scan.

    The last box may pass the share, by its own size at most.

    Args:
        shares: [B], on the CPU, where boxes are drawn.
    """
    cells = [max(1, side // settings.align) for side in like.shape[2:]]
    longest = [max(1, round(settings.largest * side)) for side in cells]
    wanted = (shares.numpy() * np.prod(cells)).tolist()
    masks = np.zeros((len(like), *cells), bool)
    covered = [0] * len(like)
    while any(have < want for have, want in zip(covered, wanted, strict=True)):
        drawn = _drawn((len(like), BOXES, 6), 0, 1, like, generator).numpy()
        for item, boxes in enumerate(drawn):
            for box in boxes:
                if covered[item] >= wanted[item]:
                    break
                covered[item] += _cover(masks[item], box, longest)
    return enlarge(placed(masks, like).unsqueeze(1), like.shape[2:])


def _drawn(
    shape: tuple[int, ...], low: float, high: float, like: Tensor, generator: Generator
) -> Tensor:
    """Uniform draws of the kind of `like` that the host knows without waiting for the device."""
    return uniform(shape, low, high, like.new_empty(0, device="cpu"), host(generator))


def _cover(mask: np.ndarray, box: np.ndarray, longest: list[int]) -> int:
    """Set a box of cells in `mask`, from 6 numbers in [0, 1); how many were not set before."""
    where = []
    for place, length, side, most in zip(box[:3], box[3:], mask.shape, longest, strict=True):
        first = int(place * side)
        where.append(slice(first, first + 1 + int(length * most)))
    part = mask[tuple(where)]
    new = part.size - int(np.count_nonzero(part))
    part[...] = True
    return new


def spoil(
    clean: Tensor, partner: Tensor, settings: Corruption, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Scans [B, 1, X, Y, Z] with groups of voxels spoilt, and where, [B, 1, X, Y, Z] bool.

    Args:
        partner: another scan for each, whose voxels alien boxes show.
    """
    items = len(clean)
    low, high = settings.share
    shares = _drawn((items,), low, high, clean, generator)
    ways = len(settings.fills) + settings.alien
    way = (_drawn((items,), 0, 1, clean, generator) * ways).long().clamp_max(ways - 1)
    alien = way >= len(settings.fills)
    shares = torch.where(alien, settings.alien_share, shares)
    mask = draw_boxes(clean, shares, settings, generator)
    content, way = partner, placed(way, clean)
    for number, fill in enumerate(settings.fills):
        filled = _filled(clean, fill, settings.clip, generator)
        content = torch.where((way == number).view(-1, 1, 1, 1, 1), filled, content)
    return torch.where(mask, content, clean), mask


def _filled(clean: Tensor, fill: str, clip: bool, generator: Generator) -> Tensor:
    if fill == "zeros":
        return torch.zeros_like(clean)
    if fill == "shuffled":
        sides = torch.tensor(clean.shape[2:], dtype=clean.dtype)
        moved = [int(place) for place in _drawn((3,), 0.25, 0.75, clean, generator) * sides]
        return clean.roll(moved, (2, 3, 4))
    drawn = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
    dims = (1, 2, 3, 4)
    noise = clean.mean(dims, keepdim=True) + clean.std(dims, keepdim=True) * drawn
    if not clip:
        return noise
    return noise.clamp(clean.amin(dims, keepdim=True), clean.amax(dims, keepdim=True))


def others(clean: Tensor, generator: Generator) -> Tensor:
    """For each scan [B, ...] another one of the batch; itself where it is alone."""
    items = len(clean)
    step = 1 + (uniform((items,), 0, 1, clean, generator) * (items - 1)).long()
    return clean[(torch.arange(items, device=clean.device) + step) % items]


def restored_loss(restored: Tensor, clean: Tensor, mask: Tensor, where: str) -> Tensor:
    """Mean absolute error over the spoilt voxels of all scans together, or over all voxels."""
    error = (at_least_float32(restored) - clean).abs()
    if where == "all":
        return error.mean()
    return torch.where(mask, error, 0).sum() / mask.sum().clamp_min(1)


class Gmml(PretrainMethod):
    """Learns from single scans, or from pairs of the same anatomy in two patients."""

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.streams: tuple[Stream, ...] = ("pairs",) if settings.matched else ("scans",)
        encoder = build_encoder(task.network, 1, 1000 * seed, task.start)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1000 * seed + 1)
            self.restorer = Restorer(encoder, settings.decoder_width)
        self._share: Tensor | None = None

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The error of what was spoilt, against the scans as they were."""
        if self.settings.matched:
            windows = batches["pairs"].windows().transpose(0, 1).flatten(0, 1)
            clean = change_intensity(windows, self.settings.intensity, generator)
            partner = clean.roll(len(clean) // 2, 0)
        else:
            windows = batches["scans"].windows()[:, 0]
            clean = change_intensity(windows, self.settings.intensity, generator)
            partner = others(clean, generator)
        spoilt, mask = spoil(clean, partner, self.settings.corruption, generator)
        loss = restored_loss(self.restorer(spoilt), clean, mask, self.settings.where)
        with torch.no_grad():
            mean = clean.mean((1, 2, 3, 4), keepdim=True).expand_as(clean)
            left = restored_loss(mean, clean, mask, self.settings.where)
            self._share = loss.detach() / left.clamp_min(torch.finfo(left.dtype).tiny)
        return {"restored": loss}

    def monitor(self) -> dict[str, float]:
        """The last error as a share of what each scan's mean leaves; below 1: something learnt."""
        return {} if self._share is None else {"masked_error": float(self._share)}

    def affine(self) -> AffineSettings:
        """The range of the random affine: `method.affine`, or that of matched windows."""
        settings = self.settings
        return affine_of(settings.views) if settings.matched else settings.affine

    def encoder(self) -> VolumeEncoder:
        """The encoder, without the decoder."""
        return self.restorer.encoder

    def predictor(self) -> Pooled:
        """Scans to their pooled features."""
        return Pooled(self.restorer.encoder)

    def reconstruct(self, image: Tensor, generator: Generator) -> Reconstruction:
        """Scans as they are, spoilt and restored."""
        spoilt, mask = spoil(image, others(image, generator), self.settings.corruption, generator)
        return Reconstruction(self.restorer(spoilt), mask)
