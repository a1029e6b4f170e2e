"""Which layers are computed together in one run over the images, so that their activations fit a memory budget.

A pass may keep the activations of one *boundary* for the next, which then starts there instead of at the pixels. A
boundary is a layer that all that comes after it depends on alone, such as the sum at the end of a residual block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from core.network.catalogue import LayerInfo

POOLINGS = ("flat", "mean")
SLICE_STEP = 16384  # slices begin at multiples of so many columns, as the search over them needs
_BOUNDARY_SHARE = 4  # a boundary takes at most this part of the budget: one fourth


@dataclass(frozen=True)
class Pass:
    """Layers that are computed together, and the memory that their activations take.

    layers : in network order; a single one where it has slices or is spooled.
    num_bytes : of their activations, or of the largest slice and what the search over slices holds beside it; and of
        the boundaries.
    slices : columns of the flattened activations that are in memory at once, where the layer is too large for more;
        each takes a run of the network of its own.
    spooled_bytes : of the activations, where they are kept in a file instead.
    start : the boundary at which the network can start; None starts at the pixels.
    keep : the boundary at which the next pass starts, which may be the same.
    """

    layers: tuple[LayerInfo, ...]
    num_bytes: int
    slices: tuple[slice, ...] = ()
    spooled_bytes: int = 0
    start: LayerInfo | None = None
    keep: LayerInfo | None = None

    @property
    def num_runs(self) -> int:
        """Runs of the network over the images; slices are seen twice, but for the one that is still there."""
        return max(1, 2 * len(self.slices) - 1)

    @property
    def deepest(self) -> int:
        """The position of the last layer that the first run computes."""
        return max(layer.position for layer in (*self.layers, self.keep or self.layers[0]))

    def again(self) -> "Pass":
        """What a further run does: it starts at the boundary that the first one kept if that comes before the layer."""
        started = self.keep and self.keep.position < self.layers[0].position
        return replace(self, start=self.keep if started else self.start, keep=None)


def poolings_of(layer: LayerInfo, poolings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the forms in which a layer appears: as asked, but once, as `flat`, where there is no space to average."""
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

    A layer that does not fit becomes a pass of its own: spooled where that is allowed, else in slices as wide as fit.
    A pass starts at the last boundary before it that takes at most a fourth of the budget, and fits it beside the
    layers of its own and of the pass before.

    Parameters
    ----------
    layers
        The layers wanted, in network order.
    num_samples
        Images.
    poolings
        Some of `flat` (all activations) and `mean` (global average per channel).
    budget_bytes
        For the float32 activations of one pass; the network's own memory comes on top.
    search_bytes
        What the search over slices holds beside a slice; it counts against the budget.
    spool
        Whether layers that do not fit are kept in files.
    boundaries
        Where passes may start, as `core.network.catalogue.boundary_layers` gives them; default only at the pixels.

    Returns
    -------
    tuple of Pass
        In network order, each as full as the budget allows.

    Raises
    ------
    ValueError
        A single layer exceeds the budget, and so does its narrowest slice with the search over it.
    """
    budget = _Budget(num_samples, poolings, budget_bytes, search_bytes, spool)
    small = [layer for layer in boundaries if _BOUNDARY_SHARE * budget.boundary_bytes(layer) <= budget_bytes]
    passes: list[Pass] = []
    left, start = list(layers), None
    while left:
        passes.append(_next_pass(budget, left, small, start))
        left, start = left[len(passes[-1].layers) :], passes[-1].keep
    return tuple(passes)


@dataclass(frozen=True)
class _Budget:
    """What is the same for all passes of a plan, and the bytes that follow from it."""

    num_samples: int
    poolings: tuple[str, ...]
    num_bytes: int
    search_bytes: int
    spool: bool

    def layer_bytes(self, layer: LayerInfo) -> int:
        return _num_bytes(layer, self.num_samples, self.poolings)

    def boundary_bytes(self, layer: LayerInfo | None) -> int:
        return 0 if layer is None else 4 * self.num_samples * layer.num_features

    def holds(self, layer: LayerInfo) -> bool:
        return self.layer_bytes(layer) <= self.num_bytes

    def kept_bytes(self, layers: Sequence[LayerInfo], start: LayerInfo | None, keep: LayerInfo | None) -> int:
        """Bytes that a pass takes for the next one's start beside its own layers, which may be it, and its start."""
        there = keep == start or (keep in layers and "flat" in self.poolings)
        return 0 if there else self.boundary_bytes(keep)

    def alone(self, layer: LayerInfo, boundary_bytes: int = 0) -> Pass | None:
        """A pass of one layer beside boundaries, or None where they would cost it room that it needs."""
        room = self.num_bytes - boundary_bytes
        if self.holds(layer):
            needed = self.layer_bytes(layer)
            return Pass((layer,), needed + boundary_bytes) if needed <= room else None
        if self.spool:
            return Pass((layer,), boundary_bytes, spooled_bytes=self.layer_bytes(layer)) if room >= 0 else None
        found = self._slices(layer, room)
        if not found or len(found) > len(self._slices(layer, self.num_bytes)):
            return None
        widest = max(part.stop - part.start for part in found)
        return Pass((layer,), self._beside(layer) + 4 * self.num_samples * widest + boundary_bytes, found)

    def together(self, layers: tuple[LayerInfo, ...], boundary_bytes: int) -> Pass | None:
        """A pass of one or more layers beside boundaries, or None where they do not fit."""
        if len(layers) == 1:
            return self.alone(layers[0], boundary_bytes)
        needed = sum(map(self.layer_bytes, layers)) + boundary_bytes
        return Pass(layers, needed) if needed <= self.num_bytes else None

    def _slices(self, layer: LayerInfo, room: int) -> tuple[slice, ...]:
        """A layer in as few slices as fit, of nearly equal width; none where not even the narrowest fits."""
        if "flat" not in self.poolings or not layer.spatial or layer.num_features <= SLICE_STEP:
            return ()
        steps = -(-layer.num_features // SLICE_STEP)
        most = (room - self._beside(layer)) // (4 * self.num_samples * SLICE_STEP)
        if most < 1:
            return ()
        bounds = np.linspace(0, steps, -(-steps // most) + 1).round().astype(int) * SLICE_STEP
        bounds[-1] = layer.num_features
        return tuple(slice(int(start), int(stop)) for start, stop in pairwise(bounds))

    def _beside(self, layer: LayerInfo) -> int:
        return self.search_bytes + (4 * self.num_samples * layer.channels if "mean" in self.poolings else 0)

    def refuse(self, layer: LayerInfo) -> ValueError:
        """What to say of a layer of which not even a slice fits."""
        needed = self.layer_bytes(layer)
        if "flat" in self.poolings and layer.spatial and layer.num_features > SLICE_STEP:
            needed = self._beside(layer) + 4 * self.num_samples * SLICE_STEP
        return ValueError(_too_large(layer, needed, self.num_samples, self.poolings, self.num_bytes))


def _next_pass(
    budget: _Budget, left: Sequence[LayerInfo], boundaries: Sequence[LayerInfo], start: LayerInfo | None
) -> Pass:
    """As many of the layers that are left as fit, and the boundary for those after them."""
    if budget.alone(left[0]) is None:
        raise budget.refuse(left[0])
    taken = _num_taken(budget, left, boundaries, start)
    layers, rest = tuple(left[:taken]), left[taken:]
    beside = budget.boundary_bytes(start)
    useful = (
        [keep for keep in _before(boundaries, rest[0]) if budget.alone(rest[0], budget.boundary_bytes(keep))]
        if rest
        else []
    )
    filled = (
        (keep, budget.together(layers, beside + budget.kept_bytes(layers, start, keep)))
        for keep in [*reversed(useful), None]
    )
    return next(replace(pass_, start=start, keep=keep) for keep, pass_ in filled if pass_)


def _num_taken(
    budget: _Budget, left: Sequence[LayerInfo], boundaries: Sequence[LayerInfo], start: LayerInfo | None
) -> int:
    """As many as fit beside the best boundary for the next pass; where that never fits, as many as fit without it."""
    room = budget.num_bytes - budget.boundary_bytes(start)
    fitting = [number for number, total in enumerate(accumulate(map(budget.layer_bytes, left)), 1) if total <= room]
    for number in reversed(fitting):
        layers, rest = left[:number], left[number:]
        earlier = _before(boundaries, rest[0]) if rest else []
        keep = earlier[-1] if earlier else None
        total = sum(map(budget.layer_bytes, layers)) + budget.kept_bytes(layers, start, keep)
        if total <= room:
            return number
    return max(fitting, default=1)


def _before(boundaries: Sequence[LayerInfo], layer: LayerInfo) -> list[LayerInfo]:
    return [boundary for boundary in boundaries if boundary.position < layer.position]


def _num_bytes(layer: LayerInfo, num_samples: int, poolings: tuple[str, ...]) -> int:
    return (
        4
        * num_samples
        * sum(layer.channels if pooling == "mean" else layer.num_features for pooling in poolings_of(layer, poolings))
    )


def _too_large(layer: LayerInfo, needed: int, num_samples: int, poolings: tuple[str, ...], budget_bytes: int) -> str:
    whole = _num_bytes(layer, num_samples, poolings)
    ways = ["raise --memory", f"give a folder with --spool ({_in_words(whole)})", "take fewer samples with --per-class"]
    if "flat" in poolings and layer.spatial:
        mean = _num_bytes(layer, num_samples, ("mean",))
        ways.insert(2, f"choose --pooling mean ({_in_words(mean)})")
    at_least = "" if needed == whole else f", and {_in_words(needed)} slice by slice"
    return (
        f"budget_bytes must hold every single layer; {layer.layer} needs {_in_words(whole)} for {num_samples} "
        f"samples{at_least}, got {_in_words(budget_bytes)}. To go on, {', or '.join(ways)}."
    )


def _in_words(num_bytes: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.4g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.4g} GiB"
