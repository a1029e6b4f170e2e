"""Safe unpacking of untrusted zip archives."""

import shutil
import stat
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from core.data.errors import ARCHIVE_ERRORS, DataError
from core.data.images.split_names import split_role
from core.data.sampling import name_some

# A file of more than 1 MiB that expands by more than this ratio is taken for a decompression bomb. Images and .npy
# files reach 10, rarely 50.
_MAX_RATIO = 100
_UNCHECKED_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_MAX_NAME_LENGTH = 500
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class ArchiveLimits:
    """The maximum number of files in an archive, and of their bytes after unpacking."""

    files: int
    unpacked_bytes: int


def unpack_images(archive: IO[bytes], folder: Path, suffixes: tuple[str, ...], limits: ArchiveLimits) -> int:
    """Unpack the files with certain extensions from a zip archive into a new folder.

    If all files lie in one common folder, this folder is left out.

    Parameters
    ----------
    archive : binary file
        The archive; must be seekable.
    folder : Path
        The new folder, which must not exist. It is created completely or, after an error, not at all.
    suffixes : tuple of str
        Extensions of the files to unpack, such as ".png".
    limits : ArchiveLimits
        Limits for the whole archive.

    Returns
    -------
    int
        Number of unpacked files.

    Raises
    ------
    DataError
        If the file is not a zip archive, is damaged or encrypted; if a name points outside the folder or is a link; if
        the archive exceeds the limits or is suspiciously compressed; if it has no file with one of the extensions.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _check_members(opened.infolist(), limits)
            selected = [member for member in members if PurePosixPath(member.filename).suffix.lower() in suffixes]
            if not selected:
                raise DataError(
                    f"the archive must hold files of {', '.join(suffixes)}; got {_list_suffixes(members)}. Pack the "
                    "folder that has a folder for each class."
                )
            _unpack(opened, selected, folder, limits)
    except DataError:
        raise
    except ARCHIVE_ERRORS as error:
        raise DataError(
            f"the archive must be a whole zip file without a password; got: {error}. Pack it again."
        ) from error
    return len(selected)


def left_out_kinds(archive: IO[bytes], suffixes: tuple[str, ...]) -> str:
    """Count the files that `unpack_images` does not unpack, such as "9 .heic, 3 .txt"; "" if there are none.

    Parameters
    ----------
    archive : binary file
        An archive that `unpack_images` has accepted.
    suffixes : tuple of str
        The extensions that it unpacks.
    """
    with zipfile.ZipFile(archive) as opened:
        paths = [PurePosixPath(member.filename) for member in opened.infolist() if not member.is_dir()]
    counts: Counter[str] = Counter()
    for path in paths:
        is_system_file = path.name.startswith(".") or bool(set(path.parts) & set(_IGNORED))
        if path.suffix.lower() not in suffixes and not is_system_file:
            counts[path.suffix.lower()] += 1
    return name_some([f"{count:,} {suffix or 'without extension'}" for suffix, count in counts.most_common()])


def _check_members(members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """Return the files of an archive, after checking their names and declared sizes."""
    files = [member for member in members if not member.is_dir()]
    if len(members) > limits.files:
        raise DataError(f"the archive must hold at most {limits.files:,} files; got {len(members):,}. Pack fewer.")
    outside = [repr(member.filename) for member in members if not _stays_inside(member.filename)]
    if outside:
        raise DataError(
            f"names in the archive must be relative paths inside it; got {name_some(outside)}. Pack it again."
        )
    links = [repr(member.filename) for member in members if _is_special(member)]
    if links:
        raise DataError(
            f"the archive must hold files, not links or devices; got {name_some(links)}. Pack the files themselves."
        )
    for member in files:
        _check_ratio(member)
    unpacked = sum(member.file_size for member in files)
    if unpacked > limits.unpacked_bytes:
        raise DataError(_too_large(unpacked, limits))
    return [member for member in files if not set(PurePosixPath(member.filename).parts) & set(_IGNORED)]


def _stays_inside(name: str) -> bool:
    """Return whether a name is a path below the folder on every operating system."""
    is_absolute = name.startswith("/") or ":" in name  # a colon follows the drive on Windows
    has_special_characters = "\\" in name or "\0" in name
    return not (is_absolute or has_special_characters or ".." in name.split("/") or len(name) > _MAX_NAME_LENGTH)


def _is_special(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _check_ratio(member: zipfile.ZipInfo) -> None:
    if member.file_size > _UNCHECKED_BYTES + _MAX_RATIO * member.compress_size:
        raise DataError(
            f"{member.filename!r} must not unpack to more than {_MAX_RATIO} times its size; got "
            f"{member.compress_size:,} bytes for {member.file_size:,}. Leave it out."
        )


def _unpack(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, limits: ArchiveLimits) -> None:
    """Write the files to a temporary folder, counting the bytes that really come out, then rename the folder."""
    scratch = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    num_common = len(_common_folder(members))
    remaining_bytes = limits.unpacked_bytes
    try:
        for member in members:
            target = scratch.joinpath(*PurePosixPath(member.filename).parts[num_common:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as packed, target.open("xb") as file:
                remaining_bytes -= _copy(packed, file, min(remaining_bytes, member.file_size), limits)
        scratch.rename(folder)
    except OSError as error:  # two names that are equal for this file system, or a file and a folder of the same name
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"the archive cannot be unpacked: {reason}. Pack it again with simple, different names."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy(packed: IO[bytes], file: IO[bytes], max_bytes: int, limits: ArchiveLimits) -> int:
    """Unpack one file; return its size in bytes."""
    num_bytes = 0
    while chunk := packed.read(_CHUNK_BYTES):
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            raise DataError(_too_large(limits.unpacked_bytes + 1, limits))
        file.write(chunk)
    return num_bytes


def _common_folder(members: list[zipfile.ZipInfo]) -> tuple[str, ...]:
    """Return the outer folders that all files have in common, without class folders and split folders."""
    paths = [PurePosixPath(member.filename).parts for member in members]
    common: list[str] = []
    for names in zip(*(path[:-2] for path in paths), strict=False):  # the last two parts are class and file name
        if len(set(names)) > 1 or split_role(names[0]):
            break
        common.append(names[0])
    return tuple(common)


def _list_suffixes(members: list[zipfile.ZipInfo]) -> str:
    kinds = sorted({PurePosixPath(member.filename).suffix.lower() or "no extension" for member in members})
    return name_some(kinds) if kinds else "nothing"


def _too_large(unpacked: int, limits: ArchiveLimits) -> str:
    return (
        f"the archive must unpack to at most {limits.unpacked_bytes / 2**20:,.0f} MiB; got at least "
        f"{unpacked / 2**20:,.0f} MiB. Pack fewer or smaller files."
    )
