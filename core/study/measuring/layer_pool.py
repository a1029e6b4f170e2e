"""Measuring several layers at once, given back in network order."""

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from core.data.in_order import computed_in_order
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

    They are taken and given back as `computed_in_order` says, so that few activations are in use at a time.

    Parameters
    ----------
    layers : each with its activations.
    measure : from both to the layer's tables; it is called in other threads.
    num_threads : layers at once.
    """

    def measured(layer_activations: tuple[_Layer, _Activations]) -> tuple[_Layer, _Tables]:
        layer, activations = layer_activations
        return layer, measure(layer, activations)

    alone = work_alone if num_threads > 1 else None
    return computed_in_order(measured, layers, num_threads, name="measure-layers", initializer=alone)
