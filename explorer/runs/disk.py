"""Disk space of the folder of studies: which uploads are still in use, and what to remove if the disk is full."""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from explorer.runs.background import jobs
from explorer.runs.uploads.checking import UPLOADS
from explorer.runs.uploads.store import GRACE_S

YOUNG_S = 3600.0  # a finished run is not removed to make room for others before this age


class FullError(ValueError):
    """The disk is full, and nothing on it may be removed."""


@dataclass
class UploadHolds:
    """Protects uploads that no run uses yet: each session holds the upload of its last plan.

    Attributes
    ----------
    clock : callable
        Returns the time in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _folders: dict[str, str] = field(default_factory=dict)
    _inactive_since: dict[str, float] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def hold(self, session: str, upload: str, studies: Path) -> None:
        """Hold an upload for a session; the one that it held before is removed unless it is used elsewhere."""
        with self._lock:
            previous = self._folders.get(session)
            self._folders[session] = upload
            if previous and previous != upload:
                self._remove_unused(studies, previous)

    def release(self, session: str, studies: Path) -> None:
        """Release the upload that a session holds."""
        with self._lock:
            upload = self._folders.pop(session, None)
            self._inactive_since.pop(session, None)
            if upload:
                self._remove_unused(studies, upload)

    def sweep(self, is_active: Callable[[str], bool], studies: Path) -> None:
        """Release the uploads of sessions that ended.

        The others get a new modification time, so that other servers with the same folder do not remove them.
        """
        with self._lock:
            for session, upload in list(self._folders.items()):
                if is_active(session):
                    self._inactive_since.pop(session, None)
                elif self.clock() - self._inactive_since.setdefault(session, self.clock()) >= GRACE_S:
                    self.release(session, studies)
                    continue
                if (studies / upload).is_dir():
                    os.utime(studies / upload)

    def wanted(self) -> set[str]:
        """The uploads that any session holds."""
        with self._lock:
            return set(self._folders.values())

    def _remove_unused(self, studies: Path, upload: str) -> None:
        if upload not in self._folders.values() and upload not in jobs.used_uploads(studies):
            shutil.rmtree(studies / upload, ignore_errors=True)


holds = UploadHolds()


def remove_unused_uploads(studies: Path, keep_s: float, wanted: Collection[str] = ()) -> None:
    """Delete uploads that no run uses and no session holds.

    Parameters
    ----------
    studies : Path
        The folder of studies.
    keep_s : float
        Seconds since an upload was last held, after which it is deleted.
    wanted : collection of str
        Of `UploadHolds.wanted`.
    """
    candidates = [path for path in (studies / UPLOADS).glob("*/") if f"{UPLOADS}/{path.name}" not in wanted]
    used = jobs.used_uploads(studies) if candidates else set()
    for path in candidates:
        if f"{UPLOADS}/{path.name}" not in used and _modified(path) < time.time() - keep_s:
            shutil.rmtree(path, ignore_errors=True)


def used_bytes(*folders: Path) -> int:
    """The size of all files in some folders; a file with several hard links counts once."""
    sizes = {}
    for entry in _files(folders):
        try:
            stat = entry.stat(follow_symlinks=False)
        except OSError:  # the file was deleted meanwhile
            continue
        sizes[stat.st_dev, stat.st_ino] = stat.st_size
    return sum(sizes.values())


def make_room(studies: Path, max_bytes: int | None, needed: int, wanted: Collection[str] = ()) -> None:
    """Remove files until there is room for more.

    The trash is emptied first. Then unused uploads are removed, and then finished runs that are not young, the oldest
    first.

    Parameters
    ----------
    studies : Path
        The folder of studies.
    max_bytes : int or None
        Largest size of the folder; None for no limit.
    needed : int
        Bytes that must still fit.
    wanted : collection of str
        Uploads that must not be removed.

    Raises
    ------
    FullError
        If that is not enough.
    """
    if max_bytes is None or used_bytes(studies) + needed <= max_bytes:
        return
    jobs.empty_trash(studies, -1)
    remove_unused_uploads(studies, 0, wanted)
    runs = sorted(jobs.list_jobs(studies), key=lambda job: job.started)
    for job in runs:
        if used_bytes(studies) + needed <= max_bytes:
            return
        if job.started < time.time() - YOUNG_S and not jobs.is_alive(job):
            jobs.delete(job)
    if used_bytes(studies) + needed > max_bytes:
        raise FullError(
            "The server's disk is full of other visitors' studies. Try again in an hour, or run the app on your own "
            "computer."
        )


def _files(folders: Collection[Path]) -> Iterator[os.DirEntry[str]]:
    """All files in some folders and their subfolders, without those that disappear meanwhile."""
    unread = [str(folder) for folder in folders]
    while unread:
        try:
            with os.scandir(unread.pop()) as scan:
                entries = list(scan)
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                unread.append(entry.path)
            else:
                yield entry


def _modified(path: Path) -> float:
    """When a path was modified, in seconds since 1970; now if it does not exist."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
