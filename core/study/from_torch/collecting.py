"""Activations of chosen layers of a PyTorch network, collected while its loaders are read once."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.network.torch_models.choosing import ChosenLayers, TorchLayer, choose_layers
from core.network.torch_models.forward import LayerHooks, poolings_of, width_of
from core.network.torch_models.modules import aliases, inference
from core.network.torch_models.outputs import Layout, OutputForm
from core.network.torch_models.tracing import trace
from core.study.from_torch.batches import Batch, BatchReader
from core.study.from_torch.loaders import SplitLoader
from core.study.from_torch.samples import SplitSamples
from core.study.from_torch.store import ActivationStore
from core.study.plan import Progress, Report

_TRACED_SAMPLES = 4  # of the first batch, to see what each module returns


class Collector:
    """Runs the network over all loaders, and holds the activations of the chosen layers.

    network, reader : the network, and what takes batches apart.
    patterns, poolings, tokens : what is measured.
    budget_bytes, spool : memory for activations, and the folder of files for what does not fit.
    report : told the progress.
    """

    def __init__(
        self,
        network: Any,
        reader: BatchReader,
        *,
        patterns: list[str] | None,
        poolings: tuple[str, ...],
        tokens: str,
        budget_bytes: int,
        spool: Path,
        report: Report,
    ) -> None:
        self._network, self._reader, self.report = network, reader, report
        self._patterns, self.poolings, self._tokens = patterns, poolings, tokens
        self._budget_bytes, self._spool = budget_bytes, spool
        self._chosen = ChosenLayers((), {})
        self._store: ActivationStore | None = None
        self._num_rows = 0
        self.input_shape: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[TorchLayer, ...]:
        """The layers that are measured, in network order."""
        return self._chosen.layers

    def collect(self, loaders: Sequence[SplitLoader]) -> list[SplitSamples]:
        """Read all loaders once, one after the other; return what is known of the samples of each."""
        all_samples = []
        with inference(self._network):
            for position, loader in enumerate(loaders):
                samples = SplitSamples(loader)
                self._collect(loader, samples, loaders[position:])
                all_samples.append(samples)
        return all_samples

    def taken(self) -> Iterator[tuple[TorchLayer, dict[str, NDArray[np.float32]]]]:
        """Each layer with its activations by pooling, which are then no longer held."""
        for number, layer in enumerate(self.layers):
            self.report(Progress(f"measuring {layer.layer}", number, len(self.layers), "layers"))
            yield layer, self.take(layer)

    def take(self, layer: TorchLayer) -> dict[str, NDArray[np.float32]]:
        """Return the activations of a layer by pooling, which are then no longer held."""
        if self._store is None:
            return {}
        store = self._store
        return {
            pooling: store.take((layer.layer, pooling), self._num_rows) for pooling in poolings_of(layer, self.poolings)
        }

    def notes(self) -> list[str]:
        """Say what was left out, and where the class token stands for the sample."""
        notes = [
            f"The module {name} is left out: {problem}." for name, problem in sorted(self._chosen.left_out.items())
        ]
        with_class_token = [layer.layer for layer in self.layers if layer.form.class_token]
        if with_class_token and "mean" in self.poolings:
            first, last = with_class_token[0], with_class_token[-1]
            which = first if first == last else f"{first} to {last} ({len(with_class_token)} layers)"
            notes.append(f"In {which}, the class token stands for the sample, not the mean over all tokens.")
        return [*notes, *self._operation_notes()]

    def _operation_notes(self) -> list[str]:
        """Say from which layer on the operations are not known, and why."""
        for layer in self.layers:
            if layer.call is None or layer.call.operations.flop is not None:
                continue
            uncounted = ", ".join(layer.call.operations.uncounted)
            cause = f"PyTorch does not know those of {uncounted}" if uncounted else "this network cannot be counted"
            return [f"From {layer.layer} on, the number of operations is unknown: {cause}."]
        return []

    def close(self) -> None:
        """Release memory and files."""
        if self._store is not None:
            self._store.close()

    def _collect(self, loader: SplitLoader, samples: SplitSamples, remaining: Sequence[SplitLoader]) -> None:
        first_row = self._num_rows
        batches = loader.batches()
        hooks: LayerHooks | None = None
        batch_rows = np.empty(0, np.int64)

        def receive(layer: TorchLayer, pooling: str, values: NDArray[np.float32]) -> None:
            if self._store is not None:
                self._store.write((layer.layer, pooling), batch_rows, values)

        expected = 0
        for rows, raw in _with_first(batches, loader.split):
            batch = self._reader.read(raw)
            if hooks is None:
                expected = _num_expected(loader, len(batch))
                self._prepare(batch, first_row, remaining)
                hooks = LayerHooks(self.layers, self.poolings, receive)
            self._check_input(batch, samples)
            batch_rows = first_row + samples.add(batch, rows)
            with hooks.attached():
                hooks.run(partial(self._forward, batch), batch.images, token_weights=batch.token_weights)
            self._num_rows = first_row + samples.num_rows
            total = max(expected, samples.num_rows)
            self.report(Progress(f"{loader.split} samples", samples.num_rows, total, "samples"))

    def _prepare(self, batch: Batch, first_row: int, remaining: Sequence[SplitLoader]) -> None:
        """Choose the layers by the first batch of all, and make room for a split."""
        if self._store is None:
            self.input_shape = tuple(batch.images.shape[1:])
            num_traced = min(_TRACED_SAMPLES, len(batch))
            calls = trace(self._network, lambda count: self._forward(batch, count), num_traced, tokens=self._tokens)
            self._chosen = choose_layers(
                self._network, calls, _input_form(batch.images), self._patterns, aliases(self._network)
            )
            widths = {
                (layer.layer, pooling): width_of(layer, pooling)
                for layer in self.layers
                for pooling in poolings_of(layer, self.poolings)
            }
            self._store = ActivationStore(widths, self._budget_bytes, self._spool)
        self._store.reserve(first_row + sum(_num_expected(loader, len(batch)) for loader in remaining))

    def _forward(self, batch: Batch, num_samples: int | None = None) -> Any:
        import torch

        try:
            return batch.forward(self._network, num_samples)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, TypeError, ValueError, IndexError, AssertionError) as error:
            shape, kind = tuple(batch.images.shape), str(batch.images.dtype).removeprefix("torch.")
            raise ValueError(
                f"model must take the input that loader yields, {kind} of shape {shape}; got {type(error).__name__}: "
                f"{error}. Name the parts of a batch with input_key= and label_key=, and scale and resize images as "
                "the network expects."
            ) from error

    def _check_input(self, batch: Batch, samples: SplitSamples) -> None:
        """Refuse NaN and infinity in the input, which would be in all layers."""
        images = batch.images
        if not images.is_floating_point() or bool(images.isfinite().all()):
            return
        row = int((~images.reshape(len(images), -1).isfinite().all(dim=1)).nonzero()[0, 0])
        raise ValueError(
            f"loader must yield finite inputs; sample {samples.num_rows + row} that it yields has NaN or infinity. "
            "Look at the transforms, or leave the sample out."
        )


def _num_expected(loader: SplitLoader, batch_size: int) -> int:
    """Return the number of samples of a loader, as far as it is known before it is read.

    batch_size : samples of the first batch.
    """
    if loader.items is not None:
        return len(loader.items)
    try:
        return batch_size * max(1, len(loader.loader))
    except TypeError:  # a generator, or a loader of a stream
        return batch_size


def _with_first(batches: Iterator[Any], split: str) -> Iterator[Any]:
    """Yield the same batches, after checking that there is one."""
    try:
        first = next(batches)
    except StopIteration:
        raise ValueError(
            f"loader must yield at least one batch; the {split} loader yields none. A generator that was read before "
            f"is empty.{' Leave test out, if there are no test samples.' if split == 'test' else ''}"
        ) from None
    return chain([first], batches)


def _input_form(images: Any) -> OutputForm:
    """Return the form of the input: images are channels first, as convolutions take them."""
    layout = Layout.CHANNELS_FIRST if images.ndim > 3 else Layout.CHANNELS_LAST
    return OutputForm(0, tuple(images.shape[1:]), layout)
