"""TransMIL: its grid, its convolutions and its size."""

import pytest
import torch
from pydantic import ValidationError

from medssl.methods.settings.transmil import Settings
from medssl.methods.slide.transmil import PyramidPositions, TransMilNetwork, square


def test_parameters_are_counted_as_in_the_release():
    """Linear 1024 -> 512, class token, two layers, convolutions of 7, 5 and 3, norm, readout."""
    with torch.device("meta"):
        network = TransMilNetwork(Settings(), 1024, 2)
    layer = 1024 + 512 * 1536 + (512 * 512 + 512) + 8 * 33
    grid = 512 * (49 + 25 + 9) + 3 * 512
    expected = (1024 * 512 + 512) + 512 + 2 * layer + grid + 1024 + (2 * 512 + 2)
    assert expected == 2_672_146
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize(
    ("patches", "expected"),
    [
        (1, [0]),
        (2, [0, 1, 0, 1]),
        (3, [0, 1, 2, 0]),
        (4, [0, 1, 2, 3]),
        (5, [0, 1, 2, 3, 4, 0, 1, 2, 3]),
    ],
)
def test_the_first_patches_fill_the_square(patches, expected):
    assert square(torch.arange(patches).unsqueeze(1)).squeeze(1).tolist() == expected


def test_positions_see_neighbours_on_the_grid_and_leave_the_class_token():
    """One patch of a 9 x 9 grid reaches the 7 x 7 about it, as far as the kernels do."""
    positions = PyramidPositions(2)
    for convolution in positions.convolutions:
        torch.nn.init.ones_(convolution.weight)
        torch.nn.init.zeros_(convolution.bias)
    tokens = torch.zeros(82, 2)
    tokens[0], tokens[1 + 4 * 9 + 4] = 5.0, 1.0
    found = positions(tokens)
    assert torch.equal(found[0], tokens[0])
    distance = (torch.arange(9) - 4).abs()
    ring = torch.maximum(distance[:, None], distance[None, :])
    reached = (ring <= 3).float() + (ring <= 2).float() + (ring <= 1).float() + (ring == 0).float()
    torch.testing.assert_close(found[1:, 0].view(9, 9), reached)


def test_the_answer_depends_on_the_order_of_the_patches(build, bag):
    predictor = build("transmil", embed_width=16, heads=2, landmarks=8).eval().predictor()
    rows = bag(30)["bags"].features
    one, other = (predictor(given).probability for given in (rows, rows.flip(0)))
    assert not torch.allclose(one, other, atol=1e-4)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValidationError, match=r"heads=3 does not divide .* out of 1, 2, 4, 8, 16"):
        Settings(embed_width=16, heads=3)
    with pytest.raises(ValidationError, match="must be odd"):
        Settings(kernel=4)
