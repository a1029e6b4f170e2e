"""Labelled images of TensorFlow Datasets: one pass finds each image's position in the files, its label and its id.

The shards are read record by record, so that image and label always come from the same record. The images themselves
are read from their positions when they are needed, and are not kept in memory. TensorFlow is only needed if a data set
must be downloaded first.
"""

import contextlib
import difflib
import os
import shutil
import struct
import sys
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.data.connection import check_hosts
from core.data.errors import DataError
from core.data.images.decoding import failure_reason, require_pillow
from core.data.images.folders import FoundImages
from core.data.sampling import name_some

PREFIX = "tfds:"
_NAMES = ("image/filename", "image/file_name", "filename", "file_name", "id", "image/id", "image_id")
_OFFICIAL_SPLITS = {"train": ("train",), "test": ("test", "validation")}  # the first one that has labels is used
# A TFRecord is: length and checksum of the length (this header), the data, and a 4-byte checksum of the data.
_TFRECORD_HEAD = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


class FileSlice(NamedTuple):
    """A range of bytes in a file."""

    path: str
    start: int
    length: int

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class _Record(NamedTuple):
    """One sample of the data set; `name` is "" if the data set has no names."""

    name: str
    label: int
    image: FileSlice


@dataclass(frozen=True, eq=False)
class TfdsImages:
    """The samples of a data set.

    Attributes
    ----------
    name : str
        Name with configuration and version, such as "stanford_dogs/0.2.0".
    found : FoundImages
        Ids, labels, class names (in the order of the data set) and splits, ascending by id.
    encoded : mapping of str to FileSlice
        For each id the position of the encoded image.
    notes : tuple of str
        Remarks for the readers of results.
    """

    name: str
    found: FoundImages
    encoded: Mapping[str, FileSlice] = field(repr=False)
    notes: tuple[str, ...] = ()

    def read(self, sample: str) -> bytes:
        """Return the encoded image of an id."""
        return self.encoded[sample].read()


def find_tfds_images(data: str, split: str) -> TfdsImages:
    """Find the samples of a data set; download and prepare it first if necessary.

    The official splits train and test are used. If there is no test split, or one without labels, the validation split
    is used instead, and a note says so. If there is only a training split, `splits` is empty, as for a folder without
    splits. The ids consist of the split and the file name (or the id in the data set), or of the split and a number.

    Parameters
    ----------
    data : str
        "tfds:NAME", "tfds:NAME/CONFIG" or "tfds:NAME:VERSION". The files are searched in the folder given by the
        environment variable SI_TFDS_DIR, else TFDS_DATA_DIR, else ~/tensorflow_datasets.
    split : {"both", "train", "test"}
        Which splits to find.

    Raises
    ------
    ValueError
        If the data set or the split does not exist.
    DataError
        If the data set has no images with labels, or its files are damaged.
    OSError
        If the data set must be downloaded, but the download fails.
    ModuleNotFoundError
        If tensorflow-datasets or Pillow is not installed.
    """
    require_pillow()
    builder = _builder(data.removeprefix(PREFIX))
    _prepare(builder)
    reader = _RecordReader.of(builder)
    available = _available_splits(builder.info.splits)
    unsplit = set(available) == {"train"}
    records = {}
    notes = []
    for name, official_splits in available.items():
        if not unsplit and split not in ("both", name):
            continue
        official_split, records[name] = reader.first_labelled(official_splits)
        if official_split != name:
            notes.append(
                f"The {official_split} split of {builder.info.full_name} serves as the {name} split: there is no "
                "other with labels."
            )
    if not records:
        raise ValueError(
            f"split must be one that the data set has; got {split!r}, but {data!r} has only "
            f"{name_some(list(builder.info.splits))}. Choose another."
        )
    found, encoded = _samples(records, reader.class_names, unsplit)
    return TfdsImages(builder.info.full_name, found, encoded, tuple(notes))


