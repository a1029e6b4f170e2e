"""What is known of the samples after a loader has been read: labels, ids, sources, splits and names of classes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.study.from_features.sources import check_sources
from core.study.from_features.writer import ClassNames
from core.study.from_torch.batches import Batch
from core.study.from_torch.data_sets import image_files, names_of_classes, recorded_targets
from core.study.from_torch.loaders import SplitLoader

Names = Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, eq=False)
class SampleArguments:
    """The arguments of a `FeatureStudyWriter` about the samples, and notes about how they were found."""

    labels: NDArray[Any]
    ids: tuple[str, ...]
    sources: tuple[str, ...] | None
    splits: tuple[str, ...]
    class_names: ClassNames | None
    notes: tuple[str, ...]


@dataclass(eq=False)
class SplitSamples:
    """The labels and names of the samples of one split, collected batch by batch.

    Attributes
    ----------
    loader : SplitLoader
        The split's loader.
    num_rows : int
        Number of samples so far.
    """

    loader: SplitLoader
    num_rows: int = 0
    _rows: list[NDArray[np.int64]] = field(default_factory=list)
    _labels: list[NDArray[Any]] = field(default_factory=list)
    _ids: list[str] = field(default_factory=list)
    _sources: list[str] = field(default_factory=list)

    def add(self, batch: Batch, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """Take in a batch; return the rows of its samples within the split, by default the next ones."""
        rows = np.arange(self.num_rows, self.num_rows + len(batch)) if rows is None else rows
        if len(rows) != len(batch):
            raise ValueError(
                f"loader must yield one row a sample of the data set; got {len(batch)} rows for {len(rows)} samples. "
                "Pass a loader whose collate function keeps each sample as one row."
            )
        self.num_rows += len(batch)
        self._rows.append(rows)
        self._labels.append(batch.labels)
        self._ids += batch.ids or ()
        self._sources += batch.sources or ()
        return rows

    @property
    def labels(self) -> NDArray[Any]:
        """The labels in the order of the rows."""
        kinds = {"string" if part.dtype.kind == "U" else "integer" for part in self._labels}
        if len(kinds) > 1:
            raise ValueError("labels that loader yields must be of one kind; got integers and strings.")
        return np.concatenate(self._labels)[self._order]

    @property
    def items(self) -> NDArray[np.int64] | None:
        """The numbers of the samples in the data set, in the order of the rows; None where they are not known."""
        return None if self.loader.items is None else np.sort(self.loader.items)

    def batch_ids(self) -> list[str] | None:
        """The ids that came with the batches, in the order of the rows."""
        return [self._ids[row] for row in self._order] if self._ids else None

    def batch_sources(self) -> list[str] | None:
        """The sources that came with the batches, in the order of the rows."""
        return [self._sources[row] for row in self._order] if self._sources else None

    @property
    def _order(self) -> NDArray[np.int64]:
        return np.argsort(np.concatenate(self._rows), kind="stable")


def sample_arguments(
    splits: Sequence[SplitSamples],
    *,
    ids: Mapping[str, Names],
    sources: Mapping[str, Names],
    class_names: ClassNames | None,
) -> SampleArguments:
    """Put together what describes the samples of all splits.

    Parameters
    ----------
    splits : sequence of SplitSamples
        The samples of each split, training samples first.
    ids, sources : mapping of str to sequence
        By split, what the user gave: one entry for each sample of the data set or, of a list of batches, for each row.
    class_names : sequence or mapping, optional
        What the user gave.

    Raises
    ------
    ValueError
        If ids or sources have another length, or cannot be told apart from an assumed order; or if the classes of
        training and test data have different names.
    """
    labels = _joined_labels([samples.labels for samples in splits])
    notes = [note for samples in splits for note in samples.loader.notes()]
    files: list[str] = []
    all_ids: list[str] = []
    for samples in splits:
        split = samples.loader.split
        own_files = _given(samples, sources, "sources") or samples.batch_sources()
        if own_files is None:
            own_files, note = _files_of_data_set(samples)
            notes += [note] if note else []
        files += own_files or []
        own_ids = _given(samples, ids, "ids") or samples.batch_ids()
        numbers = range(samples.num_rows) if samples.items is None else samples.items.tolist()
        prefix = f"{split}/" if len(splits) > 1 else ""
        all_ids += own_ids or [f"{prefix}{number}" for number in numbers]
    all_sources = tuple(files) if len(files) == len(labels) else None
    if files and all_sources is None:
        notes.append("Sources are known of one split alone, so that no pictures are shown.")
    if not ids and all_sources is not None and all(samples.batch_ids() is None for samples in splits):
        all_ids = _ids_of_files(files) or all_ids
    return SampleArguments(
        labels=labels,
        ids=tuple(all_ids),
        sources=all_sources,
        splits=tuple(samples.loader.split for samples in splits for _ in range(samples.num_rows)),
        class_names=class_names if class_names is not None else _class_names(splits, labels),
        notes=tuple(notes),
    )


def check_given(loaders: Sequence[SplitLoader], given: Mapping[str, Names], argument: str) -> None:
    """Refuse, before the network runs, ids or sources that do not fit the loaders.

    Raises
    ------
    ValueError
        See `sample_arguments`.
    """
    for loader in loaders:
        if loader.split not in given:
            continue
        if loader.items is None and not loader.is_fixed_order:
            raise ValueError(
                f"{argument} must come with each batch where the order of the samples is not known, as of this loader "
                f"({type(loader.loader).__name__}). Yield them as a further part, and name it, such as {argument}=2 or "
                f"{argument}='path'; or pass a torch.utils.data.DataLoader of a data set with indices."
            )
        names = [str(name) for name in given[loader.split]]
        if argument == "ids" and len(set(names)) < len(names):
            raise ValueError(f"ids must be distinct; got {len(names) - len(set(names))} repeated. Number them.")
        if argument == "sources":
            check_sources(names)
        if loader.items is None or not hasattr(loader.data_set, "__len__"):
            continue
        if len(given[loader.split]) != len(loader.data_set):
            raise ValueError(
                f"{argument} must have one entry for each sample of the {loader.split} data set, in its order, "
                f"{len(loader.data_set):,}; got {len(given[loader.split]):,}."
            )


def _given(samples: SplitSamples, given: Mapping[str, Names], argument: str) -> list[str] | None:
    """Return the given names of the samples in the order of the rows."""
    names = given.get(samples.loader.split)
    if names is None:
        return None
    if samples.items is not None:
        return [str(names[item]) for item in samples.items]
    if len(names) != samples.num_rows:
        raise ValueError(f"{argument} must have one entry a sample, {samples.num_rows:,}; got {len(names):,}.")
    return [str(name) for name in names]


def _files_of_data_set(samples: SplitSamples) -> tuple[list[str] | None, str]:
    """Return the files that the data set names, and a note where they are not to be trusted.

    A data set may hand out its samples in another order than that of its list of files. Then samples of one label in
    the list have several labels in the batches.
    """
    items = samples.items
    if items is None:
        return None, ""
    files = image_files(samples.loader.data_set, items.tolist())
    if files is None:
        return None, ""
    targets = recorded_targets(samples.loader.data_set, items.tolist())
    pairs = set(zip(map(str, targets or ()), map(str, samples.labels), strict=False))
    if len(pairs) > len({target for target, _ in pairs}):
        return None, (
            f"The list of files of the {samples.loader.split} data set has other labels than its samples, as in "
            "another order: no pictures are shown. Pass sources= in the order of the data set."
        )
    return files, ""


def _ids_of_files(files: Sequence[str]) -> list[str] | None:
    """Return the paths below the folder that all files are in; None where a file occurs twice."""
    paths = [os.path.abspath(file) for file in files]
    if len(set(paths)) < len(paths):
        return None
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [os.path.relpath(path, folder).replace(os.sep, "/") for path in paths]


def _joined_labels(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len({part.dtype.kind == "U" for part in parts}) > 1:
        raise ValueError("labels must be of one kind; got integers in one split and strings in the other.")
    return np.concatenate(parts)


def _class_names(splits: Sequence[SplitSamples], labels: NDArray[Any]) -> ClassNames | None:
    """Return the names that the data sets have for the classes of the samples, where all have the same ones."""
    if labels.dtype.kind == "U":
        return None
    names = {samples.loader.split: _trusted_names(samples) for samples in splits}
    known = [own for own in names.values() if own is not None]
    if len(known) < len(names) or labels.min() < 0 or labels.max() >= len(known[0]):
        return None
    for own in known[1:]:
        if own != known[0]:
            different = [pair for pair in zip(known[0], own, strict=False) if pair[0] != pair[1]]
            first = different[0] if different else (f"{len(known[0])} classes", f"{len(own)} classes")
            raise ValueError(
                "labels must mean the same in training and test data; their data sets have different classes, "
                f"{first[0]!r} and {first[1]!r} for the same label. Give both the same folders of classes, or pass "
                "class_names=."
            )
    return {label: known[0][label] for label in np.unique(labels).tolist()}


def _trusted_names(samples: SplitSamples) -> tuple[str, ...] | None:
    """Return the names that a data set has for its classes; None where its samples bear other labels than it lists."""
    names = names_of_classes(samples.loader.data_set)
    if names is None or samples.items is None:
        return names
    targets = recorded_targets(samples.loader.data_set, samples.items.tolist())
    return names if targets is None or targets == samples.labels.tolist() else None
