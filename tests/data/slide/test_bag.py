from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from medssl.data.bags.bag import BagSource, BagStream
from medssl.data.slide.bag import FeatureHeader, read_features, read_header, write_features
from medssl.errors import DataError

HEADER = FeatureHeader("s1", 512, 0.5, 256, (9000, 7000), "encoder 1", "abc", "def")
FEATURES = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float16)
PLACES = np.arange(14, dtype=np.int32).reshape(7, 2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_features(tmp_path / "s1.safetensors", FEATURES, PLACES, HEADER)
    return tmp_path / "s1.safetensors"


def test_what_is_written_is_read(file: Path) -> None:
    bag = read_features(file, patient="p", label=1)
    assert np.array_equal(bag.features, FEATURES)
    assert bag.features.dtype == np.float16
    assert np.array_equal(bag.places, PLACES)
    assert bag.places.dtype == np.int32
    assert (bag.id, bag.patient, bag.label) == ("s1", "p", 1)
    assert (bag.span, bag.slide_size, bag.header) == (512, (9000, 7000), HEADER)
    assert [path.name for path in file.parent.iterdir()] == ["s1.safetensors"]


def test_by_default_a_slide_is_its_own_patient_without_a_label(file: Path) -> None:
    bag = read_features(file)
    assert (bag.patient, bag.label) == ("s1", None)


def test_it_is_a_bag_to_train_on_read_only_when_asked(file: Path) -> None:
    bag: BagSource = read_features(file, label=1)
    write_features(file, FEATURES * 2, PLACES, HEADER)
    batch = BagStream([bag], seed=0).batch(0)
    assert np.array_equal(batch.features.numpy(), (FEATURES * 2).astype(np.float32))
    assert (int(batch.label), batch.ids) == (1, ("s1",))


def test_a_file_is_replaced_as_a_whole(file: Path) -> None:
    write_features(file, FEATURES[:3], PLACES[:3], replace(HEADER, encoder="encoder 2"))
    assert read_header(file).encoder == "encoder 2"
    assert read_features(file).features.shape == (3, 5)


@pytest.mark.parametrize("what", ["cut", "text", "other", "missing"])
def test_what_holds_no_features_is_named(file: Path, what: str) -> None:
    if what == "cut":
        file.write_bytes(file.read_bytes()[:-10])
    elif what == "text":
        file.write_text("features")
    elif what == "other":
        save_file({"weights": FEATURES}, file)
    else:
        file.unlink()
    with pytest.raises(DataError, match=r"s1\.safetensors.*extract"):
        read_features(file)