def _available_splits(names: Container[str]) -> dict[str, list[str]]:
    """For each of train and test, list the official splits of the data set that can serve as it."""
    available = {}
    for split, official_names in _OFFICIAL_SPLITS.items():
        existing = [name for name in official_names if name in names]
        if existing:
            available[split] = existing
    return available


def _samples(
    records: Mapping[str, Sequence[_Record]], class_names: tuple[str, ...], unsplit: bool
) -> tuple[FoundImages, dict[str, FileSlice]]:
    """Return all records as samples, ascending by id, and the position of each image by id."""
    samples = []
    for split, split_records in records.items():
        sample_ids = _ids(split_records, "" if unsplit else f"{split}/")
        for sample_id, record in zip(sample_ids, split_records, strict=True):
            samples.append((sample_id, record.label, split, record.image))
    ids, labels, splits, images = zip(*sorted(samples), strict=True)
    found = FoundImages(
        ids=ids,
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        splits=np.array([] if unsplit else splits, dtype=str),
    )
    return found, dict(zip(ids, images, strict=True))


def _ids(records: Sequence[_Record], prefix: str) -> list[str]:
    """Return the names of the records if they are unique, otherwise their numbers."""
    names = [record.name for record in records]
    if len(set(names)) < len(names) or "" in names:
        names = [f"{number:07d}" for number in range(len(records))]
    return [prefix + name for name in names]


