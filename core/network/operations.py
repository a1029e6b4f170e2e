"""The operations of a network in order, nested models opened, and models built between their tensors."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class Step(NamedTuple):
    """One operation with the tensors that it takes and gives; path : the names of the nested models that it is in."""

    operation: Any
    inputs: list[Any]
    outputs: list[Any]
    path: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return type(self.operation).__name__


def network_steps(model: "keras.Model") -> list[Step]:
    """Every operation in network order with the tensors that it takes and gives, nested models opened."""
    return open_model(model)[0]


def open_model(model: "keras.Model") -> tuple[list[Step], list[Any]]:
    """The steps of a network, nested models opened, and its outputs as tensors among theirs.

    The layers of a nested model are called anew for this, on the tensor that goes into it.
    """
    return _walk(model, model.inputs, ())


def top_level_steps(model: "keras.Model") -> list[Step]:
    """Every operation in network order, a nested model as one of them."""
    return [Step(node.operation, list(node.input_tensors), list(node.outputs)) for node in _nodes(model)]


def connect(inputs: Any, outputs: Any, *, name: str | None = None) -> "keras.Model":
    """The Keras model between tensors of a network, whose operations may bear the same name in two nested models.

    Keras refuses such a model; so the names differ while it is built, and are afterwards what they were. A model that
    is to be saved needs distinct names for good: see `with_distinct_names`.
    """
    import keras

    with _names_made_distinct(outputs):
        return keras.Model(inputs, outputs, name=name)


def with_distinct_names(model: "keras.Model", paths: Sequence[Step]) -> "keras.Model":
    """The same model, in which copies stand for the layers of nested models whose names are used twice.

    model : without nested models. paths : the steps of the network that it was cut from, which say where a layer is.
    A copy bears its path as a name, such as `left_conv1`; all other layers are shared.
    """
    import keras

    counts = Counter(operation.name for operation in model.operations)
    repeated = {id(operation) for operation in model.operations if counts[operation.name] > 1}
    if not repeated:
        return model
    taken = set(counts)
    copies: dict[int, Any] = {}
    for step in paths:
        if id(step.operation) in repeated and id(step.operation) not in copies:
            new_name = unique_name("_".join((*step.path, step.operation.name)), taken)
            taken.add(new_name)
            copies[id(step.operation)] = _copied(step.operation, new_name)
    clone = keras.models.clone_model(model, clone_function=lambda layer: copies.get(id(layer), layer))
    for operation in model.operations:
        if id(operation) in copies and operation.weights:
            copies[id(operation)].set_weights(operation.get_weights())
    return clone


def rename_repeated(outputs: Any, steps: Sequence[Step]) -> None:
    """Give layers whose names are used twice behind some tensors their paths as names, for good."""
    behind = _operations_behind(outputs)
    counts = Counter(operation.name for operation in behind)
    taken, renamed = set(counts), set[int]()
    members = {id(operation) for operation in behind}
    for step in steps:
        operation = step.operation
        if id(operation) in members - renamed and counts[operation.name] > 1:
            operation.name = unique_name("_".join((*step.path, operation.name)), taken)
            taken.add(operation.name)
            renamed.add(id(operation))


def unique_name(name: str, taken: "set[str]") -> str:
    """The name itself, or with the first of `_2`, `_3`, ... that makes it one that is not taken."""
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _copied(layer: Any, name: str) -> Any:
    return type(layer).from_config(layer.get_config() | {"name": name})


@contextlib.contextmanager
def _names_made_distinct(outputs: Any) -> Iterator[None]:
    operations = _operations_behind(outputs)
    counts = Counter(operation.name for operation in operations)
    names = {id(operation): operation.name for operation in operations}
    repeated = [operation for operation in operations if counts[operation.name] > 1]
    try:
        for number, operation in enumerate(repeated):
            operation.name = f"{operation.name}__{number}"
        yield
    finally:
        for operation in repeated:
            operation.name = names[id(operation)]


def _operations_behind(outputs: Any) -> list[Any]:
    """All operations that some tensors are computed with."""
    import keras

    operations: dict[int, Any] = {}
    seen: set[int] = set()
    remaining = list(keras.tree.flatten(outputs))
    while remaining:
        tensor = remaining.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        history = tensor._keras_history  # Keras has no public way to ask what made a tensor
        operations[id(history.operation)] = history.operation
        remaining += history.operation._inbound_nodes[history.node_index].input_tensors
    return list(operations.values())


def _nodes(model: "keras.Model") -> Iterator[Any]:
    """The nodes of a model's graph in network order, but for its inputs."""
    import keras

    graph = keras.Model(model.inputs, model.outputs)  # a Sequential becomes a graph, too
    depths = graph._nodes_by_depth  # Keras has no public way to ask what connects a graph's operations
    for depth in sorted(depths, reverse=True):
        yield from (node for node in depths[depth] if not node.is_input)


def _walk(model: "keras.Model", inputs: Sequence[Any], path: tuple[str, ...]) -> tuple[list[Step], list[Any]]:
    """The steps of the network in order when it runs on `inputs`, nested models opened, and its outputs."""
    connected = {id(tensor): given for tensor, given in zip(model.inputs, inputs, strict=True)}
    steps: list[Step] = []
    for node in _nodes(model):
        arguments = [connected[id(tensor)] for tensor in node.input_tensors]
        if is_nested(node.operation):
            inner, outputs = _walk(node.operation, arguments, (*path, node.operation.name))
            steps.extend(inner)
        else:
            outputs = _outputs(node, arguments, connected)
            steps.append(Step(node.operation, arguments, outputs, path))
        connected.update(zip(map(id, node.outputs), outputs, strict=True))
    return steps, [connected[id(tensor)] for tensor in model.outputs]


def _outputs(node: Any, arguments: list[Any], connected: dict[int, Any]) -> list[Any]:
    """What the node gave when the network was built, or, inside and after a nested model, what it gives now."""
    if all(new is old for new, old in zip(arguments, node.input_tensors, strict=True)):
        return list(node.outputs)
    import keras

    args, kwargs = node.arguments.fill_in(connected)
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))


def is_nested(operation: Any) -> bool:
    """Whether an operation is a model whose own operations are known."""
    import keras

    is_graph = isinstance(operation, keras.Sequential) or hasattr(operation, "operations")
    return is_graph and isinstance(operation, keras.Model)
