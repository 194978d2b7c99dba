"""The README of a packaged model: what it is for, what it was made from, how it is used."""

import json

from medssl.train.checkpoint import Checkpoint


def model_card(found: Checkpoint, sha256: str) -> str:
    """Markdown for a checkpoint whose weights file has this SHA-256."""
    sections = [_purpose(found), _labels(found), _input(found), _origin(found), _scores(found)]
    return "\n\n".join([*sections, _use(sha256)]) + "\n"


def _purpose(found: Checkpoint) -> str:
    targets = ", ".join(label.name for label in found.labels)
    what = "2-D images" if found.network.is_flat else "volumes"
    simulated = "\n\n**Trained on simulated data: scores say nothing about patients.**"
    return (
        f"# {found.data.title}\n\nSegments {targets} in {found.modality} {what}. For research; "
        f"not a medical device.{simulated if found.data.simulated else ''}"
    )


def _labels(found: Checkpoint) -> str:
    rows = [
        f"| {label.value} | {label.name} | "
        + (
            f"{label.code.meaning} ({label.code.scheme} {label.code.value}) |"
            if label.code
            else "|"
        )
        for label in found.labels
    ]
    return "\n".join(["## Output", "", "| value | class | code |", "|---|---|---|", *rows])


def _input(found: Checkpoint) -> str:
    steps = [f"  - {step.name} {json.dumps(dict(step.args))}" for step in found.preprocess.steps]
    lines = [
        f"- channels, in this order: {', '.join(found.channels)}",
        "- transforms, in this order (those without a prefix are MONAI's):",
        *(steps or ["  - none"]),
        f"- patch: {' x '.join(str(side) for side in found.patch)} voxels",
        "",
        "Preprocessing is part of the prediction; masks lie on the grid of the given scan.",
    ]
    return "\n".join(["## Input", "", *lines])


def _origin(found: Checkpoint) -> str:
    lines = [f"- {name}: {text}" for name, text in origin(found)]
    return "\n".join(["## Origin", "", *lines])


def origin(found: Checkpoint) -> list[tuple[str, str]]:
    """What a model was made from, by name."""
    members = f"{found.members} network{'s, averaged' if found.members > 1 else ''}"
    return [
        ("network", f"{found.network.name}, {members}"),
        ("method", f"{found.method['name']}, {found.step} steps ({found.paper})"),
        ("data", f"{found.data.name}; licence: {found.data.licence}"),
        ("citation", found.data.citation),
        *_start(found),
        ("split", f"{found.split_hash}; code: medssl {found.code}"),
    ]


def _start(found: Checkpoint) -> list[tuple[str, str]]:
    """What the encoder was pre-trained on, whose licences hold for the weights too."""
    if found.encoder is None:
        return []
    first = f"pre-trained with {found.encoder.method['name']} ({found.encoder.paper}) on"
    return [
        ("encoder", f"{first} {data.name}; licence: {data.licence}; citation: {data.citation}")
        for data in found.encoder.data
    ]


def _scores(found: Checkpoint) -> str:
    return f"## Scores\n\n{tested(found)}"


def tested(found: Checkpoint) -> str:
    """How well it does, as far as it knows; losses of one step say nothing to a user."""
    dice = found.metrics.get("dice")
    told = "not measured at this step" if dice is None else f"Dice {dice:.4f}"
    validated = f"On the validation cases of its training: {told}."
    return f"{found.tested} {validated}" if found.tested and dice else found.tested or validated


def _use(sha256: str) -> str:
    return (
        "## Use\n\n```\npip install medssl\nmedssl predict THIS_FOLDER SCAN.nii.gz --out masks\n"
        f"```\n\nSHA-256 of weights.safetensors: `{sha256}`"
    )
