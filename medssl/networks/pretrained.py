"""Pre-trained weights from a local file, matched to a network by name and shape, never by order."""

from pathlib import Path

from torch import Tensor, nn

from medssl.networks.load_report import LoadReport, must_be_numbers
from medssl.networks.vision_transformer import resize_positions
from medssl.networks.weights_file import read_weights

WRAPPERS = ("module.", "slices.", "backbone.", "model.", "network.")

STEM = "conv1.weight"

DSMIL_NAMES = {
    "features.0.": "conv1.",
    "features.4.": "layer1.",
    "features.5.": "layer2.",
    "features.6.": "layer3.",
    "features.7.": "layer4.",
}
"""DSMIL's weights number the layers of the ResNet that others name."""


def load_pretrained(network: nn.Module, path: Path, matched: float) -> LoadReport:
    """Copy the weights of a file into `network`; all of it happens or nothing.

    Understands weights alone (DINO's backbones, timm, torchvision, safetensors of medssl), DINO's
    training checkpoints, of which the teacher is taken, MAE's and DSMIL's.

    Args:
        matched: share of the network's parameters that the file must hold.

    Raises:
        UsageError: there is no such file.
        DataError: it holds no weights, too few of this network, or such as would give it other
            features than they were trained for (see `LoadReport`).
    """
    network = getattr(network, "model", network)  # timm's own names are below it
    found = {_plain_name(name): value for name, value in read_weights(path).items()}
    own = {name: value.detach() for name, value in network.state_dict().items()}
    adapted: list[str] = []
    if "pos_embed" in found and "pos_embed" in own:
        found["pos_embed"] = _fit_positions(found["pos_embed"], own["pos_embed"], adapted)
    if STEM in found and STEM in own:
        found[STEM] = _fit_planes(found[STEM], own[STEM], adapted)
    # Adapters that the file lacks are new and do not count.
    counted = {name for name in own if name in found or ".adapter." not in name}
    report = LoadReport.of(own, found, counted, tuple(adapted))
    source = f"the weights in {path}"
    report.refuse_less(matched, source, "`matched`")
    must_be_numbers(own, found, report.matched, source)
    network.load_state_dict({name: found[name] for name in report.matched}, strict=False)
    return report


def _plain_name(name: str) -> str:
    """The name without the prefix of the training code that wrapped the encoder."""
    while wrapper := next((one for one in WRAPPERS if name.startswith(one)), None):
        name = name.removeprefix(wrapper)
    for numbered, named in DSMIL_NAMES.items():
        if name.startswith(numbered):
            return named + name.removeprefix(numbered)
    return name


def _fit_planes(found: Tensor, own: Tensor, adapted: list[str]) -> Tensor:
    """The first convolution of colour weights for grey images: its three planes are summed."""
    if not (own.shape[1] == 1 and found.ndim == 4 and found.shape[1] == 3):
        return found
    adapted.append("planes of colour summed for grey images")
    return found.sum(1, keepdim=True)


def _fit_positions(found: Tensor, own: Tensor, adapted: list[str]) -> Tensor:
    """Positions [1, 1 + m * m, E] of another image size resized to the network's."""
    if found.ndim != 3 or found.shape[2] != own.shape[2] or found.shape == own.shape:
        return found
    learned, wanted = found.shape[1] - 1, round((own.shape[1] - 1) ** 0.5)
    side = round(max(learned, 0) ** 0.5)
    if learned < 1 or side**2 != learned:
        return found
    adapted.append(f"positions of {side} x {side} patches resized to {wanted} x {wanted}")
    return resize_positions(found.float(), wanted, wanted)
