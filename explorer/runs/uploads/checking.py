"""Checks uploaded files by their content, not by their names, and stores them under safe names."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from core.data import labels as label_files
from core.data.arrays import columns, list_layers, read_header
from core.data.errors import ARCHIVE_ERRORS, DataError
from core.data.images.archives import ArchiveLimits, left_out_kinds, unpack_images
from core.data.images.decoding import available_formats, failure_reason, image_suffixes
from core.data.parquet import column_chunks
from explorer.server.public_mode import Limits

UPLOADS = ".uploads"
FEATURE_SUFFIXES = (".npy", ".npz", ".parquet")
LABEL_SUFFIXES = label_files.SUFFIXES
MAX_PIXELS = 50_000_000  # of one image
MIN_SIDE_PIXELS = 2  # of the shorter side of an image
_CHUNK = 1 << 20
_NPY, _ZIP, _PARQUET = b"\x93NUMPY", b"PK\x03\x04", b"PAR1"


class UploadedFile(Protocol):
    """A file of an uploader: on disk if it has an attribute `path`, else in memory."""

    name: str

    def getvalue(self) -> bytes:
        """All of its bytes."""


@dataclass(frozen=True)
class Saved:
    """An upload on disk. All paths are relative to the folder of studies.

    Attributes
    ----------
    folder : str
        The upload's folder, `UPLOADS`/digest.
    data, labels : str
        Features or images, and labels; "" without such a file.
    names : mapping
        What the visitor calls each of these files or folders, by its path.
    test, test_labels : str
        The same of test samples; "" without such a file.
    left_out : str
        Files of an archive that are no images, such as "9 .heic"; "" without any.
    """

    folder: str
    data: str
    labels: str
    names: Mapping[str, str]
    test: str = ""
    test_labels: str = ""
    left_out: str = ""

    def in_visitors_names(self, text: str) -> str:
        """Return a text in which the visitor's names stand in place of the paths of the stored files."""
        for path, name in self.names.items():
            text = re.sub(rf"(?:\.\./)*{re.escape(path)}", name.replace("\\", r"\\"), text)
        return without_uploads(text)


def without_uploads(text: str) -> str:
    """Return a text without the folders in which uploads are stored, which say nothing to a visitor."""
    return re.sub(rf"(?:\.\./)*{re.escape(UPLOADS)}/[0-9a-f]{{32}}/", "", text)


def save_images(file: UploadedFile, studies: Path, limits: Limits) -> Saved:
    """Unpack an archive with one folder of images per class.

    Parameters
    ----------
    file : UploadedFile
        A zip archive.
    studies : Path
        The folder of studies.
    limits : Limits
        The server's limits.

    Raises
    ------
    DataError
        If the file is no such archive, or contains unsafe paths or files that cannot be read as images.
    """
    _check_size([file], limits)
    if not _starts_with(file, _ZIP):
        raise DataError(
            f"{file.name!r} must be a zip archive of images; got {_kind_of(file)}. Pack one folder per class."
        )
    target = _target(studies, [[file]]) / (_safe_name(Path(file.name).stem) or "images")

    def unpack() -> None:
        allowed = ArchiveLimits(limits.files, limits.unpacked_bytes)
        with _open(file) as archive:
            unpack_images(archive, target, tuple(sorted(image_suffixes())), allowed)
        _check_images(target)

    _once(target, unpack)
    with _open(file) as archive:
        left_out = left_out_kinds(archive, tuple(sorted(image_suffixes())))
    data = str(target.relative_to(studies))
    return Saved(_upload_of(data), data, "", {data: file.name}, left_out=left_out)


