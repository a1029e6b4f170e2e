"""Activations of chosen layers by forward hooks, batch by batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.network.torch_models.choosing import TorchLayer
from core.network.torch_models.outputs import as_rows, find_tensor, flat, pooled

Receive = Callable[[TorchLayer, str, NDArray[np.float32]], None]  # layer, pooling, rows of one batch


def poolings_of(layer: TorchLayer, poolings: Sequence[str]) -> tuple[str, ...]:
    """Return the poolings of a layer: those requested, or only `flat` if there is nothing to average over."""
    return tuple(poolings) if layer.form.has_space else ("flat",)


def width_of(layer: TorchLayer, pooling: str) -> int:
    """Return the numbers of one sample."""
    return layer.form.channels if pooling == "mean" else layer.num_features


class LayerHooks:
    """Hands the activations of each layer on while a network runs.

    Parameters
    ----------
    layers : sequence of TorchLayer
        The layers.
    poolings : sequence of str
        One or both of `flat` and `mean`.
    receive : callable
        Takes a layer, a pooling and its rows of the batch, float32 of shape (b, d), on the CPU, valid during the call.
    """

    def __init__(self, layers: Sequence[TorchLayer], poolings: Sequence[str], receive: Receive) -> None:
        self._poolings, self._receive = poolings, receive
        self._layers: dict[int, dict[int, TorchLayer]] = {}  # by the module's id, then by its call
        self._modules: dict[int, Any] = {}
        self._num_calls: dict[int, int] = {}
        self._token_weights: Any = None
        self._failure: Exception | None = None  # of a hook, which the network may have passed on as another one
        for layer in layers:
            if layer.call is not None:
                module = layer.call.module
                self._modules[id(module)] = module
                self._layers.setdefault(id(module), {})[layer.call.call] = layer
        self._input = next((layer for layer in layers if layer.call is None), None)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Attach the hooks; whatever happens, all of them are removed afterwards."""
        handles = []
        try:
            for module in self._modules.values():
                handles.append(module.register_forward_hook(self._hook))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def run(self, forward: Callable[[], Any], images: Any, *, token_weights: Any = None) -> None:
        """Run the network on a batch.

        Parameters
        ----------
        forward : callable
            Runs the network.
        images : tensor
            The input.
        token_weights : tensor of bool, optional
            Which tokens of each sample are no padding, shape (b, tokens).

        Raises
        ------
        ValueError
            If a module is called less or more often than in the first run, or returns another shape.
        """
        self._num_calls = dict.fromkeys(self._modules, 0)
        self._token_weights, self._failure = token_weights, None
        if self._input is not None:
            self._hand_on(self._input, images)
        try:
            forward()
        except Exception:
            if self._failure is not None:
                raise self._failure from None
            raise
        for key, calls in self._layers.items():
            if self._num_calls[key] <= max(calls):
                name = calls[max(calls)].layer
                raise ValueError(
                    f"layers must be called for each batch; {name!r} is not for one of them. Leave it out of layers."
                )

    def _hook(self, module: Any, inputs: Any, output: Any) -> None:
        key = id(module)
        layer = self._layers[key].get(self._num_calls[key])
        self._num_calls[key] += 1
        if layer is None:
            return
        try:
            self._hand_on(layer, find_tensor(output)[0])
        except Exception as error:
            self._failure = error
            raise

    def _hand_on(self, layer: TorchLayer, tensor: Any) -> None:
        form = layer.form
        if tensor is None:
            raise ValueError(f"{layer.layer!r} must return a tensor for each batch; got none. Leave it out of layers.")
        rows = as_rows(tensor, form)
        if tuple(rows.shape[1:]) != form.shape:
            raise ValueError(
                f"{layer.layer!r} must return the same shape for each sample; got {tuple(rows.shape[1:])} after "
                f"{form.shape}. Give all images the same size, or leave the layer out of layers."
            )
        for pooling in poolings_of(layer, self._poolings):
            if pooling == "flat":
                values = flat(rows)
            else:
                weights = self._token_weights
                fits = weights is not None and len(form.shape) == 2 and tuple(weights.shape) == tuple(rows.shape[:2])
                values = pooled(rows, form, weights if fits else None)
            self._receive(layer, pooling, values.cpu().numpy())
