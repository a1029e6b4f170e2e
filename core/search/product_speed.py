"""How fast this machine multiplies, measured in a moment."""

import time
from typing import Any

import numpy as np

from core.search.products import Products, ladder, room_for

_ROWS, _COLUMNS = 1024, 4096  # of the two factors
_LARGE_SEARCH = 1e12  # operations, for which all multipliers of this machine are worth their while


def product_speeds() -> dict[str, float]:
    """Operations a second of large products by the multipliers of a search, fastest first.

    Returns
    -------
    dict from "bfloat16", "float32", "float64" to operations a second, a multiplication and an addition counted as two.
        Of several rounds the fastest counts. Bfloat16 is there only where searches use it.
    """
    return {_kind(products): product_speed(products) for products in ladder(work=_LARGE_SEARCH, k=1)}


def _kind(products: Products) -> str:
    return "bfloat16" if products.roundoff else str(products.dtype)


def product_speed(products: Products, *, repeats: int = 5) -> float:
    """Operations a second of large products by one multiplier, in the fastest of some rounds."""
    rows = np.random.default_rng(0).normal(size=(_ROWS, _COLUMNS)).astype(np.float32)
    left, right = _loaded(products, rows), _loaded(products, rows[::-1])
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = products.product(left, right)
        _ = np.asarray(result)[0, 0]  # a device may still be computing
        seconds.append(time.perf_counter() - start)
    return 2 * _ROWS**2 * _COLUMNS / min(seconds)


def _loaded(products: Products, rows: np.ndarray) -> Any:
    stored = room_for(rows.size, products.stored_dtype).reshape(rows.shape)
    products.store(np.ascontiguousarray(rows), stored)
    return products.load(stored)
