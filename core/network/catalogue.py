"""The layer catalogue: the operations of a network whose activations can be measured, with their sizes and blocks.

The module `layer_names` defines how a layer is named.

*Blocks.* The block of a layer is the part of its name up to the number of the block, or else before the first
underscore: `block1a`, `conv2_block1`, `stage_0_block_2`; `stem`, `top`; `avg_pool` is in `avg`, and
`backbone/conv2_block1_add` in `backbone/conv2_block1`. Names that Keras has generated, such as `conv2d_7`, do not
contain a block. A layer inside a layer or model that is called a block, or a numbered layer, is in that block, whatever
it is called itself: `encoder/transformer_block_2/mha` is in `encoder/transformer_block_2`. If the sum at the end of a
residual block has such a name, the sum and all layers of the residual block form one block. It is named after a block
in the names of these layers, or else after the sum. Other layers with generated names, between two such blocks, form a
block that is named after the first of them.

*Main layers* are the convolutions, and the sums, products and concatenations of several tensors, that have spatial axes
and do not depend on a global pooling alone. So the head and the squeeze-excite branches are excluded, but not the
product that applies such a branch. In EfficientNet these are the layers that the original notebook selected by name
(ending in `conv`, or a product or sum). A dense layer over spatial axes is a 1x1 convolution, and counts as one. In
transformers, whose layers have tokens in place of spatial axes, attention and layers that consist of other layers and
cannot be expanded, such as an embedding of patches, are main layers, too; see the module `tokens`.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from core.network.layer_names import (
    JOINS,
    is_automatic_name,
    is_of_interest,
    kind_of,
    matching_names,
    name_hint,
    step_names,
)
from core.network.operations import Step, is_composite, open_model, unique_name
from core.network.tokens import REDUCTIONS, TOKEN_RANK, class_tokens, is_global_pooling, pooled_text, transposed_tensors

if TYPE_CHECKING:
    import keras

INPUT_LAYER = "input"
LAST_POOLING, OUTPUT = "last_pool", "output"
DEFAULT_LAYERS = f"main,{LAST_POOLING},{OUTPUT}"
_BLOCK = re.compile(r"(.*?(?:stage_?\d+_)?block_?\d+[a-z]?)(_|$)")
_BLOCK_OF_LAYERS = re.compile(r"\w*(block(_?\d+[a-z]?)?|layer_?\d+)")  # name of a model or layer that is a block


@dataclass(frozen=True)
class LayerInfo:
    """One operation of a network.

    Attributes
    ----------
    position : int
        Position in network order; 0 is the input.
    layer : str
        Unique name.
    kind : str
        Class, such as `DepthwiseConv2D` or `Add`; `Input` for the pixels, `ClassToken` for its selection.
    block : str
        Name of the block that the layer belongs to.
    channels : int
        Size of the last axis of the output; of the axis before it, if the layer is transposed.
    parameters : int
        Number of parameters (of weights and biases) of the operation.
    cumulative_parameters : int
        Number of parameters up to and including this layer, with batch normalization; shared layers count once.
    output_shape : tuple of int
        Shape of the output without the batch axis.
    num_features : int
        Number of activations per image.
    pooled : bool
        Whether the layer depends on global poolings alone, so that it has no spatial information.
    flop : int
        Floating-point operations of the layer's weights for one image; a multiplication and an addition count as two,
        and each weight counts once per output position. Products of two activations and elementwise operations,
        including batch normalization, are not counted.
    cumulative_flop : int
        Floating-point operations up to and including this layer; a layer that is used twice counts twice.
    is_output : bool
        Whether the output of the network is that of this layer, or is computed from it by unlisted operations.
    class_token : int or None
        Number of the token that stands for the image in place of a mean over all tokens; None takes the mean. See the
        module `tokens`.
    is_transposed : bool
        Whether the output has the shape (channels, tokens), between two permutations of a mixer.
    has_parts : bool
        Whether the operation is a layer that consists of other layers.
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
    class_token: int | None = None
    is_transposed: bool = False
    has_parts: bool = False

    @property
    def spatial(self) -> bool:
        """Whether the output has spatial axes or tokens to average over, besides the channels."""
        return len(self.output_shape) > 1

    @property
    def tokens(self) -> int | None:
        """Number of tokens of an output of shape (tokens, channels); None for any other."""
        if len(self.output_shape) != TOKEN_RANK - 1:
            return None
        return self.output_shape[-1] if self.is_transposed else self.output_shape[0]

    @property
    def mean_of(self) -> str | None:
        """What pooling mean takes: the mean of `positions` or `tokens`, or the `class token`; None without any."""
        if not self.spatial:
            return None
        if self.class_token is not None:
            return "class token"
        return "positions" if self.tokens is None else "tokens"

    @property
    def pooled_text(self) -> str:
        """What pooling mean takes of a layer of tokens, in words; "" for any other layer."""
        return "" if self.tokens is None else pooled_text(self.tokens, self.class_token)

    @property
    def is_global_pooling(self) -> bool:
        """Whether the layer reduces all positions or tokens to one: by pooling, a mean, or as a class token."""
        return self.kind.startswith("Global") or self.kind in ("ClassToken", *REDUCTIONS)

    @property
    def is_main(self) -> bool:
        """Whether the layer is one of the main layers; see the module's docstring."""
        is_main_kind = self.kind in JOINS or any(word in self.kind for word in ("Conv", "Dense", "Attention"))
        return self.spatial and not self.pooled and (is_main_kind or self.has_parts)


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network whose nested models have been expanded once, so that all results refer to the same tensors.

    Attributes
    ----------
    model : keras.Model
        The network.
    steps : tuple of Step
        Every operation, in network order.
    step_names : tuple of str
        Names of the steps.
    outputs : tuple of keras.KerasTensor
        Outputs of the network.
    entries : tuple of _Entry
        The operations that are listed in the catalogue.
    """

    model: "keras.Model"
    steps: tuple[Step, ...]
    step_names: tuple[str, ...]
    outputs: tuple[Any, ...]
    entries: "tuple[_Entry, ...]"

    @cached_property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers that `catalogue` returns."""
        layers = []
        cumulative_flop = 0
        for position, (entry, block) in enumerate(zip(self.entries, _blocks(self), strict=True)):
            layer = _layer_info(position, entry, block)
            cumulative_flop += layer.flop
            layers.append(replace(layer, cumulative_flop=cumulative_flop))
        return tuple(layers)

    @property
    def tensors(self) -> "dict[str, keras.KerasTensor]":
        """The tensors that `layer_tensors` returns."""
        return {entry.name: entry.tensor for entry in self.entries}

    @property
    def boundaries(self) -> tuple[LayerInfo, ...]:
        """The layers that `boundary_layers` returns."""
        return tuple(info for info, entry in zip(self.layers, self.entries, strict=True) if entry.is_boundary)


