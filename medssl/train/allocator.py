"""Memory that one step frees and the next one needs stays with the process.

By default glibc hands large blocks back to the system at once, and every step pays for having each
page mapped and cleared again: on small 3-D networks a tenth of its time.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """Keep freed blocks below 1 GiB for later use; whether the C library could be told so."""
    if sys.platform != "linux":
        return False
    tell = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return bool(tell and tell(_MMAP_THRESHOLD, _BYTES) and tell(_TRIM_THRESHOLD, _BYTES))
