"""What the layers of a network are called, and which names a pattern means.

A layer is called what Keras calls it, the name under which `model.get_layer(name)` finds it; one in a nested model is
called by its path, such as `backbone/conv1`. An operation that is no layer has no such name: it is called after its
kind and position, such as `add_3`. A layer that is used again gets `_2`, `_3` and so on. No such name is one that
another layer bears.
"""

import difflib
import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from core.network.operations import Step, is_nested, open_model, unique_name

if TYPE_CHECKING:
    import keras

JOINS = ("Multiply", "Add", "Concatenate")
_KINDS = re.compile(r"\w*(Conv|Pool)\w*|Multiply|Add|Concatenate|Dense|EinsumDense")


def is_of_interest(step: Step) -> bool:
    """Whether a step belongs in the catalogue."""
    # `x * 0.5` is a product as well, but its activations separate exactly as those of x do.
    return bool(_KINDS.fullmatch(step.kind)) and (step.kind not in JOINS or len(step.inputs) > 1)


def step_names(steps: Sequence[Step]) -> list[str]:
    """What each step is called: a layer as Keras calls it, an operation that is none after its kind and position."""
    import keras

    of_layers = {_path(step) for step in steps if isinstance(step.operation, keras.Layer)}
    used: set[str] = set()
    names = []
    position = 1
    for step in steps:
        is_layer = isinstance(step.operation, keras.Layer)
        name = _path(step) if is_layer else _operation_name(step, position)
        if name in used or (not is_layer and name in of_layers):
            name = unique_name(name, used | of_layers)
        used.add(name)
        names.append(name)
        position += is_of_interest(step)
    return names


def _path(step: Step) -> str:
    return "/".join((*step.path, step.operation.name))


def _operation_name(step: Step, position: int) -> str:
    """The name of an operation that is no layer; one that somebody gave it stays. position : of what comes next."""
    if not is_made_up(step.operation):
        return _path(step)
    words = _snake_case(step.operation)
    return "/".join((*step.path, f"{words}_{position}" if is_of_interest(step) else f"{words}_before_{position}"))


def number_unnamed_layers(model: "keras.Model") -> None:
    """Name the layers that nobody named after their position in the network.

    Keras calls them `conv2d_17`, counting through the process, so that the names of a network that it builds change
    from build to build. The layers of interest get kind and position, such as `conv2d_3`; all others, and nested
    models, are counted from the first one of their kind.
    """
    steps = open_model(model)[0]
    unnamed = {id(layer): layer for layer in _all_layers(model) if is_made_up(layer)}
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
        words = _snake_case(layer)
        layer.name = unique_name(f"{words}_{counts[words]}" if counts[words] else words, taken)
        taken.add(layer.name)
        counts[words] += 1


def _all_layers(model: "keras.Model") -> Iterator[Any]:
    """The layers of a model and of those in it, but for inputs."""
    for layer in model.layers:
        if type(layer).__name__ != "InputLayer":
            yield layer
        if is_nested(layer):
            yield from _all_layers(layer)


def matching_names(names: Sequence[str], pattern: str) -> list[str]:
    """The names that a name or pattern means; see `select_layers`."""
    if pattern in names:
        return [pattern]
    return [name for name in names if matches(name, pattern)]


def name_hint(names: Sequence[str], wrong: str) -> str:
    """What may have been meant by a name that no layer bears."""
    close = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    by_last_part = {name.rpartition("/")[2]: name for name in names}
    nested = difflib.get_close_matches(wrong, list(by_last_part), n=3, cutoff=0.5)
    close = list(dict.fromkeys([*close, *(by_last_part[part] for part in nested)]))[:3]
    return f"Did you mean {', '.join(close)}?" if close else "`python -m core layers MODEL` lists the layers."


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern means a name; one without a slash is matched with the last part of the name, too."""
    if "/" not in pattern and fnmatch.fnmatchcase(name.rpartition("/")[2], pattern):
        return True
    return fnmatch.fnmatchcase(name, pattern)


def is_made_up(operation: Any) -> bool:
    """Whether Keras made the name up: the kind, and a number but for the first one in the process."""
    return bool(re.fullmatch(rf"{_snake_case(operation)}(_\d+)?", operation.name))


def _snake_case(operation: Any) -> str:
    kind = type(operation).__name__
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