def open_network(model: "keras.Model") -> OpenedNetwork:
    """Expand the nested models of a network and name its operations.

    Raises
    ------
    ValueError
        If the model has several inputs.
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

    These are the input, convolutions, products, sums and concatenations of several tensors (also if they are operations
    that are not layers), pooling, dense and attention layers, including those in nested models, the selection of a
    class token, and layers of tokens that consist of other layers and cannot be expanded.

    Parameters
    ----------
    model : keras.Model
        A network with one input of a fixed size.

    Returns
    -------
    tuple of LayerInfo

    Raises
    ------
    ValueError
        If the model has several inputs, or no fixed image size.
    """
    return open_network(model).layers


def with_tokens(layers: Sequence[LayerInfo], tokens: str) -> tuple[LayerInfo, ...]:
    """Return the same layers, with what pooling mean takes of layers of tokens.

    Parameters
    ----------
    layers : sequence of LayerInfo
        Layers of the catalogue.
    tokens : {"auto", "mean", "class"}
        The class token if there is one and else the mean over tokens; always that mean; or always the first token.
    """
    if tokens == "auto":
        return tuple(layers)
    chosen = []
    for info in layers:
        has_tokens = len(info.output_shape) == TOKEN_RANK - 1 and not info.is_transposed
        chosen.append(replace(info, class_token=0 if has_tokens and tokens == "class" else None))
    return tuple(chosen)


