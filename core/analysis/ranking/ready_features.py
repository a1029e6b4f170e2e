"""Ready-made features of a network that is ranked with others: read from files and matched to the same samples."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.data.features import LabelledFeatures, open_features, open_test_features
from core.study.from_features.feature_files import joined_ids, told_as_measuring
from core.study.from_features.writer import FeatureStudyWriter, study_samples
from core.study.plan import Report
from core.study.samples import StudySamples
from core.study.store.opening import Study, StudyError, load_study, read_info

_FOLDER_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class FeatureFiles:
    """The files with a network's features.

    Attributes
    ----------
    name : str
        Name of the network and of its folder.
    path, labels, ids : str
        Files of the training samples, or of the only split, as in `core.data.features.open_features`.
    test, test_labels, test_ids : str, optional
        Files of the test samples.

    Raises
    ------
    ValueError
        The name cannot be that of a folder.
    """

    name: str
    path: str
    labels: str | None = None
    test: str | None = None
    test_labels: str | None = None
    ids: str | None = None
    test_ids: str | None = None

    def __post_init__(self) -> None:
        if not _FOLDER_NAME.fullmatch(self.name):
            raise ValueError(
                f"features must have a name of letters, digits, '-', '_' and '.'; got {self.name!r}. Such as vit=FILE."
            )


@dataclass(frozen=True, eq=False)
class OpenFeatures:
    """Opened feature files: headers and labels are checked, features are read one layer at a time."""

    files: FeatureFiles
    train: LabelledFeatures
    test: LabelledFeatures | None

    @property
    def parts(self) -> list[LabelledFeatures]:
        """The features of each split, training samples first."""
        return [self.train] if self.test is None else [self.train, self.test]

    @property
    def ids(self) -> list[str] | None:
        """The ids of all samples, training samples first; None where the files have none."""
        return joined_ids(self.parts)

    @property
    def splits(self) -> NDArray[np.str_]:
        """The split of each sample, in the same order, shape (n,)."""
        return np.repeat(["train", "test"][: len(self.parts)], [len(part.labels) for part in self.parts])

    def fingerprint(self) -> str:
        """Return the SHA-256 of the labels, the ids and all bytes of the files."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update("\n".join(map(str, part.labels.tolist())).encode())
            digest.update("\n".join(part.ids.tolist() if part.ids is not None else []).encode())
            for path in dict.fromkeys(layer.path for layer in part.layers):
                with path.open("rb") as handle:
                    digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()


def open_feature_files(files: FeatureFiles) -> OpenFeatures:
    """Open the files and read the labels.

    Raises
    ------
    ValueError, OSError
        As in `core.data.features.open_features`.
    """
    train = open_features(files.path, files.labels, files.ids)
    if files.test is None:
        return OpenFeatures(files, train, None)
    return OpenFeatures(files, train, open_test_features(files.test, files.test_labels, train, files.test_ids))


def ranked_samples(features: OpenFeatures, like: StudySamples | None) -> StudySamples:
    """Return the samples of a network's features, checked to be those of the other networks.

    Parameters
    ----------
    features : OpenFeatures
    like : StudySamples or None
        The samples of the other networks. The features must be of the same samples: with the same ids where the files
        have ids, otherwise in the same order. None for the first network, whose ids are those of the files, or row
        numbers.

    Raises
    ------
    StudyError
        The samples are different; the message names the first difference.
    ValueError
        Labels are integers in one split and strings in the other.
    """
    ids, splits, labels = features.ids, features.splits, [part.labels for part in features.parts]
    if len({array.dtype.kind == "U" for array in labels}) > 1:
        raise ValueError("labels must be of one kind; got integers in one part and strings in the other.")
    if like is None:
        return study_samples(np.concatenate(labels), ids=ids, splits=splits.tolist())
    counts, expected_counts = _split_counts(splits), _split_counts(like.splits)
    if counts != expected_counts:
        raise _different(features, f"{_counts_text(counts)}, not {_counts_text(expected_counts)}")
    names = np.array(like.class_names)
    expected = names[like.labels]
    classes = np.concatenate(labels)[_row_order(features, like)]
    if classes.dtype.kind != "U":
        low, high = classes.min(), classes.max()
        if low < 0 or high >= len(names):
            raise _different(features, f"labels {low} to {high}, not 0 to {len(names) - 1}")
        classes = names[classes]
    if (classes != expected).any():
        first = int(np.flatnonzero(classes != expected)[0])
        where = f"sample {like.ids[first]}" if ids else f"row {first:,}, sample {like.ids[first]}"
        raise _different(features, f"class {classes[first]} and not {expected[first]} in {where}")
    return like


