"""Stores uploaded files on disk within the server's limits, and removes them when they are not needed any more.

Streamlit keeps an uploaded file in memory as long as its session can be resumed. Here the bytes are written to disk
instead (see `middleware`), and Streamlit keeps an empty file with the same name. A file is removed when it is replaced
or taken out of its uploader, when its page is left, and when its session ends.
"""

import errno
import logging
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import IO

from core.study.store.locks import is_locked, lock_file
from explorer.server.public_mode import Limits, limits, studies_folder

RECEIVED = ".received"
GRACE_S = 60.0  # the files of a disconnected session are kept for this time, because the browser may reconnect
_OWNER = "owner"  # name of a file in the folder of a server, locked while the server lives
log = logging.getLogger(__name__)


@dataclass
class StoredFile:
    """A file of an uploader.

    Attributes
    ----------
    path : Path or None
        Where the content is stored; None if the file was refused.
    visitor : str
        Id of the visitor, over all sessions.
    reserved : int
        Bytes that were received or announced, whichever are more.
    refused : str
        Why the file was refused; "" if it was not.
    complete : bool
        Whether all bytes were received.
    shown : bool
        Whether an uploader has shown the file.
    arrived : float
        When the upload began, by the store's clock.
    """

    path: Path | None
    visitor: str
    reserved: int
    refused: str = ""
    complete: bool = False
    shown: bool = False
    arrived: float = 0.0