def save_features(
    files: Sequence[UploadedFile],
    labels: UploadedFile | None,
    studies: Path,
    limits: Limits,
    *,
    test: Sequence[UploadedFile] = (),
    test_labels: UploadedFile | None = None,
) -> Saved:
    """Store files of features and of their labels.

    Parameters
    ----------
    files : sequence of UploadedFile
        One file per layer, or .npz files with several layers.
    labels : UploadedFile or None
        The labels of the samples.
    studies : Path
        The folder of studies.
    limits : Limits
        The server's limits.
    test : sequence of UploadedFile
        Like `files`, of test samples.
    test_labels : UploadedFile or None
        The labels of the test samples.

    Raises
    ------
    DataError
        If a file is of no supported kind, contains pickled objects, or is shorter than its header says.
    """
    groups = [files, [labels] if labels else [], test, [test_labels] if test_labels else []]
    _check_size(list(chain.from_iterable(groups)), limits)
    folder = _target(studies, groups)

    def store() -> None:
        _store_samples(files, labels, folder, "", limits)
        if test:
            _store_samples(test, test_labels, folder, "test_", limits)

    _once(folder / "features", store)
    data = str(_stored_features(folder, "").relative_to(studies))
    labels_path = _stored_labels(studies, folder, labels, "")
    names = {data: _name_of(files, "features")} | ({labels_path: labels.name} if labels else {})
    if not test:
        return Saved(_upload_of(data), data, labels_path, names)
    test_path = str(_stored_features(folder, "test_").relative_to(studies))
    test_labels_path = _stored_labels(studies, folder, test_labels, "test_")
    names |= {test_path: _name_of(test, "test_features")} | (
        {test_labels_path: test_labels.name} if test_labels else {}
    )
    return Saved(_upload_of(data), data, labels_path, names, test=test_path, test_labels=test_labels_path)


def _name_of(files: Sequence[UploadedFile], folder: str) -> str:
    """What the visitor calls the features: the only file, or a folder that holds all of them."""
    return files[0].name if len(files) == 1 else folder


def _store_samples(
    files: Sequence[UploadedFile], labels: UploadedFile | None, folder: Path, prefix: str, limits: Limits
) -> None:
    """Store the features and the labels of one split."""
    features = folder / f"{prefix}features"
    features.mkdir(parents=True)
    for file in files:
        _store_features(file, features, limits)
    if labels:
        _store_labels(labels, folder / f"{prefix}labels{_label_suffix(labels)}", limits)


def _stored_features(folder: Path, prefix: str) -> Path:
    """The path of the stored features: the file if there is only one, else the folder."""
    files = sorted((folder / f"{prefix}features").iterdir())
    return files[0] if len(files) == 1 else folder / f"{prefix}features"


def _stored_labels(studies: Path, folder: Path, labels: UploadedFile | None, prefix: str) -> str:
    """The path of the stored labels; "" without any."""
    if labels is None:
        return ""
    return str((folder / f"{prefix}labels{_label_suffix(labels)}").relative_to(studies))


def _label_suffix(labels: UploadedFile) -> str:
    suffix = Path(labels.name).suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise DataError(f"labels must be a file of {', '.join(LABEL_SUFFIXES)}; got {labels.name!r}.")
    return suffix


def check_column(saved: Saved, column: str, studies: Path) -> None:
    """Refuse a name that is no column of the uploaded tables: the command line would read it as a path of the server.

    Parameters
    ----------
    saved : Saved
        The upload.
    column : str
        The name.
    studies : Path
        The folder of studies.

    Raises
    ------
    DataError
        If a table has no such column, or the name could be a path.
    """
    tables = []
    for path in (saved.data, saved.test):
        if path:
            tables += [columns(file) for file in _files_at(studies / path) if file.suffix == ".parquet"]
    if not tables:
        raise DataError(
            f"labels must be a column of the uploaded tables; got {column!r} and no Parquet table. Upload "
            "a file of labels."
        )
    if not all(column in names for names in tables) or "/" in column or "\\" in column:
        some_columns = ", ".join(tables[0][:10])
        raise DataError(
            f"labels must be a column of the uploaded tables; got {column!r}. Choose one of {some_columns}."
        )


