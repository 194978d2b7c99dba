"""Prediction from a checkpoint alone: names, grids, resuming, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from medssl.data.csv_table import read_table
from medssl.data.volume import read_geometry, read_mask, read_volume, write_volume
from medssl.errors import DataError, UsageError
from medssl.families.segment.predict import predict_files
from medssl.pipeline.config import load_config
from medssl.pipeline.plan import make_plan
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run
from medssl.pipeline.run import train as train_alone
from medssl.train.checkpoint import read_description
from medssl.train.description import CHECKSUMS, DESCRIPTION, checksums
from tests.told import Told


@pytest.fixture
def checkpoint(balls: Path, untrained_checkpoint: Path) -> Path:
    """A checkpoint, away from pipeline and data spec."""
    for gone in ("pipelines", "data_specs"):
        shutil.rmtree(balls / gone)
    return untrained_checkpoint


@pytest.fixture
def images(balls: Path) -> list[Path]:
    return [balls / "data" / "balls" / f"c{number}.nii.gz" for number in range(3)]


def predict(checkpoint: Path, files: list[Path], out: Path, *overrides: str) -> list[Path]:
    return predict_files(checkpoint, files, out, overrides, QuietReporter(), "cpu")


def test_a_mask_lies_on_its_images_grid_and_holds_the_declared_values(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    masks = predict(checkpoint, images, tmp_path / "out")
    assert [mask.name for mask in masks] == [image.name for image in images]
    for mask, image in zip(masks, images, strict=True):
        assert read_geometry(mask).matches(read_geometry(image))
        assert set(np.unique(read_mask(mask).array)) <= {0, 3}
    uncertain = read_volume(tmp_path / "out" / "c0_entropy.nii.gz").array
    assert uncertain.min() >= 0
    assert uncertain.max() <= 1


def test_a_stride_that_leaves_gaps_is_refused_before_an_image_is_looked_for(
    checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"stride=\[99, 4, 4\] is longer than train\.patch"):
        predict(checkpoint, [tmp_path / "none.nii.gz"], tmp_path / "out", "stride=[99,4,4]")


def test_masks_and_maps_keep_both_transforms_of_their_image(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    scan = nibabel.load(images[0])
    image = nibabel.Nifti1Image(np.asanyarray(scan.dataobj), None)
    image.header.set_qform(np.diag([1.0, 1, 2, 1]), 1)
    image.header.set_sform(np.diag([-1.0, 1, 2, 1]), 4)
    nibabel.save(image, tmp_path / "two.nii.gz")
    predict(checkpoint, [tmp_path / "two.nii.gz"], tmp_path / "out", "save=[labels,entropy]")
    for name in ("two.nii.gz", "two_entropy.nii.gz"):
        header = nibabel.load(tmp_path / "out" / name).header
        assert (int(header["qform_code"]), int(header["sform_code"])) == (1, 4)
        np.testing.assert_array_equal(header.get_qform(), np.diag([1.0, 1, 2, 1]))
        np.testing.assert_array_equal(header.get_sform(), np.diag([-1.0, 1, 2, 1]))
        np.testing.assert_array_equal(
            sitk.ReadImage(str(tmp_path / "out" / name)).GetDirection(),
            sitk.ReadImage(str(tmp_path / "two.nii.gz")).GetDirection(),
        )


@pytest.mark.parametrize(("form", "ending"), [("nrrd", ".nrrd"), ("mha", ".mha")])
def test_a_sheared_grid_is_said_to_need_another_format_which_can_be_asked_for(
    checkpoint: Path, images: list[Path], tmp_path: Path, form: str, ending: str
) -> None:
    """As of a CT with a tilted gantry: ITK finds no orthonormal definition."""
    affine = np.array([[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    image = nibabel.Nifti1Image(np.asanyarray(nibabel.load(images[0]).dataobj), affine)
    nibabel.save(image, tmp_path / "tilted.nii.gz")
    for settings, name, times in (
        ((), "tilted.nii.gz", 1),
        ((f"format={form}",), f"tilted{ending}", 0),
    ):
        told = Told()
        (mask,) = predict_files(
            checkpoint, [tmp_path / "tilted.nii.gz"], tmp_path / "out", settings, told, "cpu"
        )
        assert mask == tmp_path / "out" / name
        np.testing.assert_allclose(read_geometry(mask).affine, affine, atol=1e-6)
        about = [note for note in told.warned if f"{mask} does not open in 3D Slicer" in note]
        assert len(about) == times
        assert all("predict with --format nrrd" in note for note in about)
    other = tmp_path / "out" / f"tilted{ending}"
    assert sitk.ReadImage(str(other)).GetSize() == image.shape
    assert (tmp_path / "out" / f"tilted_entropy{ending}").is_file()


def test_probabilities_sum_to_one_and_agree_with_the_mask(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    (mask,) = predict(checkpoint, images[:1], tmp_path / "o", "save=[labels,probabilities]")
    found = [read_volume(tmp_path / "o" / f"c0_probability_{v}.nii.gz").array[0] for v in (0, 3)]
    np.testing.assert_allclose(found[0] + found[1], 1, atol=1e-5)
    np.testing.assert_array_equal(read_mask(mask).array[0] == 3, found[1] > found[0])


def test_one_bad_case_stops_no_other_and_the_same_command_does_what_is_missing(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "c9.nii.gz"
    broken.write_bytes(images[0].read_bytes()[:200])
    with pytest.raises(DataError, match="1 of 3 cases have no mask: c9; the other 2 are in"):
        predict(checkpoint, [images[0], broken, images[1]], tmp_path / "out")
    first = tmp_path / "out" / "c0.nii.gz"
    written = first.stat().st_mtime_ns
    left = {path.name for path in (tmp_path / "out").iterdir()}
    masks = {
        name for number in (0, 1) for name in (f"c{number}.nii.gz", f"c{number}_entropy.nii.gz")
    }
    assert left == {*masks, "prediction.json"}
    shutil.copy(images[2], broken)
    predict(checkpoint, [images[0], broken, images[1]], tmp_path / "out")
    assert first.stat().st_mtime_ns == written
    assert (tmp_path / "out" / "c9.nii.gz").is_file()


def test_a_folder_with_other_predictions_is_not_mixed_with(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(checkpoint, images[:1], out)
    with pytest.raises(UsageError, match="already holds other predictions"):
        predict(checkpoint, images[:1], out, "fill_holes=true")
    (tmp_path / "elsewhere").mkdir()
    same_name = Path(shutil.copy(images[1], tmp_path / "elsewhere" / "c0.nii.gz"))
    with pytest.raises(UsageError, match="'c0' was another file"):
        predict(checkpoint, [same_name], out)
    predict(checkpoint, images[:2], out, "window_batch=1")


def test_whole_volume_logits_are_not_needed_for_labels(
    checkpoint: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = predict(checkpoint, images[:1], tmp_path / "a", "save=[labels]")
    monkeypatch.setattr("medssl.infer.predict.LOGITS_LIMIT", 0)
    monkeypatch.setattr("medssl.infer.predict.sliding_window", None)
    (streamed,) = predict(checkpoint, images[:1], tmp_path / "b", "save=[labels]")
    np.testing.assert_array_equal(read_mask(whole).array, read_mask(streamed).array)


def test_a_wrong_number_of_channels_is_named(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    image = sitk.ReadImage(str(images[0]))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(tmp_path / "two.nii.gz"))
    with pytest.raises(DataError, match="gives 2 channels; the checkpoint wants 1: T1"):
        predict(checkpoint, [tmp_path / "two.nii.gz"], tmp_path / "out")


@pytest.mark.parametrize(
    ("override", "words"),
    [("flip=true", "did you mean 'predict.flips'"), ("network=second", "holds 1 network")],
)
def test_wrong_settings_are_refused(
    checkpoint: Path, images: list[Path], tmp_path: Path, override: str, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        predict(checkpoint, images, tmp_path / "out", override)


def with_description(checkpoint: Path, **changes: Any) -> Path:
    """The checkpoint with another description, as if trained otherwise."""
    found = read_description(checkpoint).model_copy(update=changes)
    (checkpoint / DESCRIPTION).write_text(found.model_dump_json())
    (checkpoint / CHECKSUMS).write_text(checksums(checkpoint))
    return checkpoint


def test_a_file_of_the_masks_name_is_never_taken_for_the_mask(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    truth = shutil.copy(images[0].with_name("c0_seg.nii.gz"), tmp_path / "out" / "c0.nii.gz")
    with pytest.raises(UsageError, match=r"c0\.nii\.gz is in the way; medssl did not write it"):
        predict(checkpoint, images[:1], tmp_path / "out")
    whole = Path(truth).read_bytes()
    assert whole == images[0].with_name("c0_seg.nii.gz").read_bytes()
    predict_files(
        checkpoint, images[:1], tmp_path / "out", [], QuietReporter(), "cpu", overwrite=True
    )
    assert Path(truth).read_bytes() != whole
    predict(checkpoint, images[:1], tmp_path / "out")


def test_masks_do_not_go_among_the_images(checkpoint: Path, images: list[Path]) -> None:
    before = sorted(images[0].parent.iterdir())
    with pytest.raises(UsageError, match=r"holds the input c0\.nii\.gz.*another folder as --out"):
        predict(checkpoint, images, images[0].parent)
    assert sorted(images[0].parent.iterdir()) == before


@pytest.mark.parametrize(
    ("mirrored", "words"),
    [
        ((), "mirrored along no axis.*augment.basic.flip=half"),
        (None, "does not say along which axes"),
    ],
)
def test_mirrored_copies_are_refused_where_training_saw_none(
    checkpoint: Path, images: list[Path], tmp_path: Path, mirrored: Any, words: str
) -> None:
    with_description(checkpoint, mirrored=mirrored)
    with pytest.raises(UsageError, match=f"predict.flips=true cannot be used.*{words}"):
        predict(checkpoint, images[:1], tmp_path / "out", "flips=true")
    assert not (tmp_path / "out").exists()


def test_copies_are_mirrored_along_the_axes_of_training_alone(
    checkpoint: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "medssl.infer.predict.flipped", lambda network, axes, *_: asked.append(axes) or network
    )
    predict(with_description(checkpoint, mirrored=(1,)), images[:1], tmp_path / "out", "flips=true")
    assert asked == [(1,)]


def test_a_volume_as_png_is_one_file_with_a_picture_of_each_slice(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    (nifti,) = predict(checkpoint, images[:1], tmp_path / "nifti")
    given = checkpoint, images[:1], tmp_path / "png", "format=png"
    (mask,) = predict(*given)
    names = {path.name for path in mask.parent.iterdir()}
    assert names == {"c0.png.zip", "c0_entropy.nrrd", "prediction.json"}
    plain, pictures = read_mask(nifti), read_mask(mask)
    assert (pictures.array == plain.array).all()
    assert pictures.geometry.matches(plain.geometry)
    assert plain.array.any()
    before = mask.stat().st_mtime_ns
    assert predict(*given) == [mask]
    assert mask.stat().st_mtime_ns == before
    mask.write_bytes(mask.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"c0\.png\.zip is in the way; it was changed after"):
        predict(*given)


def test_a_volume_of_one_slice_as_png_is_one_picture(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    volume = read_volume(images[0])
    grid = volume.geometry.cropped((0, 0, 3), (*volume.geometry.shape[:2], 4))
    write_volume(volume.array[0][..., 3:4], grid, tmp_path / "flat.nii.gz")
    (mask,) = predict(checkpoint, [tmp_path / "flat.nii.gz"], tmp_path / "out", "format=png")
    assert mask.name == "flat.png"
    assert read_mask(mask).geometry.shape == grid.shape


@pytest.mark.parametrize(
    ("in_training", "words"),
    [
        (False, "is empty, though no training mask was"),
        (True, "is empty, as some training masks were"),
        (None, "is empty; look whether there is nothing to find"),
    ],
)
def test_an_empty_mask_is_warned_of(
    checkpoint: Path,
    images: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    in_training: bool | None,
    words: str,
) -> None:
    """Even by `--quiet`, and once for each mask."""
    monkeypatch.setattr(
        "medssl.infer.predict.restore_labels",
        lambda logits, record, *_: np.zeros(record.source.shape, np.uint8),
    )
    predict(with_description(checkpoint, empty_masks=in_training), images[:1], tmp_path / "out")
    assert capsys.readouterr().err == f"warning: the mask of c0 {words}\n"


def test_a_checkpoint_knows_what_its_training_showed(balls: Path) -> None:
    config = load_config("balls", ["augment.basic.flip=half", "augment.basic.flip_axes=[1]"])
    found = read_description(train_alone(config, QuietReporter())["model"])
    assert (found.mirrored, found.empty_masks) == ((1,), False)


def test_a_run_predicts_again_what_another_file_replaced(balls: Path, untrained: list[str]) -> None:
    config = load_config("balls")
    masks = run(config, QuietReporter())["masks"]
    mask = sorted(masks.glob("c?.nii.gz"))[0]
    own = mask.read_bytes()
    shutil.copy(balls / "data" / "balls" / mask.name.replace(".nii", "_seg.nii"), mask)
    make_plan(config).stages["run"].clear()
    assert run(config, QuietReporter())["masks"] == masks
    assert mask.read_bytes() == own


def test_statistics_tell_volume_and_doubt_of_every_case_also_afterwards(
    checkpoint: Path, images: list[Path], tmp_path: Path
) -> None:
    predict(checkpoint, images[:2], tmp_path / "out")
    given = checkpoint, images[:2], tmp_path / "out", (), QuietReporter(), "cpu"
    predict_files(*given, statistics=tmp_path / "stats.csv")
    rows = read_table(tmp_path / "stats.csv")
    assert {row["case"] for row in rows} == {"c0", "c1"}
    for row in rows:
        mask = read_mask(tmp_path / "out" / f"{row['case']}.nii.gz")
        assert int(row["voxels"]) == np.count_nonzero(mask.array == 3)
        assert (row["structure"], row["value"]) == ("ball", "3")
        assert 0 <= float(row["doubt"]) <= 1
