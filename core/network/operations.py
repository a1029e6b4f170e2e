"""The operations of a network in order, with nested models expanded, and models built between their tensors.

A layer of a class that is not Keras's own and consists of other layers, such as the encoder of a transformer, is
expanded like a nested model, where calling its `call` gives the same graph with all of its weights. Otherwise it is one
operation.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras


class Step(NamedTuple):
    """One call of an operation.

    Attributes
    ----------
    operation : keras.Operation
        The operation, such as a layer.
    inputs, outputs : list of keras.KerasTensor
        The tensors that it takes and returns.
    path : tuple of str
        Names of the nested models that contain the operation, outermost first.
    """

    operation: Any
    inputs: list[Any]
    outputs: list[Any]
    path: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        return type(self.operation).__name__

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The positional arguments that the operation was called with, tensors included."""
        history = self.outputs[0]._keras_history  # there is no public interface for the call that returned a tensor
        arguments: tuple[Any, ...] = tuple(history.operation._inbound_nodes[history.node_index].arguments.args)
        return arguments

    def keyword(self, name: str) -> Any:
        """The keyword argument of a name that the operation was called with; None where there is none."""
        history = self.outputs[0]._keras_history
        return history.operation._inbound_nodes[history.node_index].arguments.kwargs.get(name)


def network_steps(model: "keras.Model") -> list[Step]:
    """Return every operation in network order with its tensors, with nested models expanded."""
    return open_model(model)[0]


def open_model(model: "keras.Model") -> tuple[list[Step], list[Any]]:
    """Return the steps of a network, with nested models expanded, and the outputs of the network among their tensors.

    The layers of a nested model are called again for this, on the tensor that the nested model was called on.
    """
    return _expand(model, model.inputs, ())


def top_level_steps(model: "keras.Model") -> list[Step]:
    """Return every operation in network order, each nested model as a single operation."""
    return [Step(node.operation, list(node.input_tensors), list(node.outputs)) for node in _nodes(model)]


def connect(inputs: Any, outputs: Any, *, name: str | None = None) -> "keras.Model":
    """Return the Keras model between tensors of a network, even if operations of nested models share a name.

    Keras raises an error for repeated names. So the operations are renamed while the model is built, and get their
    names back afterwards. A model that is to be saved needs unique names permanently: see `with_distinct_names`.
    """
    import keras

    with _names_made_distinct(outputs):
        return keras.Model(inputs, outputs, name=name)


def with_distinct_names(model: "keras.Model", steps: Sequence[Step]) -> "keras.Model":
    """Return the same model, with copies in place of the layers whose names are used more than once.

    A copy is named by its path, such as `left_conv1`; all other layers are shared.

    Parameters
    ----------
    model : keras.Model
        A model without nested models.
    steps : sequence of Step
        The steps of the network that the model was cut from, which contain the paths of the layers.
    """
    import keras

    counts = Counter(operation.name for operation in model.operations)
    repeated = {id(operation) for operation in model.operations if counts[operation.name] > 1}
    if not repeated:
        return model
    taken = set(counts)
    copies: dict[int, Any] = {}
    for step in steps:
        if id(step.operation) in repeated and id(step.operation) not in copies:
            new_name = unique_name("_".join((*step.path, step.operation.name)), taken)
            taken.add(new_name)
            copies[id(step.operation)] = _copy_layer(step.operation, new_name)
    clone = keras.models.clone_model(model, clone_function=lambda layer: copies.get(id(layer), layer))
    for operation in model.operations:
        if id(operation) in copies and operation.weights:
            copies[id(operation)].set_weights(operation.get_weights())
    return clone


def rename_repeated(outputs: Any, steps: Sequence[Step]) -> None:
    """Permanently rename the layers with repeated names that some tensors are computed with, by their paths."""
    operations = _operations_before(outputs)
    counts = Counter(operation.name for operation in operations)
    taken, renamed = set(counts), set[int]()
    members = {id(operation) for operation in operations}
    for step in steps:
        operation = step.operation
        if id(operation) in members - renamed and counts[operation.name] > 1:
            operation.name = unique_name("_".join((*step.path, operation.name)), taken)
            taken.add(operation.name)
            renamed.add(id(operation))


def unique_name(name: str, taken: "set[str]") -> str:
    """Return the name, with `_2`, `_3`, ... appended if it is taken.

    >>> unique_name("conv", {"conv", "conv_2"})
    'conv_3'
    """
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _copy_layer(layer: Any, name: str) -> Any:
    return type(layer).from_config(layer.get_config() | {"name": name})