def _files_at(path: Path) -> list[Path]:
    """The files of a folder, or the file itself."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _check_size(files: Sequence[UploadedFile], limits: Limits) -> None:
    size = sum(_size(file) for file in files)
    if size > limits.upload_bytes:
        raise DataError(
            f"uploads must have at most {limits.upload_bytes / 2**20:,.0f} MiB together; got {size / 2**20:,.0f} MiB."
        )


def _open(file: UploadedFile) -> IO[bytes]:
    path = getattr(file, "path", None)
    return path.open("rb") if path else BytesIO(file.getvalue())


def _size(file: UploadedFile) -> int:
    with _open(file) as opened:
        return opened.seek(0, os.SEEK_END)


def _starts_with(file: UploadedFile, magic: bytes) -> bool:
    with _open(file) as opened:
        return opened.read(len(magic)) == magic


def _has_zero_byte(file: UploadedFile) -> bool:
    with _open(file) as opened:
        return any(b"\0" in chunk for chunk in iter(lambda: opened.read(_CHUNK), b""))


def _write(file: UploadedFile, target: Path) -> None:
    """Store the content under another name; a hard link, if possible, needs no additional disk space."""
    path = getattr(file, "path", None)
    if path:
        with suppress(OSError):
            os.link(path, target)
            return
    with _open(file) as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)


def _target(studies: Path, groups: Sequence[Sequence[UploadedFile]]) -> Path:
    """The upload's folder, named by content: equal uploads are stored once, and the visitor cannot choose the name."""
    digest = hashlib.sha256()
    for group in groups:
        digest.update(f"{len(group)} files\0".encode())  # so that it matters to which group a file belongs
        for file in group:
            digest.update(f"{file.name}\0{_size(file)}\0".encode("utf-8", "replace"))
            with _open(file) as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
    return studies / UPLOADS / digest.hexdigest()[:32]


def _once(target: Path, make: Callable[[], None]) -> None:
    """Call `make` unless the target exists; if it fails, remove everything that it wrote."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        make()
    except BaseException:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise


def _upload_of(data: str) -> str:
    """The upload's folder. data : the path of its data; both relative to the folder of studies."""
    return "/".join(Path(data).parts[:2])


def _store_features(file: UploadedFile, folder: Path, limits: Limits) -> None:
    suffix = Path(file.name).suffix.lower()
    magic = {".npy": _NPY, ".npz": _ZIP, ".parquet": _PARQUET}.get(suffix)
    if magic is None or not _starts_with(file, magic):
        raise DataError(
            f"{file.name!r} must be a file of the kind that its name says ({', '.join(FEATURE_SUFFIXES)}); got "
            f"{_kind_of(file)}. Save it again, arrays with numpy.save."
        )
    path = folder / f"{_safe_name(Path(file.name).stem) or 'features'}{suffix}"
    if path.exists():
        raise DataError(f"uploaded files must have different names; got {file.name!r} twice. Rename one.")
    _write(file, path)
    _check_content(path, limits)


def _store_labels(file: UploadedFile, path: Path, limits: Limits) -> None:
    magic = {".npy": _NPY, ".parquet": _PARQUET}.get(path.suffix, b"")
    if not _starts_with(file, magic) or (not magic and _has_zero_byte(file)):
        raise DataError(
            f"{file.name!r} must be a file of the kind that its name says; got {_kind_of(file)}. Save it again."
        )
    _write(file, path)
    if path.suffix == ".npy":
        with path.open("rb") as opened:
            _check_array(opened, path.stat().st_size, file.name)
    elif path.suffix == ".parquet":
        _check_parquet(path, limits)


def _check_content(path: Path, limits: Limits) -> None:
    """Check the headers: the file must contain as many numbers as they announce."""
    if path.suffix == ".npy":
        with path.open("rb") as opened:
            _check_array(opened, path.stat().st_size, path.name)
    elif path.suffix == ".npz":
        _check_npz(path, limits)
    else:
        _check_parquet(path, limits)
        return  # its columns are checked later, when it is known which one contains the labels
    list_layers(path)


