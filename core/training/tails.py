"""A network cut in two, with a new head: a frozen part below, the unfrozen tail and the head above.

Nothing below the cut ever trains, so its activations at the cut are all that training needs of an image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from core.network.catalogue import open_network
from core.network.layer_names import matching_names, name_hint, step_names
from core.network.operations import Step, connect, network_steps, open_model, rename_repeated, top_level_steps

if TYPE_CHECKING:
    import keras

_GLOBAL_POOLING = ("GlobalAveragePooling2D", "GlobalMaxPooling2D")


@dataclass(frozen=True)
class HeadedNetwork:
    """A network with a new head, and the parts in which it is trained; all of them share their weights.

    Attributes
    ----------
    whole
        From images to the probabilities of the classes; a graph of layers with the backbone's own names.
    lower
        From images to the tensors that cross the cut, in a list.
    tail
        From these tensors to the pooled activations; None where the cut is behind the pooling.
    normalization, predictions
        The head's batch normalization and its softmax layer. Dropout comes between the two.
    tail_layers
        The layers of the tail that may train: all but batch normalization.
    """

    whole: "keras.Model"
    lower: "keras.Model"
    tail: "keras.Model | None"
    normalization: Any
    predictions: Any
    tail_layers: tuple[Any, ...]

    def below_cut(self, images: Any) -> list[Any]:
        """The float32 tensors that cross the cut; batch normalization keeps its averages, and nothing is dropped."""
        import keras

        return [keras.ops.cast(tensor, "float32") for tensor in keras.tree.flatten(self.lower(images, training=False))]

    def pooled(self, crossing: Sequence[Any]) -> Any:
        """Pooled activations, float32 of shape (b, channels), of what crosses the cut."""
        import keras

        if self.tail is None:
            return crossing[0]
        return keras.ops.cast(self.tail(list(crossing), training=False), "float32")

    def set_precision(self, policy: str) -> None:
        """How the network computes, as a Keras policy; its variables and the head are float32 in any case."""
        for part in (self.lower, self.tail):
            for layer in part.layers if part else ():
                layer.dtype_policy = policy

    def trainable(self, phase: str) -> list[Any]:
        """The variables that train in the phase `head` or `tail`. The latter leaves all batch normalization alone."""
        head = list(self.predictions.trainable_variables)
        if phase == "head":
            return [*self.normalization.trainable_variables, *head]
        return [variable for layer in self.tail_layers for variable in layer.trainable_variables] + head

    def state(self) -> list[Any]:
        """All variables that any phase changes."""
        return [*self.normalization.variables, *self.trainable("tail")]


def add_head(
    model: "keras.Model", num_classes: int, *, unfreeze: str | None, dropout: float = 0.2, seed: int = 0
) -> HeadedNetwork:
    """Replace a network's head and cut the network where its unfrozen tail begins.

    The new head is `avg_pool`, `head_bn`, `head_dropout` and `predictions`. It stands where the network's last global
    pooling stood, or on its last activations with space. A nested model below it stays one; where the pooling is itself
    in a nested model, this is opened, and layers of the same name get their paths as names.

    Parameters
    ----------
    model
        A network on images; its layers become part of the result and are not copied.
    num_classes
        At least 2.
    unfreeze
        A name or pattern: the tail is everything from the first layer on that matches. None: there is no tail to train,
        and the cut is behind the pooling.
    dropout
        Share of pooled activations dropped while training, below 1.
    seed
        Of the new weights.

    Raises
    ------
    ValueError
        No layer matches (the message names similar ones), the model has no activations with space, or its output does
        not depend on those below the new head alone, as with two backbones side by side.
    """
    import keras

    model.trainable = True  # a file may hold layers that were frozen when it was saved
    top = _last_spatial(model)
    pooled = keras.layers.GlobalAveragePooling2D(name="avg_pool")(top)
    normalization = keras.layers.BatchNormalization(name="head_bn")
    initializer = keras.initializers.GlorotUniform(seed=int(np.random.SeedSequence([seed, 1]).generate_state(1)[0]))
    predictions = keras.layers.Dense(
        num_classes, activation="softmax", kernel_initializer=initializer, name="predictions"
    )
    x = keras.layers.Dropout(dropout, name="head_dropout")(normalization(pooled))
    probabilities = predictions(x)
    given_names = _names(model)
    rename_repeated(probabilities, network_steps(model))
    whole = keras.Model(model.inputs[0], probabilities, name=model.name)
    steps, (pooled,) = open_model(keras.Model(model.inputs[0], pooled))
    upper = [] if unfreeze is None else _from_first_match(steps, unfreeze, given_names)
    crossing = _crossing(upper) or [pooled]
    lower = connect(model.inputs[0], crossing)
    tail = connect(crossing, pooled) if upper else None
    layers = {id(step.operation): step.operation for step in upper}.values()
    tail_layers = tuple(
        layer for layer in layers if isinstance(layer, keras.Layer) and "BatchNormalization" not in type(layer).__name__
    )
    return HeadedNetwork(whole, lower, tail, normalization, predictions, tail_layers)


def _last_spatial(model: "keras.Model") -> Any:
    """What the network's last global pooling takes, or its last activations of shape (n, height, width, channels)."""
    opened = open_network(model)
    steps, outputs = opened.steps, opened.outputs
    spatial = [tensor for step in steps for tensor in step.outputs if len(tensor.shape) == 4]
    if not spatial:
        raise ValueError(f"model must have activations of shape (n, height, width, channels); {model.name} has none.")
    # The poolings of squeeze-excite branches are left out: activations reach the output beside them.
    poolings = [step for step in steps if step.kind in _GLOBAL_POOLING]
    ends = [step.inputs[0] for step in poolings if _all_depends_on(steps, outputs, step.outputs[0])]
    top = (ends or spatial)[-1]
    if not ends and not _all_depends_on(steps, outputs, top):
        raise ValueError(
            f"model must have one last map of activations, from which all of its output comes; {model.name} has others "
            "beside it, as a network of several backbones does. Fine-tune one of its backbones, saved as a file of its "
            "own, or train the whole with Keras and core.SeparationCallback."
        )
    return _at_top_level(model, steps, top)


