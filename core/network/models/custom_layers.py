"""Layers of classes that are not Keras's own, which must be restored from a file on their own.

A package may save such a layer only as a part of a larger model, and never notice that it cannot be restored alone:
its `get_config` then returns entries that its `__init__` does not take.
"""

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_OPTIONS_OF_ANY_LAYER = {"name", "trainable", "dtype"}


def make_restorable(model: "keras.Model") -> None:
    """Check that the layers of a model can be restored from their configurations, before the model is saved.

    Where a layer's configuration has entries that its class does not take, they are left out from now on.

    Raises
    ------
    ValueError
        If a layer cannot be restored; the message names it.
    """
    for layer in model.layers:
        if type(layer).__module__.partition(".")[0] != "keras" and not _is_restored(layer, layer.get_config()):
            _leave_out_unknown_entries(layer)


def _leave_out_unknown_entries(layer: Any) -> None:
    config = layer.get_config()
    known = set(inspect.signature(type(layer).__init__).parameters) | _OPTIONS_OF_ANY_LAYER
    reduced = {name: value for name, value in config.items() if name in known}
    if not _is_restored(layer, reduced):
        raise ValueError(
            f"each layer of the network must be one that Keras can restore from a file; {layer.name}, of the class "
            f"{type(layer).__name__}, is not, so that no part of the network can be saved. It can be measured. "
            "To save it, correct the class's get_config so that it returns what its __init__ takes."
        )
    layer.get_config = lambda: dict(reduced)


def _is_restored(layer: Any, config: dict[str, Any]) -> bool:
    """Return whether a configuration gives a layer with weights of the same shapes."""
    try:
        restored = type(layer).from_config(dict(config))
        restored.build_from_config(layer.get_build_config())
    except Exception:  # the code of a class may raise anything
        return False
    return [weight.shape for weight in restored.weights] == [weight.shape for weight in layer.weights]
