"""A mask of one image, as a client of MONAI Label asks for it."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Response

from medssl.data.csv_table import read_table
from medssl.serve.worker import Asks, Warnings

OUTPUTS = ("all", "image", "json", "dicom_seg")
ENDINGS = {".nii.gz": "nifti", ".nii": "nifti", ".nrrd": "nrrd", ".mha": "mha"}
"""Formats of masks by what a client calls `result_extension`."""

_TYPES = ("uint8", "uint16", "int16")


@dataclass(frozen=True)
class Wanted:
    """What a client wants.

    Attributes:
        output: one of `OUTPUTS`.
        ending: of the mask's name.
        kind: type of its voxels.
        packed: whether they are compressed.
    """

    output: str
    ending: str
    kind: str
    packed: bool

    @classmethod
    def of(cls, output: str, params: Mapping[str, Any]) -> "Wanted":
        """From a request.

        Raises:
            HTTPException: 400, there is no such form.
        """
        ending = str(params.get("result_extension") or ".nii.gz")
        kind = str(params.get("result_dtype") or "uint8")
        for name, value, known in (
            ("output", output, OUTPUTS),
            ("result_extension", ending, ENDINGS),
            ("result_dtype", kind, _TYPES),
        ):
            if value not in known:
                raise HTTPException(400, f"{name} is none of {', '.join(known)}")
        return cls(output, ending, kind, params.get("result_compress") is not False)

    @property
    def form(self) -> str:
        """The word of `predict.format`."""
        return "dicom-seg" if self.output == "dicom_seg" else ENDINGS[self.ending]


@dataclass(frozen=True)
class Answer:
    """A mask, and what is told with it."""

    mask: Path
    params: dict[str, Any]

    def response(self, output: str) -> Response:
        """As it was asked for."""
        if output == "json":
            return Response(json.dumps(self.params), media_type="application/json")
        content = self.mask.read_bytes()
        if output == "dicom_seg":
            return Response(content, media_type="application/dicom")
        if output == "image":
            return Response(content, media_type="application/octet-stream")
        boundary = secrets.token_hex(16)
        head = 'Content-Disposition: form-data; name="{}"{}\r\nContent-Type: {}\r\n\r\n'
        params = head.format("params", "", "application/json") + json.dumps(self.params)
        image = head.format("image", f'; filename="{self.mask.name}"', "application/octet-stream")
        body = b"".join(
            (
                f"--{boundary}\r\n{params}\r\n--{boundary}\r\n{image}".encode(),
                content,
                f"\r\n--{boundary}--\r\n".encode(),
            )
        )
        return Response(body, media_type=f"multipart/form-data; boundary={boundary}")


def answer(model: Asks, image: Path, place: Path, wanted: Wanted) -> Answer:
    """Predict an image into a folder.

    Raises:
        MedsslError: it cannot be predicted.
    """
    said, table = Warnings(), place / "volumes.csv"
    asked = model.asking([f"format={wanted.form}", "save=[labels]"])
    (mask,) = asked.predict([image], place / "out", said, statistics=table)
    if wanted.form != "dicom-seg":
        mask = _stored_as_wanted(mask, wanted)
    volumes = {row["structure"]: float(row["ml"]) for row in read_table(table)}
    names = {label.name: label.value for label in model.found.labels}
    return Answer(mask, {"label_names": names, "volumes_ml": volumes, "warnings": said.told})


def _stored_as_wanted(mask: Path, wanted: Wanted) -> Path:
    """The mask with the type and packing that were asked for; OHIF reads NRRD unpacked only."""
    plain = mask.with_name(f"mask{wanted.ending}")
    if mask.name.endswith(wanted.ending) and wanted.kind == "uint8" and wanted.packed:
        return mask.rename(plain)
    import SimpleITK

    kinds = {
        "uint8": SimpleITK.sitkUInt8, "uint16": SimpleITK.sitkUInt16, "int16": SimpleITK.sitkInt16,
    }  # fmt: skip
    image = SimpleITK.Cast(SimpleITK.ReadImage(str(mask)), kinds[wanted.kind])
    SimpleITK.WriteImage(image, str(plain), wanted.packed)
    return plain
