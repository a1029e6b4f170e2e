"""Files: reading untrusted ones, which must be regular and not too large, and replacing one in a single step."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.data.errors import DataError


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise an error unless the path is a regular file.

    Reading from a named pipe could wait forever, and a device may never end.

    Raises
    ------
    DataError
        If the path is a pipe, device, socket or folder, or a link to one.
    FileNotFoundError, OSError
        If the path does not exist or cannot be accessed.
    """
    _refuse_other_kinds(path, os.stat(path).st_mode)


def check_utf8_name(path: str | os.PathLike[str], name: str) -> None:
    """Raise an error if the path is not valid UTF-8, since Arrow cannot open such a file.

    Parameters
    ----------
    path : str or path-like
        Path of a file or folder.
    name : str
        The argument that the path was passed as, for the error message.

    Raises
    ------
    DataError
        If the path contains bytes that are not UTF-8.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} must have a path in UTF-8; got {os.fspath(path)!a}. Rename the file or folder."
        ) from error


def read_file(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """Return the content of a regular file of at most `most_bytes` bytes.

    Raises
    ------
    DataError
        As `check_regular`; also if the file is larger.
    """
    if "\0" in os.fspath(path):
        raise DataError(f"the path of a file must not hold NUL characters; got {os.fspath(path)!r}.")
    # O_NONBLOCK: do not wait for the other end of a pipe. The check comes after opening, because the file behind a
    # path may change between a check and the opening.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise DataError(f"{os.fspath(path)} must hold at most {most_bytes / 2**20:,.0f} MiB; got more.")
    return data


def make_folder(folder: Path, name: str = "out") -> None:
    """Make a folder, and those above it, where they do not exist.

    Parameters
    ----------
    folder : Path
    name : str
        The argument that the folder was passed as, for the error message.

    Raises
    ------
    DataError
        As `check_folder`; also if the system does not let the folder be made.
    """
    check_folder(folder, name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(folder, name, str(error.strerror).lower()) from error


def check_folder(folder: Path, name: str = "out") -> None:
    """Raise an error if a folder cannot be made or written to, before anything that takes long.

    Parameters
    ----------
    folder : Path
        The folder, which need not exist.
    name : str
        The argument that it was passed as, for the error message.

    Raises
    ------
    DataError
        If it or a folder above it is a file or may not be written to, or if its name is not UTF-8.
    """
    check_utf8_name(folder, name)
    folder = folder.absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise _no_folder(folder, name, "which is a file" if nearest == folder else f"and {nearest} is a file")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise _no_folder(folder, name, "which" if nearest == folder else f"and {nearest}", " may not be written to")


def check_new_file(path: Path, name: str = "out") -> None:
    """Raise an error if a file cannot be written, before anything that takes long; folders above it may be missing.

    Parameters
    ----------
    path : Path
        The file, which need not exist.
    name : str
        The argument that it was passed as, for the error message.

    Raises
    ------
    DataError
        If it is a folder; or as `check_folder`, for the folder that it is in.
    """
    if path.is_dir():
        raise DataError(f"{name} must be a file; got the folder {path}. Add a file name.")
    check_folder(path.parent, f"the folder of {name}")


def write_new_file(path: Path, write: Callable[[Path], Any], name: str = "out") -> None:
    """Write a file that a person named, with the folders above it; as `replace_file` does.

    Raises
    ------
    DataError
        As `check_new_file`.
    """
    check_new_file(path, name)
    make_folder(path.parent, f"the folder of {name}")
    replace_file(path, write)


def _no_folder(folder: Path, name: str, *reason: str) -> DataError:
    return DataError(
        f"{name} must be a folder that can be written to; got {folder}, {''.join(reason)}. Choose another one."
    )


def replace_file(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside `path` and rename it over it, so that a reader sees the old content or the new one.

    Parameters
    ----------
    path : Path
        The file to replace; it need not exist.
    write : callable
        Writes the new content to the path that it is given.
    """
    scratch = path.with_name(f".{path.name}.tmp")
    write(scratch)
    os.replace(scratch, path)


def _refuse_other_kinds(path: str | os.PathLike[str], mode: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind != stat.S_IFREG:
        raise DataError(f"{os.fspath(path)} must be a regular file; got {_KINDS.get(kind, 'something else')}.")


_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