@dataclass
class UploadStore:
    """The uploaded files of all sessions of this server. Its methods may be called from any thread.

    Attributes
    ----------
    folder : callable
        Returns the folder of the files of all servers; created for the first file.
    limits : callable
        Returns the server's limits.
    clock : callable
        Returns the time in seconds.
    """

    folder: Callable[[], Path] = lambda: studies_folder() / RECEIVED
    limits: Callable[[], Limits] = limits
    clock: Callable[[], float] = time.monotonic
    _files: dict[tuple[str, str], StoredFile] = field(default_factory=dict)
    _inactive_since: dict[str, float] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)
    _owner: IO[bytes] | None = None
    _own_folder: Path | None = None

    def receive(self, session: str, file_id: str, visitor: str, announced: int) -> "Incoming":
        """Begin to receive a file; a file that exceeds a limit is refused at once.

        Parameters
        ----------
        session, file_id : str
            Ids of the session and of the file within it.
        visitor : str
            Id of the visitor.
        announced : int
            Size that the client announced; 0 if unknown.
        """
        with self._lock:
            self.remove(session, file_id)
            allowed = self.limits()
            stored = StoredFile(None, visitor, 0, arrived=self.clock())
            stored.refused = self._reason(visitor, announced, allowed, new=True)
            if not stored.refused:
                stored.path, stored.reserved = self._new_path(), announced
            self._files[session, file_id] = stored
        return Incoming(self, stored)

    def find(self, session: str, file_id: str) -> StoredFile | None:
        """A file that is complete or was refused; None without such a file."""
        with self._lock:
            stored = self._files.get((session, file_id))
            return stored if stored and (stored.complete or stored.refused) else None

    def remove(self, session: str, file_id: str) -> None:
        """Remove a file, if there is one; the rest of a file that is still being received is dropped."""
        with self._lock:
            if stored := self._files.pop((session, file_id), None):
                self.discard(stored, "It was removed.")

    def keep_shown(self, session: str, file_ids: Collection[str]) -> None:
        """Remove the files that the session's uploaders have shown before and do not show any more."""
        with self._lock:
            for (owner, file_id), stored in list(self._files.items()):
                if owner == session and file_id in file_ids:
                    stored.shown = True
                elif owner == session and stored.shown:
                    self.remove(owner, file_id)

    def remove_session(self, session: str) -> None:
        """Remove all files of a session."""
        with self._lock:
            for owner, file_id in list(self._files):
                if owner == session:
                    self.remove(owner, file_id)
            self._inactive_since.pop(session, None)

    def sweep(self, is_active: Callable[[str], bool], keep_s: float | None) -> None:
        """Remove the files of sessions that ended, and those that are older than `keep_s` seconds."""
        with self._lock:
            now = self.clock()
            for session in {session for session, _ in self._files}:
                if is_active(session):
                    self._inactive_since.pop(session, None)
                elif now - self._inactive_since.setdefault(session, now) >= GRACE_S:
                    self.remove_session(session)
            for (session, file_id), stored in list(self._files.items()):
                if keep_s is not None and now - stored.arrived >= keep_s:
                    self.remove(session, file_id)

    def held_bytes(self, visitor: str | None = None) -> int:
        """Bytes reserved for a visitor's files; for those of all visitors by default."""
        with self._lock:
            return sum(stored.reserved for stored in self._files.values() if visitor in (None, stored.visitor))

    def remove_leftovers(self) -> None:
        """Remove the files of servers that were killed."""
        for folder in self.folder().glob("*/"):
            if folder != self._own_folder and not is_locked(folder / _OWNER):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove all files; called when the server ends."""
        with self._lock:
            for session, file_id in list(self._files):
                self.remove(session, file_id)
            if self._own_folder is not None and self._owner is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)
                self._owner.close()
                self._own_folder = self._owner = None

    def grow(self, stored: StoredFile, size: int) -> bool:
        """Reserve `size` bytes for a file. Returns False, and refuses the file, if that exceeds a limit."""
        with self._lock:
            if stored.refused:
                return False
            more = size - stored.reserved
            if more > 0:
                reason = self._reason(stored.visitor, more, self.limits(), new=False)
                if reason:
                    self.discard(stored, reason)
                    return False
                stored.reserved = size
            return True

    def discard(self, stored: StoredFile, reason: str) -> None:
        """Delete a file's content and record why."""
        with self._lock:
            if stored.path is not None:
                stored.path.unlink(missing_ok=True)
            stored.path, stored.reserved, stored.refused = None, 0, reason

    def _reason(self, visitor: str, more: int, allowed: Limits, *, new: bool) -> str:
        """Why `more` bytes exceed a limit; "" if they do not. `new` tells whether they begin a new file."""
        num_files = sum(stored.visitor == visitor for stored in self._files.values())
        if new and num_files >= allowed.uploads:
            return f"At most {allowed.uploads:,} files may be uploaded. Pack the layers into one .npz file."
        if self.held_bytes(visitor) + more > allowed.upload_bytes:
            return (
                f"Uploads may have at most {_mebibytes(allowed.upload_bytes)} MiB together, over all of your tabs. "
                "Remove one that you do not need (×), or upload fewer layers or float16 features."
            )
        if allowed.all_upload_bytes is not None and self.held_bytes() + more > allowed.all_upload_bytes:
            return "The server is full of other visitors' uploads. Try again in some minutes."
        return ""

    def _new_path(self) -> Path:
        """An unused path in the folder of this server, which is created if necessary."""
        if self._own_folder is None or not self._own_folder.is_dir():
            folder = self.folder() / secrets.token_hex(8)
            folder.mkdir(parents=True)
            self._owner = (folder / _OWNER).open("wb")
            lock_file(self._owner.fileno())
            self._own_folder = folder
        return self._own_folder / secrets.token_hex(16)


class Incoming:
    """A file that is being received."""

    def __init__(self, store: UploadStore, stored: StoredFile) -> None:
        self._store, self._stored, self._size = store, stored, 0
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append bytes to the file, or drop them if the file is refused."""
        self._size += len(chunk)
        if not self._store.grow(self._stored, self._size):
            return
        try:
            if self._file is None and self._stored.path is not None:
                self._file = self._stored.path.open("xb")
            if self._file is not None:
                self._file.write(chunk)
        except OSError as error:
            log.warning("an upload was not stored: %s", os.strerror(error.errno or 0))
            reason = "The server cannot store it."
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                reason = "The server's disk is full. Try again later."
            self._store.discard(self._stored, reason)

    def finish(self) -> None:
        """Mark the file as complete."""
        self.write(b"")  # creates the file even if it is empty
        self._close()
        if not self._stored.refused:
            self._stored.reserved = self._size  # the announced size is that of the whole form
        self._stored.complete = True

    def abort(self, reason: str) -> None:
        """Discard a file of which no more bytes will come."""
        self._close()
        self._store.discard(self._stored, reason)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # the disk is full; whoever reads the file will notice that its end is missing
                self._file.close()


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"


store = UploadStore()
