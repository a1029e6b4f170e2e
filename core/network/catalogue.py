"""The layer catalogue: which operations of a network have activations worth measuring, and how large they are.

`layer_names` says what a layer is called.

A block is the part of a layer's name up to its block's number, or else before the first underscore: `block1a`,
`conv2_block1`, `stage_0_block_2`; `stem`, `top`; `avg_pool` is in `avg`; `backbone/conv2_block1_add` in
`backbone/conv2_block1`. Names that Keras made up, such as `conv2d_7`, tell no blocks: where a sum at the end of a
residual block bears one, the layers that it sums up are in one block with it, that of the names of some of them, or
else one named after the sum; made-up names between two such blocks are in a block named after the first of them.

*Main* layers are the convolutions, and the sums, products and concatenations of several tensors, that still have the
image's axes. Left out is what comes after a global pooling: the head, and the squeeze-excite branches, but not the
product that brings them back. In EfficientNet these are the layers that the original notebook chose by name (`conv` at
its end, or a product or sum). A dense layer over the image's axes is a convolution of one pixel, and counts as one.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from core.network.layer_names import JOINS, is_made_up, is_of_interest, matching_names, name_hint, step_names
from core.network.operations import Step, open_model, unique_name

if TYPE_CHECKING:
    import keras

INPUT_LAYER = "input"
LAST_POOLING, OUTPUT = "last_pool", "output"
DEFAULT_LAYERS = f"main,{LAST_POOLING},{OUTPUT}"
EARLIER_DEFAULT_LAYERS = "main,avg_pool,predictions"  # in studies that were made before there were these words
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
    is_output
        Whether the network's output is its activations, or is made of them by operations that are not listed.
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
    is_output: bool = False

    @property
    def spatial(self) -> bool:
        """Whether there are axes to average over beside the channels."""
        return len(self.output_shape) > 1

    @property
    def is_main(self) -> bool:
        """Whether it is one of the main layers; see the module's docstring."""
        return self.spatial and not self.pooled and (self.kind in JOINS or "Conv" in self.kind or "Dense" in self.kind)


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network with its nested models opened, once, so that all that is asked of it speaks of the same tensors.

    steps : every operation, in network order. step_names : what each is called. outputs : of the network.
    """

    model: "keras.Model"
    steps: tuple[Step, ...]
    step_names: tuple[str, ...]
    outputs: tuple[Any, ...]
    entries: "tuple[_Entry, ...]"

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """What `catalogue` lists."""
        blocks = _blocks(self)
        infos = [
            _info(position, entry, block)
            for position, (entry, block) in enumerate(zip(self.entries, blocks, strict=True))
        ]
        totals = itertools.accumulate(info.flop for info in infos)
        return tuple(replace(info, cumulative_flop=total) for info, total in zip(infos, totals, strict=True))

    @property
    def tensors(self) -> "dict[str, keras.KerasTensor]":
        """What `layer_tensors` gives."""
        return {entry.name: entry.tensor for entry in self.entries}

    @property
    def boundaries(self) -> tuple[LayerInfo, ...]:
        """What `boundary_layers` gives."""
        return tuple(info for info, entry in zip(self.layers, self.entries, strict=True) if entry.is_boundary)


def open_network(model: "keras.Model") -> OpenedNetwork:
    """Open the nested models of a network and name its operations.

    Raises
    ------
    ValueError
        The model has several inputs.
    """
    if len(model.inputs) != 1:
        raise ValueError(f"model must have one input, the images; {model.name} has {len(model.inputs)}.")
    steps, outputs = open_model(model)
    names = step_names(steps)
    return OpenedNetwork(
        model, tuple(steps), tuple(names), tuple(outputs), tuple(_entries(model, steps, names, outputs))
    )


def catalogue(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """List the operations of interest in network order.

    These are the input, convolutions, products, sums and concatenations of several tensors (also those that are no
    layers), pooling and dense layers, those in nested models included. What they are called is said above.

    Raises
    ------
    ValueError
        The model has several inputs or an open image size.
    """
    return open_network(model).layers


def layer_tensors(model: "keras.Model") -> "dict[str, keras.KerasTensor]":
    """The symbolic output of every operation in the catalogue, by name, connected to the model's input.

    The layers of a nested model are called anew for this, on the tensor that goes into it. `graph.connect` makes a
    model between such tensors.
    """
    return open_network(model).tensors


def boundary_layers(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """The layers of the catalogue that everything after them depends on alone, but for the input, in network order.

    The network can be cut there: what comes later can be computed from this one tensor.
    """
    return open_network(model).boundaries


def select_layers(layers: Sequence[LayerInfo], patterns: str) -> tuple[LayerInfo, ...]:
    """Choose layers by a comma-separated union of words, names and patterns such as `block*_add`.

    The words are `main`; `all`; `last_pool`, the global pooling behind the main layers (the last other pooling where
    there is none); `output`, the layer that the network's output comes from; `blocks`, the last main layer of each
    block and the global pooling behind them. A layer that bears one of these names is chosen with what the word means.
    A pattern without a slash is matched with the last part of names in nested models, too: `block*_add` also means
    `backbone/block1a_add`. A name in full means that layer alone, commas in it included.

    Returns
    -------
    tuple of LayerInfo
        In network order, without duplicates.

    Raises
    ------
    ValueError
        A part matches nothing; the message names it and similar layers.
    """
    whole = tuple(info for info in layers if info.layer == patterns)
    if whole and "," in patterns:
        return whole
    chosen: set[int] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        matched = [info.position for info in _matched(layers, pattern)]
        if not matched:
            raise ValueError(_no_match(layers, patterns, pattern))
        chosen.update(matched)
    return tuple(info for info in sorted(layers, key=lambda info: info.position) if info.position in chosen)


def select_default_layers(layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """The main layers, the last global pooling and the output, as far as there are any; all without a main layer.

    `DEFAULT_LAYERS` as a choice of layers means this.
    """
    if not any(info.is_main for info in layers):
        return tuple(layers)
    chosen = [info for pattern in DEFAULT_LAYERS.split(",") for info in _matched(layers, pattern)]
    return tuple(sorted(dict.fromkeys(chosen), key=lambda info: info.position))


def _matched(layers: Sequence[LayerInfo], pattern: str) -> list[LayerInfo]:
    names = set(matching_names([info.layer for info in layers], pattern))
    named = [info for info in layers if info.layer in names]
    if pattern == "main":
        return named + [info for info in layers if info.is_main]
    if pattern == "all":
        return list(layers)
    if pattern == "blocks":
        return named + _block_ends(layers)
    if pattern == LAST_POOLING:
        return named + _last_pooling(layers)
    if pattern == OUTPUT:
        return named + [info for info in layers if info.is_output]
    return named


def _block_ends(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """The last main layer of each block, and the network's last global pooling if it comes after them."""
    ends = list({info.block: info for info in layers if info.is_main}.values())
    return [*ends, *_behind_main(layers, "Global")[-1:]]


