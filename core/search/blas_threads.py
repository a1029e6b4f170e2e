"""One thread for matrix algebra, where several small jobs run beside each other; and settings that threads share.

NumPy and SciPy hand products and decompositions to a BLAS library with threads of its own. For matrices of some
thousand rows these spend more time waiting for each other than computing, above all beside other work; and the last
bits of results depend on how many there are.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  # SciPy may bring a BLAS of its own, which must be loaded to be limited


class SharedContext:
    """A context that the first of several threads enters and the last one leaves; it can be entered again.

    Threads that each set and reset a setting of the process would change it for another one that is still within.

    Parameters
    ----------
    make : callable
        Makes the context. It may be left by another thread than entered it.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._num_within = 0
        self._context: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._context is None:
                context = self._make()
                context.__enter__()
                self._context = context
            self._num_within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._num_within -= 1
            if self._num_within == 0 and self._context is not None:
                context, self._context = self._context, None
                context.__exit__(None, None, None)


def one_blas_thread() -> AbstractContextManager[None]:
    """Limit BLAS to one thread in the whole process, until the last of the threads that asked for it leaves."""
    return _ONE_THREAD


@contextmanager
def _limited() -> Iterator[None]:
    limit = _libraries().limit(limits=1)
    try:
        yield
    finally:
        _hand_over()
        limit.restore_original_limits()


_ONE_THREAD = SharedContext(_limited)


def _hand_over() -> None:
    """Let this thread set limits, which newer versions of threadpoolctl allow only to the one that set them first."""
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
