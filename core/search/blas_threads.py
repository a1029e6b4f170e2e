"""One thread for matrix algebra, where several small jobs run beside each other.

NumPy and SciPy hand products and decompositions to a BLAS library with threads of its own. For matrices of some
thousand rows these spend more time waiting for each other than computing, above all beside other work; and the last
bits of results depend on how many there are.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  # SciPy may bring a BLAS of its own, which must be loaded to be limited

_lock = threading.Lock()
_num_users = 0
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread in the whole process, until the last of the threads that asked for it leaves."""
    global _num_users, _limit
    with _lock:
        _num_users += 1
        if _num_users == 1:
            _limit = _libraries().limit(limits=1)
    try:
        yield
    finally:
        with _lock:
            _num_users -= 1
            if _num_users == 0:
                _hand_over()
                _limit.restore_original_limits()


def _hand_over() -> None:
    """Let this thread set limits, which newer versions of threadpoolctl allow only to the one that set them first."""
    for library in _libraries().lib_controllers:
        if hasattr(library, "clear_controlling_thread"):
            library.clear_controlling_thread(force=True)


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
