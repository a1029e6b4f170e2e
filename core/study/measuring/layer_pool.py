"""Measuring several layers at once, given back in network order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from core.search.rows import work_alone

_Layer = TypeVar("_Layer")
_Activations = TypeVar("_Activations")
_Tables = TypeVar("_Tables")


def measured_in_order(
    layers: Iterable[tuple[_Layer, _Activations]],
    measure: Callable[[_Layer, _Activations], _Tables],
    *,
    num_threads: int,
) -> Generator[tuple[_Layer, _Tables]]:
    """Measure layers beside each other, in threads.

    A layer is taken from `layers` only while at most `num_threads` others wait to be given back, so that few
    activations are in use at a time. Where the reader stops early or a layer fails, running jobs are waited for and the
    others are dropped.

    Parameters
    ----------
    layers : each with its activations.
    measure : from both to the layer's tables; it is called in other threads.
    num_threads : layers at once.
    """
    pending: deque[tuple[_Layer, Future[_Tables]]] = deque()
    alone = work_alone if num_threads > 1 else None
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="measure-layers", initializer=alone)
    try:
        for layer, activations in layers:
            pending.append((layer, pool.submit(measure, layer, activations)))
            if len(pending) > num_threads:
                yield _next_done(pending)
        while pending:
            yield _next_done(pending)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next_done(pending: deque[tuple[_Layer, Future[_Tables]]]) -> tuple[_Layer, _Tables]:
    layer, job = pending.popleft()
    return layer, job.result()