def _last_pooling(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """The global poolings behind the main layers, several where a network has several backbones; else the last one."""
    return _behind_main(layers, "Global") or _behind_main(layers, "")[-1:]


def _behind_main(layers: Sequence[LayerInfo], prefix: str) -> list[LayerInfo]:
    """The poolings behind the last main layer whose kind begins so."""
    last = max((info.position for info in layers if info.is_main), default=0)
    poolings = [info for info in layers if "Pool" in info.kind and info.kind.startswith(prefix)]
    return [info for info in poolings if info.position > last]


def _no_match(layers: Sequence[LayerInfo], patterns: str, pattern: str) -> str:
    hint = name_hint([info.layer for info in layers], pattern)
    return f"layers must match at least one layer with each part; got {pattern!r} in {patterns!r}. {hint}"


class _Entry(NamedTuple):
    name: str
    kind: str
    tensor: Any
    parameters: int
    cumulative_parameters: int
    pooled: bool
    is_boundary: bool
    is_output: bool
    has_made_up_name: bool = False


def _entries(
    model: "keras.Model", steps: Sequence[Step], names: Sequence[str], outputs: Sequence[Any]
) -> Iterator[_Entry]:
    """What catalogue and tensors have in common: the pixels, then the operations of interest, named."""
    pixels = unique_name(INPUT_LAYER, set(names))
    yield _Entry(pixels, "Input", model.inputs[0], 0, 0, pooled=False, is_boundary=False, is_output=False)
    counted: set[int] = set()
    pooled: set[int] = set()
    cumulative = 0
    ends = _output_tensors(steps, outputs)
    for step, name, still_needed in zip(steps, names, _still_needed(steps), strict=True):
        parameters = sum(math.prod(weight.shape) for weight in getattr(step.operation, "weights", ()))
        cumulative += 0 if id(step.operation) in counted else parameters
        counted.add(id(step.operation))
        is_pooled = _is_pooled(step, pooled)
        pooled.update(id(tensor) for tensor in step.outputs if is_pooled)
        if is_of_interest(step):
            tensor = step.outputs[0]
            is_boundary, is_output = still_needed == {id(tensor)}, id(tensor) in ends
            made_up = is_made_up(step.operation)
            yield _Entry(name, step.kind, tensor, parameters, cumulative, is_pooled, is_boundary, is_output, made_up)


def _output_tensors(steps: Sequence[Step], outputs: Sequence[Any]) -> set[int]:
    """The ids of the outputs, or of what the nearest operation of interest before each of them gives."""
    made_by = {id(tensor): step for step in steps for tensor in step.outputs}
    found: set[int] = set()
    for output in outputs:
        level = [output]
        while level:
            of_interest = [t for t in level if id(t) in made_by and is_of_interest(made_by[id(t)])]
            if of_interest:
                found.update(map(id, of_interest))
                break
            level = [before for t in level if id(t) in made_by for before in made_by[id(t)].inputs]
    return found


def _still_needed(steps: Sequence[Step]) -> list[set[int]]:
    """After each step, the ids of the tensors there are by then that later steps take."""
    last_use = {id(tensor): place for place, step in enumerate(steps) for tensor in step.inputs}
    needed: set[int] = set()
    found = []
    for place, step in enumerate(steps):
        needed = {key for key in (*needed, *map(id, (*step.inputs, *step.outputs))) if last_use.get(key, -1) > place}
        found.append(needed)
    return found


def _is_pooled(step: Step, pooled: set[int]) -> bool:
    """Whether the step is a global pooling, or all that goes into it comes after one."""
    is_pooling = step.kind.startswith("Global")
    return is_pooling or (bool(step.inputs) and all(id(tensor) in pooled for tensor in step.inputs))


def _block(name: str, model: str) -> str:
    """The block that a layer belongs to; where the model's name comes first, it is left out."""
    path, _, last = name.rpartition("/")
    if path and not last.startswith(path):
        return f"{path}/{_block(last, path.rpartition('/')[2])}"
    last = last.removeprefix(f"{model}_")
    match = _BLOCK.match(last)
    return match[1] if match else last.split("_")[0]


def _blocks(opened: OpenedNetwork) -> list[str]:
    """The block of each entry; see the module's docstring.

    All that is computed between the input of a residual block and its sum is no boundary: the input is still needed.
    """
    entries = opened.entries
    blocks = [_block(entry.name, opened.model.name) for entry in entries]
    residual = shortcuts(opened)
    sums = [place for place, entry in enumerate(entries) if entry.has_made_up_name and entry.name in residual]
    between = list(range(1, len(entries))) if sums else []
    for place in sums:
        first = place
        while first > 1 and not entries[first - 1].is_boundary:
            first -= 1
        own = range(first, place + 1)
        told = [blocks[member] for member in own if _BLOCK.match(blocks[member].rpartition("/")[2])]
        for member in own:
            blocks[member] = told[-1] if told else entries[place].name
        between = [member for member in between if member not in own]
    previous = None
    for place in between:
        if not entries[place].has_made_up_name or entries[place].pooled:
            continue
        blocks[place] = blocks[previous] if previous == place - 1 else entries[place].name
        previous = place
    return blocks


def shortcuts(opened: OpenedNetwork) -> dict[str, Any]:
    """What comes to the sum at the end of each residual block on the shorter way, by the sum's name, in order."""
    steps = {id(step.outputs[0]): step for step in opened.steps}
    tensors: dict[str, Any] = {}
    for entry in opened.entries:
        step = steps[id(entry.tensor)] if entry.kind == "Add" and entry.is_boundary else None
        alike = [given for given in step.inputs if given.shape == step.outputs[0].shape] if step else []
        if len(alike) > 1:
            tensors[entry.name] = min(alike, key=lambda tensor: len(_ancestors(tensor, steps)))
    return tensors


def _ancestors(tensor: Any, steps: Mapping[int, Step]) -> set[int]:
    """The ids of all tensors that this one is made of."""
    found: set[int] = set()
    left = [tensor]
    while left:
        step = steps.get(id(left.pop()))
        new = [given for given in step.inputs if id(given) not in found] if step else []
        found.update(map(id, new))
        left += new
    return found


def _info(position: int, entry: _Entry, block: str) -> LayerInfo:
    shape = tuple(entry.tensor.shape[1:])
    if None in shape:
        raise ValueError(f"model must have a fixed image size; {entry.name} gives {shape}. Rebuild it with one.")
    return LayerInfo(
        position=position,
        layer=entry.name,
        kind=entry.kind,
        block=block,
        channels=shape[-1],
        parameters=entry.parameters,
        cumulative_parameters=entry.cumulative_parameters,
        output_shape=shape,
        num_features=math.prod(shape),
        pooled=entry.pooled,
        flop=2 * entry.parameters * math.prod(shape[:-1]),
        is_output=entry.is_output,
    )