@contextlib.contextmanager
def _names_made_distinct(outputs: Any) -> Iterator[None]:
    """Give all operations that the outputs are computed with different names for a while."""
    operations = _operations_before(outputs)
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


def _operations_before(outputs: Any) -> list[Any]:
    """Return all operations that some tensors are computed with."""
    import keras

    operations: dict[int, Any] = {}
    seen: set[int] = set()
    remaining = list(keras.tree.flatten(outputs))
    while remaining:
        tensor = remaining.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        history = tensor._keras_history  # there is no public interface for the operation that returned a tensor
        operations[id(history.operation)] = history.operation
        remaining += history.operation._inbound_nodes[history.node_index].input_tensors
    return list(operations.values())


def _nodes(model: "keras.Model") -> Iterator[Any]:
    """Yield the nodes of a model's graph in network order, except the inputs."""

    graph = connect(model.inputs, model.outputs)  # this also turns a Sequential model into a graph
    depths = graph._nodes_by_depth  # there is no public interface for the nodes of a graph
    for depth in sorted(depths, reverse=True):
        yield from (node for node in depths[depth] if not node.is_input)


def _expand(model: "keras.Model", inputs: Sequence[Any], path: tuple[str, ...]) -> tuple[list[Step], list[Any]]:
    """Return the steps and outputs of a model when it is called on `inputs`, with nested models expanded."""
    connected = {id(tensor): new for tensor, new in zip(model.inputs, inputs, strict=True)}
    steps: list[Step] = []
    for node in _nodes(model):
        arguments = [connected[id(tensor)] for tensor in node.input_tensors]
        nested = node.operation if is_nested(node.operation) else _graph_of_layer(node)
        if nested is not None:
            inner, outputs = _expand(nested, arguments, (*path, node.operation.name))
            steps.extend(inner)
        else:
            outputs = _outputs(node, arguments, connected)
            steps.append(Step(node.operation, arguments, outputs, path))
        connected.update(zip(map(id, node.outputs), outputs, strict=True))
    return steps, [connected[id(tensor)] for tensor in model.outputs]


def _graph_of_layer(node: Any) -> "keras.Model | None":
    """Return the call of a layer that consists of other layers as a model; None where it is to stay one operation."""
    import keras

    layer = node.operation
    if not is_composite(layer) or any(tensor.dtype != layer.input_dtype for tensor in node.input_tensors):
        return None  # `call` alone does not cast its inputs
    inputs = {id(tensor): keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in node.input_tensors}
    args, kwargs = node.arguments.fill_in(inputs)
    try:
        outputs = keras.tree.flatten(layer.call(*args, **kwargs))
        if _differ(outputs, node.outputs) or not _uses_all_weights(layer, outputs):
            return None
        return connect([inputs[id(tensor)] for tensor in node.input_tensors], outputs)
    except Exception:  # a layer's code may do anything that a symbolic tensor does not allow
        return None


def _differ(outputs: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Return whether outputs are not symbolic tensors of the expected shapes and types."""
    import keras

    if len(outputs) != len(expected) or not all(isinstance(output, keras.KerasTensor) for output in outputs):
        return True
    pairs = zip(outputs, expected, strict=True)
    return any(new.shape != old.shape or new.dtype != old.dtype for new, old in pairs)


def is_composite(operation: Any) -> bool:
    """Return whether an operation is a layer that consists of other layers, and not one of Keras's own."""
    import keras

    if not isinstance(operation, keras.Layer) or type(operation).__module__.partition(".")[0] == "keras":
        return False
    return any(layer.weights for layer in operation._flatten_layers(include_self=False))


def _uses_all_weights(layer: Any, outputs: Sequence[Any]) -> bool:
    """Return whether tensors are computed with all weights of a layer, not with copies of their present values."""
    used: set[int] = set()
    for operation in _operations_before(outputs):
        used.update(id(weight) for weight in getattr(operation, "weights", ()))
    return all(id(weight) in used for weight in layer.weights)


def _outputs(node: Any, arguments: list[Any], connected: dict[int, Any]) -> list[Any]:
    """Return the outputs of a node; inside and after a nested model its operation is called again."""
    if all(new is old for new, old in zip(arguments, node.input_tensors, strict=True)):
        return list(node.outputs)
    import keras

    args, kwargs = node.arguments.fill_in(connected)
    return list(keras.tree.flatten(node.operation(*args, **kwargs)))


def is_nested(operation: Any) -> bool:
    """Return whether an operation is a model whose operations are known."""
    import keras

    is_graph = isinstance(operation, keras.Sequential) or hasattr(operation, "operations")
    return is_graph and isinstance(operation, keras.Model)