def _all_depends_on(steps: Sequence[Step], outputs: Sequence[Any], tensor: Any) -> bool:
    """Whether nothing reaches the outputs from the network's input but through a tensor."""
    made_by = {id(made): step for step in steps for made in step.outputs}
    seen = {id(tensor)}
    remaining = [output for output in outputs if output is not tensor]
    while remaining:
        step = made_by.get(id(remaining.pop()))
        if step is None:  # the network's input
            return False
        remaining += [before for before in step.inputs if id(before) not in seen]
        seen.update(map(id, step.inputs))
    return True


def _at_top_level(model: "keras.Model", steps: Sequence[Step], tensor: Any) -> Any:
    """The same activations as a tensor of the network itself where no nested model hides them."""
    for opened in steps:
        if tensor is opened.inputs[0] and opened.kind in _GLOBAL_POOLING:
            for step in top_level_steps(model):
                if step.operation is opened.operation:
                    return step.inputs[0]
    return tensor


def _names(model: "keras.Model") -> dict[int, str]:
    """What each operation is called, by its id; the first name of one that is used again."""
    steps = network_steps(model)
    names: dict[int, str] = {}
    for step, name in zip(steps, step_names(steps), strict=True):
        names.setdefault(id(step.operation), name)
    return names


def _from_first_match(steps: Sequence[Step], pattern: str, given_names: Mapping[int, str]) -> Sequence[Step]:
    """The steps from the first one on that a pattern means; names are those that the network came with."""
    names = [given_names.get(id(step.operation), step.operation.name) for step in steps]
    matched = set(matching_names(names, pattern))
    for number, name in enumerate(names):
        if name in matched:
            return steps[number:]
    raise ValueError(f"unfreeze must match a layer of the network; got {pattern!r}. {name_hint(names, pattern)}")


def _crossing(upper: Sequence[Any]) -> list[Any]:
    """The tensors that steps of the upper part take from below, each once."""
    made = {id(tensor) for step in upper for tensor in step.outputs}
    taken = {id(tensor): tensor for step in upper for tensor in step.inputs}
    return [tensor for key, tensor in taken.items() if key not in made]
