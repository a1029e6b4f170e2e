"""A network with a new head, cut into a frozen lower part and an unfrozen tail.

The lower part is never trained, so training only needs the activations of each image at the cut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.catalogue import open_network
from core.network.layer_names import matching_names, name_hint, step_names
from core.network.models.custom_layers import make_restorable
from core.network.operations import Step, connect, network_steps, open_model, rename_repeated, top_level_steps
from core.network.tokens import TOKEN_RANK, is_global_pooling, selected_token

if TYPE_CHECKING:
    import keras

_RANKS = (3, 4)  # of activations of shape (n, tokens, channels) and (n, height, width, channels)


@dataclass(frozen=True)
class HeadedNetwork:
    """A network with a new head, and the parts that it is trained in; all of them share their weights.

    Attributes
    ----------
    whole : keras.Model
        From images to the probabilities of the classes; the layers have the names of the backbone.
    lower : keras.Model
        From images to the tensors that cross the cut, in a list.
    tail : keras.Model or None
        From these tensors to the pooled activations; None if the cut is after the pooling.
    normalization, predictions : keras.Layer
        The batch normalization and the softmax layer of the head; dropout is between the two.
    tail_layers : tuple of keras.Layer
        The layers of the tail that are trained: all except batch normalization.
    """

    whole: "keras.Model"
    lower: "keras.Model"
    tail: "keras.Model | None"
    normalization: Any
    predictions: Any
    tail_layers: tuple[Any, ...]

    def below_cut(self, images: Any) -> list[Any]:
        """Return the float32 tensors that cross the cut, computed in inference mode."""
        import keras

        return [keras.ops.cast(tensor, "float32") for tensor in keras.tree.flatten(self.lower(images, training=False))]

    def pooled(self, crossing: Sequence[Any]) -> Any:
        """Return the pooled activations, float32 of shape (b, channels), from the tensors that cross the cut."""
        import keras

        if self.tail is None:
            return crossing[0]
        return keras.ops.cast(self.tail(list(crossing), training=False), "float32")

    def set_precision(self, policy: str) -> None:
        """Set the Keras dtype policy of the network; its variables and the head remain in float32."""
        for part in (self.lower, self.tail):
            for layer in part.layers if part else ():
                layer.dtype_policy = policy

    def trainable(self, phase: str) -> list[Any]:
        """Return the variables that are trained in a phase, "head" or "tail"; in "tail" no batch normalization is."""
        head = list(self.predictions.trainable_variables)
        if phase == "head":
            return [*self.normalization.trainable_variables, *head]
        tail: list[Any] = []
        for layer in self.tail_layers:
            tail += layer.trainable_variables
        return tail + head

    def state(self) -> list[Any]:
        """Return all variables that any phase changes."""
        return [*self.normalization.variables, *self.trainable("tail")]


def add_head(
    model: "keras.Model", num_classes: int, *, unfreeze: str | None, dropout: float = 0.2, seed: int = 0
) -> HeadedNetwork:
    """Replace a network's head and cut the network where its unfrozen tail begins.

    The new head consists of `avg_pool`, `head_bn`, `head_dropout` and `predictions`. It replaces everything from the
    network's last global pooling on, or follows the last activations with spatial axes or tokens. Where the network
    selects a class token, so does the new head, in place of `avg_pool`. A nested model below the head
    is kept; if the pooling itself is in a nested model, this model is expanded, and layers with repeated names are
    named by their paths.

    Parameters
    ----------
    model : keras.Model
        A network that takes images; its layers become part of the result and are not copied.
    num_classes : int
        Number of classes, at least 2.
    unfreeze : str or None
        A name or pattern: the tail begins at the first layer that matches. None: there is no tail to train, and the cut
        is after the pooling.
    dropout : float
        Share of the pooled activations that are dropped during training, below 1.
    seed : int
        Random seed of the new weights.

    Raises
    ------
    ValueError
        If no layer matches (the message names similar ones), if the model has no activations with spatial axes or
        tokens, if its output does not depend on the activations below the new head alone, as with two parallel
        backbones, or if a layer of a class that is not Keras's own could not be restored from a file.
    """
    import keras

    model.trainable = True  # a file may contain layers that were frozen when it was saved
    top, class_token = _last_spatial(model)
    if class_token is not None:
        pooled = top[:, class_token]
    elif len(top.shape) == TOKEN_RANK:
        pooled = keras.layers.GlobalAveragePooling1D(name="avg_pool")(top)
    else:
        pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(top)
    normalization = keras.layers.BatchNormalization(name="head_bn")
    initializer = keras.initializers.GlorotUniform(seed=int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    predictions = keras.layers.Dense(
        num_classes, activation="softmax", kernel_initializer=initializer, name="predictions"
    )
    x = keras.layers.Dropout(dropout, name="head_dropout")(normalization(pooled))
    probabilities = predictions(x)
    original_names = _names(model)
    rename_repeated(probabilities, network_steps(model))
    whole = keras.Model(model.inputs[0], probabilities, name=model.name)
    make_restorable(whole)
    steps, (pooled,) = open_model(keras.Model(model.inputs[0], pooled))
    upper = [] if unfreeze is None else _from_first_match(steps, unfreeze, original_names)
    crossing = _crossing(upper) or [pooled]
    lower = connect(model.inputs[0], crossing)
    tail = connect(crossing, pooled) if upper else None
    layers = {id(step.operation): step.operation for step in upper}.values()
    tail_layers = tuple(
        layer for layer in layers if isinstance(layer, keras.Layer) and "BatchNormalization" not in type(layer).__name__
    )
    return HeadedNetwork(whole, lower, tail, normalization, predictions, tail_layers)


def _last_spatial(model: "keras.Model") -> tuple[Any, int | None]:
    """Return the last activations with space or tokens, and the class token that the network selects from them.

    These are the input of the last global pooling or selection of a token; without one, the last activations of shape
    (n, height, width, channels) or (n, tokens, channels).
    """
    opened = open_network(model)
    steps, outputs = opened.steps, opened.outputs
    spatial: list[Any] = []
    for step in steps:
        spatial += [tensor for tensor in step.outputs if len(tensor.shape) in _RANKS]
    if not spatial:
        raise ValueError(
            "model must have activations of shape (n, height, width, channels) or (n, tokens, channels); "
            f"{model.name} has none."
        )
    # The poolings of squeeze-excite branches are not among them: the output also depends on activations beside them.
    poolings = [step for step in steps if is_global_pooling(step) and len(step.inputs[0].shape) in _RANKS]
    ends = [step for step in poolings if _all_depends_on(steps, outputs, step.outputs[0])]
    top = ends[-1].inputs[0] if ends else spatial[-1]
    if not ends and not _all_depends_on(steps, outputs, top):
        raise ValueError(
            f"model must have one last feature map that its whole output depends on; {model.name} has several, like a "
            "network with several backbones. Save one of its backbones as a file and fine-tune that, or train the "
            "whole network with Keras and core.SeparationCallback."
        )
    return _at_top_level(model, steps, top), selected_token(ends[-1]) if ends else None


def _all_depends_on(steps: Sequence[Step], outputs: Sequence[Any], tensor: Any) -> bool:
    """Return whether the outputs depend on the network's input only through a tensor."""
    source: dict[int, Step] = {}  # by the id of a tensor, the step that returns it
    for step in steps:
        source.update((id(output), step) for output in step.outputs)
    seen = {id(tensor)}
    remaining = [output for output in outputs if output is not tensor]
    while remaining:
        source_step = source.get(id(remaining.pop()))
        if source_step is None:  # the network's input
            return False
        step = source_step
        remaining += [before for before in step.inputs if id(before) not in seen]
        seen.update(map(id, step.inputs))
    return True


