"""Labelled images of TensorFlow Datasets: one pass finds each image's place in the files, its label and its id.

The shards are read record by record, so an image and its label come from the same record and cannot part; images are
read again from their place when they are asked for, so memory holds none of them. TensorFlow itself is needed only
where a data set has to be downloaded first.
"""

import contextlib
import difflib
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from core.data.errors import DataError
from core.data.images.decoding import failure_reason, require_pillow
from core.data.images.folders import FoundImages
from core.data.sampling import name_some

PREFIX = "tfds:"
_NAMES = ("image/filename", "image/file_name", "filename", "file_name", "id", "image/id", "image_id")
_PARTS = {"train": ("train",), "test": ("test", "validation")}  # our split is the first of these with labels
_TFRECORD_HEAD = struct.Struct("<QI")  # length of the record, and a checksum; another checksum ends it


class FileSlice(NamedTuple):
    """Some consecutive bytes of a file."""

    path: str
    start: int
    length: int

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.start)
            return file.read(self.length)


class _Record(NamedTuple):
    """One sample as the data set has it; `name` is "" where it has none."""

    name: str
    label: int
    image: FileSlice


@dataclass(frozen=True, eq=False)
class TfdsImages:
    """The samples of a data set.

    name : with configuration and version, such as "stanford_dogs/0.2.0".
    found : ids, labels, class names (in the data set's own order) and splits, ascending by id.
    encoded : the bytes of each id's image, where they lie. notes : what a reader of results must know.
    """

    name: str
    found: FoundImages
    encoded: Mapping[str, FileSlice] = field(repr=False)
    notes: tuple[str, ...] = ()

    def read(self, sample: str) -> bytes:
        """The encoded image of an id."""
        return self.encoded[sample].read()


def find_tfds_images(data: str, split: str) -> TfdsImages:
    """The samples of a data set, downloaded and prepared first where they are not yet.

    The official splits are kept: train, and test; where there is no test split, or one without labels, validation takes
    its place, and a note says so. Where there is train alone, `splits` is empty, as of a folder without splits. Ids
    are split and file name (or the data set's own id), else split and running number.

    Parameters
    ----------
    data : "tfds:NAME", "tfds:NAME/CONFIG" or "tfds:NAME:VERSION". The files are looked for in the folder that the
        environment variable SI_TFDS_DIR names, else TFDS_DATA_DIR, else ~/tensorflow_datasets.
    split : "both", "train" or "test".

    Raises
    ------
    ValueError
        If there is no such data set or split.
    DataError
        If the data set has no images with labels, or its files are damaged.
    OSError
        If the data set has to be downloaded and cannot be.
    ModuleNotFoundError
        If tensorflow-datasets or Pillow is not installed.
    """
    require_pillow()
    builder = _builder(data.removeprefix(PREFIX))
    _prepare(builder)
    reader = _RecordReader.of(builder)
    there = {name: tuple(part for part in parts if part in builder.info.splits) for name, parts in _PARTS.items()}
    there = {name: parts for name, parts in there.items() if parts}
    unsplit = set(there) == {"train"}
    wanted = {name: parts for name, parts in there.items() if unsplit or split in ("both", name)}
    if not wanted:
        raise ValueError(
            f"split must be one that the data set has; got {split!r}, but {data!r} has only "
            f"{name_some(list(builder.info.splits))}. Choose another."
        )
    taken = {name: reader.first_labelled(parts) for name, parts in wanted.items()}
    notes = tuple(
        f"The {part} split of {builder.info.full_name} serves as the {name} split: there is no other with labels."
        for name, (part, _) in taken.items()
        if part != name
    )
    records = {name: records for name, (_, records) in taken.items()}
    return _gathered(builder.info.full_name, records, reader.class_names, unsplit, notes)


def _gathered(
    name: str,
    records: Mapping[str, Sequence[_Record]],
    class_names: tuple[str, ...],
    unsplit: bool,
    notes: tuple[str, ...],
) -> TfdsImages:
    """All records as samples, ascending by id."""
    samples = sorted(
        (sample, record.label, split, record.image)
        for split, own in records.items()
        for sample, record in zip(_ids(own, "" if unsplit else f"{split}/"), own, strict=True)
    )
    ids, labels, splits, images = zip(*samples, strict=True)
    found = FoundImages(
        ids=ids,
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        splits=np.array([] if unsplit else splits, dtype=str),
    )
    return TfdsImages(name, found, dict(zip(ids, images, strict=True)), notes)


def _ids(records: Sequence[_Record], prefix: str) -> list[str]:
    """The records' names where they are distinct, else their numbers."""
    names = [record.name for record in records]
    if len(set(names)) < len(names) or "" in names:
        names = [f"{number:07d}" for number in range(len(records))]
    return [prefix + name for name in names]


