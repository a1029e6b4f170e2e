"""study.json: how it is read, and what its fields must be. All but `format` and `state` may be missing."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.data.files import read_file
from core.study.options import STUDY_OPTIONS

Info = Mapping[str, Any]

MOST_BYTES = 64 << 20
RANKED_BY = ("cross", "separation")  # measures
STATES = ("running", "partial", "complete")
_LARGEST = 2**63
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

# Each field that is read somewhere: the types that it may have. "*" stands for each value of an object or a list.
_TEXT, _COUNT = (str, type(None)), (int, type(None))
_KERNELS: Mapping[str, tuple[type, ...]] = {
    "used.kernels": (dict, type(None)),
    "used.kernels.onednn": (bool, type(None)),
    "used.kernels.max_isa": _TEXT,
    "used.kernels.threads": (int,),
    "used.kernels.instructions": _TEXT,
}
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "state": (str,),
    "created": _TEXT,
    "finished": _TEXT,
    "command": _TEXT,
    "asked": (dict,),
    **{f"asked.{name}": option.json_types for name, option in STUDY_OPTIONS.items() if option.recorded},
    "asked.sizes.*": (int,),
    "asked.layers": (str, list, type(None)),  # a recorded training lists them
    "asked.layers.*": (str,),
    "asked.metric": _TEXT,  # of ready-made features
    "asked.centers": (bool,),  # of ready-made features
    "used": (dict,),
    "used.seed": _COUNT,
    "used.data": (dict,),
    "used.data.name": _TEXT,
    "used.data.fingerprint": _TEXT,
    "used.data.num_samples": _COUNT,
    "used.data.num_classes": _COUNT,
    "used.data.ignored_files": (dict,),
    "used.data.ignored_files.*": (int,),
    "used.data.sources_folder": _TEXT,
    "used.data.white": (dict, type(None)),
    "used.data.white.*": (float, int, type(None)),
    "used.model": (dict,),
    "used.model.input_size": (list, type(None)),
    "used.model.input_size.*": (int,),
    "used.model.name": _TEXT,
    "used.model.weights": _TEXT,
    "used.model.weights_sha256": _TEXT,
    "used.map": (dict,),  # of a neighbor embedding: how it was made
    "used.map.method": _TEXT,
    "used.pooled": (dict,),  # of PyTorch networks, and of layers of tokens: what the pooling `mean` is
    "used.pooled.*": (str,),
    "used.versions": (dict,),
    "used.versions.*": (str,),
    **_KERNELS,
    "skipped": (list, type(None)),
    "skipped.*": (dict,),
    "skipped.*.id": (str,),
    "skipped.*.reason": (str,),
    "cautions": (list,),
    "cautions.*": (str,),
    "num_queries": (dict,),
    "num_queries.*": (int,),
    "files": (dict,),
    "files.*": (str,),
    "training": (dict,),
    "training.epoch": (int,),
    "training.epochs": (list,),
    "training.epochs.*": (int,),
    "training.finished": (bool,),
}
_RANKING_FIELDS: Mapping[str, tuple[type, ...]] = {
    "state": (str,),
    "command": _TEXT,
    "asked": (dict,),
    "used": (dict,),
    "used.data": (dict,),
    "used.data.name": _TEXT,
    "used.data.fingerprint": _TEXT,
    "used.features": (dict,),
    "compared": (dict,),
    "compared.measure": (str,),
    "compared.split": (str,),
    "compared.chosen_by": (str,),
    "compared.chosen_in": (str,),
    "compared.pooling": (str,),
    "compared.level": (float, int),
    "compared.num_comparisons": (int,),
    "samples": (dict,),
    "samples.*": (int,),
    "num_classes": (int,),
    "timing": (dict,),
    "versions": (dict,),
    "versions.*": (str,),
    "cautions": (list,),
    "cautions.*": (str,),
}
_FINE_TUNING_FIELDS: Mapping[str, tuple[type, ...]] = {
    "state": (str,),
    "asked": (dict,),
    "asked.training": (dict,),
    "used": (dict,),
    "used.data": (dict,),
    "used.model": (dict,),
    "used.execution": (dict,),
    **_KERNELS,
    "notes": (list,),
    "notes.*": (str,),
}
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object"}
_NAMES |= {list: "a list", type(None): "null"}


def read_json_object(path: Path, name: str) -> dict[str, Any]:
    """The object in a JSON file, all of its texts such as can be written and shown.

    name : what the file is called in messages.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is none.
    ValueError
        It is no JSON object, no regular file or too large.
    """
    data = read_file(path, MOST_BYTES)
    try:
        content = json.loads(data.decode("utf-8"))
        if b"\\u" in data:  # which may stand for half of a character
            escaped = _LONE_SURROGATE.sub(_escaped_in_json, json.dumps(content, ensure_ascii=False))
            content = json.loads(escaped)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} must be JSON; got {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name} must be a JSON object; got {type(content).__name__}.")
    return content


def printable(text: str) -> str:
    """The text with each byte of a name that was no UTF-8 written as an escape, such as caf\\udce9."""
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def printable_values(content: Any) -> Any:
    """The same lists and objects, each text in them printable."""
    if isinstance(content, str):
        return printable(content)
    if isinstance(content, Mapping):
        return {printable_values(name): printable_values(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [printable_values(value) for value in content]
    return content


def _escaped_in_json(found: re.Match[str]) -> str:
    return f"\\\\u{ord(found[0]):04x}"


def ranking_faults(info: Mapping[str, Any]) -> list[str]:
    """Fields of ranking.json that are of another type than they must be; a complete one must have those of its end."""
    faults = [fault for path, types in _RANKING_FIELDS.items() for fault in _faults_of(info, path, types)]
    if not faults and info.get("state") == "complete":
        needed = [f"compared.{name}" for name in ("measure", "split", "pooling", "chosen_in", "num_comparisons")]
        needed += ["samples", "num_classes", "cautions"]
        lacking = [path for path in needed if not _values_at(info, path.split("."))]
        faults += [f"it lacks {', '.join(lacking)}"] if lacking else []
        measure, split = (info.get("compared", {}).get(name) for name in ("measure", "split"))
        if not lacking and measure not in RANKED_BY:
            faults.append(f"'compared.measure' must be one of {', '.join(RANKED_BY)}; got {_short(measure)}")
        faults += [] if lacking or split in info["samples"] else [f"'samples' must count the split {split!r}"]
    return faults


def fine_tuning_faults(info: Mapping[str, Any]) -> list[str]:
    """Fields of training.json that are missing, or of another type than they must be."""
    faults = [fault for path, types in _FINE_TUNING_FIELDS.items() for fault in _faults_of(info, path, types)]
    needed = ("state", "asked", "used.data.fingerprint", "used.model.weights_sha256", "used.execution")
    lacking = [path for path in needed if not _values_at(info, path.split("."))]
    return faults or ([f"it lacks {', '.join(lacking)}"] if lacking else [])


def info_faults(info: Mapping[str, Any]) -> list[str]:
    """Fields of study.json that are of another type than they must be."""
    faults = [fault for path, types in _FIELDS.items() for fault in _faults_of(info, path, types)]
    if not faults and info.get("state") not in STATES:
        faults.append(f"'state' must be one of {', '.join(STATES)}; got {_short(info.get('state'))}")
    return faults


def _faults_of(info: Mapping[str, Any], path: str, types: tuple[type, ...]) -> list[str]:
    """The first value at a path that is of none of the types."""
    for value in _values_at(info, path.split(".")):
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            names = " or ".join(_NAMES[kind] for kind in types)
            return [f"{path!r} must be {names}; got {_short(value)}"]
        if isinstance(value, int | float) and not abs(value) < _LARGEST:
            return [f"{path!r} must be a number of usual size; got {_short(value)}"]
    return []


def _values_at(value: Any, keys: list[str]) -> list[Any]:
    """The values at a path, as far as there are any; parts that are of another type are told by their own path."""
    if not keys:
        return [value]
    first, rest = keys[0], keys[1:]
    if first == "*":
        inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    else:
        inner = [value[first]] if isinstance(value, dict) and first in value else []
    return [found for one in inner for found in _values_at(one, rest)]


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more digits than Python writes, or nested too deeply
        text = type(value).__name__
    return text if len(text) <= 60 else f"{text[:60]} …"


def seed_of(info: Info) -> Any:
    """The random seed; None where the study does not say."""
    used = look_up(info, "used.seed")
    return look_up(info, "asked.seed") if used is None else used


def look_up(info: Info, path: str) -> Any:
    """A value by its dotted path; None where anything on the way is missing, as all but format and state may be.

    info : of any study. Where it is not checked, as in the list of studies, a part may be of another type than usual.
    """
    value: Any = info
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
