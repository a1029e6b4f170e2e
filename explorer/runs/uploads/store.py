"""Files that arrive from browsers: written to disk as they come, counted, and removed when nobody shows them any more.

Streamlit keeps an uploaded file in memory for as long as its session may come back. Here the bytes go to disk instead
(`upload_middleware`), within what a visitor and the server may hold, and Streamlit keeps an empty file of that name.
A file is removed when it was replaced or taken out of its uploader, when its page was left, and when its session ended.
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
GRACE_S = 60.0  # for which the files of a session without a connection are kept: the browser may come back
_OWNER = "owner"  # a file in the folder of a server, locked for as long as that server lives
log = logging.getLogger(__name__)


@dataclass
class StoredFile:
    """A file of an uploader.

    Attributes
    ----------
    path : where its content is; None where it was refused.
    visitor : whose it is, over all sessions.
    reserved : bytes that it holds, or was announced to have.
    refused : why it was not kept; "" where it was.
    complete : whether all of it has arrived.
    shown : whether an uploader has shown it.
    arrived : of the store's clock.
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

    folder : where the files are; made when the first one arrives.
    clock : seconds.
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
        """Begin to receive a file of a session's uploader; one that exceeds a limit is refused from the start.

        announced : its bytes as far as the client says so, else 0.
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
        """A file that has arrived, or was refused."""
        with self._lock:
            stored = self._files.get((session, file_id))
            return stored if stored and (stored.complete or stored.refused) else None

    def remove(self, session: str, file_id: str) -> None:
        """Remove a file, if there is one; one that still arrives is not kept."""
        with self._lock:
            if stored := self._files.pop((session, file_id), None):
                self.discard(stored, "It was removed.")

    def keep_shown(self, session: str, file_ids: Collection[str]) -> None:
        """Remove what the session's uploaders have shown and do not show any more."""
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
        """Bytes that a visitor's files hold or were announced to have; of all visitors by default."""
        with self._lock:
            return sum(one.reserved for one in self._files.values() if visitor in (None, one.visitor))

    def remove_leftovers(self) -> None:
        """Remove the files of servers that were killed."""
        for folder in self.folder().glob("*/"):
            if folder != self._own_folder and not is_locked(folder / _OWNER):
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything, as the server ends."""
        with self._lock:
            for session, file_id in list(self._files):
                self.remove(session, file_id)
            if self._own_folder is not None and self._owner is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)
                self._owner.close()
                self._own_folder = self._owner = None

    def grow(self, stored: StoredFile, size: int) -> bool:
        """Let a file have `size` bytes; False, with the reason in it, where it may not."""
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
        """Give up a file's bytes, and say why."""
        with self._lock:
            if stored.path is not None:
                stored.path.unlink(missing_ok=True)
            stored.path, stored.reserved, stored.refused = None, 0, reason

    def _reason(self, visitor: str, more: int, allowed: Limits, *, new: bool) -> str:
        """Why so many bytes more may not come; "" where they may."""
        own = [stored for stored in self._files.values() if stored.visitor == visitor]
        if new and len(own) >= allowed.uploads:
            return f"At most {allowed.uploads:,} files may be uploaded. Pack the layers into one .npz file."
        if self.held_bytes(visitor) + more > allowed.upload_bytes:
            return (
                f"Uploads may have at most {_mebibytes(allowed.upload_bytes)} MiB together, over all of your tabs. "
                "Remove one that you do not need (×), or take fewer layers or float16 features."
            )
        if allowed.all_upload_bytes is not None and self.held_bytes() + more > allowed.all_upload_bytes:
            return "The server holds as many uploads of other visitors as it can. Try again in some minutes."
        return ""

    def _new_path(self) -> Path:
        """A new name in the folder of this server."""
        if self._own_folder is None or not self._own_folder.is_dir():
            folder = self.folder() / secrets.token_hex(8)
            folder.mkdir(parents=True)
            self._owner = (folder / _OWNER).open("wb")
            lock_file(self._owner.fileno())
            self._own_folder = folder
        return self._own_folder / secrets.token_hex(16)


class Incoming:
    """A file that arrives: `write` takes its bytes, or drops them where it is refused."""

    def __init__(self, store: UploadStore, stored: StoredFile) -> None:
        self._store, self._stored, self._size = store, stored, 0
        self._file: IO[bytes] | None = None

    def write(self, chunk: bytes) -> None:
        """Append to the file, within the limits."""
        self._size += len(chunk)
        if not self._store.grow(self._stored, self._size):
            return
        try:
            if self._file is None and self._stored.path is not None:
                self._file = self._stored.path.open("xb")
            if self._file is not None:
                self._file.write(chunk)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            log.warning("an upload was not kept: %s", os.strerror(error.errno or 0))
            self._store.discard(
                self._stored, "The server's disk is full. Try again later." if full else "It cannot be kept here."
            )

    def finish(self) -> None:
        """All of it is there."""
        self.write(b"")  # a file without content is a file
        self._close()
        if not self._stored.refused:
            self._stored.reserved = self._size  # what was announced counts the wrapping, too
        self._stored.complete = True

    def abort(self, reason: str) -> None:
        """It will not come any further."""
        self._close()
        self._store.discard(self._stored, reason)

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # what is not on disk yet does not fit there; the reader of the file will tell
                self._file.close()


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:,.0f}"


store = UploadStore()
