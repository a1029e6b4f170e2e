"""Resumed studies compute with the TensorFlow kernels that they began with, or an error says why they cannot."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from core.network.kernels import Kernels, recorded_kernels, tensorflow_is_loaded, use_kernels
from core.study.store.opening import StudyError

Info = Mapping[str, Any]


def begin_as_recorded(info: Info | None) -> None:
    """Before TensorFlow is loaded: have it compute as what is to go on was begun.

    info : of study.json or training.json as it stands, None where there is none yet.
    """
    recorded = recorded_kernels(info) if info and info.get("state") != "complete" else None
    if recorded is not None and not tensorflow_is_loaded():
        use_kernels(recorded)


def go_on_with_kernels(folder: Path, there: Info, here: Info) -> Info:
    """What study.json shall say of a study of which some layers are there, begun by another run.

    there, here : as it stands, and as this run would begin it.

    Raises
    ------
    StudyError
        TensorFlow was loaded with other settings than the study was begun with.
    """
    before, now = recorded_kernels(there), recorded_kernels(here)
    if before is None or now is None:
        return here
    refuse_other_kernels(folder, before, now)
    both = with_instructions(now, [before.instructions, now.instructions])
    return {**here, "used": {**here["used"], "kernels": asdict(both)}, "cautions": _with_cautions(here, both)}


def refuse_other_kernels(folder: Path, before: Kernels, now: Kernels) -> None:
    """Refuse to go on where the results would be of two kinds."""
    if now.has_settings_of(before):
        return
    variables = before.environment().items()
    unset = [f"{name} unset" for name, value in variables if value is None]
    wanted = ", ".join([*(f"{name}={value}" for name, value in variables if value is not None), *unset])
    raise StudyError(
        f"{folder} was begun with other kernels of TensorFlow ({before}) than this process has loaded ({now}), so that "
        "results would differ in their last bits. Start a new process and let it go on before anything else loads "
        f"TensorFlow, or set {wanted}; or choose another folder."
    )


def with_instructions(kernels: Kernels, sets: Iterable[str | None]) -> Kernels:
    """The kernels of a study that processors with these instruction sets computed together."""
    names = {name for several in sets if several for name in several.split(", ")}
    return replace(kernels, instructions=", ".join(sorted(names)) or None)


def kernel_cautions(kernels: Kernels | None) -> list[str]:
    """A sentence, where a study's tables are not those of a single machine."""
    if kernels is None or not kernels.onednn or kernels.max_isa or ", " not in (kernels.instructions or ""):
        return []
    return [
        f"Layers were computed on processors with different instruction sets ({kernels.instructions}), for which "
        "TensorFlow has different kernels: values may differ in their last digits from those of a single machine."
    ]


def _with_cautions(info: Info, kernels: Kernels) -> list[str]:
    return list(dict.fromkeys([*info.get("cautions", []), *kernel_cautions(kernels)]))
