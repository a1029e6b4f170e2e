"""The layer catalogue: which operations of a network have activations worth measuring, and how large they are.

A block is the part of a layer's name up to its block's number, or else before the first underscore: `block1a`,
`conv2_block1`, `stage_0_block_2`; `stem`, `top`; `avg_pool` is in `avg`.

*Main* layers are the convolutions, and the sums, products and concatenations of several tensors, that still have the
image's axes. Left out is what comes after a global pooling: the head, and the squeeze-excite branches, but not the
product that brings them back. In EfficientNet these are the layers that the original notebook chose by name (`conv` at
its end, or a product or sum). A dense layer over the image's axes is a convolution of one pixel, and counts as one.
"""

import difflib
import fnmatch
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras

INPUT_LAYER = "input"
_KINDS = re.compile(r"\w*(Conv|Pool)\w*|Multiply|Add|Concatenate|Dense|EinsumDense")
_JOINS = ("Multiply", "Add", "Concatenate")
_BLOCK = re.compile(r"(.*?(?:stage_?\d+_)?block_?\d+[a-z]?)(_|$)")


@dataclass(frozen=True)
class LayerInfo:
    """One operation of a network.

    Attributes
    ----------
    position
        Place in network order; 0 is the input.
    layer
        Its name, unique in the network.
    kind
        Its class, such as `DepthwiseConv2D` or `Add`; `Input` for the pixels.
    block
        The part of the network that it belongs to.
    channels
        Size of the last axis of its output.
    parameters
        Numbers in its own weights.
    cumulative_parameters
        Numbers in the weights of everything up to it, batch normalization included; shared layers count once.
    output_shape
        Without the batch axis.
    num_features
        Activations of one image.
    pooled
        Whether it comes after a global pooling, so that nothing of the image's axes is left in it.
    flop
        Floating-point operations of its own weights on one image, a multiplication and an addition counted as two:
        each weight counts once at each position of the output. Products of two activations and all that is elementwise,
        batch normalization included, count nothing.
    cumulative_flop
        Of everything up to it; a layer used twice counts twice.
    """

    position: int
    layer: str
    kind: str
    block: str
    channels: int
    parameters: int
    cumulative_parameters: int
    output_shape: tuple[int, ...]
    num_features: int
    pooled: bool = False
    flop: int = 0
    cumulative_flop: int = 0

    @property
    def spatial(self) -> bool:
        """Whether there are axes to average over beside the channels."""
        return len(self.output_shape) > 1

    @property
    def is_main(self) -> bool:
        """Whether it is one of the main layers; see the module's docstring."""
        return self.spatial and not self.pooled and (self.kind in _JOINS or "Conv" in self.kind or "Dense" in self.kind)


