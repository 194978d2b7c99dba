"""Networks that grade radiographs: one encoder, shared by all crops of an image, and a head.

Source: Semixup (sheet, section 7). Norms are per instance, so what an image gets does not depend on
the others in its batch, but where its settings are `over_batch`. The cumulative head is not the
paper's; it is the proportional odds model (McCullagh 1980), as the last layer of a network.

Legend: B images, V crops of an image, N = B * V crops, S pixels of a side, C channels of a map, F
features of a crop, K grades.
"""

from math import log
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from medssl.networks.dropout import Dropout
from medssl.networks.grader_settings import GraderSettings
from medssl.networks.image_encoders import DenseNet, PooledResNet50
from medssl.networks.load_report import LoadReport
from medssl.networks.monai_features import MonaiFeatures
from medssl.networks.monai_grader_settings import MonaiGraderSettings
from medssl.networks.monai_slice_settings import AnySliceEncoder
from medssl.networks.monai_slices import MonaiSlices
from medssl.networks.monai_tile_settings import AnyTileEncoder
from medssl.networks.neighbours import Neighbours
from medssl.networks.norm import rest_batch_norms
from medssl.networks.pretrained import load_pretrained
from medssl.networks.resnet import ResNet18
from medssl.networks.slice_encoder import SliceEncoder
from medssl.networks.tile_encoder import build_tile_encoder

SLOPE = 0.2
PUBLISHED_DEVIATION = 0.02


def _block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.InstanceNorm2d(outputs),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


def _largest(maps: Tensor, *axes: int) -> Tensor:
    """The largest values along axes, which are kept; those that are equal share the gradient."""
    if not torch.compiler.is_compiling():
        return maps.amax(axes, keepdim=True)
    # For that gradient torch computes the map anew, unrounded, and no value may equal the largest,
    # which was rounded to half precision: a share of 0 / 0.
    for axis in axes:
        maps = maps.max(axis, keepdim=True).values
    return maps


