"""Matrices in files that vanish with them, for what does not fit the memory."""

import os
import tempfile
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.data.files import make_folder

_KEEPS_OPEN_FILES = os.name != "nt"  # whether a file without a name lasts as long as a process uses it


class ScratchArrays:
    """Maker of matrices in files, which have no names: the system frees them however the process ends.

    On Windows, which has no such files, they lie in the folder until the end of a `with`.

    Parameters
    ----------
    folder : Path
        Where the files are, on the disk that is to hold them; made at the first one, where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def new(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return a new matrix in a file, float32; the file lasts as long as the matrix."""
        make_folder(self._folder, "spool")
        handle, name = tempfile.mkstemp(prefix=".activations-", suffix=".npy", dir=self._folder)
        os.close(handle)
        path = Path(name)
        try:
            array: Any = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        finally:
            if _KEEPS_OPEN_FILES:
                path.unlink()
            else:
                self._named.append(path)
        return array  # type: ignore[no-any-return]

    def remove(self, array: NDArray[np.float32]) -> None:
        """Remove the file of a matrix, where it has a name. One in memory is left alone."""
        path = getattr(array, "filename", None)
        if path in self._named:
            Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove all files that have names."""
        for path in self._named:
            path.unlink(missing_ok=True)
        self._named = []
