"""`study_from_torch`: a study of a PyTorch network on the samples of a loader."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from core.data.files import make_folder
from core.network.passes import POOLINGS
from core.network.tokens import TOKEN_CHOICES
from core.network.torch_models.modules import (
    check_model,
    device_of,
    dtype_of,
    weights_hash,
)
from core.study.from_features.writer import ClassNames, FeatureStudyWriter, StudyDescription, check_neighbors
from core.study.from_torch.batches import BatchKeys, BatchReader, Key
from core.study.from_torch.collecting import Collector
from core.study.from_torch.data_sets import whole_data_set
from core.study.from_torch.loaders import SplitLoader, open_loader
from core.study.from_torch.samples import Names, check_given, sample_arguments
from core.study.measuring.projection import check_projection
from core.study.plan import Progress, Report, available_bytes, parse_bytes
from core.study.run import package_versions
from core.study.store.opening import Study, load_study
from core.study.store.writing import refuse_occupied

_SPLITS = ("train", "test")
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
    probe: bool = True,
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
        What the pooling `mean` means for sequences of tokens: the class token if the network has one, from the first
        attention on, and else the mean over tokens; always that mean; or always the first token. The column `mean_of`
        of `study.layers` says what was taken.
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
        As in `FeatureStudyWriter`; the linear probe is trained unless it is left out.
    memory : int or str, optional
        Memory for the activations of all layers together, as a number of bytes or such as "2GiB"; the network and the
        measuring of a layer come on top. Default: half of what is free. What does not fit is kept in files.
    spool : path, optional
        Folder for these files, which are removed afterwards. Default: the folder that `out` is in.
    progress : callable, optional
        Told how many samples have run, and which layer is measured.
    overwrite : bool
        Replace the study in the folder, whatever it is of, when the new one is complete; if this one fails, the earlier
        one stays. A folder of anything else is refused.

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
        If the folder holds something else, or a complete study and `overwrite` is false.
    """
    check_neighbors(neighbors, metric)
    check_projection(projection)
    _check_choice("pooling", pooling, (*POOLINGS, "both"))
    _check_choice("tokens", tokens, TOKEN_CHOICES)
    network = check_model(model)
    refuse_occupied(Path(out), overwrite=overwrite)
    loaders = _open_loaders(loader)
    keys = BatchKeys(input_key, label_key, _as_key(ids), _as_key(sources))
    given_ids, given_sources = _by_split("ids", ids, loaders), _by_split("sources", sources, loaders)
    check_given(loaders, given_ids, "ids")
    check_given(loaders, given_sources, "sources")
    collector = Collector(
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
        _check_classes(samples.labels)
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
                asked={"pooling": pooling, "tokens": tokens, "layers": _patterns(layers)},
                used=_used(network, collector),
                data={"name": _data_name(loaders)},
                cautions=(*samples.notes, *collector.notes()),
            ),
            overwrite=overwrite,
        )
        with writer:
            finished = writer.finished()
            writer.add_activations(
                (layer.row(), activations) for layer, activations in collector.taken() if layer.layer not in finished
            )
    return load_study(out)


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
    if spool is None:
        folder = Path(out).absolute().parent
        make_folder(folder, "the folder of out")
        return folder
    make_folder(Path(spool), "spool")
    return Path(spool)


def _used(network: Any, collector: Collector) -> dict[str, Any]:
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


def _check_classes(labels: ArrayLike) -> None:
    """Refuse samples of a single class, before a layer is measured."""
    classes = np.unique(np.asarray(labels))
    if len(classes) < 2:
        raise ValueError(
            f"labels that loader yields must name at least two classes; got only {classes.tolist()[0]!r}. Take samples "
            "of several classes, as of a data set that is not sorted by class."
        )


def _check_choice(argument: str, given: object, choices: Sequence[str]) -> None:
    if given not in choices:
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, choices))}; got {given!r}.")


def _discard(progress: Progress) -> None:
    """Discard progress reports."""
