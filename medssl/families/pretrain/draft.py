"""A first pipeline that pre-trains, for `medssl init`."""

from collections.abc import Sequence

from medssl.data.spec import Case, DataSpec
from medssl.pipeline.drafts import Keys


def draft(spec: DataSpec, cases: Sequence[Case]) -> Keys:
    """Keys with their reasons."""
    word = "ct" if spec.modality == "CT" else "mr"
    return [
        ("preprocess", word, "Intensities."),
        (
            "method",
            "masked_image_modelling",
            "No scan has a mask: what can be learnt is an encoder, for pipelines to start from.",
        ),
        ("probe", {"patients": 0}, "Patients kept apart to ask the encoder what it knows."),
    ]
