"""Ready-made features of a network that is ranked beside others: files, checked to be of the same samples."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.data.features import LabelledFeatures, open_features, open_test_features
from core.study.from_features.feature_files import joined_ids
from core.study.from_features.writer import FeatureStudyWriter, study_samples
from core.study.plan import Progress, Report
from core.study.samples import StudySamples
from core.study.store.opening import Study, StudyError, finished_layers, load_study, read_info

_FOLDER_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class FeatureFiles:
    """Where a network's features lie.

    name : of the network, and of its folder. path, labels, ids : the training samples', or those of the only split, as
    in `core.data.features.open_features`. test, test_labels, test_ids : the test samples', where there are any.
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
    """What lies there: headers and labels checked, the features themselves read a layer at a time."""

    files: FeatureFiles
    train: LabelledFeatures
    test: LabelledFeatures | None

    @property
    def parts(self) -> list[LabelledFeatures]:
        """By split, training samples first."""
        return [self.train] if self.test is None else [self.train, self.test]

    @property
    def ids(self) -> list[str] | None:
        """Of all samples, training samples first; None where the files name none."""
        return joined_ids(self.parts)

    @property
    def splits(self) -> NDArray[np.str_]:
        """Of all samples, in the same order."""
        return np.repeat(["train", "test"][: len(self.parts)], [len(part.labels) for part in self.parts])

    def fingerprint(self) -> str:
        """SHA-256 of the labels, the ids and all bytes of the files."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update("\n".join(map(str, part.labels.tolist())).encode())
            digest.update("\n".join(part.ids.tolist() if part.ids is not None else []).encode())
            for path in dict.fromkeys(layer.path for layer in part.layers):
                with path.open("rb") as handle:
                    digest.update(hashlib.file_digest(handle, "sha256").digest())
        return digest.hexdigest()


def open_feature_files(files: FeatureFiles) -> OpenFeatures:
    """Find the files and read the labels.

    Raises
    ------
    ValueError, OSError
        As `core.data.features.open_features`.
    """
    train = open_features(files.path, files.labels, files.ids)
    if files.test is None:
        return OpenFeatures(files, train, None)
    return OpenFeatures(files, train, open_test_features(files.test, files.test_labels, train, files.test_ids))


def ranked_samples(features: OpenFeatures, like: StudySamples | None) -> StudySamples:
    """The samples of a network's features.

    Parameters
    ----------
    like : those of the networks before it, which they must be: with the same ids where the files have some, else in
        this order. They bring ids and class names. Default: ids are those of the files, or numbers.

    Raises
    ------
    StudyError
        They are others; the message says where they differ first.
    """
    ids, splits, labels = features.ids, features.splits, [part.labels for part in features.parts]
    if len({array.dtype.kind == "U" for array in labels}) > 1:
        raise ValueError("labels must be of one kind; got integers in one part and strings in the other.")
    if like is None:
        return study_samples(np.concatenate(labels), ids=ids, splits=splits.tolist())
    counts, asked = ({split: int((of == split).sum()) for split in ("train", "test")} for of in (splits, like.splits))
    if counts != asked:
        raise _different(features, f"{_counted(counts)}, not {_counted(asked)}")
    order = _order(features, like)
    known, own = np.array(like.class_names)[like.labels], np.concatenate(labels)[order]
    if own.dtype.kind != "U":
        if own.min() < 0 or own.max() >= len(like.class_names):
            raise _different(features, f"labels {own.min()} to {own.max()}, not 0 to {len(like.class_names) - 1}")
        own = np.array(like.class_names)[own]
    if (own != known).any():
        at = int(np.flatnonzero(own != known)[0])
        place = f"sample {like.ids[at]}" if ids else f"row {at:,}, sample {like.ids[at]}"
        raise _different(features, f"class {own[at]} and not {known[at]} in {place}")
    return like


def _order(features: OpenFeatures, like: StudySamples) -> NDArray[np.int64]:
    """The row of the features, split after split, that holds each of the samples."""
    ids = features.ids
    if ids is None:
        return np.arange(len(like))
    rows = {place: row for row, place in enumerate(zip(features.splits.tolist(), ids, strict=True))}
    wanted = list(zip(like.splits.tolist(), like.ids, strict=True))
    lost = [place for place in wanted if place not in rows]
    if lost:
        unknown = sorted(set(rows) - set(wanted))
        raise StudyError(
            f"features must be of the same samples as the other networks, with their ids; {features.files.name} has no "
            f"{lost[0][0]} sample {lost[0][1]!r} ({len(lost):,} are missing), but {unknown[0][1]!r}. Name the samples "
            "as in a study's samples.parquet, in all files or in none."
        )
    return np.array([rows[place] for place in wanted])


def write_ranked_features(
    features: OpenFeatures,
    samples: StudySamples,
    out: str | os.PathLike[str],
    *,
    neighbors: int,
    probe: bool,
    progress: Report,
) -> Study:
    """The study of a network's features, of which only what is missing is computed. Each sample is one flat row.

    Raises
    ------
    StudyError
        The folder holds another study.
    """
    there = read_info(Path(out))
    if there is not None and there.get("state") == "complete":
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
    layers = features.train.layers
    order = _order(features, samples)
    with writer:
        for place, layer in enumerate(layers):
            progress(Progress(f"{features.files.name}, measuring in {layer.name}", place, len(layers), "layers"))
            if layer.name not in finished_layers(writer.path):
                arrays = [part.layers[place].read() for part in features.parts]
                rows = np.concatenate([array.reshape(len(array), -1) for array in arrays])
                writer.add_layer(layer.name, rows if (order == np.arange(len(order))).all() else rows[order])
    return load_study(out)


def _counted(counts: dict[str, int]) -> str:
    return " and ".join(f"{number:,} {split}" for split, number in counts.items()) + " samples"


def _different(features: OpenFeatures, what: str) -> StudyError:
    return StudyError(
        f"features must be of the same samples as the other networks; {features.files.name} has {what}. Give their "
        "ids with --ids, or write the rows in one order: of images, by split, training first, ids ascending, as in a "
        "study's samples.parquet."
    )
