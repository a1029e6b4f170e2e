"""The names of the layers of a network, and the matching of names with patterns.

A layer has its Keras name, under which `model.get_layer(name)` finds it; a layer in a nested model is named by its
path, such as `backbone/conv1`. An operation that is not a layer is named by its kind and position, such as `add_3`. If
a layer is called several times, the further calls get `_2`, `_3` and so on. All names are unique.
"""

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.network.operations import Step, is_composite, is_nested, open_model, unique_name
from core.network.tokens import TOKEN_RANK, is_global_pooling, selected_token

if TYPE_CHECKING:
    import keras

JOINS = ("Multiply", "Add", "Concatenate")
_KINDS = re.compile(r"\w*(Conv|Pool|Attention)\w*|Multiply|Add|Concatenate|Dense|EinsumDense")


def is_of_interest(step: Step) -> bool:
    """Return whether a step is listed in the catalogue."""
    if is_global_pooling(step) and len(step.outputs[0].shape) == 2:
        return True
    if is_composite(step.operation) and len(step.outputs[0].shape) == TOKEN_RANK:
        return True
    # `x * 0.5` is a product, too, but with a single input; its activations separate exactly as well as those of x.
    return bool(_KINDS.fullmatch(step.kind)) and (step.kind not in JOINS or len(step.inputs) > 1)


def kind_of(step: Step) -> str:
    """Return the kind of a step in the catalogue: its class, or `ClassToken` for the selection of a token."""
    return step.kind if selected_token(step) is None else "ClassToken"


def step_names(steps: Sequence[Step]) -> list[str]:
    """Return the unique name of each step, as described in the module's docstring."""
    import keras

    layer_paths = {_path(step) for step in steps if isinstance(step.operation, keras.Layer)}
    used: set[str] = set()
    names = []
    position = 1
    for step in steps:
        is_layer = isinstance(step.operation, keras.Layer)
        name = _path(step) if is_layer else _name_operation(step, position)
        if name in used or (not is_layer and name in layer_paths):
            name = unique_name(name, used | layer_paths)
        used.add(name)
        names.append(name)
        position += is_of_interest(step)
    return names


def _path(step: Step) -> str:
    return "/".join((*step.path, step.operation.name))


def _name_operation(step: Step, position: int) -> str:
    """Name an operation that is not a layer; a name given by the user is kept.

    `position` is the catalogue position of the operation, or of the next one listed there.
    """
    if not is_automatic_name(step.operation):
        return _path(step)
    kind = "class_token" if kind_of(step) == "ClassToken" else _snake_case(step.operation)
    name = f"{kind}_{position}" if is_of_interest(step) else f"{kind}_before_{position}"
    return "/".join((*step.path, name))


def number_unnamed_layers(model: "keras.Model") -> None:
    """Rename the layers with automatic names by their position in the network.

    Keras names such layers `conv2d_17`, counting all layers of the process, so that the names change from build to
    build. Here the layers of the catalogue are named by kind and position, such as `conv2d_3`; all others, and nested
    models, are numbered within their kind.
    """
    steps = open_model(model)[0]
    unnamed = {id(layer): layer for layer in _all_layers(model) if is_automatic_name(layer)}
    taken = {layer.name for layer in _all_layers(model) if id(layer) not in unnamed}
    position = 1
    for step in steps:
        if not is_of_interest(step):
            continue
        layer = unnamed.pop(id(step.operation), None)
        if layer is not None:
            layer.name = unique_name(f"{_snake_case(layer)}_{position}", taken)
            taken.add(layer.name)
        position += 1
    counts: Counter[str] = Counter()
    for layer in unnamed.values():
        kind = _snake_case(layer)
        layer.name = unique_name(f"{kind}_{counts[kind]}" if counts[kind] else kind, taken)
        taken.add(layer.name)
        counts[kind] += 1


def _all_layers(model: "keras.Model") -> Iterator[Any]:
    """Yield the layers of a model and of its nested models, except inputs."""
    for layer in model.layers:
        if type(layer).__name__ != "InputLayer":
            yield layer
        if is_nested(layer):
            yield from _all_layers(layer)


def matching_names(names: Sequence[str], pattern: str) -> list[str]:
    """Return the names that a name or pattern matches; see `select_layers`."""
    if pattern in names:
        return [pattern]
    return [name for name in names if matches(name, pattern)]


def name_hint(names: Sequence[str], wrong: str) -> str:
    """Suggest similar names in place of a wrong one, for error messages."""
    similar = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    by_last_part = {name.rpartition("/")[2]: name for name in names}
    nested = difflib.get_close_matches(wrong, list(by_last_part), n=3, cutoff=0.5)
    similar += [by_last_part[part] for part in nested]
    if not similar:
        return "`python -m core layers MODEL` lists the layers."
    suggestions = list(dict.fromkeys(similar))[:3]
    return f"Did you mean {', '.join(suggestions)}?"


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern matches a name; without a slash it may also match the last part of the name.

    >>> matches("backbone/block1a_add", "block*_add")
    True
    """
    if "/" not in pattern and fnmatch.fnmatchcase(name.rpartition("/")[2], pattern):
        return True
    return fnmatch.fnmatchcase(name, pattern)


def is_automatic_name(operation: Any) -> bool:
    """Return whether Keras has named an operation itself: by its kind and, except for the first one, a number."""
    return bool(re.fullmatch(rf"{_snake_case(operation)}(_\d+)?", operation.name))


def _snake_case(operation: Any) -> str:
    kind = type(operation).__name__
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
