"""Real outlines: 110 slides of CAMELYON16."""

from pathlib import Path

import pytest

from medssl.data.slide.annotation import Annotation
from medssl.data.slide.annotation_files import read_annotation_set


@pytest.fixture(scope="session")
def camelyon16(shared_data: Path) -> dict[str, Annotation]:
    """Annotation of each training slide with tumour, by its name."""
    return read_annotation_set(shared_data / "camelyon16_meta" / "c16_train_tumor_polygons.json.gz")
