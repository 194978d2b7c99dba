"""What joint 2D-3D pre-training hands on: the encoder of slices and the transformer of volumes.

Legend: B volumes, N slices, C channels, H W pixels, E features of a token.
"""

import torch
from torch import Tensor, nn

from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.slice_settings import SliceNetworkSettings
from medssl.networks.slice_transformer import SliceTransformer, holistic


class JointEncoder(nn.Module):
    """Slices to embeddings by one network, embeddings of a volume to tokens by another.

    Attributes:
        slices: what serves images and slice-wise networks alone.
        stem: name of the weight that reads the image.
    """

    def __init__(self, settings: SliceNetworkSettings, channels: int = 1) -> None:
        super().__init__()
        self.slices = SliceEncoder(settings.encoder, channels)
        self.project = nn.Linear(self.slices.width, settings.transformer.width)
        self.transformer = SliceTransformer(settings.transformer)
        self.width = settings.transformer.width
        self.stem = f"slices.{self.slices.stem}"

    def embed(self, image: Tensor) -> Tensor:
        """Images or slices [B, C, H, W] to embeddings [B, E]."""
        embedded: Tensor = self.project(self.slices(image))
        return embedded

    def tokens(self, embedded: Tensor, valid: Tensor, spacing: Tensor) -> Tensor:
        """Embeddings [B, N, E] of slices to tokens [B, N, E] that know of each other."""
        found: Tensor = self.transformer(embedded, valid, spacing)
        return found

    def forward(self, volume: Tensor, valid: Tensor, spacing: Tensor) -> Tensor:
        """Volumes [B, N, H, W] to vectors [B, E] of length 1.

        Args:
            valid: [B, N] bool, false for slices that only fill up.
            spacing: [B], mm between slices.
        """
        embedded = self.embed(volume.flatten(0, 1).unsqueeze(1))
        embedded = embedded.view(*volume.shape[:2], -1)
        return holistic(self.tokens(embedded, valid, spacing), valid)


def build_joint_encoder(settings: SliceNetworkSettings, channels: int, seed: int) -> JointEncoder:
    """Equal seeds give equal weights; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return JointEncoder(settings, channels)
