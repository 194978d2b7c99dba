"""Memory grows with the patches, never with patches x patches or heads x patches x tokens."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medssl.methods.method import Progress

WIDTH, CHUNK, TOKENS, HEADS = 16, 64, 64, 2


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns, forward or backward."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if isinstance(leaf, torch.Tensor):
                self.elements = max(self.elements, leaf.numel())
        return found


def make(build, mode, **more):
    return build(
        "snuffy", width=WIDTH, mode=mode, lambda_total=TOKENS, heads=HEADS, chunk=CHUNK, **more
    )


def run(method, batches):
    sum(method(batches, Progress(1, 1), torch.Generator().manual_seed(0)).values()).backward()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("mode", ["A", "B", "B_normalised"])
def test_no_tensor_of_a_training_step_is_larger_than_the_bag(build, bag, mode, depth):
    """With heads x tokens = 8 widths, and 4 widths in the feed-forward, whole ones would show."""
    patches = 1500
    method, batches = make(build, mode, depth=depth), bag(patches, width=WIDTH)
    with Largest() as largest:
        run(method, batches)
    assert largest.elements == patches * WIDTH


@pytest.mark.parametrize("mode", ["A", "B"])
def test_what_is_kept_for_the_backward_pass_is_a_few_numbers_per_feature(build, bag, mode):
    """One copy of the bag per layer, and little per piece."""

    def kept(patches):
        storages = {}

        def keep(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        method = make(build, mode)
        batches = bag(patches, width=WIDTH)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            terms = method(batches, Progress(1, 1), torch.Generator().manual_seed(0))
            sum(terms.values())
        return sum(storages.values())

    small, large = kept(1024), kept(4096)
    per_patch = (large - small) / (4096 - 1024) / 4
    # The bag itself, its copy with the tokens first, and of each piece its random state (for
    # dropout) and the scales [heads, tokens] at which it was joined.
    assert per_patch <= 2 * WIDTH + TOKENS / CHUNK * 3 * HEADS + 2


def test_without_recomputation_the_whole_is_kept(build, bag):
    """What the setting `checkpoint` is for: the same gradients from less memory."""
    found = []
    for checkpoint in (True, False):
        method = make(build, "A", checkpoint=checkpoint)
        torch.manual_seed(0)
        run(method, bag(500, width=WIDTH))
        found.append([p.grad for p in method.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
