"""How long a study's network takes to each of its layers, measured once on one machine and kept beside the tables."""

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
_LONGEST_S = 1e9
_HOW = {"batch_size": 8, "repeats": 5}


def time_layers(study: Study, network: "Network", layers: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the seconds an image from the pixels to each layer, and keep them in the study's `timing.json`.

    Parameters
    ----------
    network : the study's, as `core.study.reopening.reopen_network` gives it.
    layers : default all that the study measured. The deepest one is timed in any case: savings are shares of it.

    Returns
    -------
    What the file says; see `kept_timing`.
    """
    timing = measure_timing(study, network, layers)
    write_json(study.path / FILE, timing)
    return timing


def measure_timing(study: Study, network: "Network", layers: Sequence[str] | None = None) -> dict[str, Any]:
    """The same as `time_layers`, and nothing is kept."""
    from core.network.timing import prefix_rounds

    measured = study.layers["layer"].tolist()
    check_layers(study, layers or ())
    timed = [layer for layer in measured if layers is None or layer in layers or layer == measured[-1]]
    rounds = prefix_rounds(network, timed, **_HOW)
    seconds = {layer: min(values) for layer, values in rounds.items()}
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    machine = {"machine": platform.machine(), "threads": threads, "measured": now_utc()}
    return {"seconds": seconds, "rounds": rounds, **_HOW, **machine}


def kept_timing(study: Study) -> Mapping[str, Any]:
    """What `timing.json` says: seconds, rounds, batch_size, repeats, threads, machine, measured (when).

    seconds : by layer, an image, in the fastest round. rounds : by layer, an image, in each round; all layers took
    turns in each. Files written by earlier versions have no rounds. Empty where nothing was measured, or the file is
    damaged.
    """
    try:
        found = read_json_object(study.path / FILE, FILE)
    except (OSError, ValueError):
        return {}
    seconds, layers = found.get("seconds"), set(study.layers["layer"])
    if not isinstance(seconds, dict) or not _are_durations(seconds) or not set(seconds) <= layers:
        return {}
    return found if "rounds" not in found or _are_rounds(found["rounds"], seconds) else {}


def _are_rounds(rounds: Any, seconds: Mapping[str, float]) -> bool:
    """Whether there are durations of each layer, equally many, and 0 for the pixels alone."""
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
    """Whether these are seconds by layer, not all of them 0, as those of the pixels are."""
    return all(map(_is_duration, seconds.values())) and any(seconds.values())


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _LONGEST_S
