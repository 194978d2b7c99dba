import resource

import pytest
import torch

from medssl.train.allocator import keep_freed_memory

MEBIBYTES = 32


def new_pages() -> int:
    """Pages the system had to hand out for one large block that is freed again."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(MEBIBYTES << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_freed_block_is_used_again_without_new_pages():
    if not keep_freed_memory():
        pytest.skip("the C library of this system has no mallopt")
    new_pages()
    assert min(new_pages() for _ in range(3)) < 100
