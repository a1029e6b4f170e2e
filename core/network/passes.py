"""Division of the layers into passes: layers computed in one run over the images, within a memory budget.

A pass may keep the activations of one *boundary* for the next pass, which then starts there instead of at the pixels. A
boundary is a layer that all later layers depend on alone, such as the sum at the end of a residual block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from core.network.catalogue import LayerInfo

POOLINGS = ("flat", "mean")
SLICE_STEP = 16384  # columns; slices begin at multiples of this, as the search over slices requires
_ITEM_BYTES = 4  # of a float32
_BOUNDARY_SHARE = 4  # a boundary takes at most one fourth of the budget


@dataclass(frozen=True)
class Pass:
    """Layers that are computed together, and the memory for their activations.

    Attributes
    ----------
    layers : tuple of LayerInfo
        In network order; a single layer if it is divided into slices or spooled.
    num_bytes : int
        Bytes of the activations and boundaries; for slices, those of the widest slice, the boundaries and the search.
    slices : tuple of slice
        Columns of the flattened activations that are in memory at the same time, if the layer is too large as a whole.
        The network runs again for each slice.
    spooled_bytes : int
        Bytes of the activations if they are kept in a file; otherwise 0.
    start : LayerInfo or None
        The boundary at which the network starts; None starts at the pixels.
    keep : LayerInfo or None
        The boundary at which the next pass starts, which may be the same.
    """

    layers: tuple[LayerInfo, ...]
    num_bytes: int
    slices: tuple[slice, ...] = ()
    spooled_bytes: int = 0
    start: LayerInfo | None = None
    keep: LayerInfo | None = None

    @property
    def num_runs(self) -> int:
        """Number of runs of the network over the images.

        Each slice is computed twice, except that the last slice is still in memory when the second round begins.
        """
        return max(1, 2 * len(self.slices) - 1)

    @property
    def deepest(self) -> int:
        """The position of the last layer that the first run computes."""
        return max(layer.position for layer in (*self.layers, self.keep or self.layers[0]))

    def again(self) -> "Pass":
        """Return the pass for a further run, which starts at the kept boundary if that is before the layer."""
        if self.keep and self.keep.position < self.layers[0].position:
            return replace(self, start=self.keep, keep=None)
        return replace(self, keep=None)


def poolings_of(layer: LayerInfo, poolings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the poolings of a layer: those requested, or only `flat` if the layer has no spatial axes to average."""
    unknown = [pooling for pooling in poolings if pooling not in POOLINGS]
    if unknown or not poolings:
        raise ValueError(f"poolings must be some of {POOLINGS}; got {poolings}.")
    return poolings if layer.spatial else ("flat",)


def plan_passes(
    layers: Sequence[LayerInfo],
    num_samples: int,
    poolings: tuple[str, ...],
    budget_bytes: int,
    *,
    search_bytes: int = 0,
    spool: bool = False,
    boundaries: Sequence[LayerInfo] = (),
) -> tuple[Pass, ...]:
    """Divide layers into passes whose activations fit the budget.

    A layer that does not fit into the budget becomes a pass of its own: spooled if allowed, otherwise in slices as wide
    as possible. A pass starts at the last boundary before it that takes at most a fourth of the budget, and that fits
    beside its own layers and beside those of the previous pass.

    Parameters
    ----------
    layers : sequence of LayerInfo
        The layers to compute, in network order.
    num_samples : int
        Number of images.
    poolings : tuple of str
        One or both of "flat" (all activations) and "mean" (global average per channel).
    budget_bytes : int
        Budget for the float32 activations of one pass; the memory of the network itself is not included.
    search_bytes : int
        Bytes that the search over slices needs in addition to a slice; they count towards the budget.
    spool : bool
        Whether layers that do not fit are kept in files.
    boundaries : sequence of LayerInfo
        Where passes may start, as returned by `core.network.catalogue.boundary_layers`; default only at the pixels.

    Returns
    -------
    tuple of Pass
        In network order, each with as many layers as fit.

    Raises
    ------
    ValueError
        If a single layer exceeds the budget, and so does its narrowest slice with the search over it.
    """
    budget = _Budget(num_samples, poolings, budget_bytes, search_bytes, spool)
    small = [layer for layer in boundaries if _BOUNDARY_SHARE * budget.boundary_bytes(layer) <= budget_bytes]
    passes: list[Pass] = []
    remaining, start = list(layers), None
    while remaining:
        passes.append(_next_pass(budget, remaining, small, start))
        remaining, start = remaining[len(passes[-1].layers) :], passes[-1].keep
    return tuple(passes)


