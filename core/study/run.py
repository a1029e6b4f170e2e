"""Runs a plan: activations pass by pass, each layer measured and written at once; what was done stays done."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from core.measures.neighbors import Neighbors
from core.measures.sliced import Question
from core.network.passes import Pass
from core.study.costs import Cost, plan_cost, product_rate
from core.study.exactness import refuse_unasked
from core.study.geometry import with_alignment
from core.study.measuring import layer_row, measure_layer
from core.study.pilot import queries_after_pilot, queries_at_worst
from core.study.plan import Plan, Progress, Report, StudyOptions, plan_study
from core.study.results import Study, finished_layers, load_study
from core.study.samples import MeasureOptions
from core.study.searches import Key, SlicedLayer, answer, pilot_questions, study_questions
from core.study.streaming import Activations, Relay, renamed, stream_layers
from core.study.writing import begin, end, study_lock, write_info, write_layer

_PACKAGES = ("numpy", "scikit-learn", "pandas", "pyarrow", "tensorflow", "tensorflow-cpu", "keras", "pillow")


def run_study(
    study: Plan | StudyOptions,
    out: str | os.PathLike[str],
    *,
    memory: int | None = None,
    spool: str | os.PathLike[str] | None = None,
    progress: Report | None = None,
) -> Study:
    """Compute a study, or go on with one that was interrupted.

    Parameters
    ----------
    study : what to compute: options, or the plan made of them.
    out : the study's folder. If it holds the same study, only the layers that are missing are computed.
    memory : bytes for the activations of one pass, where `study` is options; default half of what is available.
    spool : a folder for the activations of layers that do not fit, where `study` is options; default none.
    progress : called with a `Progress` now and then. An exception that it raises ends the run.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        The exact search takes hours, and neither `exact` nor a `precision` was asked for.
    StudyError
        The folder holds another study (the difference is named), or another run writes to it.
    KeyboardInterrupt
        As it came; the layers done so far are a valid study, and the same call finishes it.
    """
    plan = study
    if isinstance(plan, StudyOptions):
        plan = plan_study(plan, memory=memory, spool=spool, progress=progress)
    folder = Path(out)
    refuse_unasked(plan.options, _cost_left(plan, folder), product_rate)
    with study_lock(folder):
        info = begin(folder, _study_info(plan, out), plan.samples.frame())
        if info["state"] != "complete":
            try:
                info = _decide_queries(plan, folder, info, progress or _ignore)
                options = replace(plan.options.measures(), num_queries=info.get("num_queries", {}))
                _run_passes(plan, options, folder, progress or _ignore)
            except BaseException:
                end(folder, info, complete=False)
                raise
            end(folder, info, complete=True)
    return load_study(folder)


def _cost_left(plan: Plan, folder: Path) -> Callable[[float | None], Cost]:
    """What the layers cost that are not finished, by precision."""
    return lambda precision: plan_cost(plan, precision, frozenset(finished_layers(folder)))


def _decide_queries(plan: Plan, folder: Path, info: dict[str, Any], progress: Report) -> dict[str, Any]:
    """Fix in study.json how many samples are asked, before any is; a run that resumes keeps to it."""
    asked = plan.options
    if asked.precision is None or "num_queries" in info:
        return info
    if asked.pilot:
        found = _pilot_answers(plan, progress)
        needed = queries_after_pilot(found, plan.samples, asked.precision, pilot=asked.pilot, seed=asked.seed)
    else:
        needed = queries_at_worst(plan.samples, asked.precision)
    write_info(folder, info | {"num_queries": needed})
    return info | {"num_queries": needed}


def _pilot_answers(plan: Plan, progress: Report) -> Iterator[Mapping[Key, Neighbors]]:
    """What the pilot finds at each layer and pooling."""
    questions = pilot_questions(plan.samples, plan.options.pilot, plan.options.seed)
    relay = Relay()
    for pass_ in plan.passes():
        with closing(stream_layers(plan, pass_, questions, relay=relay, stage="pilot", progress=progress)) as layers:
            for _, activations in layers:
                yield from [_answers(found, questions) for found in activations.values()]


def _answers(found: Activations, questions: Mapping[Key, Question]) -> Mapping[Key, Neighbors]:
    if isinstance(found, SlicedLayer):
        return found.answers
    return {key: answer(found, question) for key, question in questions.items()}


def _run_passes(plan: Plan, options: MeasureOptions, folder: Path, progress: Report) -> None:
    """Every pass that is still needed, the first one from the pixels."""
    passes, relay = plan.passes(frozenset(finished_layers(folder))), Relay()
    for number, pass_ in enumerate(passes, start=1):
        stage = f"pass {number} of {len(passes)}"
        _measure_pass(plan, options, pass_, relay, folder, renamed(progress, stage))


def _measure_pass(
    plan: Plan, options: MeasureOptions, pass_: Pass, relay: Relay, folder: Path, progress: Report
) -> None:
    """Stream the layers of a pass, measure and write each; its activations go as it goes."""
    questions = study_questions(plan.samples, options)
    with closing(stream_layers(plan, pass_, questions, relay=relay, stage="activations", progress=progress)) as layers:
        for place, (layer, activations) in enumerate(layers):
            progress(Progress(f"neighbors in {layer.layer}", place, len(pass_.layers), "layers"))
            tables = measure_layer(layer_row(layer), activations, plan.samples, options)
            if layer.layer not in plan.stored_layers:
                tables["neighbors"] = tables["neighbors"].iloc[:0]
            write_layer(folder, layer.position, with_alignment(tables, folder))
    progress(Progress("neighbors", len(pass_.layers), len(pass_.layers), "layers"))


def _study_info(plan: Plan, out: str | os.PathLike[str]) -> dict[str, Any]:
    """study.json but for format, state and times."""
    return {
        "command": plan.options.command(out),
        "asked": plan.options.asked(),
        "used": plan.used() | {"versions": package_versions()},
        "skipped": [{"id": skipped.id, "reason": skipped.reason} for skipped in plan.images.skipped],
        "cautions": plan.cautions(),
    }


def package_versions() -> Mapping[str, str]:
    """Versions of what numbers depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _ignore(progress: Progress) -> None:
    """No one asked for progress."""