def _check_array(file: IO[bytes], size: int, name: str) -> None:
    """Check the header of an array: no pickled objects, and as many bytes as the shape needs."""
    try:
        shape, dtype = read_header(file)
    except ValueError as error:
        raise DataError(f"{name!r} must be a NumPy array; its header cannot be read. Save it again.") from error
    if dtype.hasobject:
        raise DataError(
            f"{name!r} must hold plain numbers; got pickled objects, which can run code when read. Save it again as "
            "array.astype('float32')."
        )
    needed = dtype.itemsize * int(np.prod([int(length) for length in shape], dtype=object))
    if needed > size:
        raise DataError(f"{name!r} must hold the {needed:,} bytes that its header announces; got fewer. Save it again.")


def _check_npz(path: Path, limits: Limits) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > limits.files or sum(member.file_size for member in members) > limits.unpacked_bytes:
                raise DataError(
                    f"{path.name!r} must unpack to at most {limits.unpacked_bytes / 2**20:,.0f} MiB. Take fewer layers."
                )
            for member in members:
                with archive.open(member) as opened:
                    _check_array(opened, member.file_size, f"{path.name}/{member.filename}")
    except DataError:
        raise
    except ARCHIVE_ERRORS as error:
        raise DataError(f"{path.name!r} must be a whole .npz file; got: {error}. Save it again.") from error


def _check_parquet(path: Path, limits: Limits) -> None:
    """Check the number of values in a table's footer, because a small file can encode very many equal values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        num_values = sum(chunk.num_values for chunk in column_chunks(pq.ParquetFile(path)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path.name!r} must be a whole Parquet file; it cannot be read. Save it again.") from error
    if 4 * num_values > limits.unpacked_bytes:
        raise DataError(f"{path.name!r} must hold at most {limits.unpacked_bytes // 4:,} numbers; got {num_values:,}.")


def _check_images(folder: Path) -> None:
    """Check the headers of all images before any is decoded, and report all faults together."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    faults = [fault for path in files if (fault := _image_fault(path, folder))]
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        listed = "\n".join(f"{number}. {fault}" for number, fault in enumerate(faults[:20], start=1))
        more = f"\nAnd {len(faults) - 20:,} more." if len(faults) > 20 else ""
        raise DataError(f"{len(faults):,} files of the archive cannot be used:\n{listed}{more}")


def _image_fault(path: Path, folder: Path) -> str:
    """Why a file cannot be used, and what to do; "" if it can be used."""
    from PIL import Image

    name = path.relative_to(folder).as_posix()
    if not path.stat().st_size:
        return f"{name!r} must be an image; got: the file is empty. Leave it out."
    try:
        with Image.open(path, formats=available_formats()) as image:
            width, height = image.size
    except Exception as error:
        return f"{name!r} must be an image; got: {failure_reason(error)}. Leave it out."
    if min(width, height) < MIN_SIDE_PIXELS:
        return (
            f"{name!r} must be at least {MIN_SIDE_PIXELS} × {MIN_SIDE_PIXELS} pixels; got {width} × {height}. An image "
            "that small shows nothing; leave it out."
        )
    if width * height > MAX_PIXELS:
        return f"{name!r} must have at most {MAX_PIXELS:,} pixels; got {width} × {height}. Shrink it."
    return ""


def _kind_of(file: UploadedFile) -> str:
    """The kind of a file by its first bytes, in words."""
    with _open(file) as opened:
        content = opened.read(16)
    known = {
        _NPY: "a NumPy array",
        _ZIP: "a zip archive",
        _PARQUET: "a Parquet table",
        b"\x89PNG": "an image",
        b"\xff\xd8\xff": "an image",
        b"GIF8": "an image",
        b"\x80": "pickled Python objects, which can run code when read",
        b"\x1f\x8b": "a gzip archive",
    }
    return next((kind for magic, kind in known.items() if content.startswith(magic)), "something else")


def _safe_name(name: str) -> str:
    """A file name without characters that have a meaning in paths or shells."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")[:80]
