"""Prepares the other pages of an open study while one of them is looked at, so that they open at once.

A public server prepares nothing: its memory is small, and so are its studies.
"""

import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from core.study.store.opening import StudyError
from explorer.server.public_mode import is_public

PAUSE_S = 2.0  # for which no page has been drawn before anything is computed: clicks come first
_LOOK_S = 0.1  # between two looks at whether a page is being drawn
log = logging.getLogger(__name__)


class Preparer:
    """Fills the caches with what the pages show first of a study, in a thread of its own."""

    def __init__(self) -> None:
        self._newest: tuple[str, tuple[int, ...]] | None = None
        self._num_drawing, self._last_drawn = 0, time.monotonic()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare pages")

    @contextmanager
    def held(self) -> Iterator[None]:
        """While a page is drawn, nothing further is begun."""
        with self._lock:
            self._num_drawing += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_drawing -= 1
                self._last_drawn = time.monotonic()

    def prepare(self, path: str, stamp: tuple[int, ...]) -> None:
        """Begin in the background, unless this study was the last one; a study before it is not gone on with.

        Parameters
        ----------
        path : str
            The study's folder.
        stamp : tuple of int
            Of `explorer.studies.loading.study_stamp`.
        """
        with self._lock:
            if (path, stamp) == self._newest or self._stopped.is_set() or is_public():
                return
            self._newest = (path, stamp)
            self._worker.submit(self._prepare, path, stamp)

    def stop(self) -> None:
        """Compute nothing further, and wait for what is being computed."""
        with self._lock:
            self._stopped.set()
        self._worker.shutdown(cancel_futures=True)

    def _prepare(self, path: str, stamp: tuple[int, ...]) -> None:
        self._wait_for_a_pause()
        try:
            from explorer.first_views import first_views  # here, because the first page needs none of it

            for compute in first_views(path, stamp):
                if self._stopped.is_set() or self._newest != (path, stamp):
                    return
                with suppress(StudyError):  # the page itself shows it
                    compute()
                self._wait_for_a_pause()
        except StudyError:  # the study was removed or damaged meanwhile; the page shows that, too
            return
        except Exception:  # the pages compute it themselves, and show what is wrong
            log.warning("the pages of %s could not be prepared; they will open more slowly", path, exc_info=True)

    def _wait_for_a_pause(self) -> None:
        """Wait until no page has been drawn for some time, or the end."""
        while not self._stopped.is_set():
            with self._lock:
                left = PAUSE_S + self._last_drawn - time.monotonic()
                is_drawing = self._num_drawing > 0
            if left <= 0 and not is_drawing:
                return
            self._stopped.wait(max(left, _LOOK_S))


PREPARER = Preparer()