def layer_tensors(model: "keras.Model") -> "dict[str, keras.KerasTensor]":
    """Return the symbolic output of every operation in the catalogue, by name, connected to the model's input.

    The layers of a nested model are called again for this, on the tensor that the nested model was called on.
    `operations.connect` makes a model between such tensors.
    """
    return open_network(model).tensors


def boundary_layers(model: "keras.Model") -> tuple[LayerInfo, ...]:
    """Return the layers, in network order and without the input, that all later layers depend on alone.

    The network can be split there: everything after such a layer can be computed from its output.
    """
    return open_network(model).boundaries


def select_layers(layers: Sequence[LayerInfo], patterns: str) -> tuple[LayerInfo, ...]:
    """Select layers by a comma-separated list of words, names and patterns such as `block*_add`.

    ========= ======================================================================================================
    main      The main layers.
    all       All layers.
    last_pool The global pooling after the main layers, or the last other pooling if there is none.
    output    The layer that the network's output comes from.
    blocks    The last main layer of each block, and the global pooling after them.
    ========= ======================================================================================================

    A layer whose name is one of these words is selected in addition. A pattern without a slash is also matched with the
    last part of names in nested models: `block*_add` matches `backbone/block1a_add`. If `patterns` as a whole is the
    name of a layer, that layer is selected, even if the name contains commas.

    Parameters
    ----------
    layers : sequence of LayerInfo
        The layers to select from.
    patterns : str
        Words, names and patterns, separated by commas.

    Returns
    -------
    tuple of LayerInfo
        In network order, without duplicates.

    Raises
    ------
    ValueError
        If a part matches nothing; the message names it and similar layers.
    """
    whole = tuple(info for info in layers if info.layer == patterns)
    if whole and "," in patterns:
        return whole
    positions: set[int] = set()
    for part in patterns.split(","):
        matching = _matching_layers(layers, part.strip())
        if not matching:
            raise ValueError(_no_match_message(layers, patterns, part.strip()))
        positions.update(info.position for info in matching)
    return tuple(info for info in sorted(layers, key=lambda info: info.position) if info.position in positions)


def select_default_layers(layers: Sequence[LayerInfo]) -> tuple[LayerInfo, ...]:
    """Select the main layers, the last global pooling and the output, as far as they exist; all without main layers.

    This is what the selection `DEFAULT_LAYERS` means.
    """
    if not any(info.is_main for info in layers):
        return tuple(layers)
    selected: set[LayerInfo] = set()
    for pattern in DEFAULT_LAYERS.split(","):
        selected.update(_matching_layers(layers, pattern))
    return tuple(sorted(selected, key=lambda info: info.position))


def _matching_layers(layers: Sequence[LayerInfo], pattern: str) -> list[LayerInfo]:
    """Return the layers that one word, name or pattern selects."""
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
    """Return the last main layer of each block, and the network's last global pooling if it comes after them."""
    ends = list({info.block: info for info in layers if info.is_main}.values())
    return [*ends, *_global_poolings(layers)[-1:]]


