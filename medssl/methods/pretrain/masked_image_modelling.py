"""Masked image modelling: an encoder learns to fill in hidden cubes of scans.

Source: SimMIM (Xie et al., CVPR 2022) in the 3-D form of modality-invariant learning (its sheet,
sections 4 and 5): nothing is dropped, a learned token stands in for hidden cells, a decoder so
light that the encoder must do the work, and an error over hidden voxels only.

Legend: B scans, V scans of an item, E channels of the embedding, X Y Z voxels, x y z cubes.
"""

import torch
from torch import Generator, Tensor, nn

from medssl.data.batch import Stream
from medssl.data.scan.augment import change_intensity
from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import AffineSettings
from medssl.methods.encoder_method import PretrainMethod, PretrainTask, Reconstruction
from medssl.methods.method import Progress
from medssl.methods.pretrain.masking import draw_cells, enlarge
from medssl.methods.segment.losses import at_least_float32
from medssl.methods.settings.masked_image_modelling import Settings
from medssl.networks.build import build_encoder
from medssl.networks.encoder import VolumeEncoder
from medssl.networks.fpn import FpnDecoder
from medssl.networks.pooled import Pooled


class Filler(nn.Module):
    """Fills in hidden cubes: an encoder with a mask token, and the light decoder."""

    def __init__(self, encoder: VolumeEncoder, decoder_width: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = FpnDecoder(encoder.widths, encoder.strides, 1, decoder_width)
        self.token = nn.Parameter(torch.empty(encoder.embed_width, 1, 1, 1))
        nn.init.trunc_normal_(self.token, std=0.02)

    def forward(self, image: Tensor, cells: Tensor) -> Tensor:
        """Scans [B, 1, X, Y, Z] with the cubes `cells` [B, 1, x, y, z] filled in; same shape."""
        embedded = self.encoder.embed(image)
        hidden = enlarge(cells, embedded.shape[2:])
        seen = torch.where(hidden, self.token.to(embedded.dtype), embedded)
        filled: Tensor = self.decoder(self.encoder.stages(seen))
        return filled


def masked_loss(prediction: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """Mean squared error over the hidden voxels of all scans [B, 1, X, Y, Z]."""
    hidden = enlarge(cells, target.shape[2:])
    error = (at_least_float32(prediction) - target) ** 2
    return torch.where(hidden, error, 0).sum() / hidden.sum().clamp_min(1)


@torch.no_grad()
def share_of_mean(loss: Tensor, target: Tensor, cells: Tensor) -> Tensor:
    """`loss` as a share of what each scan's mean over its hidden voxels would leave.

    1: no better than the mean, 0: perfect.
    """
    hidden = enlarge(cells, target.shape[2:])
    dims = (1, 2, 3, 4)
    count = hidden.sum(dims, keepdim=True).clamp_min(1)
    mean = torch.where(hidden, target, 0).sum(dims, keepdim=True) / count
    left = masked_loss(mean.expand_as(target), target, cells)
    return loss.detach() / left.clamp_min(torch.finfo(left.dtype).tiny)


class MaskedImageModelling(PretrainMethod):
    """Learns from single scans of any contrast."""

    streams: tuple[Stream, ...] = ("scans",)

    def __init__(self, settings: Settings, task: PretrainTask, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.filler = build_filler(task, settings.decoder_width, seed)
        self._share: Tensor | None = None

    def forward(
        self,
        batches: dict[str, ScanBatch],
        progress: Progress,
        generator: Generator,
        part: int = 0,
    ) -> dict[str, Tensor]:
        """The error of what was hidden in changed scans, against the scans as they were."""
        clean = batches["scans"].windows()[:, 0]
        changed = change_intensity(clean, self.settings.intensity, generator)
        cells = draw_cells(clean, self.settings.masking, generator)
        loss = masked_loss(self.filler(changed, cells), clean, cells)
        self._share = share_of_mean(loss, clean, cells)
        return {"masked": loss}

    def monitor(self) -> dict[str, float]:
        """The last error as a share of what the mean leaves: below 1 where something is learnt."""
        return {} if self._share is None else {"masked_error": float(self._share)}

    def affine(self) -> AffineSettings:
        """The range of the random affine of each scan, `method.affine`."""
        return self.settings.affine

    def encoder(self) -> VolumeEncoder:
        """The encoder, without token and decoder."""
        return self.filler.encoder

    def predictor(self) -> Pooled:
        """Scans to their pooled features."""
        return Pooled(self.filler.encoder)

    def reconstruct(self, image: Tensor, generator: Generator) -> Reconstruction:
        """Scans as they are, masked and filled in."""
        cells = draw_cells(image, self.settings.masking, generator)
        return Reconstruction(self.filler(image, cells), enlarge(cells, image.shape[2:]))


def build_filler(task: PretrainTask, decoder_width: int, seed: int) -> Filler:
    """Encoder of the task with its own seed, token and decoder with the next."""
    encoder = build_encoder(task.network, 1, 1000 * seed, task.start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * seed + 1)
        return Filler(encoder, decoder_width)
