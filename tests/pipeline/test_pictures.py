"""2-D images from a folder to masks: PNG in, PNG out, of every kind of mask and method."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file

from medssl.data.check import check
from medssl.data.dicom.study import image_name
from medssl.data.spec import load_spec
from medssl.data.volume import read_geometry, read_mask
from medssl.errors import DataError, UsageError
from medssl.families.segment.predict import predict_files
from medssl.pipeline.config import load_config
from medssl.pipeline.progress import QuietReporter
from medssl.pipeline.run import run, train
from medssl.train.checkpoint import load_checkpoint
from medssl.train.description import WEIGHTS
from medssl.train.imported import import_file
from tests.data.conftest import write_dicom
from tests.networks.foreign.test_vit import plain_vit
from tests.pipeline.conftest import write_untrained

ROWS, COLUMNS = 24, 32

SPEC = """
title: Dots
modality: ultrasound
channels: [red, green, blue]
labels: [{value: 7, name: dot, colour: '#00ff00'}]
root: dots
layout:
  kind: glob
  images: {red: "images/{case}.png", green: "images/{case}.png", blue: "images/{case}.png"}
  label: "masks/{case}.png"
licence: CC0
citation: none
"""

PIPELINE = """
title: Dots
data: dots
split: {labels: 2, validation: 0.5, test: 2}
preprocess: rgb
network: {name: unet3d, width: 4, levels: 2, norm: instance, dropout: 0}
method: supervised
augment: {basic: {flip: half, rot90: true}}
train: {steps: 30, patch: [16, 16], device: cpu}
predict: {unlabelled: true}
evaluate: {bootstrap: 100, overlays: 1}
"""


@pytest.fixture
def dots(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Working directory with pictures of a bright dot, six of them with a green mask."""
    monkeypatch.setenv("MEDSSL_DATA", str(directory / "data"))
    for folder, text in (("data_specs", SPEC), ("pipelines", PIPELINE)):
        (directory / folder).mkdir()
        (directory / folder / "dots.yaml").write_text(text)
    root = directory / "data" / "dots"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.indices((ROWS, COLUMNS))
    for number in range(7):
        y, x = rng.uniform(8, 16, 2)
        mask = (rows - y) ** 2 + (columns - x - 4) ** 2 < 25
        image = 60 + 120 * mask + 8 * rng.normal(size=mask.shape)
        rgb = np.stack([image, image / 2, 255 - image], axis=-1).clip(0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(root / "images" / f"d{number}.png", dpi=(127, 127))
        if number < 6:
            green = mask[..., None] * np.array([0, 255, 0], np.uint8)
            Image.fromarray(green.astype(np.uint8)).save(root / "masks" / f"d{number}.png")
    return root


def test_a_folder_of_pictures_is_learnt_scored_and_masked(dots, tmp_path):
    config = load_config("dots")
    assert config.pipeline.train.patch == (16, 16, 1)
    assert config.pipeline.network.spatial_dims == 2
    assert config.spec.modality == "US"
    assert not check(config.spec)
    done = run(config, QuietReporter())
    score = re.search(r"Dice (0\.\d+)", "".join(done.found))
    assert score is not None
    assert float(score[1]) > 0.7
    assert len(list(done["masks"].glob("*.png"))) == 2
    assert (done["unlabelled"] / "d6.png").is_file()
    assert (done["unlabelled"] / "d6_entropy.tif").is_file()

    out = tmp_path / "out"
    loose = dots / "images" / "d6.png"
    predict_files(done["model"], [loose], out, [], QuietReporter(), "cpu")
    mask = Image.open(out / "d6.png")
    assert (mask.size, mask.info["dpi"]) == ((COLUMNS, ROWS), pytest.approx((127, 127), rel=1e-3))
    assert set(np.unique(mask)) == {0, 7}
    whole = predict_files(done["model"], [dots / "images"], tmp_path / "all", [], QuietReporter())
    assert len(whole) == 7
    assert (np.asarray(Image.open(whole[6])) == np.asarray(mask)).all()


@pytest.mark.parametrize("name", ["plain_unet", "residual_unet"])
def test_the_unets_of_nnunet_learn_pictures_too(dots, tmp_path, name):
    network = f"network={{name: {name}, features: [4, 6, 8], blocks: [1, 1, 1]}}"
    config = load_config("dots", [network, "train.steps=2", "augment=standard"])
    assert config.pipeline.network.spatial_dims == 2
    done = run(config, QuietReporter())
    again = predict_files(done["model"], [dots / "images"], tmp_path / "all", [], QuietReporter())
    assert Image.open(again[0]).size == (COLUMNS, ROWS)


def test_every_command_takes_pictures(dots, monkeypatch, medssl):
    """To be checked, shown, predicted, scored and studied; weights stay as they are drawn."""
    monkeypatch.setattr(
        "medssl.families.segment.train.train",
        lambda job, _: write_untrained(job.plan.config, job.plan.folder("train")) and {},
    )

    def done(*arguments: str) -> str:
        code, said, _ = medssl(*arguments)
        assert code == 0, said
        return said

    assert "6 labelled and 1 unlabelled cases, errors 0" in done("data", "check", "dots", "-q")
    done("data", "show", "dots", "--out", "sheet.png")
    assert Image.open("sheet.png").width > COLUMNS
    said = done("run", "dots", "-q")
    masks = next(line.split()[1] for line in said.splitlines() if line.startswith("masks"))
    scored = done("evaluate", masks, "--data", "dots", "--out", "scores")
    assert "Dice " in scored
    model = next(line.split()[1] for line in said.splitlines() if line.startswith("model"))
    done("predict", model, str(dots / "images" / "d0.png"), "--out", "new", "-q")
    assert Image.open("new/d0.png").size == (COLUMNS, ROWS)
    given = ("--methods", "supervised,mean_teacher", "--labels", "2", "--seeds", "0")
    assert "2 of 2 runs finished" in done("study", "dots", *given, "-q")


def test_a_box_of_voxels_is_no_window_on_pictures(dots):
    with pytest.raises(UsageError, match=r"pictures, .* set train\.patch=\[16, 16\]"):
        run(load_config("dots", ["train.patch=[16, 16, 16]"]), QuietReporter())
    assert not Path("runs").exists()


def test_a_network_without_a_2d_form_is_refused(dots):
    with pytest.raises(UsageError, match=r"conv_fpn has no 2-D form; .* choose one of: .*vnet"):
        load_config("dots", ["network.name=conv_fpn"])


def test_an_image_of_other_dimensions_is_named(dots):
    from medssl.data.geometry import Geometry
    from medssl.data.volume import write_volume

    text = Path("data_specs/dots.yaml").read_text().replace("images/{case}.png", "images/{case}.*")
    Path("data_specs/dots.yaml").write_text(text)
    odd = dots / "images" / "odd.nii.gz"
    write_volume(np.zeros((4, 4, 4), np.float32), Geometry((4, 4, 4), np.eye(4)), odd)
    words = f"{odd} is a volume where 7 of the 8 images are pictures"
    found = [one for one in check(load_spec("dots")) if one.rule == "dimensions"]
    assert [one.what for one in found] == [words]
    with pytest.raises(DataError, match=r"odd\.nii\.gz is a volume where 7 of the 8 images"):
        run(load_config("dots"), QuietReporter())
    assert not Path("runs").exists()


def test_a_colour_that_no_label_has_is_a_verdict_and_stops_training(dots):
    path = dots / "masks" / "d1.png"
    rgb = np.asarray(Image.open(path)).copy()
    rgb[0, 0] = (9, 9, 9)
    Image.fromarray(rgb).save(path)
    (one,) = check(load_spec("dots"))
    assert (one.case, one.rule) == ("d1", "label values")
    assert "#090909 (1 pixels), which no label declares" in one.what
    assert "nearest is #00ff00 of 'dot'" in one.what


@pytest.fixture
def untrained(dots: Path) -> Path:
    """A checkpoint of freshly initialised weights for pictures in colour."""
    return write_untrained(load_config("dots"), dots / "trained") / "last"


def test_frames_of_a_tiff_or_dicom_file_come_back_as_frames(dots, untrained, tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (3, ROWS, COLUMNS, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "film.tif", frames, photometric="rgb")
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    tags |= {"Rows": ROWS, "Columns": COLUMNS, "NumberOfFrames": 3, "PixelSpacing": [0.4, 0.3]}
    write_dicom(tmp_path / "clip.dcm", frames, **tags)
    files = [tmp_path / "film.tif", tmp_path / "clip.dcm"]
    masks = predict_files(untrained, files, tmp_path / "out", [], QuietReporter(), "cpu")
    assert [path.name for path in masks] == ["film.tif", f"{image_name(files[1])}.tif"]
    film, clip = (read_mask(path) for path in masks)
    assert film.geometry.shape == clip.geometry.shape == (COLUMNS, ROWS, 3)
    assert (film.array == clip.array).all()
    assert clip.geometry.spacing == pytest.approx((0.3, 0.4, 1.0))


def test_frames_come_back_as_one_png_each_where_that_is_asked_for(dots, untrained, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, ROWS, COLUMNS, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "film.tif", frames, photometric="rgb")
    files = [tmp_path / "film.tif", dots / "images" / "d0.png"]
    given = untrained, files, tmp_path / "out", ["format=png"], QuietReporter(), "cpu"
    film, picture = predict_files(*given)
    assert (film.name, picture.name) == ("film.png.zip", "d0.png")
    usual = predict_files(untrained, files[:1], tmp_path / "usual", [], QuietReporter(), "cpu")
    assert (read_mask(film).array == read_mask(usual[0]).array).all()


def test_a_damaged_picture_stops_no_other(dots, untrained, tmp_path):
    path = dots / "images" / "d1.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"1 of 7 cases have no mask: d1; the other 6 are in"):
        predict_files(untrained, [dots / "images"], tmp_path / "out", [], QuietReporter(), "cpu")
    assert len(list((tmp_path / "out").glob("d*.png"))) == 6


def test_each_frame_is_answered_as_if_it_were_a_picture(dots, untrained, tmp_path):
    images = sorted((dots / "images").iterdir())[:2]
    stacked = np.stack([np.asarray(Image.open(path)) for path in images])
    tifffile.imwrite(tmp_path / "film.tif", stacked, photometric="rgb")
    files = [*images, tmp_path / "film.tif"]
    first, second, film = (
        read_mask(path).array[0]
        for path in predict_files(untrained, files, tmp_path / "out", [], QuietReporter(), "cpu")
    )
    assert (film == np.concatenate([first, second], axis=2)).all()


def test_masks_of_pictures_are_written_in_other_formats_too(dots, untrained, tmp_path):
    image = dots / "images" / "d0.png"
    (mask,) = predict_files(untrained, [image], tmp_path / "a", ["format=nifti"], QuietReporter())
    assert mask.name == "d0.nii.gz"
    assert read_mask(mask).geometry.matches(read_geometry(image))


def test_a_grey_picture_serves_a_model_of_colours(dots, untrained, tmp_path):
    Image.fromarray(np.full((ROWS, COLUMNS), 90, np.uint8)).save(tmp_path / "grey.png")
    (mask,) = predict_files(untrained, [tmp_path / "grey.png"], tmp_path / "a", [], QuietReporter())
    assert Image.open(mask).size == (COLUMNS, ROWS)


def test_masks_from_an_imported_encoder_of_images(dots, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_ENCODERS", str(tmp_path / "encoders"))
    folder, _ = import_file(plain_vit(tmp_path, num_attention_heads=4), "theirs")
    given = ["pretrain=theirs", "train.steps=2", "train.patch=[32, 32]", "network.frozen=true"]
    config = load_config("dots", given)
    assert (config.pipeline.network.name, config.pipeline.network.frozen) == ("image_fpn", True)
    done = run(config, QuietReporter())
    network = load_checkpoint(done["model"])[0].members[0]
    kept, weights = network.encoder.images.state_dict(), load_file(folder / WEIGHTS)
    assert kept.keys() == weights.keys()
    assert all(torch.equal(kept[name], value) for name, value in weights.items())
    again = predict_files(done["model"], [dots / "images"], tmp_path / "all", [], QuietReporter())
    assert Image.open(again[0]).size == (COLUMNS, ROWS)


def test_levels_of_an_imported_encoder_learn_at_rates_of_their_own(dots, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDSSL_ENCODERS", str(tmp_path / "encoders"))
    folder, _ = import_file(plain_vit(tmp_path, num_attention_heads=4), "theirs")
    given = ["pretrain=theirs", "train.steps=1", "train.patch=[32, 32]", "method=tracoco"]
    model = train(load_config("dots", [*given, "fine_tune.encoder_rate=1e-9"]), QuietReporter())[
        "model"
    ]
    members = load_checkpoint(model)[0].members
    weights = load_file(folder / WEIGHTS)
    for member in members:
        for name, value in member.encoder.images.state_dict().items():
            torch.testing.assert_close(weights[name], value, atol=1e-5, rtol=0)
