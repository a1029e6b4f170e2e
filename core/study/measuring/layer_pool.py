"""Measuring several layers at once, given back in network order."""

import os
from collections.abc import Callable, Generator, Iterable
from itertools import groupby
from typing import TypeVar

from core.data.in_order import computed_in_order
from core.search.blas_threads import one_blas_thread
from core.search.rows import work_alone
from core.study.measuring.layer_tables import SMALL_BYTES

_Layer = TypeVar("_Layer")
_Activations = TypeVar("_Activations")
_Tables = TypeVar("_Tables")

_WORKING_COPIES = 16  # of a layer's activations, in float32, that measuring it takes at most: copies in float64


def measured_in_order(
    layers: Iterable[tuple[_Layer, _Activations]],
    measure: Callable[[_Layer, _Activations], _Tables],
    bytes_of: Callable[[_Layer, _Activations], int],
    *,
    budget_bytes: int,
) -> Generator[tuple[_Layer, _Tables]]:
    """Measure small layers beside each other, each on one core, as far as memory has room; large ones alone.

    They are taken and given back as `computed_in_order` says, so that few activations are in use at a time.

    Parameters
    ----------
    layers : each with its activations.
    measure : from both to the layer's tables; it is called in other threads.
    bytes_of : from both to the bytes of the activations in float32.
    budget_bytes : memory for what is measured at once.
    """

    def measured(item: tuple[_Layer, _Activations]) -> tuple[_Layer, _Tables]:
        layer, activations = item
        return layer, measure(layer, activations)

    def size_of(item: tuple[_Layer, _Activations]) -> int:
        return bytes_of(*item)

    num_threads = os.cpu_count() or 1
    for is_small, group in groupby(layers, lambda item: size_of(item) <= SMALL_BYTES):
        if not is_small or num_threads == 1:
            yield from map(measured, group)
            continue
        with one_blas_thread():
            yield from computed_in_order(
                measured,
                group,
                num_threads,
                name="measure-layers",
                initializer=work_alone,
                size_of=size_of,
                most=budget_bytes // _WORKING_COPIES,
            )
