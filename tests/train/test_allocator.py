import subprocess
import sys

import pytest

# In a process of its own: what earlier tests left in the heap decides where a block fits.
ROUNDS = """
import resource, torch
from medssl.train.allocator import keep_freed_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(32 << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

new_pages()
print(new_pages())
print(int(keep_freed_memory()))
for _ in range(30):
    new_pages()
print(max(new_pages() for _ in range(5)))
"""


def test_a_freed_block_is_used_again_without_new_pages():
    """Pages the system hands out for a block of 32 MiB: all of them before, none after."""
    ran = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, check=True)
    before, could, after = map(int, ran.stdout.split())
    if not could:
        pytest.skip("the C library of this system has no mallopt")
    if before < 100:
        pytest.skip("this system keeps freed blocks by itself")
    assert after < before / 50