def _builder(name: str) -> Any:
    """The data set's own description, nothing read yet."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{PREFIX}{name} needs the package tensorflow-datasets, which is not installed. "
            "Run: pip install 'separation-index-explorer[tfds]'"
        ) from error
    try:
        return tfds.builder(name, data_dir=os.environ.get("SI_TFDS_DIR") or None)
    except (ValueError, ImportError) as error:  # its own text lists a thousand names
        near = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False))
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"data must name a data set of TensorFlow Datasets after {PREFIX!r}; got {PREFIX + name!r}.{hint} "
            "All are listed at tensorflow.org/datasets/catalog."
        ) from error


def _prepare(builder: Any) -> None:
    """Download and prepare a data set that is not there yet."""
    if builder.is_prepared():
        return
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where it announces itself
            builder.download_and_prepare()
    except Exception as error:  # of the network, of archives, of data sets that ask for a download by hand
        raise OSError(
            f"{builder.info.full_name!r} must be prepared in {builder.data_dir} or be downloaded; got: "
            f"{failure_reason(error)}. Connect to the network, or prepare it elsewhere and set SI_TFDS_DIR to "
            "its folder."
        ) from error


@dataclass(frozen=True, eq=False)
class _RecordReader:
    """Reads a prepared data set's records: which feature is the image, which its label, which its name."""

    info: Any
    image: str
    label: str
    name: str | None

    @classmethod
    def of(cls, builder: Any) -> "_RecordReader":
        """Choose the features, and refuse what is no set of images with a label each."""
        import tensorflow_datasets as tfds

        info = builder.info
        if info.file_format.value != "tfrecord":
            raise DataError(
                f"{info.full_name!r} must be prepared as tfrecord; got {info.file_format.value}. Prepare it again in "
                "another folder, and set SI_TFDS_DIR to it."
            )
        names = [name for name in _NAMES if isinstance(_items(info).get(name), tfds.features.Text)]
        return cls(
            info=info,
            image=_only(info, tfds.features.Image, "image"),
            label=_only(info, tfds.features.ClassLabel, "label"),
            name=names[0] if names else None,
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.info.features[self.label].names)

    def first_labelled(self, splits: Sequence[str]) -> tuple[str, list[_Record]]:
        """The first of some splits in which every sample has a label, with its records."""
        for split in splits:
            records = self._records(split)
            if records and all(0 <= record.label < len(self.class_names) for record in records):
                return split, records
        raise DataError(
            f"{self.info.full_name!r} must have a label for each sample; got samples without one in "
            f"{name_some(list(splits))}. Choose another split with --split."
        )

    def _records(self, split: str) -> list[_Record]:
        """A split's records in the order of its files."""
        described = self.info.splits[split]
        paths = [os.fspath(path) for path in described.filepaths]
        records = [self._record(path, start, data) for path in paths for start, data in _tfrecords(path)]
        if len(records) != described.num_examples:
            raise DataError(
                f"{self.info.full_name!r} must have {described.num_examples:,} samples in {split}; got "
                f"{len(records):,}. Delete {self.info.data_dir}, and prepare it again."
            )
        return records

    def _record(self, path: str, start: int, data: bytes) -> _Record:
        """What a record says, and where in the file its image lies."""
        from tensorflow_datasets.proto import tf_example_pb2

        try:
            values = tf_example_pb2.Example.FromString(data).features.feature
            image = values[self.image].bytes_list.value[0]
            label = values[self.label].int64_list.value[0]
            name = values[self.name].bytes_list.value[0] if self.name else b""
        except Exception as error:  # protobuf's own, or no value where one must be
            raise DataError(f"{path} is damaged at byte {start:,}. Delete its folder, and prepare it again.") from error
        place = FileSlice(path, start + data.index(image), len(image))
        return _Record(name.decode("utf-8", "surrogateescape"), label, place)


def _tfrecords(path: str) -> Iterator[tuple[int, bytes]]:
    """Each record of a file, and the byte where it begins."""
    with open(path, "rb") as file:
        while head := file.read(_TFRECORD_HEAD.size):
            start = file.tell()
            length = _TFRECORD_HEAD.unpack(head)[0] if len(head) == _TFRECORD_HEAD.size else -1
            if not 0 <= length <= os.fstat(file.fileno()).st_size - start - 4:
                raise DataError(f"{path} is cut short at byte {start:,}. Delete its folder, and prepare it again.")
            yield start, file.read(length)
            file.seek(4, os.SEEK_CUR)


def _items(info: Any) -> dict[str, Any]:
    """The features by name; a data set whose samples have no names for their parts has none."""
    return dict(info.features.items()) if hasattr(info.features, "items") else {}


def _only(info: Any, kind: type, usual: str) -> str:
    """The feature of a kind that bears the usual name, or is the only one."""
    found = sorted(name for name, feature in _items(info).items() if isinstance(feature, kind))
    if usual in found or len(found) == 1:
        return usual if usual in found else found[0]
    raise DataError(
        f"{info.full_name!r} must have one {kind.__name__} feature, or one named {usual!r}; got "
        f"{name_some(found) if found else 'none'}. Choose a data set for image classification."
    )
