"""Runs a plan: activations pass by pass, each layer measured and written at once; what was done stays done."""

import os
import platform
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from core.cluster.connecting import Cluster, connect
from core.cluster.size import cluster_size
from core.kernels import Kernels, current_kernels
from core.measures.blas import one_blas_thread
from core.measures.neighbors import Neighbors
from core.measures.sliced import Question
from core.network.layers import LayerInfo
from core.network.passes import Pass
from core.study.costs import plan_cost, product_rate
from core.study.exactness import refuse_unasked
from core.study.geometry import with_alignment
from core.study.layer_pool import measured_in_order
from core.study.measuring import SMALL_BYTES, layer_row, measure_layer
from core.study.pilot import queries_after_pilot, queries_at_worst
from core.study.plan import ELSEWHERE, Plan, Progress, Report, StudyOptions, plan_study
from core.study.results import Study, StudyError, finished_layers, load_study, read_info
from core.study.resumed_kernels import begin_as_recorded, kernel_cautions, with_instructions
from core.study.samples import MeasureOptions
from core.study.searches import Key, SlicedLayer, answer, pilot_questions, study_questions
from core.study.streaming import Activations, Relay, layer_bytes, renamed, stream_layers
from core.study.unusable import survey
from core.study.writing import begin, check_still_there, end, study_lock, write_info, write_layer

if TYPE_CHECKING:
    from distributed import Client

_WORKING_COPIES = 16  # of a layer's activations, in float32, that measuring it takes at most: copies in float64
_PACKAGES = ("numpy", "scikit-learn", "pandas", "pyarrow", "tensorflow", "tensorflow-cpu", "keras", "pillow")


def run_study(
    study: Plan | StudyOptions,
    out: str | os.PathLike[str],
    *,
    memory: int | None = None,
    spool: str | os.PathLike[str] | None = None,
    client: "str | Client | None" = None,
    storage: str | None = None,
    progress: Report | None = None,
) -> Study:
    """Compute a study, or go on with one that was interrupted.

    Parameters
    ----------
    study : what to compute: options, or the plan made of them.
    out : the study's folder. If it holds the same study, only the layers that are missing are computed.
    memory : bytes for the activations of one pass, where `study` is options; default half of what is available.
    spool : a folder for the activations of layers that do not fit, where `study` is options; default none.
    client : a Dask cluster that does the work: a `distributed.Client`, or an address as `core.cluster.connecting` takes
        it, such as "tcp://host:8786" or "local:2"; default this process. The tables are the same.
    storage : a folder or an fsspec address that all workers reach, for activations meanwhile; default beside `out`.
    progress : called with a `Progress` now and then. An exception that it raises ends the run.

    Returns
    -------
    Study

    Raises
    ------
    ValueError
        The exact search takes hours, and neither `exact` nor a `precision` was asked for.
    StudyError
        The folder holds another study (the difference is named), another run writes to it, or its layers so far were
        computed with other kernels of TensorFlow than this process has loaded.
    ClusterError
        The cluster is not fit for the study, or fails; the layers done so far are kept.
    KeyboardInterrupt
        As it came; the layers done so far are a valid study, and the same call finishes it.
    """
    if client is not None:
        check_room(memory, spool)
    report, folder = progress or _ignore, Path(out)
    begin_as_recorded(read_info(folder))
    with nullcontext() if client is None else connect(client) as cluster:  # before anything that takes long
        plan = study
        if isinstance(plan, StudyOptions):
            plan = plan_study(plan, memory=memory if cluster is None else ELSEWHERE, spool=spool, progress=progress)
        _check_chosen(plan, cluster, folder)
        with study_lock(folder):
            info = begin(folder, _study_info(plan, cluster, out), plan.samples.frame())
            if info["state"] != "complete":
                _refuse_other_names(plan, folder)
                _complete(plan, _engine(plan, cluster, storage, folder), folder, info, report)
        return load_study(folder)


def check_room(memory: int | None, spool: str | os.PathLike[str] | None) -> None:
    """Refuse what says where activations lie in one process, for a study on a cluster."""
    if memory is not None or spool is not None:
        raise ValueError(
            "memory and spool must be left out on a cluster: its workers' own limits and its storage take their place. "
            "Give local:N:2GiB or start workers with --memory-limit, and name a --cluster-storage."
        )


def _complete(
    plan: Plan, at_work: AbstractContextManager["Engine"], folder: Path, info: dict[str, Any], progress: Report
) -> None:
    """Compute what is missing; what was computed before an exception is kept."""
    try:
        with at_work as engine:
            info = _decide_queries(plan, engine, folder, info, progress)
            options = replace(plan.options.measures(), num_queries=info.get("num_queries", {}))
            finished = frozenset(finished_layers(folder))
            with closing(engine.measured_layers(options, finished, progress)) as layers:
                _write_layers(plan, layers, folder)
        check_still_there(folder, [layer.layer for layer in plan.layers])
    except BaseException:
        end(folder, info, complete=False)
        raise
    end(folder, info, complete=True)


def _refuse_other_names(plan: Plan, folder: Path) -> None:
    """Layers were once named by position; what was measured under such names is not mixed with others."""
    unknown = sorted(finished_layers(folder) - {layer.layer for layer in plan.layers})
    if unknown:
        raise StudyError(
            f"{folder} holds layers of another choice or of an earlier version, such as {unknown[0]}, which this "
            "network does not have or which is not asked for. Choose another folder, or delete this one."
        )


