"""Runs a plan: activations pass by pass, each layer measured and written at once; what was done stays done."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from core.data.files import check_folder
from core.network.catalogue import LayerInfo
from core.network.kernels import Kernels, current_kernels
from core.study.costs import plan_cost, queries_after_pilot, queries_at_worst
from core.study.engine import Connection, Engine, LocalEngine, StudyWork
from core.study.exactness import refuse_unasked
from core.study.measuring.embedding import describe_map, embed_layers
from core.study.measuring.related_measures import with_alignment
from core.study.options import check_kind
from core.study.plan import UNLIMITED_MEMORY, Plan, Progress, Report, StudyOptions, plan_study
from core.study.resumed_kernels import begin_as_recorded, kernel_cautions, with_instructions
from core.study.store.opening import Study, StudyError, finished_layers, load_study, read_info
from core.study.store.replacing import replaced
from core.study.store.writing import begin, check_still_there, end, study_lock, write_embedding, write_info, write_layer

_PACKAGES = ("numpy", "scikit-learn", "pandas", "pyarrow", "tensorflow", "tensorflow-cpu", "keras", "pillow")


def run_study(
    study: Plan | StudyOptions,
    out: str | os.PathLike[str],
    *,
    memory: int | None = None,
    spool: str | os.PathLike[str] | None = None,
    engine: Engine | None = None,
    progress: Report | None = None,
    overwrite: bool = False,
) -> Study:
    """Compute a study, or go on with one that was interrupted.

    Parameters
    ----------
    study : what to compute: options, or the plan made of them.
    out : the study's folder. If it holds the same study, only the layers that are missing are computed.
    memory : bytes for the activations of one pass, where `study` is options; default half of what is available.
    spool : a folder for the activations of layers that do not fit, where `study` is options; default none.
    engine : what computes; default this process. `core.DaskEngine` is a Dask cluster. The tables are the same.
    progress : called with a `Progress` now and then. An exception that it raises ends the run.
    overwrite : replace the study in the folder, whatever it is of, when the new one is complete; if this one fails or
        is stopped, the earlier one stays. A folder of anything else is refused.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        The exact search takes hours, and neither `allow_long_search` nor a `precision` was asked for.
    StudyError
        The folder holds another study (the difference is named), another run writes to it, or its layers so far were
        computed with other kernels of TensorFlow than this process has loaded.
    ClusterError
        The cluster is not fit for the study, or fails; the layers done so far are kept.
    KeyboardInterrupt
        As it came; the layers done so far are a valid study, and the same call finishes it.
    """
    engine = engine or LocalEngine()
    memory = memory_of_plan(engine, memory, spool)
    report, folder = progress or _discard, Path(out)
    check_folder(folder)
    check_kind("study", study, StudyOptions, Plan)
    if not overwrite:
        begin_as_recorded(read_info(folder))
    with engine.connect() as connection:  # before anything that takes long
        plan = study
        if isinstance(plan, StudyOptions):
            plan = plan_study(plan, memory=memory, spool=spool, progress=progress)
        _check_chosen(plan, connection, None if overwrite else folder)
        with replaced(folder, "study.json", overwrite=overwrite), study_lock(folder):
            info = begin(folder, _study_info(plan, connection, out), plan.samples.frame())
            if info["state"] != "complete":
                _refuse_other_names(plan, folder)
                _complete(plan, connection.work(plan, folder), folder, info, report)
            return load_study(folder)


def memory_of_plan(engine: Engine, memory: int | None, spool: str | os.PathLike[str] | None) -> int | None:
    """Return the memory to plan with: as given, or without limit where activations lie with the engine.

    Raises
    ------
    ValueError
        `memory` or `spool` is given for such an engine, as a cluster is.
    """
    if not engine.has_own_memory:
        return memory
    if memory is not None or spool is not None:
        raise ValueError(
            "memory and spool must be left out on a cluster: its workers' own limits and its storage take their place. "
            "Give local:N:2GiB or start workers with --memory-limit, and name a --cluster-storage."
        )
    return UNLIMITED_MEMORY


def _complete(
    plan: Plan, work: AbstractContextManager[StudyWork], folder: Path, info: dict[str, Any], progress: Report
) -> None:
    """Compute what is missing; what was computed before an exception is kept."""
    try:
        with work as study_work:
            info = _decide_queries(plan, study_work, folder, info, progress)
            options = replace(plan.options.measures(), num_queries=info.get("num_queries", {}))
            finished = frozenset(finished_layers(folder))
            with closing(study_work.measured_layers(options, finished, progress)) as layers:
                _write_layers(plan, layers, folder)
        check_still_there(folder, [layer.layer for layer in plan.layers])
        if options.projection == "tsne":
            _embed(plan, folder, progress)
    except BaseException:
        end(folder, info, complete=False)
        raise
    end(folder, info, complete=True)


def _embed(plan: Plan, folder: Path, report: Report) -> None:
    """Embed all layers, one after the other; what was embedded before an exception is kept."""

    def progress(done: int, total: int) -> None:
        report(Progress("map of the samples", done, total, "layers"))

    for embedded in embed_layers(folder, plan.samples, plan.options.seed, progress):
        check_still_there(folder)
        write_embedding(embedded.part, embedded.rows)


def _refuse_other_names(plan: Plan, folder: Path) -> None:
    """Layers were once named by position; what was measured under such names is not mixed with others."""
    unknown = sorted(finished_layers(folder) - {layer.layer for layer in plan.layers})
    if unknown:
        raise StudyError(
            f"{folder} holds layers of another choice or of an earlier version, such as {unknown[0]}, which this "
            "network does not have or which is not asked for. Choose another folder, or delete this one."
        )


def _check_chosen(plan: Plan, connection: Connection, folder: Path | None) -> None:
    """Refuse a study of hours that nobody chose to be one. folder : of a study to go on with, if any."""
    cost = partial(plan_cost, plan, finished=frozenset(finished_layers(folder) if folder else ()))
    refuse_unasked(plan, cost, connection.product_rate)


def _decide_queries(
    plan: Plan, work: StudyWork, folder: Path, info: dict[str, Any], progress: Report
) -> dict[str, Any]:
    """Fix in study.json how many samples are asked, before any is; a run that resumes keeps to it."""
    asked = plan.options
    if asked.precision is None or "num_queries" in info:
        return info
    if asked.pilot:
        found = work.pilot_answers(progress)
        needed = queries_after_pilot(found, plan.samples, asked.precision, pilot=asked.pilot, seed=asked.seed)
    else:
        needed = queries_at_worst(plan.samples, asked.precision)
    write_info(folder, info | {"num_queries": needed})
    return info | {"num_queries": needed}


def _write_layers(plan: Plan, layers: Iterator[tuple[LayerInfo, dict[str, pd.DataFrame]]], folder: Path) -> None:
    """Write each layer as soon as it is measured."""
    for layer, tables in layers:
        if layer.layer not in plan.stored_layers:
            tables["neighbors"] = tables["neighbors"].iloc[:0]
        check_still_there(folder)
        write_layer(folder, layer.position, with_alignment(tables, folder))


def _study_info(plan: Plan, connection: Connection, out: str | os.PathLike[str]) -> dict[str, Any]:
    """study.json but for format, state and times."""
    kernels = None if plan.network is None else _kernels(connection)
    return {
        "command": plan.options.command(out),
        "asked": plan.options.asked(),
        "used": plan.used() | {"versions": package_versions(), "kernels": kernels and asdict(kernels)} | _map_of(plan),
        "skipped": [{"id": skipped.id, "reason": skipped.reason} for skipped in plan.images.skipped],
        "cautions": plan.cautions() + kernel_cautions(kernels),
    }


def _map_of(plan: Plan) -> dict[str, Any]:
    """How a neighbor embedding is made, where there is one."""
    return {"map": describe_map(len(plan.samples), plan.options.seed)} if plan.options.projection == "tsne" else {}


def _kernels(connection: Connection) -> Kernels | None:
    """The kernels that compute the network: this process's, or those of workers that are set as it is."""
    kernels = current_kernels()
    return with_instructions(kernels, connection.instructions) if kernels and connection.instructions else kernels


def package_versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Versions of what numbers depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _discard(progress: Progress) -> None:
    """Discard progress reports."""
