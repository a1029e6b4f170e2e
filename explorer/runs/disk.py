"""What the folder of studies holds on disk: whose uploads are still wanted, and what makes room where it is full."""

import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

from explorer.runs import jobs
from explorer.runs.uploads.checking import UPLOADS
from explorer.runs.uploads.store import GRACE_S

YOUNG_S = 3600.0  # a finished run is not given up for others before this age


class FullError(ValueError):
    """There is no room, and nothing that may be removed to make some."""


@dataclass
class UploadHolds:
    """Which session still wants which upload, as long as no run uses it: the one of its last plan.

    clock : seconds.
    """

    clock: Callable[[], float] = time.monotonic
    _folders: dict[str, str] = field(default_factory=dict)
    _inactive_since: dict[str, float] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def hold(self, session: str, upload: str, studies: Path) -> None:
        """Keep an upload for a session; the one that it wanted before is removed, where nobody else wants it."""
        with self._lock:
            before = self._folders.get(session)
            self._folders[session] = upload
            if before and before != upload:
                self._remove_unwanted(studies, before)

    def release(self, session: str, studies: Path) -> None:
        """The session does not want its upload any more."""
        with self._lock:
            upload = self._folders.pop(session, None)
            self._inactive_since.pop(session, None)
            if upload:
                self._remove_unwanted(studies, upload)

    def sweep(self, is_active: Callable[[str], bool], studies: Path) -> None:
        """Release the uploads of sessions that ended; mark the others as wanted, for other servers of this folder."""
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
        """The uploads that a session wants."""
        with self._lock:
            return set(self._folders.values())

    def _remove_unwanted(self, studies: Path, upload: str) -> None:
        if upload not in self._folders.values() and upload not in jobs.used_uploads(studies):
            shutil.rmtree(studies / upload, ignore_errors=True)


holds = UploadHolds()


def remove_unused_uploads(studies: Path, keep_s: float, wanted: Collection[str] = ()) -> None:
    """Delete the uploads that no run uses, nobody wants, and nobody has wanted for so many seconds."""
    unused = [path for path in (studies / UPLOADS).glob("*/") if f"{UPLOADS}/{path.name}" not in wanted]
    used = jobs.used_uploads(studies) if unused else set()
    for path in unused:
        if f"{UPLOADS}/{path.name}" not in used and _modified(path) < time.time() - keep_s:
            shutil.rmtree(path, ignore_errors=True)


def used_bytes(*folders: Path) -> int:
    """What folders hold; a file with several names counts once."""
    sizes = {}
    for entry in _files(folders):
        try:
            facts = entry.stat(follow_symlinks=False)
        except OSError:  # it has gone since
            continue
        sizes[facts.st_dev, facts.st_ino] = facts.st_size
    return sum(sizes.values())


def make_room(studies: Path, most: int | None, needed: int, wanted: Collection[str] = ()) -> None:
    """Remove what may be removed until `needed` bytes more stay below `most`.

    First goes the trash, then uploads that nobody wants, then runs that are over, the oldest first; none that is young.

    Raises
    ------
    FullError
        That does not suffice.
    """
    if most is None or used_bytes(studies) + needed <= most:
        return
    jobs.empty_trash(studies, -1)
    remove_unused_uploads(studies, 0, wanted)
    runs = sorted(jobs.list_jobs(studies), key=lambda job: job.started)
    for job in runs:
        if used_bytes(studies) + needed <= most:
            return
        if job.started < time.time() - YOUNG_S and not jobs.is_alive(job):
            jobs.delete(job)
    if used_bytes(studies) + needed > most:
        raise FullError(
            "The server's disk holds as many studies of other visitors as it can. Try again in an hour, or run the app "
            "on your own computer."
        )


def _files(folders: Collection[Path]) -> Iterator[os.DirEntry[str]]:
    """All files below some folders; what disappears meanwhile is left out."""
    waiting = [str(folder) for folder in folders]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                found = list(entries)
        except OSError:
            continue
        waiting += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        yield from (entry for entry in found if not entry.is_dir(follow_symlinks=False))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
