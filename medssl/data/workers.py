"""Threads that prepare cases."""

from concurrent.futures import ThreadPoolExecutor


class Workers(ThreadPoolExecutor):
    """A thread pool that starts no further task once its `with` block is left, e.g. by a signal."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)
