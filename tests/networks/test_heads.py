"""Networks with several heads (`medssl.networks.heads`)."""

from copy import deepcopy

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from medssl.networks.heads import ManyHeads, heads_of

IMAGE = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))


class Listing(nn.Module):
    """A full and a half map; one convolution has two names."""

    def __init__(self, stacked: bool = False) -> None:
        super().__init__()
        self.full, self.stacked = nn.Conv3d(1, 2, 1), stacked
        self.again = self.full
        self.coarse = nn.Conv3d(1, 2, 2, stride=2)

    def forward(self, image):
        full = self.full(image)
        return torch.stack([full, -full], 1) if self.stacked else [full, self.coarse(image)]


def test_the_first_map_of_a_list_answers_unless_the_last_does() -> None:
    network = Listing()
    full, half = network(IMAGE)
    answer, helping = ManyHeads(network).heads(IMAGE)
    assert torch.equal(answer, full)
    assert torch.equal(helping, half)
    answer, helping = ManyHeads(network, last_answers=True).heads(IMAGE)
    assert torch.equal(answer, half)
    assert torch.equal(helping, full)


def test_stacked_maps_are_taken_apart() -> None:
    answer, helping = ManyHeads(Listing(stacked=True)).heads(IMAGE)
    assert answer.shape == (2, 2, 4, 4, 4)
    assert torch.equal(answer, -helping)


def test_in_evaluation_only_the_answer_is_given() -> None:
    network = ManyHeads(Listing()).eval()
    (answer,) = network.heads(IMAGE)
    assert torch.equal(answer, network(IMAGE))


def test_other_networks_have_one_head() -> None:
    network = nn.Conv3d(1, 2, 1)
    (answer,) = heads_of(network, IMAGE)
    assert torch.equal(answer, network(IMAGE))


def test_weights_with_two_names_are_kept_once_and_loaded_under_both(tmp_path) -> None:
    parent = nn.ModuleList([ManyHeads(Listing())])
    copied = deepcopy(parent)
    state = parent.state_dict()
    assert [key for key in state if "again" in key] == []
    save_file(state, tmp_path / "weights")
    with torch.no_grad():
        for weight in copied.parameters():
            weight.zero_()
    copied.load_state_dict(load_file(tmp_path / "weights"))
    assert torch.equal(copied[0](IMAGE), parent[0](IMAGE))
    assert copied[0].network.again.weight is copied[0].network.full.weight
