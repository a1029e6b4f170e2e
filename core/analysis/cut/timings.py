"""Measure the time that a study's network takes up to each of its layers, and store it beside the tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.study.store.lookup import check_layers
from core.study.store.opening import Study
from core.study.store.study_json import read_json_object
from core.study.store.writing import now_utc, write_json

if TYPE_CHECKING:
    from core.network.models.registry import Network

FILE = "timing.json"
_LONGEST_S = 1e9  # no plausible duration; a file with longer ones is damaged
_SETTINGS = {"batch_size": 8, "repeats": 5}


def time_layers(study: Study, network: "Network", layers: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the seconds an image from the pixels to each layer, and write them to the study's `timing.json`.

    Parameters
    ----------
    study : Study
    network : Network
        The study's network, as returned by `core.study.reopening.reopen_network`.
    layers : sequence of str, optional
        Default all layers of the study. The deepest layer is always timed, because savings are shares of its time.

    Returns
    -------
    dict
        The content of the file; see `load_timing`.
    """
    timing = measure_timing(study, network, layers)
    write_json(study.path / FILE, timing)
    return timing


def measure_timing(study: Study, network: "Network", layers: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the same as `time_layers` without writing a file."""
    from core.network.timing import prefix_rounds

    measured = study.layers["layer"].tolist()
    check_layers(study, layers or ())
    timed = [layer for layer in measured if layers is None or layer in layers or layer == measured[-1]]
    rounds = prefix_rounds(network, timed, batch_size=_SETTINGS["batch_size"], repeats=_SETTINGS["repeats"])
    seconds = {layer: min(values) for layer, values in rounds.items()}
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    machine = {"machine": platform.machine(), "threads": threads, "measured": now_utc()}
    return {"seconds": seconds, "rounds": rounds, **_SETTINGS, **machine}


def load_timing(study: Study) -> Mapping[str, Any]:
    """Read `timing.json` of a study.

    Returns
    -------
    mapping
        seconds (from layer to seconds an image in the fastest round), rounds (from layer to seconds an image in each
        round, in which all layers took turns), batch_size, repeats, threads,
        machine, measured (date and time). Empty where nothing was measured, or the file is damaged.
    """
    try:
        timing = read_json_object(study.path / FILE, FILE)
    except (OSError, ValueError):
        return {}
    seconds, layers = timing.get("seconds"), set(study.layers["layer"])
    if not isinstance(seconds, dict) or not _are_durations(seconds) or not set(seconds) <= layers:
        return {}
    if not _are_rounds(timing.get("rounds"), seconds):
        return {}
    return timing


def _are_rounds(rounds: Any, seconds: Mapping[str, float]) -> bool:
    """Whether each layer has the same number of durations, which are 0 only where those in `seconds` are (pixels)."""
    if not isinstance(rounds, dict) or set(rounds) != set(seconds):
        return False
    if not all(isinstance(values, list) and len(values) > 0 for values in rounds.values()):
        return False
    if len({len(values) for values in rounds.values()}) != 1:
        return False
    for layer, values in rounds.items():
        if not all(_is_duration(value) and (value > 0) == (seconds[layer] > 0) for value in values):
            return False
    return True


def _are_durations(seconds: Mapping[str, Any]) -> bool:
    """Whether all values are durations, at least one of them above 0; those of the pixels are 0."""
    return all(map(_is_duration, seconds.values())) and any(seconds.values())


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_S