class SiameseEncoder(nn.Module):
    """Nine convolutions in four stages, then the pooling; crops [N, 1, S, S] to [N, 8 * width]."""

    def __init__(self, settings: GraderSettings) -> None:
        super().__init__()
        w = settings.width
        self.width = 8 * w
        self.stages = nn.Sequential(
            nn.Sequential(_block(1, w), _block(w, w), _block(w, w)),
            Dropout(settings.dropout),
            nn.Sequential(_block(w, 2 * w, stride=2), _block(2 * w, 2 * w)),
            Dropout(settings.dropout),
            nn.Sequential(_block(2 * w, 4 * w, stride=2), _block(4 * w, 4 * w)),
            Dropout(settings.dropout),
            nn.Sequential(_block(4 * w, 8 * w, stride=2), _block(8 * w, 8 * w)),
        )
        self.pooling = settings.pooling
        if self.pooling != "average":
            self.between = _block(8 * w, 8 * w, kernel=1)

    def maps(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to the last map [N, C, ceil(S / 8), ceil(S / 8)]."""
        found: Tensor = self.stages(crops)
        return found

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to features [N, F]."""
        if self.pooling == "average":
            return maps.mean((2, 3))
        axis = 3 if self.pooling == "horizontal_vertical" else 2
        first = self.between(_largest(maps, axis))
        return _largest(first, 2, 3).flatten(1)

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to features [N, F]."""
        return self.pool(self.maps(crops))


class ResNetEncoder(nn.Module):
    """ResNet18 for grey crops: three equal channels, so that weights trained on colour fit."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet18()
        self.width = self.backbone.width

    def maps(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to the last map [N, C, ceil(S / 32), ceil(S / 32)]."""
        return self.backbone.maps(crops.expand(-1, 3, -1, -1))

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to features [N, F]."""
        return maps.mean((2, 3))

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to features [N, F]."""
        return self.pool(self.maps(crops))


class SliceCropEncoder(nn.Module):
    """The encoder of images and slices that joint 2D-3D pre-trains; its coarsest map is pooled.

    Its batch norms, where it has such, let crops of a batch act on each other in training.
    """

    def __init__(self, settings: AnySliceEncoder) -> None:
        super().__init__()
        self.slices = SliceEncoder(settings)
        self.width = self.slices.widths[-1]

    def maps(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to the last map [N, C, ceil(S / s), ceil(S / s)], s its stride."""
        return self.slices.maps(crops)[-1]

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to features [N, F]."""
        return maps.mean((2, 3))

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to features [N, F]."""
        return self.pool(self.maps(crops))


class ImageCropEncoder(nn.Module):
    """An encoder of images, such as one of another project, for grey crops.

    Crops are resized to its side and scaled as its weights were trained. Its batch norms keep their
    statistics: few labels would spoil them. Of a transformer's features there is no map, so that
    its saliency is even over a crop.
    """

    def __init__(self, settings: AnyTileEncoder) -> None:
        super().__init__()
        self.images = build_tile_encoder(settings, seed=int(torch.initial_seed() % 2**31))
        self.width = self.images.width
        kinds = ResNet18 | PooledResNet50 | DenseNet | MonaiFeatures
        self.of_maps = isinstance(self.images.backbone, kinds)

    def train(self, mode: bool = True) -> Self:
        """Training mode of all but the batch norms."""
        super().train(mode)
        rest_batch_norms(self)
        return self

    def maps(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] in [-1, 1] to the last map [N, C, h, w]; of tokens [N, F, 1, 1]."""
        image = self.images.sized((crops + 1) / 2)
        if not self.of_maps:
            return self.images.embed(image)[:, :, None, None]
        found = cast("Any", self.images.backbone).maps(self.images.scaled(image))
        last: Tensor = found[-1] if isinstance(found, list) else found
        return last

    def pool(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] to features [N, F]."""
        return maps.mean((2, 3))

    def forward(self, crops: Tensor) -> Tensor:
        """Crops [N, 1, S, S] to features [N, F]."""
        return self.pool(self.maps(crops))


CropEncoder = SiameseEncoder | ResNetEncoder | SliceCropEncoder | ImageCropEncoder | MonaiFeatures


class CumulativeHead(nn.Module):
    """P(grade <= k) = sigmoid(threshold_k - score): one score, K - 1 rising thresholds.

    Begins with equal probabilities of all grades at score 0.
    """

    def __init__(self, features: int, grades: int) -> None:
        super().__init__()
        self.score = nn.Linear(features, 1, bias=False)
        start = torch.tensor([log(k / (grades - k)) for k in range(1, grades)])
        self.first = nn.Parameter(start[:1].clone())
        self.gaps = nn.Parameter(start.diff().expm1().log())  # the inverse of softplus

    def thresholds(self) -> Tensor:
        """[K - 1], rising."""
        return torch.cat([self.first, self.first + softplus(self.gaps).cumsum(0)])

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, F] to log-probabilities [B, K].

        log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - exp(b - a)), s the sigmoid, is exact where
        the difference itself would vanish.
        """
        reach = self.thresholds() - self.score(features)
        inner = (-(-self.thresholds().diff()).exp()).log1p()
        below, above = logsigmoid(reach), logsigmoid(-reach)
        between = below[:, 1:] + above[:, :-1] + inner
        return torch.cat([below[:, :1], between, above[:, -1:]], dim=1)


class Grader(nn.Module):
    """Images [B, V, S, S] in [-1, 1] to logits [B, K].

    Attributes:
        width: features of an image, V * F.
        report: what was loaded from the weights file; None without one.
    """

    by_rows: ClassVar = ("features",)

    def __init__(self, encoder: CropEncoder, views: int, head: nn.Module, dropout: float) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.views, self.width = views, views * encoder.width
        self.dropout = Dropout(dropout)
        self.report: LoadReport | None = None

    def maps(self, image: Tensor) -> Tensor:
        """Images [B, V, S, S] to the last map of every crop, [B * V, C, h, w]."""
        return self.encoder.maps(image.flatten(0, 1).unsqueeze(1))

    def features_of(self, maps: Tensor) -> Tensor:
        """Maps [B * V, C, h, w] to features [B, V * F], after dropout."""
        pooled = self.encoder.pool(maps)
        dropped: Tensor = self.dropout(pooled.view(-1, self.width))
        return dropped

    def features(self, image: Tensor) -> Tensor:
        """Images [B, V, S, S] to what the head is given, [B, V * F]."""
        return self.features_of(self.maps(image))

    def forward(self, image: Tensor) -> Tensor:
        """Images [B, V, S, S] to logits [B, K]."""
        logits: Tensor = self.head(self.features(image))
        return logits


def build_grader(
    settings: GraderSettings | MonaiGraderSettings, views: int, grades: int, seed: int
) -> Grader:
    """The network of `settings`, with the encoder's weights of its file, if one is named.

    What the file does not hold comes from `seed`: equal seeds give equal weights; torch's global
    generator is left as it was.

    Raises:
        UsageError, DataError: as `load_pretrained`; also where a class of MONAI refuses its
            arguments.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = _encoder(settings)
        width = views * encoder.width
        head: nn.Module = nn.Linear(width, grades, bias=False)
        if settings.head == "cumulative":
            head = CumulativeHead(width, grades)
        elif settings.head == "neighbours":
            head = Neighbours(width, grades, settings.nearest)
        network = Grader(encoder, views, head, settings.dropout)
        _initialise(network, settings)
    if settings.weights is not None:
        path = Path(settings.weights)
        network.report = load_pretrained(_backbone(encoder), path, settings.matched)
    encoder.requires_grad_(not settings.frozen)
    return network


def _encoder(settings: GraderSettings | MonaiGraderSettings) -> CropEncoder:
    if isinstance(settings, MonaiGraderSettings):
        return MonaiFeatures(settings, 1, settings.side, settings.frozen)
    if settings.name == "images":
        return ImageCropEncoder(settings.image_encoder)
    if settings.name == "slices":
        return SliceCropEncoder(settings.slice_encoder)
    return SiameseEncoder(settings) if settings.name == "siamese" else ResNetEncoder()


def _backbone(encoder: CropEncoder) -> nn.Module:
    """The part of an encoder that weights files hold."""
    if isinstance(encoder, ImageCropEncoder):
        return encoder.images.loaded
    if isinstance(encoder, MonaiFeatures):
        return encoder.network
    if isinstance(encoder, SliceCropEncoder):
        slices = encoder.slices.backbone
        return slices.model.network if isinstance(slices, MonaiSlices) else slices
    return encoder.backbone if isinstance(encoder, ResNetEncoder) else encoder


def _initialise(network: Grader, settings: GraderSettings | MonaiGraderSettings) -> None:
    """Start weights; the head's are small, so that the first answers are near uniform."""
    own = isinstance(settings, MonaiGraderSettings) or settings.name in ("images", "slices")
    fresh: nn.Module = network.head if own else network
    for module in fresh.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=PUBLISHED_DEVIATION)
        elif isinstance(settings, MonaiGraderSettings):
            continue
        elif isinstance(module, nn.Conv2d) and settings.name == "siamese":
            if settings.init == "he":
                nn.init.kaiming_normal_(module.weight, a=SLOPE)
            else:
                nn.init.normal_(module.weight, std=PUBLISHED_DEVIATION)
