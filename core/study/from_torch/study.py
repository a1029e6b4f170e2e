"""`study_from_torch`: a study of a PyTorch network on the samples of a loader."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.network.passes import POOLINGS
from core.network.torch_models.choosing import ChosenLayers, TorchLayer, choose_layers
from core.network.torch_models.forward import LayerHooks, poolings_of, width_of
from core.network.torch_models.modules import (
    aliases,
    check_model,
    device_of,
    dtype_of,
    inference,
    weights_hash,
)
from core.network.torch_models.outputs import Layout, OutputForm
from core.network.torch_models.tracing import TOKENS, trace
from core.study.from_features.writer import ClassNames, FeatureStudyWriter, StudyDescription, check_neighbors
from core.study.from_torch.batches import Batch, BatchKeys, BatchReader, Key
from core.study.from_torch.data_sets import whole_data_set
from core.study.from_torch.loaders import SplitLoader, open_loader
from core.study.from_torch.samples import Names, SplitSamples, check_given, sample_arguments
from core.study.from_torch.store import ActivationStore
from core.study.measuring.projection import check_projection
from core.study.plan import Progress, Report, available_bytes, parse_bytes
from core.study.run import package_versions
from core.study.store.opening import Study, load_study
from core.study.store.replacing import refuse_to_replace
from core.study.store.writing import refuse_occupied

_SPLITS = ("train", "test")
_TRACED_SAMPLES = 4  # of the first batch, to see what each module returns
_PACKAGES = ("numpy", "scikit-learn", "pandas", "pyarrow", "torch", "torchvision", "timm", "transformers")


def study_from_torch(
    model: Any,
    loader: Any,
    out: str | os.PathLike[str],
    *,
    layers: str | Sequence[str] | None = None,
    pooling: str = "mean",
    tokens: str = "auto",
    input_key: Key | None = None,
    label_key: Key | None = None,
    ids: Key | Names | Mapping[str, Names] | None = None,
    sources: Key | Names | Mapping[str, Names] | None = None,
    class_names: ClassNames | None = None,
    neighbors: int = 10,
    metric: str = "euclidean",
    probe: bool = False,
    projection: str = "pca",
    related_measures: bool = False,
    memory: int | str | None = None,
    spool: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
    overwrite: bool = False,
) -> Study:
    """A study of a PyTorch network on the samples of a loader, which is read once.

        study = core.study_from_torch(model, loader, "my-study")
        study = core.study_from_torch(model, {"train": loader, "test": test_loader}, "my-study", layers=["layer*"])

    The network runs in inference mode on its own device; forward hooks take the activations of the chosen layers, and
    are removed whatever happens. Each module is then in the mode (training or not) that it was in. Wrappers of
    `torch.compile`, `DataParallel` and `DistributedDataParallel` are passed over.

    Parameters
    ----------
    model : torch.nn.Module
        The network, on any device, of any floating-point type; the input is converted to that type.
    loader : iterable or mapping of "train" and "test" to iterables
        Yields batches (input, labels, ...), or mappings such as {"pixel_values": ..., "labels": ...}; usually a
        `torch.utils.data.DataLoader`. It may shuffle: samples are identified by their number in the data set, and have
        its order in the study. Of other iterables, samples have the order in which they come.
    out : path
        The study's folder, made where it does not exist.
    layers : str or sequence of str, optional
        Names and patterns of `model.named_modules()`, such as "layer*.conv1"; a string may have several, separated by
        commas. "input" is the network's input. Default: the repeated blocks of the network, poolings outside of them,
        and linear and normalization layers after them. The second call of a module is called `name_2`.
    pooling : "mean", "flat" or "both"
        One number a channel, all activations, or each of them.
    tokens : "auto", "mean" or "class"
        What the pooling `mean` means for sequences of tokens: the class token if there is one and else the mean over
        tokens; always that mean; or always the first token. `used.pooled` in study.json says what was taken.
    input_key, label_key : str or int, optional
        Key or position of the input and the labels in a batch; default the usual keys, or 0 and 1.
    ids : sequence of str, or str or int, optional
        Names of the samples, one for each sample of the data set, in its order; by split where there are two. Or the
        key or position of the names in a batch. Default: the paths of the image files, or the numbers of the samples.
    sources : sequence of paths, or str or int, optional
        Image files that the explorer shows, given as `ids` are. Default: the files that the data set lists, as
        torchvision's `ImageFolder` does, also through `Subset` and `ConcatDataset`.
    class_names : sequence or mapping, optional
        Names of the labels 0, 1, ..., or a mapping from label to name. Default: `classes` of the data set.
    neighbors, metric, probe, projection, related_measures
        As in `FeatureStudyWriter`.
    memory : int or str, optional
        Memory for the activations of all layers together, as a number of bytes or such as "2GiB"; the network and the
        measuring of a layer come on top. Default: half of what is free. What does not fit is kept in files.
    spool : path, optional
        Folder for these files, which are removed afterwards. Default: the folder that `out` is in.
    progress : callable, optional
        Told how many samples have run, and which layer is measured.
    overwrite : bool
        Replace the study in the folder, whatever it is of, when the new one is complete; if this one fails or is
        stopped, the earlier one stays. A folder of anything else is refused.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        If the model has no weights to run (meta device), is TorchScript, or does not take the input; if `layers` match
        nothing; if batches have no labels, or labels that are no classes; or if neither memory nor disk hold the
        activations.
    StudyError
        If the folder holds a complete study, or something else.
    """
    check_neighbors(neighbors, metric)
    check_projection(projection)
    _check_choice("pooling", pooling, (*POOLINGS, "both"))
    _check_choice("tokens", tokens, TOKENS)
    network = check_model(model)
    if not overwrite:
        refuse_occupied(Path(out))
    elif (Path(out) / "study.json").exists():
        refuse_to_replace(Path(out), "study.json")
    loaders = _open_loaders(loader)
    keys = BatchKeys(input_key, label_key, _as_key(ids), _as_key(sources))
    given_ids, given_sources = _by_split("ids", ids, loaders), _by_split("sources", sources, loaders)
    check_given(loaders, given_ids, "ids")
    check_given(loaders, given_sources, "sources")
    collector = _Collector(
        network,
        BatchReader(network, device_of(network), dtype_of(network), keys),
        patterns=_patterns(layers),
        poolings=POOLINGS if pooling == "both" else (pooling,),
        tokens=tokens,
        budget_bytes=_budget_bytes(memory),
        spool=_spool_folder(spool, out),
        report=progress or _discard,
    )
    with closing(collector):
        splits = collector.collect(loaders)
        samples = sample_arguments(splits, ids=given_ids, sources=given_sources, class_names=class_names)
        writer = FeatureStudyWriter(
            out,
            samples.labels,
            ids=samples.ids,
            sources=samples.sources,
            class_names=samples.class_names,
            splits=samples.splits,
            neighbors=neighbors,
            metric=metric,
            probe=probe,
            projection=projection,
            related_measures=related_measures,
            description=StudyDescription(
                asked={"pooling": pooling, "layers": _patterns(layers)},
                used=_used(network, collector),
                data={"name": _data_name(loaders)},
                cautions=(*samples.notes, *collector.notes()),
            ),
            overwrite=overwrite,
        )
        with writer:
            finished = writer.finished()
            for number, layer in enumerate(collector.layers):
                collector.report(Progress(f"measuring {layer.layer}", number, len(collector.layers), "layers"))
                activations = collector.take(layer)
                if layer.layer not in finished:
                    writer.add_activations(layer.row(), activations)
    return load_study(out)


class _Collector:
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
        return notes

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


def _open_loaders(loader: Any) -> list[SplitLoader]:
    """Open the loader of each split, training samples first."""
    if not isinstance(loader, Mapping):
        return [open_loader("train", loader)]
    unknown = [name for name in loader if name not in _SPLITS]
    if unknown or not loader:
        raise ValueError(
            f"loader must be a mapping of 'train' and 'test' to loaders; got {', '.join(map(repr, loader)) or 'none'}. "
            "Call validation samples 'test'."
        )
    return [open_loader(split, loader[split]) for split in _SPLITS if split in loader]


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
            "is empty."
        ) from None
    return chain([first], batches)


def _input_form(images: Any) -> OutputForm:
    """Return the form of the input: images are channels first, as convolutions take them."""
    layout = Layout.CHANNELS_FIRST if images.ndim > 3 else Layout.CHANNELS_LAST
    return OutputForm(0, tuple(images.shape[1:]), layout)


def _patterns(layers: str | Sequence[str] | None) -> list[str] | None:
    """Return names and patterns as a list."""
    if layers is None:
        return None
    parts = layers.split(",") if isinstance(layers, str) else list(layers)
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts):
        raise ValueError(
            f"layers must be names or patterns of modules; got {layers!r}. Pass such as ['layer1', 'layer2.*'], or "
            "leave it out for the default."
        )
    return list(dict.fromkeys(part.strip() for part in parts))


def _as_key(given: Any) -> Key | None:
    """Return the key or position of a part of each batch; None where names are given."""
    return given if isinstance(given, str | int) and not isinstance(given, bool) else None


def _by_split(argument: str, given: Any, loaders: Sequence[SplitLoader]) -> dict[str, Names]:
    """Return given names by split."""
    if given is None or _as_key(given) is not None:
        return {}
    if isinstance(given, Mapping):
        unknown = [split for split in given if split not in [loader.split for loader in loaders]]
        if unknown:
            raise ValueError(f"{argument} must be given by split, as loader is; got {', '.join(map(repr, unknown))}.")
        return {split: list(names) for split, names in given.items()}
    if len(loaders) > 1:
        raise ValueError(
            f"{argument} must be given by split, as loader is; got {type(given).__name__}. Pass "
            "{'train': ..., 'test': ...}."
        )
    return {loaders[0].split: list(given)}


def _budget_bytes(memory: int | str | None) -> int:
    if memory is None:
        return available_bytes() // 2
    if isinstance(memory, str):
        return parse_bytes(memory)
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 1:
        raise ValueError(f"memory must be a number of bytes, or a text such as '2GiB'; got {memory!r}.")
    return memory


def _spool_folder(spool: str | os.PathLike[str] | None, out: str | os.PathLike[str]) -> Path:
    folder = Path(out).absolute().parent if spool is None else Path(spool)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _used(network: Any, collector: _Collector) -> dict[str, Any]:
    """What study.json says of the network, and of what each layer's vectors are."""
    return {
        "model": {
            "name": type(network).__name__,
            "weights": "in memory",
            "weights_sha256": weights_hash(network),
            "input_size": list(collector.input_shape),
        },
        "versions": package_versions(_PACKAGES),
        "pooled": {layer.layer: layer.pooled_text for layer in collector.layers},
    }


def _data_name(loaders: Sequence[SplitLoader]) -> str:
    """Return the classes of the data sets, of subsets those of the whole sets."""
    sources = [loader.loader if loader.data_set is None else whole_data_set(loader.data_set) for loader in loaders]
    return " and ".join(dict.fromkeys(type(source).__name__ for source in sources))


def _check_choice(argument: str, given: object, choices: Sequence[str]) -> None:
    if given not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}; got {given!r}.")


def _discard(progress: Progress) -> None:
    """Discard progress reports."""
