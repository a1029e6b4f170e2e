"""Writes the API reference from the docstrings: every public name of `core` with its signature, as HTML.

python -m tests.api_reference FOLDER      (`make api` writes it to the folder api)
"""

import argparse
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy.typing
import pdoc


class ArrayLike:
    """Stands for `numpy.typing.ArrayLike`, a union of many private types, so that signatures have its name."""

    __module__ = "numpy.typing"


class NDArray:
    """Stands for `numpy.typing.NDArray`, so that signatures have its name and the type of its elements alone."""

    __module__ = "numpy.typing"

    def __class_getitem__(cls, element: Any) -> Any:
        return types.GenericAlias(cls, (element,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    write_reference(folder)
    sys.stdout.write(f"Open {folder / 'core.html'} in a browser.\n")


def write_reference(folder: Path) -> None:
    """Write `core.html`, an index and a search into a folder; what pdoc warns of is an error.

    To be called in a process of its own, which has not imported `core` before.
    """
    numpy.typing.ArrayLike, numpy.typing.NDArray = ArrayLike, NDArray  # type: ignore[misc,assignment]
    import core

    vars(core).update({name: getattr(core, name) for name in core.__all__})  # which are imported when they are used
    pdoc.render.configure(docformat="numpy", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdoc.pdoc("core", output_directory=folder)


if __name__ == "__main__":
    main()
