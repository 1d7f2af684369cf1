"""Reading and decoding ahead of what computes, in threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = 8
"""They wait for files, or decode while Python's lock is free."""


def ahead(work: Callable[[Item], Result], items: Iterable[Item], most: int) -> Iterator[Result]:
    """What `work` gives of each item, in order, while up to `most` further ones are worked on.

    Raises:
        Exception: that of the work, where its result would come.
    """
    with ThreadPoolExecutor(THREADS) as threads:
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(threads.submit(work, item))
                if len(begun) > most:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
