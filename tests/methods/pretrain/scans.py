"""Toys for methods that learn from scans: blobs of a patient, in two contrasts."""

import torch

from medssl.data.scan.batch import ScanBatch
from medssl.data.scan.settings import IntensitySettings
from medssl.methods.encoder_method import PretrainTask
from medssl.methods.method import Progress
from medssl.methods.registry import implementation, settings_class
from medssl.networks.settings import NetworkSettings

SIDE = 16
PATCH = (SIDE, SIDE, SIDE)
CONTRASTS = ("t1", "t2")
NETWORK = NetworkSettings(name="conv_fpn", width=4, levels=3)
STILL = {
    "intensity": IntensitySettings(
        scale_chance=0, noise_chance=0, artefact_chance=0, gamma_or_zoom_chance=0
    )
}
"""No random change of intensities."""


def anatomy(patient: int) -> torch.Tensor:
    """Three blobs of a patient, [1, X, Y, Z] in [0, 1]."""
    generator = torch.Generator().manual_seed(patient)
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIDE)] * 3, indexing="ij"))
    centres = torch.rand(3, 3, 1, 1, 1, generator=generator) * SIDE
    distance = ((grid - centres) ** 2).sum(1)
    return (-distance / 18).exp().amax(0, keepdim=True)


def contrasts_of(patient: int) -> torch.Tensor:
    """The same blobs bright and dark, [2, 1, X, Y, Z]."""
    plain = anatomy(patient)
    return torch.stack([plain, 1 - plain**2])


def pair_batch(patients=(1, 2, 3, 4), contrast=None) -> ScanBatch:
    source = torch.stack([contrasts_of(patient) for patient in patients])
    known = torch.tensor([[0, 1]] * len(patients)) if contrast is None else torch.tensor(contrast)
    ids = tuple(f"case{patient}" for patient in patients)
    return ScanBatch(source, None, PATCH, torch.tensor(patients), known, ids)


def scan_batch(patients=(5, 6)) -> ScanBatch:
    source = torch.stack([contrasts_of(patient)[:1] for patient in patients])
    unknown = torch.full((len(patients), 1), -1)
    ids = tuple(f"case{patient}" for patient in patients)
    return ScanBatch(source, None, PATCH, torch.tensor(patients), unknown, ids)


def build(name, *, seed=0, network=NETWORK, patients=4, contrasts=CONTRASTS, **settings):
    """The method with cubes of 4 voxels and a small projector; all else is the default.

    None leaves a key out.
    """
    small = {"masking": {"cell": 4}, "decoder_width": 8}
    if name == "modality_invariant":
        small["projector"] = {"hidden": 16, "outputs": 8}
    given = {key: one for key, one in {**small, **settings}.items() if one is not None}
    chosen = settings_class(name)(**given)
    task = PretrainTask(network, PATCH, contrasts, patients)
    return implementation(chosen)(chosen, task, seed).train()


def terms(method, batches, seed=0, step=50, steps=100):
    """The loss terms of one step, all randomness from one seed."""
    torch.manual_seed(seed)
    return method(batches, Progress(step, steps), torch.Generator().manual_seed(seed))


def both():
    return {"pairs": pair_batch(), "scans": scan_batch()}


def copy(module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}
