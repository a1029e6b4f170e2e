"""Background thread of the server that removes unused uploads and old runs, and stops runs that take too long."""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from explorer.runs.background import jobs
from explorer.runs.disk import FullError, holds, make_room, remove_unused_uploads
from explorer.runs.uploads.store import store
from explorer.server.public_mode import KEEP_S, Limits, is_public, limits, studies_folder

EVERY_S = 10.0
UPLOAD_KEEP_S = 3600.0  # in public: a file in an uploader is removed after this time
UNWANTED_S = {False: KEEP_S, True: 300.0}  # local and public: an unused upload is removed after this time
TRASH_S = {False: KEEP_S, True: 900.0}  # local and public: a removed run can be restored for this time
log = logging.getLogger(__name__)


@contextmanager
def housekeeping(is_active: Callable[[str], bool], *, every_s: float = EVERY_S) -> Iterator[None]:
    """Clean up repeatedly while the context is open.

    Parameters
    ----------
    is_active : callable
        Whether the session with a given id is connected.
    every_s : float
        Seconds between two rounds.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every_s):
            _tidy_or_log(is_active)
            if is_public():
                release_memory()

    store.remove_leftovers()  # of a server that was killed
    _tidy_or_log(is_active)
    thread = threading.Thread(target=work, name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
        store.close()


def tidy(is_active: Callable[[str], bool], allowed: Limits) -> None:
    """Clean up once.

    Parameters
    ----------
    is_active : callable
        Whether the session with a given id is connected.
    allowed : Limits
        The server's limits.
    """
    studies = studies_folder()
    store.sweep(is_active, UPLOAD_KEEP_S if allowed.public else None)
    holds.sweep(is_active, studies)
    if not studies.is_dir():
        return
    jobs.empty_trash(studies, TRASH_S[allowed.public])
    remove_unused_uploads(studies, UNWANTED_S[allowed.public], holds.wanted())
    if allowed.public:
        jobs.forget_old(studies, KEEP_S)
    if allowed.run_s is not None:
        jobs.stop_overdue(studies, allowed.run_s)
    make_room(studies, allowed.disk_bytes, 0, holds.wanted())


def release_memory() -> None:
    """Return freed memory to the system, if the C library keeps it for later (glibc does)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _tidy_or_log(is_active: Callable[[str], bool]) -> None:
    """Clean up once; an error is logged, and the next round tries again."""
    try:
        tidy(is_active, limits())
    except FullError:
        log.warning("the folder of studies is full, and nothing in it is old enough to be removed")
    except (OSError, ValueError, jobs.BusyError) as error:
        log.warning("cleaning up failed: %s", error)