def _builder(name: str) -> Any:
    """Return the builder of a data set; no samples are read."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{PREFIX}{name} needs the package tensorflow-datasets, which is not installed. "
            "Run: pip install tensorflow-datasets importlib-resources"
        ) from error
    try:
        return tfds.builder(name, data_dir=os.environ.get("SI_TFDS_DIR") or None)
    except (ValueError, ImportError) as error:  # its message lists a thousand names
        similar = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False))
        hint = f" Did you mean {' or '.join(similar)}?" if similar else ""
        raise ValueError(
            f"data must name a data set of TensorFlow Datasets after {PREFIX!r}; got {PREFIX + name!r}.{hint} "
            "All are listed at tensorflow.org/datasets/catalog."
        ) from error


def _prepare(builder: Any) -> None:
    """Download and prepare a data set if that has not been done; of a failed download nothing stays."""
    if builder.is_prepared():
        return
    name, folder = builder.info.full_name, Path(builder.data_dir)
    _check_connection(builder, folder)
    data_folder = folder.parents[name.count("/")]
    before = _unfinished(data_folder)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # standard output is for results; the builder prints there
            builder.download_and_prepare()
    except BaseException as error:  # from the network, from archives, from data sets that need a manual download
        for path in _unfinished(data_folder) - before:
            shutil.rmtree(path, ignore_errors=True)
        _remove_empty(folder, data_folder)
        if not isinstance(error, Exception):
            raise
        raise OSError(_cannot_prepare(name, folder, failure_reason(error))) from error


def _check_connection(builder: Any, folder: Path) -> None:
    """Raise an error within seconds if no host of the data set answers; the downloader would try for minutes."""
    reasons = check_hosts(builder.url_infos or {})
    if reasons and all(reasons.values()):
        unreachable = [f"{host} cannot be reached ({reason})" for host, reason in reasons.items()]
        raise OSError(_cannot_prepare(builder.info.full_name, folder, name_some(unreachable)))


def _cannot_prepare(name: str, folder: Path, reason: str) -> str:
    return (
        f"{name!r} must be prepared in {folder} or be downloaded; got: {reason}. Connect to the network, or prepare it "
        "elsewhere and set SI_TFDS_DIR to its folder."
    )


def _unfinished(data_folder: Path) -> set[Path]:
    """The folders of downloads that are not complete."""
    return set((data_folder / "downloads").rglob("*.tmp.*"))


def _remove_empty(folder: Path, data_folder: Path) -> None:
    """Remove folders of a data set without files, from the innermost to the outermost, but not the data folder."""
    while folder != data_folder and not (folder.is_dir() and any(folder.iterdir())):
        if folder.is_dir():
            folder.rmdir()
        folder = folder.parent


@dataclass(frozen=True, eq=False)
class _RecordReader:
    """Reads the records of a prepared data set; `image`, `label` and `name` are the names of the features."""

    info: Any
    image: str
    label: str
    name: str | None

    @classmethod
    def of(cls, builder: Any) -> "_RecordReader":
        """Find the features for image, label and name; raise an error if it is not a data set of labelled images."""
        import tensorflow_datasets as tfds

        info = builder.info
        if info.file_format.value != "tfrecord":
            raise DataError(
                f"{info.full_name!r} must be prepared as tfrecord; got {info.file_format.value}. Prepare it again in "
                "another folder, and set SI_TFDS_DIR to it."
            )
        names = [name for name in _NAMES if isinstance(_features(info).get(name), tfds.features.Text)]
        return cls(
            info=info,
            image=_feature_name(info, tfds.features.Image, "image"),
            label=_feature_name(info, tfds.features.ClassLabel, "label"),
            name=names[0] if names else None,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.info.features[self.label].names)

    def first_labelled(self, splits: Sequence[str]) -> tuple[str, list[_Record]]:
        """Return the first of the given splits in which every sample has a label, with its records."""
        for split in splits:
            records = self._records(split)
            if records and all(0 <= record.label < len(self.class_names) for record in records):
                return split, records
        raise DataError(
            f"{self.info.full_name!r} must have a label for each sample; got samples without one in "
            f"{name_some(list(splits))}. Choose another split with --split."
        )

    def _records(self, split: str) -> list[_Record]:
        """Read the records of a split in the order of its files."""
        split_info = self.info.splits[split]
        records = []
        for file in split_info.filepaths:
            path = os.fspath(file)
            records += [self._record(path, start, data) for start, data in _tfrecords(path)]
        if len(records) != split_info.num_examples:
            raise DataError(
                f"{self.info.full_name!r} must have {split_info.num_examples:,} samples in {split}; got "
                f"{len(records):,}. Delete {self.info.data_dir}, and prepare it again."
            )
        return records

    def _record(self, path: str, start: int, data: bytes) -> _Record:
        """Parse a record that begins at byte `start` of a file."""
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            values = tf_example_pb2.Example.FromString(data).features.feature
            image = values[self.image].bytes_list.value[0]
            label = values[self.label].int64_list.value[0]
            name = values[self.name].bytes_list.value[0] if self.name else b""
        except Exception as error:  # protobuf's own errors, or a missing value
            raise DataError(f"{path} is damaged at byte {start:,}. Delete its folder, and prepare it again.") from error
        position = FileSlice(path, start + data.index(image), len(image))
        return _Record(name.decode("utf-8", "surrogateescape"), label, position)


def _tfrecords(path: str) -> Iterator[tuple[int, bytes]]:
    """Yield the position and the data of each record of a file."""
    with open(path, "rb") as file:
        while head := file.read(_TFRECORD_HEAD.size):
            start = file.tell()
            length = _TFRECORD_HEAD.unpack(head)[0] if len(head) == _TFRECORD_HEAD.size else -1
            if not 0 <= length <= os.fstat(file.fileno()).st_size - start - _CHECKSUM_BYTES:
                raise DataError(f"{path} is cut short at byte {start:,}. Delete its folder, and prepare it again.")
            yield start, file.read(length)
            file.seek(_CHECKSUM_BYTES, os.SEEK_CUR)


def _features(info: Any) -> dict[str, Any]:
    """Return the features by name; empty for a data set whose samples are not dictionaries."""
    return dict(info.features.items()) if hasattr(info.features, "items") else {}


def _feature_name(info: Any, kind: type, usual_name: str) -> str:
    """Return the feature of a kind that has the usual name, or is the only one of that kind."""
    candidates = sorted(name for name, feature in _features(info).items() if isinstance(feature, kind))
    if usual_name in candidates:
        return usual_name
    if len(candidates) == 1:
        return candidates[0]
    raise DataError(
        f"{info.full_name!r} must have one {kind.__name__} feature, or one named {usual_name!r}; got "
        f"{name_some(candidates) or 'none'}. Choose a data set for image classification."
    )
