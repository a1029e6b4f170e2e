"""How long a study's network takes to each of its layers, measured once on one machine and kept beside the tables."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.study.info_fields import read_json_object
from core.study.lookup import check_layers
from core.study.results import Study
from core.study.writing import now_utc, write_json

if TYPE_CHECKING:
    from core.network.backbones import Network

FILE = "timing.json"
_LONGEST_S = 1e9
_HOW = {"batch_size": 8, "repeats": 3}


def time_layers(study: Study, network: "Network", layers: Sequence[str] | None = None) -> dict[str, float]:
    """Measure the seconds an image from the pixels to each layer, and keep them in the study's `timing.json`.

    Parameters
    ----------
    network : the study's, as `core.study.reopening.reopen_network` gives it.
    layers : default all that the study measured. The deepest one is timed in any case: savings are shares of it.
    """
    from core.network.timing import prefix_seconds

    measured = study.layers["layer"].tolist()
    check_layers(study, layers or ())
    asked = [layer for layer in measured if layers is None or layer in layers or layer == measured[-1]]
    seconds = prefix_seconds(network, asked, **_HOW)
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or os.cpu_count() or 1)
    machine = {"machine": platform.machine(), "threads": threads, "measured": now_utc()}
    write_json(study.path / FILE, {"seconds": seconds, **_HOW, **machine})
    return seconds


def kept_timing(study: Study) -> Mapping[str, Any]:
    """What `timing.json` says: seconds (an image, by layer), batch_size, repeats, threads, machine, measured (when).

    Empty where nothing was measured, or the file is damaged.
    """
    try:
        found = read_json_object(study.path / FILE, FILE)
    except (OSError, ValueError):
        return {}
    seconds, layers = found.get("seconds"), set(study.layers["layer"])
    if not isinstance(seconds, dict) or not set(seconds) <= layers or not all(map(_is_duration, seconds.values())):
        return {}
    return found if seconds else {}


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _LONGEST_S