@dataclass(frozen=True)
class _Budget:
    """The settings that all passes of a plan share, and the sizes in bytes that follow from them."""

    num_samples: int
    poolings: tuple[str, ...]
    num_bytes: int
    search_bytes: int
    spool: bool

    def layer_bytes(self, layer: LayerInfo) -> int:
        """Bytes of the activations of a layer in all poolings."""
        return _num_bytes(layer, self.num_samples, self.poolings)

    def boundary_bytes(self, layer: LayerInfo | None) -> int:
        """Bytes of the activations of a boundary; 0 for the pixels."""
        return 0 if layer is None else _ITEM_BYTES * self.num_samples * layer.num_features

    def kept_bytes(self, layers: Sequence[LayerInfo], start: LayerInfo | None, keep: LayerInfo | None) -> int:
        """Additional bytes for the boundary that a pass keeps; 0 if it is its start, or one of its layers."""
        is_included = keep == start or (keep in layers and "flat" in self.poolings)
        return 0 if is_included else self.boundary_bytes(keep)

    def pass_of_layer(self, layer: LayerInfo, boundary_bytes: int = 0) -> Pass | None:
        """Return the pass of one layer, or None if the boundaries take memory that the layer needs."""
        available = self.num_bytes - boundary_bytes
        layer_bytes = self.layer_bytes(layer)
        if layer_bytes <= self.num_bytes:
            return Pass((layer,), layer_bytes + boundary_bytes) if layer_bytes <= available else None
        if self.spool:
            return Pass((layer,), boundary_bytes, spooled_bytes=layer_bytes) if available >= 0 else None
        slices = self._slices(layer, available)
        # Boundaries must not increase the number of slices, since the network runs again for each.
        if not slices or len(slices) > len(self._slices(layer, self.num_bytes)):
            return None
        widest = max(part.stop - part.start for part in slices)
        num_bytes = self._slice_overhead(layer) + _ITEM_BYTES * self.num_samples * widest + boundary_bytes
        return Pass((layer,), num_bytes, slices)

    def pass_of_layers(self, layers: tuple[LayerInfo, ...], boundary_bytes: int) -> Pass | None:
        """Return the pass of one or more layers, or None if they do not fit beside the boundaries."""
        if len(layers) == 1:
            return self.pass_of_layer(layers[0], boundary_bytes)
        num_bytes = sum(map(self.layer_bytes, layers)) + boundary_bytes
        return Pass(layers, num_bytes) if num_bytes <= self.num_bytes else None

    def _slices(self, layer: LayerInfo, available_bytes: int) -> tuple[slice, ...]:
        """Divide a layer into as few slices as fit, of nearly equal width; empty if not even the narrowest fits."""
        if "flat" not in self.poolings or not layer.spatial or layer.num_features <= SLICE_STEP:
            return ()
        num_steps = -(-layer.num_features // SLICE_STEP)
        step_bytes = _ITEM_BYTES * self.num_samples * SLICE_STEP
        max_steps = (available_bytes - self._slice_overhead(layer)) // step_bytes
        if max_steps < 1:
            return ()
        num_slices = -(-num_steps // max_steps)
        bounds = np.linspace(0, num_steps, num_slices + 1).round().astype(int) * SLICE_STEP
        bounds[-1] = layer.num_features
        return tuple(slice(int(start), int(stop)) for start, stop in pairwise(bounds))

    def _slice_overhead(self, layer: LayerInfo) -> int:
        """Bytes that are needed in addition to a slice: those of the search and of the channel means."""
        if "mean" not in self.poolings:
            return self.search_bytes
        return self.search_bytes + _ITEM_BYTES * self.num_samples * layer.channels

    def too_large_error(self, layer: LayerInfo) -> ValueError:
        """Return the error for a layer of which not even one slice fits."""
        min_bytes = self.layer_bytes(layer)
        if "flat" in self.poolings and layer.spatial and layer.num_features > SLICE_STEP:
            min_bytes = self._slice_overhead(layer) + _ITEM_BYTES * self.num_samples * SLICE_STEP
        return ValueError(_too_large(layer, min_bytes, self.num_samples, self.poolings, self.num_bytes))


def _next_pass(
    budget: _Budget, remaining: Sequence[LayerInfo], boundaries: Sequence[LayerInfo], start: LayerInfo | None
) -> Pass:
    """Return a pass with as many of the remaining layers as fit, and the boundary for the layers after them."""
    if budget.pass_of_layer(remaining[0]) is None:
        raise budget.too_large_error(remaining[0])
    num_layers = _num_layers(budget, remaining, boundaries, start)
    layers, later = tuple(remaining[:num_layers]), remaining[num_layers:]
    candidates: list[LayerInfo | None] = []  # for the boundary to keep, the best one first
    if later:
        for boundary in reversed(_before(boundaries, later[0])):
            if budget.pass_of_layer(later[0], budget.boundary_bytes(boundary)):
                candidates.append(boundary)
    for keep in [*candidates, None]:
        boundary_bytes = budget.boundary_bytes(start) + budget.kept_bytes(layers, start, keep)
        pass_ = budget.pass_of_layers(layers, boundary_bytes)
        if pass_:
            return replace(pass_, start=start, keep=keep)
    raise budget.too_large_error(layers[0])  # not reached: `start` was chosen so that the first layer fits beside it


def _num_layers(
    budget: _Budget, remaining: Sequence[LayerInfo], boundaries: Sequence[LayerInfo], start: LayerInfo | None
) -> int:
    """Return how many layers fit beside the best boundary for the next pass or, if none do, without a boundary."""
    available = budget.num_bytes - budget.boundary_bytes(start)
    totals = accumulate(map(budget.layer_bytes, remaining))
    fitting = [number for number, total in enumerate(totals, start=1) if total <= available]
    for number in reversed(fitting):
        layers, later = remaining[:number], remaining[number:]
        earlier = _before(boundaries, later[0]) if later else []
        keep = earlier[-1] if earlier else None
        total = sum(map(budget.layer_bytes, layers)) + budget.kept_bytes(layers, start, keep)
        if total <= available:
            return number
    return max(fitting, default=1)


def _before(boundaries: Sequence[LayerInfo], layer: LayerInfo) -> list[LayerInfo]:
    return [boundary for boundary in boundaries if boundary.position < layer.position]


def _num_bytes(layer: LayerInfo, num_samples: int, poolings: tuple[str, ...]) -> int:
    """Return the bytes of a layer's float32 activations in all poolings."""
    num_columns = 0
    for pooling in poolings_of(layer, poolings):
        num_columns += layer.channels if pooling == "mean" else layer.num_features
    return _ITEM_BYTES * num_samples * num_columns


def _too_large(layer: LayerInfo, min_bytes: int, num_samples: int, poolings: tuple[str, ...], budget_bytes: int) -> str:
    layer_bytes = _num_bytes(layer, num_samples, poolings)
    remedies = [
        "raise --memory",
        f"give a folder with --spool ({format_bytes(layer_bytes)})",
        "take fewer samples with --per-class",
    ]
    if "flat" in poolings and layer.spatial:
        mean_bytes = _num_bytes(layer, num_samples, ("mean",))
        remedies.insert(2, f"choose --pooling mean ({format_bytes(mean_bytes)})")
    in_slices = "" if min_bytes == layer_bytes else f", or {format_bytes(min_bytes)} slice by slice"
    return (
        f"budget_bytes must suffice for every single layer; {layer.layer} needs {format_bytes(layer_bytes)} for "
        f"{num_samples} samples{in_slices}, got {format_bytes(budget_bytes)}. To go on, {', or '.join(remedies)}."
    )


def format_bytes(num_bytes: float) -> str:
    """Return such as "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.4g} GiB"
