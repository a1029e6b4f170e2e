"""Reading files that strangers name: only regular ones, and no more than they may hold."""

import os
import stat

from core.data.errors import DataError


def check_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what is there but no regular file: reading a named pipe waits for good, a device may never end.

    Raises
    ------
    DataError
        It is a pipe, a device, a socket or a folder, or a link to one.
    FileNotFoundError, OSError
        It is not there, or cannot be looked at.
    """
    _refuse_other_kinds(path, os.stat(path).st_mode)


def check_utf8_name(path: str | os.PathLike[str], name: str) -> None:
    """Refuse a path that is no UTF-8, which Arrow cannot open.

    name : of the argument that it was given as.

    Raises
    ------
    DataError
        The path holds bytes that are no UTF-8.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{name} must have a path in UTF-8; got {os.fspath(path)!a}. Rename the file or folder."
        ) from error


def read_file(path: str | os.PathLike[str], most_bytes: int) -> bytes:
    """All of a regular file of at most so many bytes.

    Raises
    ------
    DataError
        As `check_regular`; also where the file is larger.
    """
    if "\0" in os.fspath(path):
        raise DataError(f"the path of a file must not hold NUL characters; got {os.fspath(path)!r}.")
    # Opened without waiting for a pipe's other end, and looked at once it is open: a path may change in between.
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
