"""Uploaded files: judged by what they hold, never by what they are called, and kept under names of our own."""

import hashlib
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from core.data import labels as label_files
from core.data.arrays import columns, list_layers, read_header
from core.data.errors import ARCHIVE_ERRORS, DataError
from core.data.images.archives import ArchiveLimits, left_out_kinds, unpack_images
from core.data.images.decoding import available_formats, failure_reason, image_suffixes
from explorer.server.public_mode import Limits

UPLOADS = ".uploads"
FEATURE_SUFFIXES = (".npy", ".npz", ".parquet")
LABEL_SUFFIXES = label_files.SUFFIXES
MAX_PIXELS = 50_000_000  # of one image
MIN_SIDE_PIXELS = 2  # a side
_CHUNK = 1 << 20
_NPY, _ZIP, _PARQUET = b"\x93NUMPY", b"PK\x03\x04", b"PAR1"


class UploadedFile(Protocol):
    """A file of an uploader. One that has a `path` is on disk; of others `getvalue` gives the content."""

    name: str

    def getvalue(self) -> bytes: ...


@dataclass(frozen=True)
class Saved:
    """An upload on disk.

    Attributes
    ----------
    folder : within the folder of studies, its name there being `UPLOADS`/digest.
    data, labels, test, test_labels : paths relative to the folder of studies; "" where there is no such file.
    name : what the visitor calls it. left_out : files of an archive that are no images, such as "9 .heic".
    """

    folder: str
    data: str
    labels: str
    name: str
    test: str = ""
    test_labels: str = ""
    left_out: str = ""


def save_images(file: UploadedFile, studies: Path, limits: Limits) -> Saved:
    """Unpack an archive of images into a folder for each class.

    Raises
    ------
    DataError
        If it is no such archive, or holds what may do harm, or an image that is none; the message names it.
    """
    _check_size([file], limits)
    if not _starts_with(file, _ZIP):
        raise DataError(f"{file.name!r} must be a zip archive of images; got {_kind_of(file)}. Pack a folder a class.")
    target = _target(studies, [[file]]) / (_safe_name(Path(file.name).stem) or "images")

    def unpack() -> None:
        allowed = ArchiveLimits(limits.files, limits.unpacked_bytes)
        with _open(file) as archive:
            unpack_images(archive, target, tuple(sorted(image_suffixes())), allowed)
        _check_images(target)

    _once(target, unpack)
    with _open(file) as archive:
        left_out = left_out_kinds(archive, tuple(sorted(image_suffixes())))
    return replace(_saved(studies, target, "", file.name), left_out=left_out)


def save_features(
    files: Sequence[UploadedFile],
    labels: UploadedFile | None,
    studies: Path,
    limits: Limits,
    *,
    test: Sequence[UploadedFile] = (),
    test_labels: UploadedFile | None = None,
) -> Saved:
    """Keep files of features, one layer each or several in an .npz file, and the file of their labels.

    test, test_labels : the same of the test samples.

    Raises
    ------
    DataError
        If a file is none of the kinds known, holds pickled objects, or promises more numbers than it has.
    """
    groups = [files, [labels] if labels else [], test, [test_labels] if test_labels else []]
    _check_size([file for group in groups for file in group], limits)
    folder = _target(studies, groups)

    def keep() -> None:
        _keep_samples(files, labels, folder, "", limits)
        if test:
            _keep_samples(test, test_labels, folder, "test_", limits)

    _once(folder / "features", keep)
    saved = _saved(studies, _kept_features(folder, ""), _kept_labels(studies, folder, labels, ""), files[0].name)
    if not test:
        return saved
    where = str(_kept_features(folder, "test_").relative_to(studies))
    return replace(saved, test=where, test_labels=_kept_labels(studies, folder, test_labels, "test_"))


def _keep_samples(
    files: Sequence[UploadedFile], labels: UploadedFile | None, folder: Path, prefix: str, limits: Limits
) -> None:
    """The features and labels of one split."""
    features = folder / f"{prefix}features"
    features.mkdir(parents=True)
    for file in files:
        _keep_features(file, features, limits)
    if labels:
        _keep_labels(labels, folder / f"{prefix}labels{_label_suffix(labels)}", limits)


def _kept_features(folder: Path, prefix: str) -> Path:
    """The only file where there is one, else their folder."""
    kept = sorted((folder / f"{prefix}features").iterdir())
    return kept[0] if len(kept) == 1 else folder / f"{prefix}features"


def _kept_labels(studies: Path, folder: Path, labels: UploadedFile | None, prefix: str) -> str:
    return str((folder / f"{prefix}labels{_label_suffix(labels)}").relative_to(studies)) if labels else ""


def _label_suffix(labels: UploadedFile) -> str:
    suffix = Path(labels.name).suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise DataError(f"labels must be a file of {', '.join(LABEL_SUFFIXES)}; got {labels.name!r}.")
    return suffix


