"""The check of a study's images in a thread of its own, while another thread loads the network."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import Event

from core.data.images.decoding import quiet_pillow
from core.data.images.labelled_images import LabelledImages

ReportCheck = Callable[[int, int], None]  # takes the number of checked images and of all
_REPORT_S = 0.1  # between two looks at how far the check is


class ImageCheck:
    """A check that runs in another thread.

    check : reads the images; it is given a report of its progress, which ends it by raising an exception.
    """

    def __init__(self, check: Callable[[ReportCheck], LabelledImages], pool: ThreadPoolExecutor) -> None:
        self._stopped = Event()
        self._progress: tuple[int, int] | None = None
        self._job: Future[LabelledImages] = pool.submit(check, self._note)

    def _note(self, done: int, total: int) -> None:
        if self._stopped.is_set():
            raise InterruptedError("the check of the images was stopped")
        self._progress = (done, total)

    def stop(self) -> None:
        """End the check at its next report."""
        self._stopped.set()

    def result(self, progress: ReportCheck | None = None) -> LabelledImages:
        """Wait for the images, or raise what the check raised. progress : called in this thread."""
        reported, is_done = None, False
        while not is_done:
            is_done = bool(wait_for([self._job], timeout=_REPORT_S).done)
            latest = self._progress
            if progress is not None and latest is not None and latest != reported:
                progress(*latest)
                reported = latest
        return self._job.result()


@contextmanager
def checked_meanwhile(check: Callable[[ReportCheck], LabelledImages]) -> Iterator[ImageCheck]:
    """Start a check that ends with the block at the latest: if the block fails or is interrupted, it is stopped.

    Pillow's warnings are silenced for the whole block and by this thread: the check itself cannot do it while other
    libraries, such as TensorFlow during its import, set and reset the filters of warnings.
    """
    with quiet_pillow, ThreadPoolExecutor(1, thread_name_prefix="check-images") as pool:
        image_check = ImageCheck(check, pool)
        try:
            yield image_check
        finally:
            image_check.stop()
