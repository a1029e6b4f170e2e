"""Results of a function in the order of its items, some of which are computed at the same time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def computed_in_order(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    num_threads: int,
    *,
    name: str,
    initializer: Callable[[], object] | None = None,
    size_of: Callable[[_Item], int] = lambda item: 0,
    most: int = 0,
) -> Generator[_Result]:
    """Yield the result for each item, while those of the next ones are computed in threads.

    An item is taken only while at most `num_threads` others wait to be given back. Where the reader stops early or the
    function fails, running calls are waited for, and no other begins. Where the items end with an exception, the
    results of those before it are given back first: what runs is waited for in any case.

    Parameters
    ----------
    function : callable
        From an item to its result; it is called in other threads.
    items : iterable
    num_threads : int
        Calls at once.
    name : str
        Of the threads.
    initializer : callable, optional
        What each thread calls first.
    size_of : callable, optional
        Size of an item. Items are computed at once only while their sizes add up to `most`. Default: no limit.
    most : int
    """
    pending: deque[tuple[int, Future[_Result]]] = deque()
    failures: list[BaseException] = []
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix=name, initializer=initializer)
    try:
        for item in _until_failure(items, failures):
            size = size_of(item)
            while pending and size + sum(waiting for waiting, _ in pending) > most:
                yield pending.popleft()[1].result()
            pending.append((size, pool.submit(function, item)))
            if len(pending) > num_threads:
                yield pending.popleft()[1].result()
        while pending:
            yield pending.popleft()[1].result()
        if failures:
            raise failures[0]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _until_failure(items: Iterable[_Item], failures: list[BaseException]) -> Iterator[_Item]:
    """Yield the items; what ends them, such as an error or Ctrl-C, is added to `failures`."""
    try:
        yield from items
    except BaseException as error:
        failures.append(error)
