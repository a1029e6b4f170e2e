"""Matrices in files of a folder that is removed afterwards, for what does not fit the memory."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray


class ScratchArrays:
    """Maker of matrices in files; the end of a `with` removes them.

    Parameters
    ----------
    folder : Path
        Where a folder for the files is made, at the first of them; made itself where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._scratch: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a new matrix in a file, float32."""
        if self._scratch is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(prefix=".activations-", dir=self._folder))
        handle, path = tempfile.mkstemp(suffix=".npy", dir=self._scratch)
        with open(handle, "wb"):
            pass
        array: Any = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        return array  # type: ignore[no-any-return]

    @staticmethod
    def remove(array: NDArray[np.float32]) -> None:
        """Remove the file of a matrix; its pages stay valid as long as it is used. One in memory is left alone."""
        path = getattr(array, "filename", None)
        if path is not None:
            Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all files."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
