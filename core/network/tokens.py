"""Layers of tokens, as in transformers: activations of shape (tokens, channels) for an image.

*The class token.* Where the network selects one token out of T, as with `x[:, 0]`, that token is the class token of
the activations of T tokens that the selection depends on: from the first operation on that may mix tokens, as attention
does. Before it, the class token is the same for all images. So a class token is recognized by what the network reads;
one that is only put in front of the others, and then averaged with them, is a token as any other.

*The mean of the channels* of such a layer is its class token or, where it has none, the mean over its tokens. A layer
whose tokens are on the last axis, between two permutations as in a mixer, is averaged over the last axis.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from core.network.operations import Step

TOKEN_CHOICES = ("mean", "class", "auto")
TOKEN_RANK = 3  # of a tensor of shape (images, tokens, channels)
REDUCTIONS = ("Mean", "Max")  # kinds of operations, in the catalogue only where they leave one number a channel
# Operations that compute each token of their output from the same token of their inputs.
_TOKENWISE = frozenset(
    {"Activation", "Add", "BatchNormalization", "Cast", "Concatenate", "Dense", "Divide", "Dropout", "Embedding"}
    | {"Gelu", "Identity", "LayerNormalization", "LayerScale", "LeakyReLU", "Multiply", "RMSNormalization", "ReLU"}
    | {"Relu", "Rescaling", "Sigmoid", "Silu", "Subtract", "Tanh"}
)


def selected_token(step: Step) -> int | None:
    """Return the number of the token that a step selects out of several; None where it is no such selection.

    A selection is an index or a slice of length one on the axis of the tokens: `x[:, 0]`, `x[:, :1]`, `x[:, -1]`, or
    `keras.ops.take(x, 0, axis=1)`. The last token out of T is number T - 1.
    """
    if step.kind not in ("GetItem", "Take") or not step.inputs or len(step.inputs[0].shape) != TOKEN_RANK:
        return None
    num_tokens: int | None = step.inputs[0].shape[1]
    if num_tokens is None or num_tokens < 2:
        return None
    index = _taken_index(step) if step.kind == "Take" else _sliced_index(step.arguments[1], num_tokens)
    if index is None or not -num_tokens <= index < num_tokens:
        return None
    return index % num_tokens


def _taken_index(step: Step) -> int | None:
    axis = getattr(step.operation, "axis", None)
    indices = step.arguments[1] if len(step.arguments) > 1 else step.keyword("indices")
    return indices if axis in (1, -2) and isinstance(indices, int) else None


def _sliced_index(key: Any, num_tokens: int) -> int | None:
    """Return the index on the axis of the tokens that `x[key]` takes alone, from all images and channels."""
    if not isinstance(key, tuple | list) or len(key) < 2:
        return None
    others = [key[0], *key[2:]]
    if any(other != slice(None) and other is not Ellipsis for other in others):
        return None
    index = key[1]
    if isinstance(index, slice):
        numbers = range(num_tokens)[index]
        return numbers[0] if len(numbers) == 1 else None
    return index if isinstance(index, int) else None


def is_global_pooling(step: Step) -> bool:
    """Return whether a step reduces all positions or tokens of an image to one: by pooling, a mean, or a selection."""
    if step.kind.startswith("Global") or selected_token(step) is not None:
        return True
    if step.kind not in REDUCTIONS or len(step.inputs) != 1:
        return False
    before, after = step.inputs[0].shape, step.outputs[0].shape
    return len(before) >= TOKEN_RANK and len(after) == 2 and before[-1] == after[-1]


def class_tokens(steps: Sequence[Step]) -> dict[int, int]:
    """Return the number of the class token of each tensor that has one, by the id of the tensor."""
    numbers: dict[int, int] = {}
    for last, step in enumerate(steps):
        index = selected_token(step)
        if index is None:
            continue
        before = steps[:last]
        needed = _ancestors(step.inputs[0], before)
        for tensor_id in _mixed(before, step.inputs[0].shape[1]) & needed:
            numbers.setdefault(tensor_id, index)
    return numbers


def _mixed(steps: Sequence[Step], num_tokens: int) -> set[int]:
    """Return the ids of the tensors of so many tokens each of which may depend on the other tokens."""
    mixed: set[int] = set()
    for step in steps:
        sources = [tensor for tensor in step.inputs if _has_tokens(tensor, num_tokens)]
        is_mixing = bool(sources) and step.kind not in _TOKENWISE
        if is_mixing or any(id(tensor) in mixed for tensor in sources):
            mixed.update(id(tensor) for tensor in step.outputs if _has_tokens(tensor, num_tokens))
    return mixed


def _has_tokens(tensor: Any, num_tokens: int) -> bool:
    return len(tensor.shape) == TOKEN_RANK and tensor.shape[1] == num_tokens


def _ancestors(tensor: Any, steps: Sequence[Step]) -> set[int]:
    """Return the ids of a tensor and of all tensors that it is computed from."""
    needed = {id(tensor)}
    for step in reversed(steps):
        if any(id(output) in needed for output in step.outputs):
            needed.update(map(id, step.inputs))
    return needed


def transposed_tensors(steps: Sequence[Step]) -> set[int]:
    """Return the ids of the tensors of shape (images, channels, tokens), which a permutation has made."""
    transposed: set[int] = set()
    for step in steps:
        sources = [tensor for tensor in step.inputs if len(tensor.shape) == TOKEN_RANK]
        is_transposed = any(id(tensor) in transposed for tensor in sources)
        if _swaps_tokens_and_channels(step):
            is_transposed = not is_transposed
        if sources and is_transposed:
            transposed.update(id(tensor) for tensor in step.outputs if len(tensor.shape) == TOKEN_RANK)
    return transposed


def _swaps_tokens_and_channels(step: Step) -> bool:
    if step.kind == "Permute":
        return tuple(step.operation.dims) == (2, 1)
    if step.kind == "Transpose":
        return tuple(step.operation.axes or ()) == (0, 2, 1)
    if step.kind == "Swapaxes":
        return {step.operation.axis1 % TOKEN_RANK, step.operation.axis2 % TOKEN_RANK} == {1, 2}
    return False


def channel_means(activations: Any, class_token: int | None, is_transposed: bool) -> Any:
    """Return one number for each channel, shape (b, channels): the class token, or a mean over all other axes.

    Parameters
    ----------
    activations : tf.Tensor, shape (b, ..., channels)
        Of shape (b, channels, tokens) if `is_transposed`.
    class_token : int or None
        Number of the token to take; None takes the mean.
    is_transposed : bool
        Whether the channels are on the axis before the last.
    """
    import tensorflow as tf

    if class_token is not None:
        return activations[:, class_token]
    axes = [2] if is_transposed else range(1, len(activations.shape) - 1)
    return tf.reduce_mean(activations, axis=axes)


def pooled_text(num_tokens: int, class_token: int | None) -> str:
    """Return what pooling mean takes of tokens, in words.

    >>> pooled_text(196, None), pooled_text(197, 0), pooled_text(198, 1)
    ('mean over 196 tokens', 'class token, the first of 197 tokens', 'class token, number 1 from 0 of 198 tokens')
    """
    if class_token is None:
        return f"mean over {num_tokens} tokens"
    which = "the first" if class_token == 0 else f"number {class_token} from 0"
    return f"class token, {which} of {num_tokens} tokens"


def describe_class_tokens(by_layer: Mapping[str, str], tokens: str) -> str:
    """Return a sentence on the layers that are measured by their class token; "" where there are none.

    Parameters
    ----------
    by_layer : mapping of str to str
        What is taken of these layers, as `pooled_text` says it, by layer in network order.
    tokens : {"auto", "mean", "class"}
        What was chosen.
    """
    if not by_layer:
        return ""
    first, text = next(iter(by_layer.items()))
    if tokens == "class":
        return f"Pooling mean takes the {text.removeprefix('class token, the ')}, as chosen, in {first} and all others."
    return (
        f"The head of the network reads a class token: pooling mean takes it from {first} on ({text}), and the mean "
        "over tokens before. Choose --tokens mean for the mean everywhere."
    )
