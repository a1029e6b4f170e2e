"""A study of features that lie in files."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.data.arrays import LayerFile
from core.data.features import LabelledFeatures
from core.search.rows import as_matrix
from core.study.from_features.row_copies import RowCopies
from core.study.from_features.writer import FeatureStudyWriter, check_neighbors, feature_layer, study_samples
from core.study.measuring.layer_tables import measure_layer
from core.study.plan import Progress, Report
from core.study.samples import MeasureOptions, StudySamples
from core.study.store.opening import Study, StudyError, finished_layers, load_study, read_info
from core.study.store.study_json import printable


@dataclass(frozen=True, eq=False)
class FeatureValues:
    """What was measured of features in files.

    layers, measurements, classes, related_measures : rows as in the tables of a study; the last is empty where nobody
        asked for it.
    copy_notes : sentences about samples whose features are equal.
    """

    samples: StudySamples
    layers: pd.DataFrame
    measurements: pd.DataFrame
    classes: pd.DataFrame
    related_measures: pd.DataFrame
    copy_notes: tuple[str, ...]


def write_feature_study(
    train: LabelledFeatures,
    test: LabelledFeatures | None,
    out: str | os.PathLike[str],
    *,
    neighbors: int = 10,
    metric: str = "euclidean",
    centers: bool = False,
    related_measures: bool = False,
    progress: Report | None = None,
    overwrite: bool = False,
) -> Study:
    """A study of features in files, one layer in memory at a time; goes on where an earlier run stopped.

    A complete study of the same files is only read.

    Parameters
    ----------
    train, test : as `open_features` gives them, the same layers in both; test samples come last in the study.
    The rest as in `FeatureStudyWriter`; the study has a linear probe, too.

    Raises
    ------
    ValueError
        As `FeatureStudyWriter`; also where labels are integers in one part and strings in the other.
    StudyError
        As `FeatureStudyWriter`; also where the folder holds a study of other files.
    """
    parts = [part for part in (train, test) if part is not None]
    files = file_fingerprints(parts)
    if not overwrite:
        _refuse_other_files(Path(out), files)
    writer = FeatureStudyWriter(
        out,
        **sample_arguments(parts),
        neighbors=neighbors,
        metric=metric,
        probe=True,
        centers=centers,
        related_measures=related_measures,
        files=files,
        overwrite=overwrite,
    )
    if writer.is_complete():
        return load_study(out)
    with writer:
        finished = writer.finished()
        writer.add_layers(
            (layer.name, read_joined(parts, position))
            for position, layer in told_as_measuring(train.layers, progress)
            if layer.name not in finished
        )
    return load_study(out)


def told_as_measuring(
    layers: Sequence[LayerFile], progress: Report | None, start: str = ""
) -> Iterator[tuple[int, LayerFile]]:
    """Number the layers, and tell of each that it is measured. start : of what is told."""
    for position, layer in enumerate(layers):
        if progress is not None:
            progress(Progress(f"{start}measuring in {layer.name}", position, len(layers), "layers"))
        yield position, layer


def measure_feature_files(
    train: LabelledFeatures,
    test: LabelledFeatures | None,
    *,
    neighbors: int = 10,
    metric: str = "euclidean",
    centers: bool = False,
    related_measures: bool = False,
    progress: Report | None = None,
) -> FeatureValues:
    """Measure features in files without writing a study: the values are those that the study would have.

    Here every measure on neighbors has a p-value, not SI alone.

    Parameters
    ----------
    The same as those of `write_feature_study`.

    Raises
    ------
    ValueError
        As `FeatureStudyWriter`.
    """
    check_neighbors(neighbors, metric)
    parts = [part for part in (train, test) if part is not None]
    samples = study_samples(**sample_arguments(parts))
    options = MeasureOptions(
        num_neighbors=neighbors,
        metric=metric,
        centers=centers,
        related_measures=related_measures,
        projection="none",
        test_every_measure=True,
    )
    copies = RowCopies(samples.splits)
    tables: dict[str, list[pd.DataFrame]] = {"layers": [], "measurements": [], "classes": [], "related_measures": []}
    for position, layer in told_as_measuring(train.layers, progress):
        features = read_joined(parts, position)
        matrix = as_matrix(features)
        copies.add(matrix)
        measured = measure_layer(feature_layer(layer.name, position, features), {"flat": matrix}, samples, options)
        for name, frames in tables.items():
            if name in measured:
                frames.append(measured[name])
    joined = {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items() if frames}
    return FeatureValues(
        samples,
        joined["layers"],
        joined["measurements"],
        joined["classes"],
        joined.get("related_measures", pd.DataFrame()),
        copy_notes=tuple(copies.notes()),
    )


def sample_arguments(parts: Sequence[LabelledFeatures]) -> dict[str, Any]:
    """The labels, ids and splits of all samples, as `study_samples` takes them; training samples come first.

    Raises
    ------
    ValueError
        Labels are integers in one part and strings in the other; ids as `joined_ids`.
    """
    kinds = {"string" if part.labels.dtype.kind == "U" else "integer" for part in parts}
    if len(kinds) > 1:
        raise ValueError("labels must be of one kind; got integers in one part and strings in the other.")
    counts = [len(part.labels) for part in parts]
    return {
        "labels": np.concatenate([part.labels for part in parts]),
        "ids": joined_ids(parts),
        "splits": np.repeat(["train", "test"][: len(parts)], counts).tolist(),
    }


def read_joined(parts: Sequence[LabelledFeatures], place: int) -> NDArray[Any]:
    """The features of all samples at one layer, shape (n, d) or (n, ...)."""
    arrays = [part.layers[place].read() for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def file_fingerprints(parts: Sequence[LabelledFeatures]) -> dict[str, str]:
    """By layer, SHA-256 of all bytes of the files that it lies in."""
    fingerprints = {}
    for layers in zip(*(part.layers for part in parts), strict=True):
        digest = hashlib.sha256()
        for layer in layers:
            with layer.path.open("rb") as handle:
                digest.update(hashlib.file_digest(handle, "sha256").digest())
        fingerprints[printable(layers[0].name)] = digest.hexdigest()
    return fingerprints


def _refuse_other_files(folder: Path, files: Mapping[str, str]) -> None:
    """Refuse a study whose finished layers were measured on other files than these."""
    info = read_info(folder)
    if info is None:
        return
    before, finished = info.get("files"), finished_layers(folder)
    before = before if isinstance(before, dict) else {}
    changed = [name for name in finished if name in before and before[name] != files.get(name)]
    lacking = sorted(set(files) - finished) if info.get("state") == "complete" else []
    if changed or lacking:
        if not before:
            what = "it was not measured from feature files"
        elif changed:
            what = f"the file of {changed[0]!r} was another one"
        else:
            what = f"it is complete without {lacking[0]!r}"
        raise StudyError(
            f"{folder} holds another study: {what}. Choose another folder, or replace it: overwrite=True, or "
            "--overwrite."
        )


def joined_ids(parts: Sequence[LabelledFeatures]) -> list[str] | None:
    """The ids of all samples, part after part; None where there are none.

    Raises
    ------
    ValueError
        One part has ids and the other none, or both have the same one.
    """
    id_lists = [part.ids for part in parts if part.ids is not None]
    if id_lists and len(id_lists) < len(parts):
        raise ValueError("ids must be given for both training and test samples, or for neither; got one of them.")
    ids = [name for part in id_lists for name in part.tolist()]
    if len(set(ids)) < len(ids):
        repeated = sorted(set(id_lists[0].tolist()) & set(id_lists[1].tolist()))
        raise ValueError(f"ids must tell test samples from training samples; got {repeated[0]!r} in both.")
    return ids or None