def check_column(saved: Saved, column: str, studies: Path) -> None:
    """Refuse what is no column of the uploaded tables: the command line would take it for a file of the server.

    Raises
    ------
    DataError
        It is none, or its name could be a path.
    """
    kept = [studies / path for path in (saved.data, saved.test) if path]
    files = [file for path in kept for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    tables = [columns(file) for file in files if file.suffix == ".parquet"]
    if not tables or not all(column in names for names in tables) or "/" in column or "\\" in column:
        there = ", ".join(name for name in tables[0][:10]) if tables else "no Parquet table"
        raise DataError(f"labels must be a column of the uploaded tables; got {column!r}, there is {there}.")


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
    """The content under another name, by a hard link where that is possible, so that the disk holds it once."""
    path = getattr(file, "path", None)
    if path:
        with suppress(OSError):
            os.link(path, target)
            return
    with _open(file) as source, target.open("xb") as copy:
        shutil.copyfileobj(source, copy, _CHUNK)


def _target(studies: Path, groups: Sequence[Sequence[UploadedFile]]) -> Path:
    """A folder named by content, so that the same upload is kept once and its name is none of the visitor's."""
    digest = hashlib.sha256()
    for group in groups:
        digest.update(f"{len(group)} files\0".encode())  # for a file of test samples is another thing
        for file in group:
            digest.update(f"{file.name}\0{_size(file)}\0".encode("utf-8", "replace"))
            with _open(file) as opened:
                while chunk := opened.read(_CHUNK):
                    digest.update(chunk)
    return studies / UPLOADS / digest.hexdigest()[:32]


def _once(target: Path, make: Callable[[], None]) -> None:
    """Make what is not there yet; nothing is left of what is refused."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        make()
    except BaseException:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise


def _saved(studies: Path, data: Path, labels: str, name: str) -> Saved:
    relative = data.relative_to(studies)
    return Saved("/".join(relative.parts[:2]), str(relative), labels, name)


def _keep_features(file: UploadedFile, folder: Path, limits: Limits) -> None:
    suffix = Path(file.name).suffix.lower()
    magic = {".npy": _NPY, ".npz": _ZIP, ".parquet": _PARQUET}.get(suffix)
    if magic is None or not _starts_with(file, magic):
        raise DataError(
            f"{file.name!r} must be what its name says, a file of {', '.join(FEATURE_SUFFIXES)}; got "
            f"{_kind_of(file)}. Save it again, arrays with numpy.save."
        )
    path = folder / f"{_safe_name(Path(file.name).stem) or 'features'}{suffix}"
    if path.exists():
        raise DataError(f"uploaded files must have different names; got {file.name!r} twice. Rename one.")
    _write(file, path)
    _check_content(path, limits)


def _keep_labels(file: UploadedFile, path: Path, limits: Limits) -> None:
    magic = {".npy": _NPY, ".parquet": _PARQUET}.get(path.suffix, b"")
    if not _starts_with(file, magic) or (not magic and _has_zero_byte(file)):
        raise DataError(f"{file.name!r} must be what its name says; got {_kind_of(file)}. Save it again.")
    _write(file, path)
    if path.suffix == ".npy":
        with path.open("rb") as opened:
            _check_array(opened, path.stat().st_size, file.name)
    elif path.suffix == ".parquet":
        _check_parquet(path, limits)


def _check_content(path: Path, limits: Limits) -> None:
    """Headers only: what they promise must be there, and be numbers."""
    if path.suffix == ".npy":
        with path.open("rb") as opened:
            _check_array(opened, path.stat().st_size, path.name)
    elif path.suffix == ".npz":
        _check_npz(path, limits)
    else:
        _check_parquet(path, limits)
        return  # its columns are judged when it is known which one holds the labels
    list_layers(path)


def _check_array(file: IO[bytes], size: int, name: str) -> None:
    """The header of an array: no pickled objects, and as many bytes as its shape needs."""
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
        raise DataError(f"{name!r} must hold the {needed:,} bytes that its header promises; got fewer. Save it again.")


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
    """A table's footer: a few bytes can stand for very many equal values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(path)
        groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
        values = sum(group.column(place).num_values for group in groups for place in range(group.num_columns))
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path.name!r} must be a whole Parquet file; its end cannot be read. Save it again."
        ) from error
    if 4 * values > limits.unpacked_bytes:
        raise DataError(f"{path.name!r} must hold at most {limits.unpacked_bytes // 4:,} numbers; got {values:,}.")


def _check_images(folder: Path) -> None:
    """By their headers, before anything is decoded; all that is wrong is told together."""
    faults = [fault for path in sorted(folder.rglob("*")) if path.is_file() and (fault := _image_fault(path, folder))]
    if len(faults) == 1:
        raise DataError(faults[0])
    if faults:
        listed = "\n".join(f"{number}. {fault}" for number, fault in enumerate(faults[:20], start=1))
        more = f"\nAnd {len(faults) - 20:,} more." if len(faults) > 20 else ""
        raise DataError(f"{len(faults):,} files of the archive cannot be used:\n{listed}{more}")


def _image_fault(path: Path, folder: Path) -> str:
    """Why a file cannot be used, and what to do; "" where it can."""
    from PIL import Image

    name = path.relative_to(folder).as_posix()
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
    """What a file is by its first bytes, in words."""
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
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")[:80]