def _last_pooling(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the global poolings after the main layers (several backbones may have several), or the last pooling."""
    return _global_poolings(layers) or [info for info in _after_main(layers) if "Pool" in info.kind][-1:]


def _global_poolings(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    """Return the global poolings, means and class tokens after the last main layer."""
    return [info for info in _after_main(layers) if info.is_global_pooling]


def _after_main(layers: Sequence[LayerInfo]) -> list[LayerInfo]:
    last = max((info.position for info in layers if info.is_main), default=0)
    return [info for info in layers if info.position > last]


def _no_match_message(layers: Sequence[LayerInfo], patterns: str, pattern: str) -> str:
    hint = name_hint([info.layer for info in layers], pattern)
    return f"each part of layers must match at least one layer; got {pattern!r} in {patterns!r}. {hint}"


class _Entry(NamedTuple):
    """An operation in the catalogue; for the fields see `LayerInfo`."""

    name: str
    kind: str
    tensor: Any
    parameters: int
    cumulative_parameters: int
    pooled: bool
    is_boundary: bool
    is_output: bool
    has_automatic_name: bool = False
    class_token: int | None = None
    is_transposed: bool = False
    has_parts: bool = False


def _entries(
    model: "keras.Model", steps: Sequence[Step], names: Sequence[str], outputs: Sequence[Any]
) -> Iterator[_Entry]:
    """Yield the entry of the pixels, then those of the operations of interest."""
    pixels = unique_name(INPUT_LAYER, set(names))
    yield _Entry(pixels, "Input", model.inputs[0], 0, 0, pooled=False, is_boundary=False, is_output=False)
    counted: set[int] = set()
    pooled: set[int] = set()
    cumulative = 0
    output_tensors = _output_tensors(steps, outputs)
    class_token, transposed = class_tokens(steps), transposed_tensors(steps)
    for step, name, still_needed in zip(steps, names, _still_needed(steps), strict=True):
        parameters = sum(math.prod(weight.shape) for weight in getattr(step.operation, "weights", ()))
        if id(step.operation) not in counted:
            counted.add(id(step.operation))
            cumulative += parameters
        is_pooled = _is_pooled(step, pooled)
        pooled.update(id(tensor) for tensor in step.outputs if is_pooled)
        if is_of_interest(step):
            tensor = step.outputs[0]
            yield _Entry(
                name,
                kind_of(step),
                tensor,
                parameters,
                cumulative,
                pooled=is_pooled,
                is_boundary=still_needed == {id(tensor)},
                is_output=id(tensor) in output_tensors,
                has_automatic_name=is_automatic_name(step.operation),
                class_token=class_token.get(id(tensor)),
                is_transposed=id(tensor) in transposed,
                has_parts=is_composite(step.operation),
            )


def _output_tensors(steps: Sequence[Step], outputs: Sequence[Any]) -> set[int]:
    """Return the ids of the outputs of the operations of interest that are nearest before each network output."""
    source: dict[int, Step] = {}  # by the id of a tensor, the step that returns it
    for step in steps:
        source.update((id(tensor), step) for tensor in step.outputs)
    nearest: set[int] = set()
    for output in outputs:
        level = [output]  # tensors at the same distance from the output
        while level:
            level = [tensor for tensor in level if id(tensor) in source]
            of_interest = [tensor for tensor in level if is_of_interest(source[id(tensor)])]
            if of_interest:
                nearest.update(map(id, of_interest))
                break
            level = list(itertools.chain.from_iterable(source[id(tensor)].inputs for tensor in level))
    return nearest


def _still_needed(steps: Sequence[Step]) -> list[set[int]]:
    """Return, for each step, the ids of the tensors that exist after it and are inputs of later steps."""
    last_use: dict[int, int] = {}
    for number, step in enumerate(steps):
        last_use.update((id(tensor), number) for tensor in step.inputs)
    needed: set[int] = set()
    needed_after = []
    for number, step in enumerate(steps):
        existing = needed.union(map(id, step.inputs), map(id, step.outputs))
        needed = {tensor_id for tensor_id in existing if last_use.get(tensor_id, -1) > number}
        needed_after.append(needed)
    return needed_after


def _is_pooled(step: Step, pooled: set[int]) -> bool:
    """Return whether the step is a global pooling, or all its inputs depend on global poolings alone."""
    return is_global_pooling(step) or (bool(step.inputs) and all(id(tensor) in pooled for tensor in step.inputs))


def _block(name: str, model: str) -> str:
    """Return the block that a layer's name contains, without the model's name at the beginning."""
    path, _, last = name.rpartition("/")
    for length, part in enumerate(path.split("/"), start=1):
        if _BLOCK_OF_LAYERS.fullmatch(part):
            return "/".join(path.split("/")[:length])
    if path and not last.startswith(path):
        return f"{path}/{_block(last, path.rpartition('/')[2])}"
    last = last.removeprefix(f"{model}_")
    match = _BLOCK.match(last)
    return match[1] if match else last.split("_")[0]


def _blocks(opened: OpenedNetwork) -> list[str]:
    """Return the block of each entry; see the module's docstring."""
    entries = opened.entries
    blocks = [_block(entry.name, opened.model.name) for entry in entries]
    residual_sums = shortcuts(opened)
    sums = [
        position for position, entry in enumerate(entries) if entry.has_automatic_name and entry.name in residual_sums
    ]
    if not sums:
        return blocks
    outside = set(range(1, len(entries)))  # positions that are in no residual block
    for position in sums:
        # No layer between the input of a residual block and its sum is a boundary, because the input is still needed.
        first = position
        while first > 1 and not entries[first - 1].is_boundary:
            first -= 1
        members = range(first, position + 1)
        named_blocks = [blocks[member] for member in members if _BLOCK.match(blocks[member].rpartition("/")[2])]
        block = named_blocks[-1] if named_blocks else entries[position].name
        for member in members:
            blocks[member] = block
        outside.difference_update(members)
    previous = None
    for position in sorted(outside):
        if not entries[position].has_automatic_name or entries[position].pooled:
            continue
        blocks[position] = blocks[previous] if previous == position - 1 else entries[position].name
        previous = position
    return blocks


def shortcuts(opened: OpenedNetwork) -> dict[str, Any]:
    """Return the shortcut of each residual block: the input of its sum that depends on fewer tensors.

    Returns
    -------
    dict of str to keras.KerasTensor
        By the name of the sum at the end of the block, in network order.
    """
    steps = {id(step.outputs[0]): step for step in opened.steps}
    tensors: dict[str, Any] = {}
    for entry in opened.entries:
        if entry.kind != "Add" or not entry.is_boundary:
            continue
        step = steps[id(entry.tensor)]
        same_shape = [tensor for tensor in step.inputs if tensor.shape == step.outputs[0].shape]
        if len(same_shape) > 1:
            tensors[entry.name] = min(same_shape, key=lambda tensor: len(_ancestors(tensor, steps)))
    return tensors


def _ancestors(tensor: Any, steps: Mapping[int, Step]) -> set[int]:
    """Return the ids of all tensors that a tensor is computed from."""
    ancestors: set[int] = set()
    remaining = [tensor]
    while remaining:
        step = steps.get(id(remaining.pop()))
        if step is None:
            continue
        new = [source for source in step.inputs if id(source) not in ancestors]
        ancestors.update(map(id, new))
        remaining += new
    return ancestors


def _layer_info(position: int, entry: _Entry, block: str) -> LayerInfo:
    shape = tuple(entry.tensor.shape[1:])
    if None in shape:
        raise ValueError(
            f"model must have a fixed image size; got {shape} as the output of {entry.name}. Rebuild it with a fixed "
            "size."
        )
    return LayerInfo(
        position=position,
        layer=entry.name,
        kind=entry.kind,
        block=block,
        channels=shape[-2] if entry.is_transposed else shape[-1],
        parameters=entry.parameters,
        cumulative_parameters=entry.cumulative_parameters,
        output_shape=shape,
        num_features=math.prod(shape),
        pooled=entry.pooled,
        flop=2 * entry.parameters * math.prod(shape[:-1]),
        is_output=entry.is_output,
        class_token=entry.class_token,
        is_transposed=entry.is_transposed,
        has_parts=entry.has_parts,
    )
