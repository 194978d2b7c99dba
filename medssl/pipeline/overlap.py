"""Three kinds of work on one item after the other, at the same time.

While an item is worked on, the next one is read and the last one is written, each in a thread. So
at most three items are in memory, however many there are.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Read = TypeVar("Read")
Made = TypeVar("Made")
Done = TypeVar("Done")


def overlapped(
    items: Iterable[Read], work: Callable[[Read], Made], write: Callable[[Made], Done]
) -> Iterator[Done]:
    """What `write` gives of what `work` makes of each item, in order.

    Items are taken in one thread, one ahead; `work` is called in this one, and `write` in another.
    What an item raises comes after the results of those before it.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        found = iter(items)
        behind: Future[Done] | None = None
        ahead = reader.submit(_taken, found)
        try:
            while taken := ahead.result():
                ahead = reader.submit(_taken, found)
                made = work(taken.pop())
                if behind is not None:
                    yield behind.result()
                behind = writer.submit(write, made)
                del made
        except BaseException:
            ahead.cancel()
            if behind is not None:
                behind.result()
            raise
        if behind is not None:
            yield behind.result()


def _taken(found: Iterator[Read]) -> list[Read]:
    """The next item; none at the end."""
    return list(islice(found, 1))
