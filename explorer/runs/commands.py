"""The commands that cut a study's network or remove its blocks, and whether they can run on this machine."""

import importlib.util
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.network.models.registry import is_weights_path
from core.report.words.formatting import one_layer
from explorer.runs.background.jobs import ROOT

HEADS = {"none": "None (features)", "probe": "Linear probe", "nearest": "Nearest training image"}


@dataclass(frozen=True)
class Cut:
    """A cut of a study's network, to be exported.

    Attributes
    ----------
    study : Path
        The study's folder.
    layer : str
        The last layer of the cut network.
    pooling : str
        "mean" or "flat": how the layer's activations become features.
    head : str
        A key of `HEADS`: the classifier on top of the features.
    """

    study: Path
    layer: str
    pooling: str = "mean"
    head: str = "none"

    @property
    def file(self) -> str:
        """The name of the exported file."""
        name = f"{self.study.name}-{self.layer}"
        if self.head != "none":
            name += f"-{self.head}"
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.keras"

    def command(self, *, public: bool = False) -> str:
        """The command for a terminal; in public without a path of the server."""
        words = ["python", "-m", "core", "cut", shown_path(self.study, public=public), "--layer", self.layer]
        return shlex.join([*words, *self._options(), "--out", self.file])

    def arguments(self, info: Mapping[str, Any], folders: Sequence[Path]) -> tuple[str, ...]:
        """The arguments of `python -m core` for a process in any folder.

        Parameters
        ----------
        info : mapping
            Content of study.json.
        folders : sequence of Path
            Of `search_folders`.
        """
        words = ["cut", str(self.study.resolve()), f"--layer={self.layer}", f"--out={self.file}", *self._options()]
        return (*words, *_file_options(info, folders, data=self.head != "none"), "--progress=json")

    def _options(self) -> list[str]:
        """The options that differ from their defaults."""
        options = []
        if self.pooling != "mean":
            options.append(f"--pooling={self.pooling}")
        if self.head != "none":
            options.append(f"--head={self.head}")
        return options


def shown_path(study: Path, *, public: bool) -> str:
    """A study's folder in a command: relative to the project's root if possible; in public, a run is `my-study`."""
    if study.is_relative_to(ROOT):
        return study.relative_to(ROOT).as_posix()
    return "my-study" if public else str(study)


def verify_arguments(study: Path, info: Mapping[str, Any], folders: Sequence[Path]) -> tuple[str, ...]:
    """The arguments of `python -m core` that measure the accuracy without each block; see `Cut.arguments`."""
    return ("blocks", str(study.resolve()), "--verify", *_file_options(info, folders, data=True), "--progress=json")


def cannot_cut(info: Mapping[str, Any], folders: Sequence[Path], *, data: bool) -> str:
    """Why the network of a study that has one cannot be cut here, as a sentence; "" without a known reason.

    Parameters
    ----------
    info : mapping
        Content of study.json.
    folders : sequence of Path
        Of `search_folders`.
    data : bool
        Whether the study's images are needed, too.
    """
    if importlib.util.find_spec("tensorflow") is None:
        return "Cutting the network needs TensorFlow, which is not installed here."
    for name, path in _files(info, data=data).items():
        if located(path, folders) is None:
            return f"The study's {name}, {path}, are not here. Run the command with --{name} and their present path."
    return ""


def missing_text(info: Mapping[str, Any], folders: Sequence[Path], names: Sequence[str] = ("weights", "data")) -> str:
    """Which paths in a study's command must be replaced because they do not exist, as Markdown; "" without any.

    Parameters
    ----------
    info : mapping
        Content of study.json.
    folders : sequence of Path
        Of `search_folders`.
    names : sequence of str
        The options with paths that the command has.
    """
    files = _files(info, data=True) if info.get("asked", {}).get("data") else {}
    missing = [path for name, path in files.items() if name in names and located(path, folders) is None]
    if not missing:
        return ""
    paths = " and ".join(map(one_layer, missing))
    if len(missing) == 1:
        return f"{paths} is not here: replace it by its present path."
    return f"{paths} are not here: replace them by their present paths."


def search_folders(study: Path) -> tuple[Path, ...]:
    """The folders that a study's relative paths may refer to: the working folder, and the folder of its run."""
    return Path.cwd(), study.resolve().parent


def _files(info: Mapping[str, Any], *, data: bool) -> dict[str, str]:
    """The paths of the study's weights and, if `data`, images, by the option that sets them."""
    options = info.get("asked", {})
    weights, images = str(options.get("weights", "")), str(options.get("data", ""))
    files = {}
    if is_weights_path(weights):
        files["weights"] = weights
    if data and images != "digits" and not images.startswith("tfds:"):
        files["data"] = images
    return files


def _file_options(info: Mapping[str, Any], folders: Sequence[Path], *, data: bool) -> list[str]:
    """The options that set the paths of the study's files, as absolute paths."""
    options = []
    for name, path in _files(info, data=data).items():
        present = located(path, folders)
        if present is not None:
            options.append(f"--{name}={present}")
    return options


def located(path: str, folders: Sequence[Path]) -> Path | None:
    """The path in the first folder that contains it; an absolute path is returned if it exists.

    Parameters
    ----------
    path : str
        A path that a study records.
    folders : sequence of Path
        Of `search_folders`.
    """
    try:
        for folder in folders:
            if (folder / path).exists():
                return (folder / path).resolve()
    except OSError:  # a name that is too long for any file
        return None
    return None
