"""Activations in memory and in files within a budget; needs no PyTorch."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from core.study.from_torch.store import ActivationStore

SMALL, LARGE = ("late", "mean"), ("early", "flat")
WIDTHS = {LARGE: 100, SMALL: 3}


def filled(folder: Path, budget_bytes: int, *, rows_reserved: int) -> tuple[ActivationStore, dict]:
    """A store with ten rows, written in another order, three at a time."""
    generator = np.random.default_rng(0)
    matrices = {key: generator.normal(size=(10, width)).astype(np.float32) for key, width in WIDTHS.items()}
    store = ActivationStore(WIDTHS, budget_bytes, folder)
    store.reserve(rows_reserved)
    order = generator.permutation(10)
    for rows in np.array_split(order, 4):
        for key, matrix in matrices.items():
            store.write(key, rows, matrix[rows])
    return store, matrices


@pytest.mark.parametrize("rows_reserved", [10, 1, 4])
@pytest.mark.parametrize(
    ("budget_bytes", "in_files"),
    [(1 << 20, set()), (10 * 4 * 103 - 1, {LARGE}), (200, {LARGE}), (1, {LARGE, SMALL})],
)
def test_the_largest_matrices_are_in_files(tmp_path: Path, budget_bytes: int, in_files: set, rows_reserved: int):
    store, matrices = filled(tmp_path, budget_bytes, rows_reserved=rows_reserved)
    if rows_reserved == 10:
        assert store.file_bytes == 40 * sum(WIDTHS[key] for key in in_files)
        assert list(tmp_path.rglob("*")) == []  # files without names
    for key, matrix in matrices.items():
        taken = store.take(key, 10)
        assert taken.dtype == np.float32
        np.testing.assert_array_equal(taken, matrix)
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_what_fits_neither_memory_nor_disk_is_refused_with_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    store = ActivationStore(WIDTHS, 500, tmp_path)
    store.reserve(2)
    with pytest.raises(ValueError, match="memory must hold the activations") as error:
        store.reserve(10)
    message = str(error.value)
    for part in ("10 samples take 4.023 KiB in 2 matrices", "the memory is 500 bytes", "has 980 bytes", "3.906 KiB"):
        assert part in message
    assert "The largest is early (flat)" in message
    store.close()
    assert list(tmp_path.iterdir()) == []