def _check_chosen(plan: Plan, cluster: Cluster | None, folder: Path) -> None:
    """Refuse a study of hours that nobody chose to be one."""

    def rate() -> float:
        if cluster is None:
            return product_rate()
        size = cluster_size(cluster)
        return size.workers * size.rate

    refuse_unasked(plan, partial(plan_cost, plan, finished=frozenset(finished_layers(folder))), rate)


class Engine(Protocol):
    """Who computes what a plan asks for."""

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Key, Neighbors]]:
        """What the pilot finds at each layer and pooling."""
        ...

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """The tables of each layer that is not finished, in network order."""
        ...


def _engine(plan: Plan, cluster: Cluster | None, storage: str | None, folder: Path) -> AbstractContextManager[Engine]:
    if cluster is None:
        return nullcontext(_ThisProcess(plan))
    from core.cluster.study import on_cluster  # which needs the extra `cluster`

    return on_cluster(plan, cluster, storage, folder)


def _decide_queries(plan: Plan, engine: Engine, folder: Path, info: dict[str, Any], progress: Report) -> dict[str, Any]:
    """Fix in study.json how many samples are asked, before any is; a run that resumes keeps to it."""
    asked = plan.options
    if asked.precision is None or "num_queries" in info:
        return info
    if asked.pilot:
        found = engine.pilot_answers(progress)
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


class _ThisProcess:
    """Pass by pass, the activations of each in memory, or as the plan says."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def pilot_answers(self, progress: Report) -> Iterator[Mapping[Key, Neighbors]]:
        plan, passes = self._plan, self._plan.passes()
        questions, relay = pilot_questions(plan.samples, plan.options.pilot, plan.options.seed), Relay(passes)
        for pass_ in passes:
            with closing(
                stream_layers(plan, pass_, questions, relay=relay, stage="pilot", progress=progress)
            ) as layers:
                for _, activations in layers:
                    yield from [_answers(found, questions) for found in activations.values() if _is_usable(found)]

    def measured_layers(
        self, options: MeasureOptions, finished: frozenset[str], progress: Report
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Every pass that is still needed, the first one from the pixels."""
        passes = self._plan.passes(finished)
        relay = Relay(passes)
        for number, pass_ in enumerate(passes, start=1):
            stage = f"pass {number} of {len(passes)}"
            yield from self._measured(pass_, options, relay, renamed(progress, stage))

    def _measured(
        self, pass_: Pass, options: MeasureOptions, relay: Relay, progress: Report
    ) -> Iterator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Stream the layers of a pass and measure each; its activations go as it goes."""
        plan = self._plan
        questions, stage = study_questions(plan.samples, options), "activations"
        num_layers = len(pass_.layers)
        with (
            closing(stream_layers(plan, pass_, questions, relay=relay, stage=stage, progress=progress)) as layers,
            closing(self._measured_layers(pass_, layers, options)) as measured,
        ):
            for number, (layer, tables) in enumerate(measured, start=1):
                yield layer, tables
                progress(Progress(f"neighbors in {layer.layer}", number, num_layers, "layers"))
        progress(Progress("neighbors", num_layers, num_layers, "layers"))

    def _measured_layers(
        self, pass_: Pass, layers: Iterator[tuple[LayerInfo, dict[str, Activations]]], options: MeasureOptions
    ) -> Generator[tuple[LayerInfo, dict[str, pd.DataFrame]]]:
        """Small layers in threads, each on one core, as far as the budget has room; large ones one after the other."""
        plan = self._plan

        def measure(layer: LayerInfo, activations: Mapping[str, Activations]) -> dict[str, pd.DataFrame]:
            return measure_layer(layer_row(layer), activations, plan.samples, options)

        largest = max(layer_bytes(plan, layer) for layer in pass_.layers)
        if largest <= SMALL_BYTES:
            held = ((layer, dict(activations)) for layer, activations in layers)  # emptied when the next is asked for
            with_room = plan.budget_bytes // (_WORKING_COPIES * largest)
            with one_blas_thread():
                yield from measured_in_order(held, measure, num_threads=max(1, min(os.cpu_count() or 1, with_room)))
        else:
            for layer, activations in layers:
                yield layer, measure(layer, activations)


def _is_usable(found: Activations) -> bool:
    """Whether a layer's activations have neighbors."""
    return isinstance(found, SlicedLayer) or (isinstance(found, np.ndarray) and not survey(found).note)


def _answers(found: Activations, questions: Mapping[Key, Question]) -> Mapping[Key, Neighbors]:
    if isinstance(found, SlicedLayer):
        return found.answers
    assert isinstance(found, np.ndarray), "layers that cannot be measured are left out"
    return {key: answer(found, question) for key, question in questions.items()}


def _study_info(plan: Plan, cluster: Cluster | None, out: str | os.PathLike[str]) -> dict[str, Any]:
    """study.json but for format, state and times."""
    kernels = None if plan.network is None else _kernels(cluster)
    return {
        "command": plan.options.command(out),
        "asked": plan.options.asked(),
        "used": plan.used() | {"versions": package_versions(), "kernels": kernels and asdict(kernels)},
        "skipped": [{"id": skipped.id, "reason": skipped.reason} for skipped in plan.images.skipped],
        "cautions": plan.cautions() + kernel_cautions(kernels),
    }


def _kernels(cluster: Cluster | None) -> Kernels | None:
    """What the network is computed with: by this process, or by workers that are set as it is."""
    kernels = current_kernels()
    return with_instructions(kernels, cluster.instructions) if kernels and cluster else kernels


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
