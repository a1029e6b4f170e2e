"""Results of a function in the order of its items, some of which are computed at the same time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
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
) -> Generator[_Result]:
    """Yield the result for each item, while those of the next ones are computed in threads.

    An item is taken only while at most `num_threads` others wait to be given back. Where the reader stops early or the
    function fails, running calls are waited for, and no other begins.

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
    """
    pending: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix=name, initializer=initializer)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
