"""Networks of `keras.applications` with weights from files that hold weights only: `.h5`, `.weights.h5`, archives."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.network.models.applications import Application, build_with_weights
from core.network.models.weight_files import RIGHT, files_of

if TYPE_CHECKING:
    import keras

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz")  # of checkpoints, as EfficientNet's authors publish them
HDF5_SUFFIXES = (".h5", ".hdf5")


def is_checkpoint_archive(path: Path) -> bool:
    """Return whether a file is, by its extension, an archive with a checkpoint."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def holds_weights_only(path: Path) -> bool:
    """Return whether a file holds weights without the network that they belong to; False if it cannot be read."""
    if is_checkpoint_archive(path):
        return True
    if path.suffix.lower() not in HDF5_SUFFIXES or not path.is_file():
        return False
    import h5py

    with contextlib.suppress(OSError), h5py.File(path, "r") as file:
        return "model_config" not in file.attrs
    return False


def check_published(path: Path, network: str) -> None:
    """Check the hash of a file that has the name of one that Keras publishes for a network, if it is no whole network.

    Raises
    ------
    ValueError
        The file has another hash, as a download has that was cut off, or a page that a proxy sent in its place.
    """
    import h5py

    file = next((file for file in files_of(network, "imagenet") if file.name == path.name), None)
    if file is None or not file.algorithm or file.state(path) == RIGHT:
        return
    with contextlib.suppress(OSError), h5py.File(path, "r") as content:
        if "model_config" in content.attrs:  # someone's own network
            return
    raise ValueError(
        f"{path} must have the {file.algorithm} hash {file.hash}, which Keras publishes for it; it has another: it is "
        f"damaged or something else. Download it again from {file.address}."
    )


def find_weights(path: Path, network: str) -> Path:
    """Return the file of a network's weights: the path itself, or the file in a folder.

    Parameters
    ----------
    path : Path
        A file, or a folder that holds a published file of the network under its own name; of several, that with the
        classifier.
    network : str
        Name of the network.

    Raises
    ------
    FileNotFoundError
        There is no such file, or none in the folder.
    """
    if path.is_file():
        return path
    names = [file.name for file in files_of(network)]
    if not path.is_dir():
        raise FileNotFoundError(f"weights must be in an existing file or folder; there is none at {path}.")
    for name in names:
        if (path / name).is_file():
            return path / name
    expected = f"one of {', '.join(names)}" if names else "a file that is published under a name of its own"
    raise FileNotFoundError(
        f"the folder with the weights of {network} must hold {expected}; {path} holds none. Name the file itself, or "
        f"see python -m core weights {network}."
    )


def load_weights_only(application: Application, path: Path, input_size: int | None) -> tuple["keras.Model", bool]:
    """Build a network that takes raw pixels with weights from a file that Keras published or `save_weights` wrote.

    Parameters
    ----------
    application : Application
        The network.
    path : Path
        A `.h5` or `.weights.h5` file, with the weights of the classifier or without.
    input_size : int or None
        Height and width of the images in pixels; None for the network's default.

    Returns
    -------
    model : keras.Model
    is_published : bool
        Whether the file is one of ImageNet weights that Keras publishes.

    Raises
    ------
    ValueError
        The file holds the weights of another network; or the network does not exist at this size.
    """
    is_published = path.name in [file.name for file in files_of(application.name, "imagenet")]
    faults: list[Any] = []
    for top in (True, False):
        try:
            return build_with_weights(application, path, input_size, top=top, is_published=is_published), is_published
        except (ValueError, OSError, KeyError, IndexError, TypeError, UserWarning) as error:
            if "input_size must" in str(error):
                raise
            faults.append(error)
    reason = " ".join(str(faults[0]).split())[:300].rstrip(".")
    raise ValueError(
        f"weights must be those of {application.name}, with its classifier of ImageNet's classes or without; {path} "
        f"cannot be loaded: {reason}. A network with another head is saved as a whole, with model.save(path)."
    ) from faults[0]
