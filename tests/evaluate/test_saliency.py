"""Where a grader found its grade."""

import io

import numpy as np
import torch
from PIL import Image

from medssl.evaluate.saliency import draw_saliency, saliency
from medssl.networks.grader import build_grader
from medssl.networks.grader_settings import GraderSettings


def network(**more):
    settings = GraderSettings(width=2, init="he", **more)
    return build_grader(settings, 2, 5, 0).eval()


def images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, 32, 32, generator=torch.Generator().manual_seed(0))


def test_the_most_salient_place_of_an_image_is_1_and_none_is_below_0():
    found = saliency(network(), images())
    assert found.shape == (3, 2, 32, 32)
    assert found.min() >= 0
    np.testing.assert_allclose(found.max((1, 2, 3)), 1)


def test_it_is_activation_times_gradient():
    """With a plain mean and one channel in the head, it is that channel's positive part."""
    model, image = network(pooling="average"), images(1)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.weight[3, 5] = 1.0  # grade 3 is channel 5 of the first crop
        maps = model.maps(image)
    found = saliency(model, image, torch.tensor([3]))
    assert found[0, 1].max() == 0
    expected = torch.nn.functional.interpolate(
        maps[:1, 5:6].relu(), (32, 32), mode="bilinear", align_corners=False
    )[0, 0]
    np.testing.assert_allclose(found[0, 0], expected / expected.max(), atol=1e-5)


def test_the_grade_asked_for_decides():
    model, image = network(), images()
    own = saliency(model, image)
    predicted = model(image).argmax(1)
    np.testing.assert_array_equal(own, saliency(model, image, predicted))
    assert not np.array_equal(own, saliency(model, image, (predicted + 1) % 5))


def test_nothing_is_salient_where_the_head_is_empty_and_weights_get_no_gradient():
    model = network()
    torch.nn.init.zeros_(model.head.weight)
    with torch.inference_mode(False), torch.no_grad():
        found = saliency(model, images())
    assert not found.any()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_picture_shows_every_crop_plain_and_overlaid():
    image = np.full((2, 32, 32), 120, dtype=np.uint8)
    found = np.zeros((2, 32, 32))
    found[0, 4:12, 4:12] = 1
    drawn = Image.open(io.BytesIO(draw_saliency(image, found, "KL3", ("lateral", "medial"))))
    pixels = np.asarray(drawn.convert("RGB")).astype(int)
    colourful = np.ptp(pixels, axis=2) > 60
    quarters = [part.any() for part in np.array_split(colourful, 4, axis=1)]
    assert quarters == [False, True, False, False]
