"""Fill the form of New study from a study, so that it can be run again with changes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.network.models.registry import is_model_file, is_weights_path
from core.study.options import PIXELS, RUN_OPTIONS, STUDY_OPTIONS, Option
from core.study.store.study_json import look_up
from explorer.runs.background.jobs import STUDY, find_job
from explorer.runs.commands import located, search_folders
from explorer.runs.request import AT_THE_PLAN, HIDDEN_OPTIONS, Request, models, sources
from explorer.runs.uploads.checking import UPLOADS
from explorer.server.public_mode import Limits

_FEATURE_OPTIONS = ("neighbors", "related_measures")  # of ready-made features, in the form
_PATHS = {"model": is_model_file, "weights": is_weights_path}  # options that may be the path of a file
_GIVE_PATH = "are not here: give their present path."
_NO_FILES = "The uploaded files are not kept with a study: choose them again."


@dataclass(frozen=True)
class RunAgain:
    """The form for running a study again.

    Attributes
    ----------
    request : Request
        The study's options.
    notes : tuple of str
        What differs from the study, or is needed beside it, a sentence each, as plain text.
    """

    request: Request
    notes: tuple[str, ...] = ()


def run_again(info: Mapping[str, Any], study: Path, allowed: Limits) -> RunAgain:
    """Return the form for running a study again.

    Parameters
    ----------
    info : mapping
        Content of study.json of a study that the app, a command or Python made. What it does not record stays at the
        default.
    study : Path
        The study's folder, from which relative paths may start.
    allowed : Limits
        The server's limits: what they refuse is left out and named.
    """
    recorded = info.get("asked") or {}
    filled = _of_images(recorded, study) if isinstance(recorded.get("data"), str) else _of_features(info)
    return _within(_with_run_options(filled, study, allowed), allowed)


def _of_images(asked: Mapping[str, Any], study: Path) -> RunAgain:
    """The form for a study of images."""
    notes: list[str] = []
    values = _option_values(asked, STUDY_OPTIONS, notes)
    for name in AT_THE_PLAN:
        value = values.pop(name, _default(name))
        if value != _default(name):
            notes.append(f"The study had a {name} of {value}: where a search takes hours, the plan offers a choice.")
    if asked.get("model") is None and is_model_file(str(values.get("weights", ""))):  # a whole network in a file
        values["model"] = values.pop("weights")
    for name, is_path in _PATHS.items():
        if is_path(str(values.get(name, ""))):
            values[name] = _present_path(name, values[name], study, notes)
    data = values.pop("data")
    if data == "digits":
        values["source"] = "digits"
    elif data.startswith("tfds:"):
        values |= {"source": "tfds", "data": data.removeprefix("tfds:")}
    elif UPLOADS in Path(data).parts:
        values["source"] = "images"
        notes.append(_NO_FILES)
    else:
        values |= {"source": "folder", "data": _present_path("data", data, study, notes)}
    sizes = ",".join(str(size) for size in values.pop("sizes", ()))
    return RunAgain(replace(Request(), sizes=sizes, **values), tuple(notes))


def _of_features(info: Mapping[str, Any]) -> RunAgain:
    """The form for a study of ready-made features, or of a network that this app does not run."""
    recorded = info.get("asked") or {}
    model = look_up(info, "used.model.name")
    if model is not None:
        notes = [f"The network {model} was not measured by a command: save its features to files, and choose them."]
    else:
        notes = [_NO_FILES]
    values = _option_values(recorded, {name: STUDY_OPTIONS[name] for name in _FEATURE_OPTIONS}, notes)
    lost = [
        name for name in ("probe", "projection") if recorded.get(name, STUDY_OPTIONS[name].default) != _default(name)
    ]
    if lost:
        notes.append(f"The form for features has no field for {' and '.join(lost)}; the default is taken.")
    metric = recorded.get("metric")
    if isinstance(metric, str):
        values["metric"] = metric
    return RunAgain(replace(Request(), source="features", **values), tuple(notes))


def _default(name: str) -> Any:
    return STUDY_OPTIONS[name].default


def _option_values(asked: Mapping[str, Any], options: Mapping[str, Option], notes: list[str]) -> dict[str, Any]:
    """The recorded values of options; those that the form cannot have are left at their default and noted."""
    values: dict[str, Any] = {}
    for name, option in options.items():
        if name not in asked or (asked[name] is None and getattr(Request(), name) is not None):
            continue
        value = asked[name]
        least, most = option.form_limits
        is_outside = option.kind in (int, float) and value is not None and not least <= value <= most
        if is_outside or option.fault(value):
            notes.append(f"{option.label or name} was {value}, which the form does not take; the default is taken.")
            continue
        values[name] = value
    return values


def _present_path(name: str, path: str, study: Path, notes: list[str]) -> str:
    """Where a recorded path is now; the path itself, with a note, where it is not there."""
    present = located(path, search_folders(study))
    if present is None:
        notes.append(f"The study's {name}, {path}, {_GIVE_PATH}")
        return path
    return str(present)


def _with_run_options(filled: RunAgain, study: Path, allowed: Limits) -> RunAgain:
    """Add what study.json does not record, because it changes no number, from the record of the app's run."""
    job = find_job(study.parent.parent, study.parent.name) if study.name == STUDY else None
    if job is None or allowed.public:
        return filled
    values: dict[str, Any] = {}
    for word in job.arguments:
        flag, _, value = word.partition("=")
        for name, option in RUN_OPTIONS.items():
            if flag == option.flag:
                values[name] = value
    return replace(filled, request=replace(filled.request, **values))


def _within(filled: RunAgain, allowed: Limits) -> RunAgain:
    """Leave out what the server's limits refuse, with a note each."""
    if not allowed.public:
        return filled
    request = filled.request
    notes = [note for note in filled.notes if not note.endswith(_GIVE_PATH)]  # no path of the server is told
    if is_weights_path(request.weights):
        notes.append("The study's weights are not on this server; the network's own are taken.")
        request = replace(request, weights=Request().weights)
    if request.source not in sources(allowed):
        notes.append("This server reads no folders: upload the data, or run the app on your own computer.")
        request = replace(request, source="digits", data="", model=PIXELS)
    if request.source != "features" and request.model not in models(allowed):
        notes.append(f"The network {Path(request.model).name} is not offered on this server; pixels are taken.")
        request = replace(request, model=PIXELS)
    hidden = {name: option.default for name, option in HIDDEN_OPTIONS.items()}
    changed = [name for name, default in hidden.items() if getattr(request, name) != default]
    if changed:
        notes.append(f"This server takes the default of {', '.join(changed)}.")
    return RunAgain(replace(request, **hidden), tuple(notes))
