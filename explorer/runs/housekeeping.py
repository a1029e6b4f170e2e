"""What the server clears away while it serves: uploads that nobody wants any more, old runs, runs that take too long.

It waits for no visitor to start the next run, and begins with what a server left that was killed.
"""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from explorer.runs import jobs
from explorer.runs.disk import FullError, holds, make_room, remove_unused_uploads
from explorer.runs.uploads.store import store
from explorer.server.public_mode import KEEP_S, Limits, is_public, limits, studies_folder

EVERY_S = 10.0
UPLOAD_KEEP_S = 3600.0  # in public: how long a file may stay in an uploader before there is a run of it
UNWANTED_S = {False: KEEP_S, True: 300.0}  # local and public: for which an upload without a run is kept
TRASH_S = {False: KEEP_S, True: 900.0}  # local and public: for which a removed run can be put back
log = logging.getLogger(__name__)


@contextmanager
def housekeeping(is_active: Callable[[str], bool], *, every_s: float = EVERY_S) -> Iterator[None]:
    """Clear away, again and again, for as long as the context lasts.

    is_active : whether the session of this id has a connection.
    """
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(every_s):
            _tidy(is_active)
            if is_public():
                release_memory()

    store.remove_leftovers()
    _tidy(is_active)
    thread = threading.Thread(target=work, name="housekeeping", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=5)
        store.close()


def tidy(is_active: Callable[[str], bool], allowed: Limits) -> None:
    """Clear away once."""
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
    """Give memory that was freed back to the system, where its C library keeps it for later (glibc does)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _tidy(is_active: Callable[[str], bool]) -> None:
    """Whatever goes wrong with one file, the server serves on, and the next round tries again."""
    try:
        tidy(is_active, limits())
    except FullError:
        log.warning("the folder of studies is full, and nothing in it is old enough to be removed")
    except (OSError, ValueError, jobs.BusyError) as error:
        log.warning("clearing away has failed: %s", error)