def _row_order(features: OpenFeatures, like: StudySamples) -> NDArray[np.int64]:
    """The row of the features, with all splits one after another, that holds each of the samples."""
    ids = features.ids
    if ids is None:
        return np.arange(len(like))
    row_of = {key: row for row, key in enumerate(zip(features.splits.tolist(), ids, strict=True))}
    keys = list(zip(like.splits.tolist(), like.ids, strict=True))
    missing = [key for key in keys if key not in row_of]
    if missing:
        split, sample = missing[0]
        unknown = sorted(set(row_of) - set(keys))
        raise StudyError(
            f"features must be of the same samples as the other networks, with their ids; {features.files.name} has no "
            f"{split} sample {sample!r} ({len(missing):,} are missing), but {unknown[0][1]!r}. Name the samples "
            "as in a study's samples.parquet, in all files or in none."
        )
    return np.array([row_of[key] for key in keys])


def write_ranked_features(
    features: OpenFeatures,
    samples: StudySamples,
    out: str | os.PathLike[str],
    *,
    neighbors: int,
    probe: bool,
    progress: Report,
) -> Study:
    """Compute what is missing of the study of a network's features, with each sample as one flat row.

    Parameters
    ----------
    features : OpenFeatures
    samples : StudySamples
        As returned by `ranked_samples`.
    out : path
        The folder of the study.
    neighbors : int
        Number of neighbors a sample to store.
    probe : bool
        Whether to compute the accuracy of a linear probe.
    progress : callable
        Called with a `Progress` before each layer.

    Raises
    ------
    StudyError
        The folder holds another study.
    """
    info = read_info(Path(out))
    if info is not None and info.get("state") == "complete":
        return load_study(out)
    writer = FeatureStudyWriter(
        out,
        samples.labels,
        ids=samples.ids,
        class_names=samples.class_names,
        splits=samples.splits.tolist(),
        neighbors=neighbors,
        probe=probe,
        projection="none",
    )
    order = _row_order(features, samples)
    is_in_order = bool((order == np.arange(len(order))).all())

    def rows_of(position: int) -> NDArray[Any]:
        arrays = [part.layers[position].read() for part in features.parts]
        rows = np.concatenate([array.reshape(len(array), -1) for array in arrays])
        return rows if is_in_order else rows[order]

    with writer:
        finished = writer.finished()
        writer.add_layers(
            (layer.name, rows_of(position))
            for position, layer in told_as_measuring(features.train.layers, progress, f"{features.files.name}, ")
            if layer.name not in finished
        )
    return load_study(out)


def _split_counts(splits: NDArray[np.str_]) -> dict[str, int]:
    return {split: int((splits == split).sum()) for split in ("train", "test")}


def _counts_text(counts: dict[str, int]) -> str:
    return " and ".join(f"{number:,} {split}" for split, number in counts.items()) + " samples"


def _different(features: OpenFeatures, difference: str) -> StudyError:
    return StudyError(
        f"features must be of the same samples as the other networks; {features.files.name} has {difference}. Give "
        "their ids with --ids, or write the rows in one order: of images, by split, training first, ids ascending, as "
        "in a study's samples.parquet."
    )