def _at_top_level(model: "keras.Model", steps: Sequence[Step], tensor: Any) -> Any:
    """Return the input of a pooling as a tensor of the network itself, unless the pooling is in a nested model."""
    for step in steps:
        if step.inputs and tensor is step.inputs[0] and is_global_pooling(step):
            for top_level_step in top_level_steps(model):
                if top_level_step.operation is step.operation:
                    return top_level_step.inputs[0]
    return tensor


def _names(model: "keras.Model") -> dict[int, str]:
    """Return the name of each operation by its id; the first name of an operation that is called several times."""
    steps = network_steps(model)
    names: dict[int, str] = {}
    for step, name in zip(steps, step_names(steps), strict=True):
        names.setdefault(id(step.operation), name)
    return names


def _from_first_match(steps: Sequence[Step], pattern: str, original_names: Mapping[int, str]) -> Sequence[Step]:
    """Return the steps from the first one whose original name matches a pattern."""
    names = [original_names.get(id(step.operation), step.operation.name) for step in steps]
    matched = set(matching_names(names, pattern))
    for number, name in enumerate(names):
        if name in matched:
            return steps[number:]
    raise ValueError(f"unfreeze must match a layer of the network; got {pattern!r}. {name_hint(names, pattern)}")


def _crossing(upper: Sequence[Any]) -> list[Any]:
    """Return the inputs of the upper part that come from below, each once."""
    outputs: set[int] = set()
    inputs: dict[int, Any] = {}
    for step in upper:
        outputs.update(map(id, step.outputs))
        inputs.update((id(tensor), tensor) for tensor in step.inputs)
    return [tensor for tensor_id, tensor in inputs.items() if tensor_id not in outputs]
