"""python -m core study: how each layer of a network separates labelled images."""

import argparse
import json
import os
import sys
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.cluster.engine import DaskEngine
from core.commands.study_plan import print_plan
from core.commands.terminal.arguments import DATA_HELP, add_data_options, at_least, memory, print_notes, seed, sizes
from core.commands.terminal.progress import add_progress, interrupt_when_terminated, progress_on
from core.network.catalogue import DEFAULT_LAYERS
from core.network.models.registry import DEFAULT_MODEL, DEFAULT_WEIGHTS
from core.study.measuring.projection import PROJECTIONS
from core.study.plan import (
    NOTEBOOK,
    PIXELS,
    POOLINGS,
    PROTOCOLS,
    UNLIMITED_MEMORY,
    Plan,
    StudyOptions,
    plan_study,
)
from core.study.run import check_room, run_study
from core.study.store.opening import Study


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("study", help="measure how each layer of a network separates labelled images")
    default = {field.name: field.default for field in fields(StudyOptions)}
    add = parser.add_argument
    add("data", metavar="DATA", help=DATA_HELP)
    add("--out", required=True, metavar="DIR", help="the study's folder; a study begun there goes on")
    add(
        "--model",
        help=f"a network, a .keras or .h5 file, or: pixels (default: {DEFAULT_MODEL}, or what --weights holds)",
    )
    add(
        "--weights",
        help="imagenet, noisy-student (efficientnet-b0), none, or a .keras or .h5 file of the network "
        f"(default: {DEFAULT_WEIGHTS})",
    )
    add("--input-size", type=at_least(1), metavar="PIXELS", help="of the network's images (default: its own)")
    add(
        "--layers",
        default=DEFAULT_LAYERS,
        help="union of main, last_pool (the last global pooling), output, all, blocks, names and patterns "
        "(default: %(default)s, as far as the network has them)",
    )
    add("--pooling", default=default["pooling"], choices=tuple(POOLINGS), help="default: %(default)s")
    add("--split", default=default["split"], choices=("train", "test", "both"), help="default: %(default)s")
    add("--per-class", type=at_least(2), metavar="K", help="samples of each class and split (default: all)")
    add(
        "--neighbors",
        type=at_least(1),
        default=default["neighbors"],
        metavar="K",
        help="stored a sample (default: %(default)s)",
    )
    add("--neighbors-of", default=default["neighbors_of"], metavar="LAYERS", help="stored of (default: %(default)s)")
    add("--sizes", type=sizes, default=(), metavar="N,N,...", help="SI over subsamples of these sizes, of each split")
    add(
        "--repeats",
        type=at_least(1),
        default=default["repeats"],
        metavar="R",
        help="draws of each size (default: %(default)s)",
    )
    add("--protocol", default=default["protocol"], choices=PROTOCOLS, help="notebook: also the class-center measures")
    add("--precision", type=float, metavar="E", help="ask only as many samples as it takes to know SI to ± E, at 95 %%")
    add("--exact", action="store_true", help="ask all samples, although the search takes hours")
    add(
        "--pilot",
        type=at_least(0),
        default=0,
        metavar="M",
        help="samples of each split asked first, to ask fewer after",
    )
    add("--no-probe", dest="probe", action="store_false", help="leave out the linear probe")
    add(
        "--projection",
        default=default["projection"],
        choices=PROJECTIONS,
        help="how samples are drawn on a plane (default: %(default)s)",
    )
    add("--geometry", action="store_true", help="also the siblings of SI, intrinsic dimension, and CKA between layers")
    add("--memory", type=memory, metavar="SIZE", help="for the activations of a pass (default: half of what is free)")
    add("--spool", metavar="DIR", help="keep layers that do not fit the memory in files here, not in slices")
    add("--cluster", metavar="ADDRESS", help="of a Dask scheduler, or local:N, local:N:2GiB: its workers compute")
    add(
        "--cluster-storage", metavar="ADDRESS", help="a folder or s3://... that all workers reach (default: beside DIR)"
    )
    add("--seed", type=seed, default=default["seed"], help="of splits and choices (default: %(default)s)")
    add_data_options(parser)
    add(
        "--batch-size",
        type=at_least(1),
        default=default["batch_size"],
        metavar="N",
        help="images a forward pass (default: %(default)s)",
    )
    add("--dry-run", action="store_true", help="say what would be computed, and stop")
    add("--json", action="store_true", help="results for machines")
    add_progress(parser)
    parser.set_defaults(run=run)


def _asked(options: argparse.Namespace) -> StudyOptions:
    """The study asked for; the notebook's protocol brings its own choices where none was made."""
    asked = StudyOptions(**{field.name: getattr(options, field.name) for field in fields(StudyOptions)})
    if asked.protocol != "notebook":
        return asked
    left = {field.name for field in fields(StudyOptions) if getattr(options, field.name) == field.default}
    left -= {"layers"} if asked.model == PIXELS else set()
    return replace(asked, **{name: value for name, value in NOTEBOOK.items() if name in left})


def run(options: argparse.Namespace) -> int:
    interrupt_when_terminated()
    asked = _asked(options)
    report = progress_on(sys.stderr, options.progress)
    printed_notes: tuple[str, ...] = ()
    try:
        if options.dry_run:
            if options.cluster is not None:
                check_room(options.memory, options.spool)
            memory = options.memory if options.cluster is None else UNLIMITED_MEMORY
            plan = plan_study(asked, memory=memory, spool=options.spool, progress=report)
            report.close()
            if not options.json:
                print_notes(plan.notes)
            print_plan(plan, options.cluster, as_json=options.json)
            return 0
        to_run: Plan | StudyOptions = asked
        if options.cluster is None:  # a cluster is connected to first
            to_run = plan_study(asked, memory=options.memory, spool=options.spool, progress=report)
            report.close()
            if options.progress == "text":
                printed_notes = to_run.notes
                print_notes(printed_notes)
        study = run_study(
            to_run,
            options.out,
            memory=options.memory,
            spool=options.spool,
            engine=None if options.cluster is None else DaskEngine(options.cluster, options.cluster_storage),
            progress=report,
        )
    finally:
        report.close()
    print_study(study, as_json=options.json, printed_notes=printed_notes)
    return 0


def print_study(study: Study, *, as_json: bool, printed_notes: Collection[str] = ()) -> None:
    """The SI of every layer, one row a layer and pooling, one column a comparison.

    printed_notes : those of the study's cautions that have been printed before.
    """
    table = study.measurements
    table = table[table["measure"].isin(["separation", "cross"]) & (table["repeat"] == 0)].copy()
    table["column"] = table["split"].astype(str).where(table["measure"] == "separation", "test to train")
    if as_json:
        columns = ["layer", "pooling", "split", "measure", "value", "low", "high", "chance", "p_value", "q_value"]
        rows = json.loads(table[columns].to_json(orient="records"))
        print(json.dumps({"path": os.fspath(study.path), "state": study.state, "measurements": rows}, indent=1))
        return
    wide = table.pivot_table(index=["layer", "pooling"], columns="column", values="value", observed=True, sort=False)
    wide = wide.reindex(
        pd.MultiIndex.from_frame(table[["layer", "pooling"]].drop_duplicates())
    )  # with those of no value
    print(wide.to_string(float_format=lambda value: f"{value:.4f}", na_rep="–"))
    chance = ", ".join(f"{name} {value:.4f}" for name, value in table.groupby("column")["chance"].first().items())
    print(f"chance level: {chance}")
    for caution in study.info.get("cautions", []):
        if caution not in printed_notes:
            print(f"note: {caution}")
    print(f"written to {Path(study.path)}")
