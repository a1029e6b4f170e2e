"""Archives of files that strangers made, unpacked only where nothing in them can do harm."""

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

_LARGEST_RATIO = 100  # unpacked to packed, beyond a first megabyte; images and .npy files reach 10, seldom 50
_FREE_BYTES = 1 << 20
_CHUNK = 1 << 20
_IGNORED = ("__MACOSX", ".DS_Store", "Thumbs.db")


@dataclass(frozen=True)
class ArchiveLimits:
    """The most that an archive may hold: files, and bytes once unpacked."""

    files: int
    unpacked_bytes: int


def unpack_images(archive: IO[bytes], folder: Path, suffixes: tuple[str, ...], limits: ArchiveLimits) -> int:
    """Unpack a zip archive's files of some kinds into a new folder; a single folder that holds all is left out.

    Parameters
    ----------
    archive : a seekable file.
    folder : must not exist; it appears whole or not at all.
    suffixes : the kinds to unpack, as ".png"; other files stay in the archive.
    limits : the most that all of it may hold.

    Returns
    -------
    The number of files unpacked.

    Raises
    ------
    DataError
        It is no zip archive, or damaged, or encrypted; a name leads out of the folder or stands for a link; it holds
        too much, or packs it too densely to be true; it holds no file of these kinds.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(opened.infolist(), limits)
            wanted = [member for member in members if PurePosixPath(member.filename).suffix.lower() in suffixes]
            if not wanted:
                raise DataError(
                    f"the archive must hold files of {', '.join(suffixes)}; got {_kinds(members)}. Pack the folder "
                    "that has a folder for each class."
                )
            _unpack(opened, wanted, folder, limits)
    except DataError:
        raise
    except ARCHIVE_ERRORS as error:
        raise DataError(
            f"the archive must be a whole zip file without a password; got: {error}. Pack it again."
        ) from error
    return len(wanted)


def left_out_kinds(archive: IO[bytes], suffixes: tuple[str, ...]) -> str:
    """The files of an archive that `unpack_images` leaves in it, such as "9 .heic, 3 .txt"; "" where there are none.

    archive : one that `unpack_images` has accepted.
    """
    with zipfile.ZipFile(archive) as opened:
        paths = [PurePosixPath(member.filename) for member in opened.infolist() if not member.is_dir()]
    counts = Counter(
        path.suffix.lower()
        for path in paths
        if path.suffix.lower() not in suffixes and not path.name.startswith(".") and not set(path.parts) & set(_IGNORED)
    )
    return name_some([f"{count:,} {suffix or 'without extension'}" for suffix, count in counts.most_common()])


def _checked(members: list[zipfile.ZipInfo], limits: ArchiveLimits) -> list[zipfile.ZipInfo]:
    """The files of an archive, if their names and the sizes that it claims are harmless."""
    files = [member for member in members if not member.is_dir()]
    if len(members) > limits.files:
        raise DataError(f"the archive must hold at most {limits.files:,} files; got {len(members):,}. Take fewer.")
    outside = [repr(member.filename) for member in members if not _stays_inside(member.filename)]
    if outside:
        raise DataError(f"the archive's names must stay within it; got {name_some(outside)}. Pack it again.")
    links = [repr(member.filename) for member in members if _is_special(member)]
    if links:
        raise DataError(f"the archive must hold files, no links or devices; got {name_some(links)}. Pack the files.")
    for member in files:
        _refuse_bomb(member)
    unpacked = sum(member.file_size for member in files)
    if unpacked > limits.unpacked_bytes:
        raise DataError(_too_large(unpacked, limits))
    return [member for member in files if not set(PurePosixPath(member.filename).parts) & set(_IGNORED)]


def _stays_inside(name: str) -> bool:
    """Whether a name is a path below the folder on every system."""
    parts = name.split("/")
    return not (name.startswith("/") or "\\" in name or ":" in name or "\0" in name or ".." in parts or len(name) > 500)


def _is_special(member: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _refuse_bomb(member: zipfile.ZipInfo) -> None:
    if member.file_size > _FREE_BYTES + _LARGEST_RATIO * member.compress_size:
        raise DataError(
            f"{member.filename!r} must not unpack to more than {_LARGEST_RATIO} times its size; got "
            f"{member.compress_size:,} bytes for {member.file_size:,}. Leave it out."
        )


def _unpack(opened: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path, limits: ArchiveLimits) -> None:
    """Write the files beside the folder, counting what really comes out, then rename."""
    scratch = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    skipped = len(_common_folder(members))
    left = limits.unpacked_bytes
    try:
        for member in members:
            target = scratch.joinpath(*PurePosixPath(member.filename).parts[skipped:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as packed, target.open("xb") as file:
                left -= _copy(packed, file, min(left, member.file_size), limits)
        scratch.rename(folder)
    except OSError as error:  # two names that this file system cannot tell apart, or a file where a folder must be
        reason = error.strerror or type(error).__name__
        raise DataError(
            f"the archive cannot be unpacked: {reason}. Pack it again with simple, different names."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _copy(packed: IO[bytes], file: IO[bytes], most: int, limits: ArchiveLimits) -> int:
    written = 0
    while chunk := packed.read(_CHUNK):
        written += len(chunk)
        if written > most:
            raise DataError(_too_large(limits.unpacked_bytes + 1, limits))
        file.write(chunk)
    return written


def _common_folder(members: list[zipfile.ZipInfo]) -> tuple[str, ...]:
    """The folders that every file lies in, as long as a class folder is left between them and the files."""
    paths = [PurePosixPath(member.filename).parts for member in members]
    common: list[str] = []
    for names in zip(*(path[:-2] for path in paths), strict=False):
        if len(set(names)) > 1 or split_role(names[0]):
            break
        common.append(names[0])
    return tuple(common)


def _kinds(members: list[zipfile.ZipInfo]) -> str:
    kinds = sorted({PurePosixPath(member.filename).suffix.lower() or "no extension" for member in members})
    return name_some(kinds) if kinds else "nothing"


def _too_large(unpacked: int, limits: ArchiveLimits) -> str:
    return (
        f"the archive must unpack to at most {limits.unpacked_bytes / 2**20:,.0f} MiB; got at least "
        f"{unpacked / 2**20:,.0f} MiB. Take fewer or smaller files."
    )
