"""Files of MONAI's SwinUNETR: VoCo, SuPreM, MONAI's own, of whichever version of MONAI.

Sources: sheet of foreign weights, sections 1.3 and T9. All shapes follow from the file. What does
not is how cells are merged, which MONAI 1.5 changed without a change of names or shapes: it comes
from the family.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from medssl.errors import DataError
from medssl.networks.foreign.recognised import Facts, Family, Recognised, divided, shape_of, without
from medssl.networks.merging import LEGACY
from medssl.networks.weights_file import WeightsFile

PROJ = "swinViT.patch_embed.proj.weight"

CT = {"ct": {"window": [-175.0, 250.0], "spacing": [1.5, 1.5, 1.5]}}
"""What VoCo and MONAI's self-supervised SwinUNETR were shown: 1.5 mm, clipped to 0..1."""


def plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """By the names of SwinUNETR in MONAI 1.0 and later."""
    found = without(tensors, "module.", "backbone.", "swin_vit.swinViT.")
    found = {name.replace("swin_vit.", "swinViT.", 1): one for name, one in found.items()}
    if PROJ not in found and "layers1.0.blocks.0.attn.qkv.weight" in found:
        found = {f"swinViT.{name}": one for name, one in found.items()}
    return {_linear(name): one for name, one in found.items()}


def _linear(name: str) -> str:
    if not name.startswith("swinViT."):
        return name
    return name.replace(".mlp.fc1.", ".mlp.linear1.").replace(".mlp.fc2.", ".mlp.linear2.")


def _renamed(name: str) -> str | None:
    """The index of relative positions follows from the window and is made anew."""
    if not name.startswith("swinViT.") or name.endswith("relative_position_index"):
        return None
    inner = name.removeprefix("swinViT.")
    kept = inner.startswith(("patch_embed.", "layers"))
    return name if kept else None


def _arguments(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of MONAI's class, from shapes."""
    width, _, *patch = shape_of(tensors, PROJ, 5, "swin_unetr")
    depths, heads = [], []
    for stage in range(1, 5):
        start = f"swinViT.layers{stage}.0.blocks."
        blocks = {name.split(".")[4] for name in tensors if name.startswith(start)}
        table = f"{start}0.attn.relative_position_bias_table"
        rows, count = shape_of(tensors, table, 2, "swin_unetr")
        depths.append(len(blocks))
        heads.append(count)
    side = round(rows ** (1 / 3))
    if side**3 != rows or len(set(patch)) != 1:
        raise DataError(
            "the file is no SwinUNETR that medssl can build",
            f"its table of positions has {rows} rows and its cells measure {patch}",
            "give one with cubes as windows and cells",
        )
    inner, _ = shape_of(tensors, "swinViT.layers1.0.blocks.0.mlp.linear1.weight", 2, "swin_unetr")
    return {
        "feature_size": width,
        "patch_size": patch[0],
        "depths": depths,
        "num_heads": heads,
        "window_size": (side + 1) // 2,
        "mlp_ratio": inner / width,
        "qkv_bias": "swinViT.layers1.0.blocks.0.attn.qkv.bias" in tensors,
        "patch_norm": "swinViT.patch_embed.norm.weight" in tensors,
        "use_v2": any(name.startswith("swinViT.layers1c.") for name in tensors),
    }


@dataclass(frozen=True)
class Swin:
    """One family of SwinUNETRs.

    Attributes:
        name: of the family.
        downsample: how cells are merged.
        facts: of the published weights.
        marks: in names of tensors, or of the file, by which it is known.
    """

    name: str
    downsample: str
    facts: Facts
    marks: tuple[str, ...] = ()

    def fits(self, file: WeightsFile) -> bool:
        """Whether a file holds a SwinUNETR, and whether it is marked as one of this family."""
        if PROJ not in plain(file.tensors):
            return False
        marked = [one for one in SWINS if one.marked(file)]
        return self in marked if marked else not self.marks

    def marked(self, file: WeightsFile) -> bool:
        """Whether names of tensors, or of the file, are this family's alone."""
        names = [file.path.name.lower(), *file.tensors]
        return any(mark in name for mark in self.marks for name in names)

    def read(self, file: WeightsFile) -> Recognised:
        """The transformer of a file."""
        tensors = plain(file.tensors)
        arguments = _arguments(tensors)
        weights, left = divided(tensors, _renamed)
        left = tuple(name for name in left if not name.endswith("relative_position_index"))
        version = "V2" if arguments["use_v2"] else "V1"
        return Recognised(
            self.name,
            f"monai SwinUNETR ({version}, downsample={self.downsample})",
            {"name": "monai:SwinUNETR", **arguments, "downsample": self.downsample},
            True,
            shape_of(tensors, PROJ, 5, self.name)[1],
            weights,
            left,
            self.facts,
        )


_UNSTATED = Facts("SwinUNETR")

SWINS = (
    Swin(
        "voco",
        LEGACY,
        Facts(
            "VoCo, SwinUNETR pre-trained on CT",
            "Apache-2.0",
            "Wu et al., Large-Scale 3D Medical Image Pre-training with Geometric Context Priors, "
            "TPAMI 2025",
            True,
            CT,
            (96, 96, 96),
        ),
        ("voco",),
    ),
    Swin(
        "monai_ssl",
        LEGACY,
        Facts(
            "SwinUNETR pre-trained on CT without labels, of MONAI's research contributions",
            "Apache-2.0",
            "Tang et al., Self-Supervised Pre-Training of Swin Transformers for 3D Medical Image "
            "Analysis, CVPR 2022",
            True,
            CT,
            (96, 96, 96),
        ),
        ("model_swinvit", ".mlp.fc1."),
    ),
    Swin(
        "suprem",
        LEGACY,
        Facts(
            "SuPreM, SwinUNETR taught on AbdomenAtlas",
            citation="Li et al., How Well Do Supervised Models Transfer to 3D Image Segmentation?, "
            "ICLR 2024",
            preprocess=CT,
            patch=(96, 96, 96),
        ),
        ("suprem", "organ_embedding"),
    ),
    Swin("swin_unetr_until_monai_1_4", LEGACY, _UNSTATED),
    Swin("swin_unetr_since_monai_1_5", "merging", _UNSTATED),
    Swin("swin_unetr_mergingv2", "mergingv2", _UNSTATED),
)

FAMILIES = {
    one.name: Family(
        one.name,
        f"{one.facts.title}; cells merged as `downsample={one.downsample}`",
        one.fits,
        one.read,
    )
    for one in SWINS
}
