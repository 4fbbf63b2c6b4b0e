"""Work ahead: the next item is made in a thread while the one before is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items in their order, one of them made ahead; what making one raises comes here.

    It gains time where reading, parsing and packing run outside Python's lock, as Arrow, Parquet
    and TensorFlow do, and holds one item more.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
            del item  # not held while the next is waited for