def catalogue(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """List the operations of interest in network order.

    These are the input, convolutions, products, sums and concatenations of several tensors (also those that are no
    layers), pooling and dense layers. Nested models are flattened. Operations that nobody named (Keras calls them
    `add_17`, counting through the process) are called after their position here, so that names do not change from build
    to build. A name that occurs again (two nested models, a layer used twice) gets `_2`, `_3` and so on.

    Raises
    ------
    ValueError
        The model has several inputs or an open image size.
    """
    infos = [_info(position, entry, model.name) for position, entry in enumerate(_entries(model))]
    totals = itertools.accumulate(info.flop for info in infos)
    return tuple(replace(info, cumulative_flop=total) for info, total in zip(infos, totals, strict=True))


def layer_tensors(model: "keras.Model") -> dict[str, "keras.KerasTensor"]:
    """The symbolic output of every operation in the catalogue, by name, connected to the model's input.

    The layers of a nested model are called anew for this, on the tensor that goes into it.
    """
    return {entry.name: entry.tensor for entry in _entries(model)}


def boundary_layers(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """The layers of the catalogue that everything after them depends on alone, but for the input, in network order.

    The network can be cut there: what comes later can be computed from this one tensor.
    """
    infos = zip(catalogue(model), _entries(model), strict=True)
    return tuple(info for info, entry in infos if entry.is_boundary)


def network_steps(model: "keras.Model") -> "list[_Step]":
    """Every operation in network order with the tensors that it takes and gives, nested models opened."""
    return _walk(model, model.inputs)[0]


def select_layers(layers: Sequence[LayerInfo], patterns: str) -> tuple[LayerInfo, ...]:
    """Choose layers by a comma-separated union of `main`, `all`, `blocks`, names and patterns such as `block*_add`.

    `blocks` are the last main layer of each block, and the pooling that ends them.

    Returns
    -------
    tuple of LayerInfo
        In network order, without duplicates.

    Raises
    ------
    ValueError
        A part matches nothing; the message names it and similar layers.
    """
    chosen: set[int] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        found = _block_ends(layers) if pattern == "blocks" else [info for info in layers if _matches(info, pattern)]
        matched = [info.position for info in found]
        if not matched:
            raise ValueError(_no_match(layers, patterns, pattern))
        chosen.update(matched)
    return tuple(info for info in sorted(layers, key=lambda info: info.position) if info.position in chosen)


def _matches(info: LayerInfo, pattern: str) -> bool:
    if pattern == "main":
        return info.is_main
    return pattern == "all" or fnmatch.fnmatchcase(info.layer, pattern)


def _block_ends(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """The last main layer of each block, and the network's last global pooling if it comes after them."""
    ends = list({info.block: info for info in layers if info.is_main}.values())
    last = max((info.position for info in ends), default=0)
    poolings = [info for info in layers if info.kind.startswith("Global") and info.position > last]
    return [*ends, *poolings[-1:]]


def _no_match(layers: Sequence[LayerInfo], patterns: str, pattern: str) -> str:
    close = difflib.get_close_matches(pattern, [info.layer for info in layers], n=3, cutoff=0.5)
    hint = f"Did you mean {', '.join(close)}?" if close else "`python -m core layers MODEL` lists the layers."
    return f"layers must match at least one layer with each part; got {pattern!r} in {patterns!r}. {hint}"


class _Entry(NamedTuple):
    name: str
    kind: str
    tensor: Any
    parameters: int
    cumulative_parameters: int
    pooled: bool
    is_boundary: bool


def _entries(model: "keras.Model") -> list[_Entry]:
    """What catalogue and tensors have in common: the operations of interest, named."""
    if len(model.inputs) != 1:
        raise ValueError(f"model must have one input, the images; {model.name} has {len(model.inputs)}.")
    entries = [_Entry(INPUT_LAYER, "Input", model.inputs[0], 0, 0, pooled=False, is_boundary=False)]
    names = {INPUT_LAYER}
    counted: set[int] = set()
    pooled: set[int] = set()
    cumulative = 0
    steps = _walk(model, model.inputs)[0]
    for step, still_needed in zip(steps, _still_needed(steps), strict=True):
        parameters = sum(math.prod(weight.shape) for weight in getattr(step.operation, "weights", ()))
        cumulative += 0 if id(step.operation) in counted else parameters
        counted.add(id(step.operation))
        is_pooled = _is_pooled(step, pooled)
        pooled.update(id(tensor) for tensor in step.outputs if is_pooled)
        if _is_of_interest(step):
            name = _unique(_stable_name(step.operation, position=len(entries)), names)
            names.add(name)
            kind = type(step.operation).__name__
            is_boundary = still_needed == {id(step.outputs[0])}
            entries.append(_Entry(name, kind, step.outputs[0], parameters, cumulative, is_pooled, is_boundary))
    return entries


class _Step(NamedTuple):
    operation: Any
    inputs: list[Any]
    outputs: list[Any]


def _still_needed(steps: Sequence[_Step]) -> list[set[int]]:
    """After each step, the ids of the tensors there are by then that later steps take."""
    last_use = {id(tensor): place for place, step in enumerate(steps) for tensor in step.inputs}
    needed: set[int] = set()
    found = []
    for place, step in enumerate(steps):
        needed = {key for key in (*needed, *map(id, (*step.inputs, *step.outputs))) if last_use.get(key, -1) > place}
        found.append(needed)
    return found


def _walk(model: "keras.Model", inputs: Sequence[Any]) -> tuple[list[_Step], list[Any]]:
    """The steps of the network in order when it runs on `inputs`, nested models opened, and its outputs."""
    import keras

    graph = keras.Model(model.inputs, model.outputs)  # a Sequential becomes a graph, too
    connected = {id(tensor): given for tensor, given in zip(model.inputs, inputs, strict=True)}
    depths = graph._nodes_by_depth  # Keras has no public way to ask what connects a graph's operations
    steps: list[_Step] = []
    for node in (node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input):
        arguments = [connected[id(tensor)] for tensor in node.input_tensors]
        if _is_nested(node.operation):
            inner, outputs = _walk(node.operation, arguments)
            steps.extend(inner)
        else:
            outputs = _outputs(node, arguments, connected)
            steps.append(_Step(node.operation, arguments, outputs))
        connected.update(zip(map(id, node.outputs), outputs, strict=True))
    return steps, [connected[id(tensor)] for tensor in model.outputs]


def _outputs(node: Any, arguments: list[Any], connected: dict[int, Any]) -> list[Any]:
    """What the node gave when the network was built, or, inside and after a nested model, what it gives now."""
    if all(new is old for new, old in zip(arguments, node.input_tensors, strict=True)):
        return list(node.outputs)
    import keras

    args, kwargs = node.arguments.fill_in(connected)
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))


def _is_nested(operation: Any) -> bool:
    import keras

    is_graph = isinstance(operation, keras.Sequential) or hasattr(operation, "operations")
    return is_graph and isinstance(operation, keras.Model)


def _is_pooled(step: _Step, pooled: set[int]) -> bool:
    """Whether the step is a global pooling, or all that goes into it comes after one."""
    is_pooling = type(step.operation).__name__.startswith("Global")
    return is_pooling or (bool(step.inputs) and all(id(tensor) in pooled for tensor in step.inputs))


def _is_of_interest(step: _Step) -> bool:
    kind = type(step.operation).__name__
    # `x * 0.5` is a product as well, but its activations separate exactly as those of x do.
    return bool(_KINDS.fullmatch(kind)) and (kind not in _JOINS or len(step.inputs) > 1)


def _stable_name(operation: Any, position: int) -> str:
    """The operation's name, or kind and position where Keras made the name up."""
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(operation).__name__)).lower()
    return f"{words}_{position}" if re.fullmatch(rf"{words}(_\d+)?", operation.name) else operation.name


def _unique(name: str, taken: set[str]) -> str:
    candidates = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def _block(name: str, model: str) -> str:
    """The block that a layer belongs to; where the model's name comes first, it is left out."""
    name = name.removeprefix(f"{model}_")
    match = _BLOCK.match(name)
    return match[1] if match else name.split("_")[0]


def _info(position: int, entry: _Entry, model: str) -> LayerInfo:
    shape = tuple(entry.tensor.shape[1:])
    if None in shape:
        raise ValueError(f"model must have a fixed image size; {entry.name} gives {shape}. Rebuild it with one.")
    return LayerInfo(
        position=position,
        layer=entry.name,
        kind=entry.kind,
        block=_block(entry.name, model),
        channels=shape[-1],
        parameters=entry.parameters,
        cumulative_parameters=entry.cumulative_parameters,
        output_shape=shape,
        num_features=math.prod(shape),
        pooled=entry.pooled,
        flop=2 * entry.parameters * math.prod(shape[:-1]),
    )
