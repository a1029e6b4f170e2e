"""What the page Decide hands on: the commands that cut the open study's network, and whether they can run here."""

import importlib.util
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.network.models.registry import is_model_file
from core.report.words.formatting import one_layer
from core.study.options import PIXELS
from explorer.runs.jobs import ROOT

HEADS = {"none": "None: features", "probe": "Linear probe", "nearest": "Nearest training image"}


@dataclass(frozen=True)
class Cut:
    """A cut that may be exported.

    study : the study's folder. layer, pooling : where, and how its activations are averaged. head : of `HEADS`.
    """

    study: Path
    layer: str
    pooling: str = "mean"
    head: str = "none"

    @property
    def file(self) -> str:
        """The name of the network's file."""
        name = "-".join((self.study.name, self.layer, *([] if self.head == "none" else [self.head])))
        return f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}.keras"

    def command(self, *, public: bool = False) -> str:
        """What does it by hand; in public without a path of the server."""
        words = ["python", "-m", "core", "cut", shown_path(self.study, public=public), "--layer", self.layer]
        return shlex.join([*words, *self._options(), "--out", self.file])

    def arguments(self, info: Mapping[str, Any], places: Sequence[Path]) -> tuple[str, ...]:
        """Of `python -m core`, from any folder: what the study names by relative paths lies in one of `places`."""
        found = ["cut", str(self.study.resolve()), f"--layer={self.layer}", f"--out={self.file}", *self._options()]
        return (*found, *_located(info, places, data=self.head != "none"), "--progress=json")

    def _options(self) -> list[str]:
        options = {"pooling": (self.pooling, "mean"), "head": (self.head, "none")}
        return [f"--{name}={value}" for name, (value, default) in options.items() if value != default]


def shown_path(study: Path, *, public: bool) -> str:
    """A study's folder as commands name it: from the project's root; in public, a run is called `my-study`."""
    if study.is_relative_to(ROOT):
        return study.relative_to(ROOT).as_posix()
    return "my-study" if public else str(study)


def verify_arguments(study: Path, info: Mapping[str, Any], places: Sequence[Path]) -> tuple[str, ...]:
    """Of `python -m core`: take each residual block out."""
    return ("blocks", str(study.resolve()), "--verify", *_located(info, places, data=True), "--progress=json")


def has_network(info: Mapping[str, Any]) -> bool:
    """Whether a study is of a network that can be loaded again, not of features or pixels."""
    asked = info.get("asked", {})
    return asked.get("model", PIXELS) != PIXELS and "data" in asked


def cannot_cut(info: Mapping[str, Any], places: Sequence[Path], *, data: bool) -> str:
    """Why the study's network cannot be cut here, as a sentence; "" where nothing is known to be in the way.

    data : whether the study's images are needed, too.
    """
    if not has_network(info):
        return "This study was made from features or from pixels: it has no network to cut."
    if importlib.util.find_spec("tensorflow") is None:
        return "Cutting the network needs TensorFlow, which is not installed here."
    for name, path in _files(info, data=data).items():
        if _found(path, places) is None:
            return f"The study's {name}, {path}, are not here. Say with --{name} where they lie."
    return ""


def missing_text(info: Mapping[str, Any], places: Sequence[Path], names: Sequence[str] = ("weights", "data")) -> str:
    """Which paths in a study's command have to be replaced, because nothing lies there, as Markdown; "" where none.

    names : of the files that the command uses.
    """
    files = _files(info, data=True) if info.get("asked", {}).get("data") else {}
    missing = [path for name, path in files.items() if name in names and _found(path, places) is None]
    if not missing:
        return ""
    rest = "is not here: put in where it lies now" if len(missing) == 1 else "are not here: put in where they lie now"
    return f"{' and '.join(map(one_layer, missing))} {rest}."


def search_folders(study: Path) -> tuple[Path, ...]:
    """Where relative paths of a study may begin: where the app was started, or in the folder of its run."""
    return Path.cwd(), study.resolve().parent


def _files(info: Mapping[str, Any], *, data: bool) -> dict[str, str]:
    """The files and folders that a study names, by the option that says where they lie."""
    asked = info.get("asked", {})
    weights, images = str(asked.get("weights", "")), str(asked.get("data", ""))
    found = {"weights": weights} if is_model_file(weights) else {}
    from_folder = images != "digits" and not images.startswith("tfds:")
    return found | ({"data": images} if data and from_folder else {})


def _located(info: Mapping[str, Any], places: Sequence[Path], *, data: bool) -> list[str]:
    """The options that say where these files lie."""
    found = {name: _found(path, places) for name, path in _files(info, data=data).items()}
    return [f"--{name}={path}" for name, path in found.items() if path is not None]


def _found(path: str, places: Sequence[Path]) -> Path | None:
    """The first of the places that has it; an absolute path is itself."""
    try:
        return next((there.resolve() for place in places if (there := place / path).exists()), None)
    except OSError:  # a name that is too long for any file
        return None
