"""Vision transformers that are published with weights: their sizes, and what no file says.

Source: sheet of foreign weights, section 1.1. Facts that the sheet marks as general knowledge are
left open here: a file that is imported without them is told by `--family`, and says so.
"""

from dataclasses import dataclass

from medssl.networks.foreign.recognised import UNKNOWN, Facts
from medssl.networks.tile_settings import IMAGENET

Values = tuple[tuple[float, ...], tuple[float, ...]]
HALF: Values = ((0.5,) * 3, (0.5,) * 3)


@dataclass(frozen=True)
class Published:
    """A transformer of known weights.

    Attributes:
        width, depth, patch: of the transformer; a file of another size is not it.
        facts: title, licence and so on.
        side: of its images, pixels.
        values: mean and deviation of each channel.
        pooling: which tokens are its features.
        registers, scaled, gated: whether it has registers, LayerScale and SwiGLU.
        resize: how its authors resize.
    """

    width: int
    depth: int
    patch: int
    facts: Facts
    side: int = 224
    values: Values = IMAGENET
    pooling: str = "cls"
    registers: int = 0
    scaled: bool = True
    gated: bool = False
    resize: str = "bilinear"


def _tiles(title: str, licence: str, citation: str, commerce: bool | None) -> Facts:
    return Facts(title, licence, citation, commerce, mpp=0.5)


_DINO = Facts("DINO", "Apache-2.0", "Caron et al., DINO, ICCV 2021", True)
_DINOV2 = Facts("DINOv2", "Apache-2.0", "Oquab et al., DINOv2, TMLR 2024", True)
_DINOV3 = Facts(
    "DINOv3", "DINOv3 licence, which travels with the weights", "Siméoni et al., DINOv3, 2025", None
)
_UNI = "Chen et al., Towards a general-purpose foundation model for computational pathology, 2024"
_NC_ND = "CC BY-NC-ND 4.0, academic use alone"
_OWKIN = "Owkin non-commercial licence"
_VIRCHOW = "Vorontsov et al., Virchow, Nature Medicine 2024"

PUBLISHED: dict[str, Published] = {
    "dino": Published(384, 12, 16, _DINO, scaled=False),
    "dino_8": Published(384, 12, 8, _DINO, scaled=False),
    "dino_base": Published(768, 12, 16, _DINO, scaled=False),
    "kaiko": Published(
        384, 12, 16, _tiles("Kaiko ViT-S/16", UNKNOWN, "kaiko.ai, 2024", None),
        values=HALF, scaled=False,
    ),
    "phikon": Published(
        768, 12, 16,
        _tiles("Phikon", _OWKIN, "Filiot et al., Scaling self-supervised learning for "
               "histopathology with masked image modeling, 2023", False),
        scaled=False,
    ),
    "phikon_v2": Published(
        1024, 24, 16, _tiles("Phikon-v2", _OWKIN, "Filiot et al., Phikon-v2, 2024", False)
    ),
    "uni": Published(1024, 24, 16, _tiles("UNI", _NC_ND, _UNI, False)),
    "uni2_h": Published(
        1536, 24, 14, _tiles("UNI2-h", _NC_ND, _UNI, False), registers=8, gated=True
    ),
    "virchow": Published(
        1280, 32, 14, _tiles("Virchow", "Apache-2.0", _VIRCHOW, True),
        pooling="cls_mean", gated=True, resize="bicubic",
    ),
    "virchow2": Published(
        1280, 32, 14, _tiles("Virchow2", _NC_ND, "Zimmermann et al., Virchow2, 2024", False),
        pooling="cls_mean", registers=4, gated=True, resize="bicubic",
    ),
    "h_optimus": Published(
        1536, 40, 14,
        _tiles("H-optimus-0", "Apache-2.0", "Saillard et al., H-optimus-0, 2024", True),
        values=((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517)),
        registers=4, gated=True,
    ),
    "gigapath": Published(
        1536, 40, 16, _tiles("Prov-GigaPath's tile encoder", UNKNOWN, "Xu et al., A whole-slide "
                             "foundation model for digital pathology, Nature 2024", None),
        gated=True, resize="bicubic",
    ),
    "dinov2_small": Published(384, 12, 14, _DINOV2, 518, resize="bicubic"),
    "dinov2_base": Published(768, 12, 14, _DINOV2, 518, resize="bicubic"),
    "dinov2_large": Published(1024, 24, 14, _DINOV2, 518, resize="bicubic"),
    "dinov2_giant": Published(1536, 40, 14, _DINOV2, 518, gated=True, resize="bicubic"),
    "dinov2_small_reg": Published(384, 12, 14, _DINOV2, 518, registers=4, resize="bicubic"),
    "dinov2_base_reg": Published(768, 12, 14, _DINOV2, 518, registers=4, resize="bicubic"),
    "dinov2_large_reg": Published(1024, 24, 14, _DINOV2, 518, registers=4, resize="bicubic"),
    "dinov3_small": Published(384, 12, 16, _DINOV3, registers=4),
    "dinov3_base": Published(768, 12, 16, _DINOV3, registers=4),
    "dinov3_large": Published(1024, 24, 16, _DINOV3, registers=4),
    "rad_dino": Published(
        768, 12, 14,
        Facts("RAD-DINO", "MIT since 2025, MSRLA before", "Pérez-García et al., Exploring scalable "
              "medical image encoders beyond text supervision, 2025", None),
        518, ((0.5307,) * 3, (0.2583,) * 3), resize="bicubic",
    ),
}  # fmt: skip
"""By the name that `--family` takes. Values of RAD-DINO are those of its model page."""

HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1536: 24}
"""Attention heads of the published transformers by their width."""
