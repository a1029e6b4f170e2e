"""Studies of ready-made activations: any framework, base install only."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.separation import encode_labels
from core.search.neighbors import METRICS
from core.search.rows import as_matrix
from core.search.tensors import as_array
from core.study.from_features.row_copies import RowCopies
from core.study.from_features.sources import check_sources
from core.study.measuring.embedding import describe_map, embed_layers
from core.study.measuring.layer_pool import measured_in_order
from core.study.measuring.layer_tables import measure_layer
from core.study.measuring.projection import check_projection
from core.study.measuring.related_measures import with_alignment
from core.study.measuring.unusable import first_not_finite
from core.study.plan import available_bytes
from core.study.samples import MeasureOptions, StudySamples
from core.study.store.opening import Study, StudyError, finished_layers, load_study, read_info
from core.study.store.replacing import replaced
from core.study.store.study_json import printable
from core.study.store.writing import (
    begin,
    check_still_there,
    end,
    remove_unused,
    study_lock,
    write_embedding,
    write_layer,
)

ClassNames = Sequence[str] | Mapping[Any, str]
Activations = Mapping[str, NDArray[Any]]  # by pooling, shape (n, d)
_Row = dict[str, Any]  # of the table `layers`

_AT_ONCE_BYTES = 2**30  # for layers that are measured at the same time; one alone may take more


@dataclass(frozen=True)
class StudyDescription:
    """What study.json says of the origin of activations, in addition to what a writer says of the samples.

    asked, used, data : further fields of `asked`, `used` and `used.data`.
    cautions : sentences that belong beside the results.
    """

    asked: Mapping[str, Any] = field(default_factory=dict)
    used: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    cautions: Sequence[str] = ()


class FeatureStudyWriter:
    """Writes a study a layer at a time, so that not all activations need be in memory.

        with core.FeatureStudyWriter("my-study", labels) as writer:
            for name, activations in my_layers():
                writer.add_layer(name, activations)

    Leaving the block completes the study; leaving it by an exception keeps the layers written so far, and a new writer
    for the same folder and samples goes on from there.

    Samples that are equal, number for number, at all layers that are added are cautioned against as copies, within a
    split and from split to split; see `core.study.from_features.row_copies`. A writer that goes on looks at the layers
    that it adds.

    Parameters
    ----------
    out : the study's folder, made where it does not exist.
    labels : integers or strings of shape (n,).
    ids : n distinct strings that name the samples; default "0", "1", ...
    sources : n paths of image files, absolute or relative to the current folder, which the explorer shows; or addresses
        or other names, which it does not; default the ids.
    class_names : names of the integer labels 0, 1, ..., or a mapping from label to name; default the labels themselves.
    splits : "train" or "test" for each sample; default all "train".
    neighbors : neighbors stored a sample. metric : "euclidean" or "cosine".
    probe : a linear probe of each layer of one number a channel, shape (n, d); it may take longer than the rest.
    projection : how layers of shape (n, d) are drawn on a plane: "pca", "tsne" (a neighbor embedding, made
        when the block is left), or "none".
    centers : also the center measures, with their chance from permuted labels; each takes as long as SI or longer.
    related_measures : also related separability measures, intrinsic dimension, hubness and CKA of layers of shape (n,
        d).
    files : what study.json shall say of the files that the features come from: a fingerprint by layer.
    description : further fields of `asked`, `used` and `used.data`, and further `cautions`, for study.json; fields of
        `asked`, `used.data` and `used.model` must be the same where a study goes on.
    overwrite : replace the study in the folder, whatever it is of, when the new one is complete; if the block is left
        by an exception, the earlier one stays. A folder of anything else is refused.
    """

    def __init__(
        self,
        out: str | os.PathLike[str],
        labels: ArrayLike,
        *,
        ids: Sequence[str] | None = None,
        sources: Sequence[str | os.PathLike[str]] | None = None,
        class_names: ClassNames | None = None,
        splits: Sequence[str] | None = None,
        neighbors: int = 10,
        metric: str = "euclidean",
        probe: bool = False,
        projection: str = "pca",
        centers: bool = False,
        related_measures: bool = False,
        files: Mapping[str, str] | None = None,
        description: StudyDescription | None = None,
        overwrite: bool = False,
    ) -> None:
        check_neighbors(neighbors, metric)
        check_projection(projection)
        self.path, self._files = Path(out), files
        self._description = description or StudyDescription()
        self._sources = None if sources is None else check_sources(list(sources))
        names = None if self._sources is None else self._sources.names
        self._samples = study_samples(labels, ids=ids, sources=names, class_names=class_names, splits=splits)
        self._options = MeasureOptions(
            num_neighbors=neighbors,
            metric=metric,
            centers=centers,
            probe=probe,
            projection=projection,
            related_measures=related_measures,
        )
        self._overwrite = overwrite
        self._open = ExitStack()
        self._written: list[str] = []  # names of the layers in the study
        self._taken: list[str] = []  # and of those that are being measured
        self._copies = RowCopies(self._samples.splits)

    def is_complete(self) -> bool:
        """Whether the folder holds the same study already, with nothing left to do.

        Raises
        ------
        StudyError
            The folder holds another study, or another run writes to it.
        """
        if self._overwrite or not (self.path / "study.json").exists():
            return False
        with study_lock(self.path):
            return bool(begin(self.path, self._study_info(), self._samples.frame())["state"] == "complete")

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(replaced(self.path, "study.json", overwrite=self._overwrite))
            stack.enter_context(study_lock(self.path))
            self._is_new = read_info(self.path) is None
            self._info = begin(self.path, self._study_info(), self._samples.frame())
            self._written = sorted(finished_layers(self.path))
            self._taken = list(self._written)
            if self._info["state"] == "complete":
                raise StudyError(
                    f"{self.path} holds a complete study. Choose another folder, or pass overwrite=True to replace it."
                )
            self._open = stack.pop_all()
        return self

    def _study_info(self) -> dict[str, Any]:
        """study.json but for format, state and times."""
        options = self._options
        asked = {
            "neighbors": options.num_neighbors,
            "metric": options.metric,
            "probe": options.probe,
            "projection": options.projection,
            "related_measures": options.related_measures,
        } | ({"centers": True} if options.centers else {})
        data, cautions = self._samples.describe(), self._samples.cautions()
        if self._sources is not None:
            data |= {"sources_folder": self._sources.folder} if self._sources.folder else {}
            cautions += [self._sources.caution] if self._sources.caution else []
        more = self._description
        of_map = {"map": describe_map(len(self._samples), options.seed)} if options.projection == "tsne" else {}
        info = {
            "asked": asked | dict(more.asked),
            "used": {"data": data | dict(more.data)} | of_map | dict(more.used),
            "cautions": [*cautions, *more.cautions],
        }
        return info if self._files is None else info | {"files": dict(self._files)}

    def add_layer(
        self, name: str, features: ArrayLike, *, kind: str = "", block: str = "", parameters: int | None = None
    ) -> None:
        """Measure one layer and write its rows.

        Parameters
        ----------
        name : the layer's name, not yet in the study.
        features : its activations, shape (n, d) or (n, ...), rows in the order of the labels. Where all rows are equal,
            the layer has null in place of values, and a note in the table `layers`.
        kind, block, parameters : what the explorer groups and compares by, where known.

        Raises
        ------
        ValueError
            The name is taken, the number of rows is not n, or the features are not finite numbers.
        """
        row, activations = self._checked(name, features)
        self.add_activations([(row | {"kind": kind, "block": block, "parameters": parameters}, activations)])

    def add_layers(self, layers: Iterable[tuple[str, ArrayLike]]) -> None:
        """Measure several layers and write their rows, as `add_layer` does, some at the same time.

        Parameters
        ----------
        layers : names and activations, in network order. Arrays must stay as they are until the call returns.

        Raises
        ------
        ValueError
            As `add_layer`; the layers before are in the study.
        """
        self.add_activations(self._checked(name, features) for name, features in layers)

    def add_activations(self, layers: Iterable[tuple[Mapping[str, Any], Activations]]) -> None:
        """Measure layers of a network, whose rows in the table `layers` are known, and write their rows.

        Parameters
        ----------
        layers : in network order, the row in the table `layers`, and the activations by pooling ("flat", "mean"),
            arrays of shape (n, d). Where they are not finite or the same for all samples, the layer has null in place
            of values, and a note in the table `layers`.

        Raises
        ------
        ValueError
            A name is taken; the layers before are in the study.
        """
        measured = measured_in_order(
            self._noted(layers),
            lambda layer, activations: measure_layer(layer, activations, self._samples, self._options),
            lambda layer, activations: sum(4 * array.size for array in activations.values()),
            budget_bytes=min(_AT_ONCE_BYTES, available_bytes() // 2),
        )
        try:
            with closing(measured):
                for layer, tables in measured:
                    check_still_there(self.path)
                    write_layer(self.path, layer["position"], with_alignment(tables, self.path))
                    self._written.append(layer["layer"])
        finally:
            self._taken = list(self._written)

    def finished(self) -> set[str]:
        """Return the names of the layers that are in the study."""
        return set(self._written)

    def _noted(self, layers: Iterable[tuple[Mapping[str, Any], Activations]]) -> Iterator[tuple[_Row, Activations]]:
        """The layers, each refused if its name is there already, and looked through for copies."""
        for layer, activations in layers:
            check_still_there(self.path)
            self._refuse_finished(layer["layer"])
            self._copies.add(next(iter(activations.values())))
            self._taken.append(layer["layer"])
            yield dict(layer), activations

    def _checked(self, name: str, features: ArrayLike) -> tuple[_Row, Activations]:
        """The row in the table `layers` of ready-made features, and these as a matrix, if they can be measured."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"name of a layer must be a text; got {name!r}. Call the layer as str(name).")
        name = printable(name)
        self._refuse_finished(name)
        matrix = as_matrix(features)
        if len(matrix) != len(self._samples):
            raise ValueError(
                f"features of {name!r} must have {len(self._samples)} rows, one a label; got {len(matrix)}."
            )
        self._refuse_not_finite(name, matrix)
        return feature_layer(name, len(self._taken), features), {"flat": matrix}

    def _refuse_finished(self, name: str) -> None:
        if name in self._taken:
            raise ValueError(
                f"name must be new in the study; {name!r} is there already. Skip it, name it otherwise, or pass "
                "overwrite=True to measure all layers again."
            )

    def _refuse_not_finite(self, name: str, matrix: NDArray[Any]) -> None:
        position = first_not_finite(matrix)
        if position is None:
            return
        row, column = position
        raise ValueError(
            f"features of {name!r} must be finite; got {matrix[row, column]} in row {row} (sample "
            f"{self._samples.ids[row]!r}), column {column}. Correct the layer's activations, or leave the layer out."
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                check_still_there(self.path, self._written)
                if self._options.projection == "tsne":
                    for embedded in embed_layers(self.path, self._samples, self._options.seed, _discard):
                        write_embedding(embedded.part, embedded.rows)
            cautions = dict.fromkeys([*self._info.get("cautions", []), *self._copies.notes()])
            end(self.path, {**self._info, "cautions": list(cautions)}, complete=kind is None)
            if kind is not None and self._is_new:
                remove_unused(self.path)
        except BaseException as failure:
            self._open.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._open.__exit__(kind, error, trace)


def _discard(done: int, total: int) -> None:
    """Discard progress reports."""


def check_neighbors(neighbors: int, metric: str) -> None:
    """Refuse what no search of neighbors can be asked for."""
    if neighbors < 1:
        raise ValueError(f"neighbors must be at least 1; got {neighbors}.")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {', '.join(METRICS)}; got {metric!r}.")


def feature_layer(name: str, position: int, features: ArrayLike) -> dict[str, Any]:
    """The row in the table `layers` of ready-made features of shape (n, d) or (n, ...)."""
    shape = tuple(int(size) for size in np.shape(features if hasattr(features, "shape") else as_array(features))[1:])
    return {
        "position": position,
        "layer": name,
        "kind": "",
        "block": "",
        "channels": shape[0] if len(shape) == 1 else None,
        "parameters": None,
        "cumulative_parameters": None,
        "output_shape": list(shape),
        "num_features": int(np.prod(shape)),
    }


def study_from_features(
    layers: Mapping[str, ArrayLike],
    labels: ArrayLike,
    *,
    out: str | os.PathLike[str],
    ids: Sequence[str] | None = None,
    sources: Sequence[str | os.PathLike[str]] | None = None,
    class_names: ClassNames | None = None,
    splits: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Study:
    """A study of activations from any framework, one array a layer in network order.

    Parameters
    ----------
    layers : layer name to array of shape (n, d) or (n, ...). The rest as in `FeatureStudyWriter`.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        As `FeatureStudyWriter` and its `add_layer`; also where there is no layer.
    """
    if not isinstance(layers, Mapping):
        raise ValueError(
            f"layers must be a dict from layer name to array; got {type(layers).__name__}. "
            "Pass {'layer4': array, ...}."
        )
    if not layers:
        raise ValueError("layers must hold at least one array; got none. Pass {'layer4': array, ...}.")
    writer = FeatureStudyWriter(
        out, labels, ids=ids, sources=sources, class_names=class_names, splits=splits, overwrite=overwrite
    )
    with writer:
        writer.add_layers(layers.items())
    return load_study(out)


def study_samples(
    labels: ArrayLike,
    *,
    ids: Sequence[str] | None = None,
    sources: Sequence[str | os.PathLike[str]] | None = None,
    class_names: ClassNames | None = None,
    splits: Sequence[str] | None = None,
) -> StudySamples:
    """Check what describes the samples and fill in what was not given."""
    encoded = encode_labels(labels)
    num_samples = len(encoded.codes)
    codes, names = encoded.codes, tuple(str(label) for label in encoded.classes)
    if class_names is not None:
        codes, names = _named(np.asarray(encoded.classes)[encoded.codes], class_names)
    ids = tuple(str(number) for number in range(num_samples)) if ids is None else _texts("ids", ids)
    sources = ids if sources is None else _texts("sources", sources)
    split_array = np.full(num_samples, "train") if splits is None else np.array(_texts("splits", splits), dtype=np.str_)
    for name, given in (("ids", ids), ("sources", sources), ("splits", split_array)):
        if len(given) != num_samples:
            raise ValueError(f"{name} must have one entry a sample, {num_samples}; got {len(given)}.")
    if len(set(ids)) < num_samples:
        raise ValueError(
            f"ids must be distinct; got {num_samples - len(set(ids))} repeated. Number them, for instance."
        )
    unknown = sorted(set(split_array.tolist()) - {"train", "test"})
    if unknown:
        raise ValueError(f"splits must be 'train' or 'test'; got {', '.join(map(repr, unknown[:5]))}.")
    for split in set(split_array.tolist()):
        if (split_array == split).sum() < 2:
            raise ValueError(f"splits must leave at least two samples in each; {split!r} has one.")
    return StudySamples(ids, codes, names, split_array, sources)


def _texts(name: str, given: Iterable[object]) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"{name} must be a list of texts; got {given!r}. Pass a list.")
    return tuple(map(str, given))


def _named(labels: Any, class_names: ClassNames) -> tuple[Any, tuple[str, ...]]:
    """Labels as indices of the class names: integers as they are or by a mapping, strings looked up."""
    if isinstance(class_names, Mapping):
        return _named_by_mapping(labels, class_names)
    if isinstance(class_names, str | bytes | Set):
        kind = type(class_names).__name__
        raise ValueError(
            f"class_names must be a sequence of names or a mapping from label to name; got {kind}. Pass a list."
        )
    names = _texts("class_names", class_names)
    _refuse_repeated(names)
    if labels.dtype.kind in "US":
        codes = {name: code for code, name in enumerate(names)}
        unknown = sorted(set(labels.tolist()) - set(codes))
        if unknown:
            raise ValueError(f"class_names must hold every label; {', '.join(map(repr, unknown[:5]))} is missing.")
        return np.array([codes[label] for label in labels.tolist()], dtype=np.int64), names
    if labels.min() < 0 or labels.max() >= len(names):
        raise ValueError(
            f"class_names must name the labels {labels.min()}..{labels.max()}; got {len(names)} names, "
            f"for 0..{len(names) - 1}. Pass {{label: name}} for other labels."
        )
    return labels.astype(np.int64), names


def _named_by_mapping(labels: Any, class_names: Mapping[Any, str]) -> tuple[Any, tuple[str, ...]]:
    """Labels as places among the mapping's keys; a key is a label, or a label as text, as JSON writes it."""
    names = tuple(map(str, class_names.values()))
    codes = {str(label): code for code, label in enumerate(class_names)}
    if len(codes) < len(names):
        raise ValueError("class_names must name each label once; got a label both as a number and as text.")
    _refuse_repeated(names)
    unknown = [label for label in np.unique(labels).tolist() if str(label) not in codes]
    if unknown:
        raise ValueError(f"class_names must name every label; {', '.join(map(repr, unknown[:5]))} is missing.")
    return np.array([codes[str(label)] for label in labels.tolist()], dtype=np.int64), names


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"class_names must be distinct; got {', '.join(map(repr, repeated[:5]))} more than once. Give such classes "
            "one label, or two names."
        )
