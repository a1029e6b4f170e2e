"""python -m core study: how each layer of a network separates labelled images."""

import argparse
import json
import os
import sys
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.cluster.engine import DaskEngine
from core.commands.study_plan import print_plan
from core.commands.terminal.arguments import (
    DATA_HELP,
    JSON_HELP,
    MEMORY_HELP,
    add_command,
    add_data_options,
    at_least,
    memory,
    print_notes,
    seed,
    sizes,
)
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

EXAMPLES = (
    "digits --model pixels --out digits-study",
    "path/to/images --out my-study",
    "path/to/images --layers 'block*_add,top_conv' --per-class 20 --out blocks-study",
    "path/to/images --sizes 100,200,400 --out curve-study --dry-run",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "study", "Measure how each layer of a network separates labelled images.", EXAMPLES)
    default = {field.name: field.default for field in fields(StudyOptions)}
    _add_data(parser.add_argument_group("data"), default)
    _add_network(parser.add_argument_group("network"), default)
    _add_layers(parser.add_argument_group("layers"), default)
    _add_measures(parser.add_argument_group("measures"), default)
    _add_cost(parser.add_argument_group("cost"))
    _add_cluster(parser.add_argument_group("cluster"))
    _add_output(parser.add_argument_group("output"))
    parser.set_defaults(run=run)


def _add_data(group: Any, default: Mapping[str, Any]) -> None:
    group.add_argument("data", metavar="DATA", help=DATA_HELP)
    group.add_argument(
        "--split",
        default=default["split"],
        choices=("train", "test", "both"),
        help="Split of the data to measure. Default: %(default)s.",
    )
    group.add_argument(
        "--per-class",
        type=at_least(2),
        metavar="K",
        help="Number of samples to draw from each class of each split. Default: all.",
    )
    add_data_options(group)
    group.add_argument(
        "--seed",
        type=seed,
        default=default["seed"],
        metavar="N",
        help="Seed of splits and of all random draws. Default: %(default)s.",
    )


def _add_network(group: Any, default: Mapping[str, Any]) -> None:
    group.add_argument(
        "--model",
        metavar="MODEL",
        help="Network to measure: its name, a .keras or .h5 file, or pixels for the images themselves. "
        f"Default: {DEFAULT_MODEL}, or the network in the file given to --weights.",
    )
    group.add_argument(
        "--weights",
        metavar="WEIGHTS",
        help="Weights of the network: imagenet, noisy-student (of efficientnet-b0), none, or a .keras or .h5 file of "
        f"the network. Default: {DEFAULT_WEIGHTS}.",
    )
    group.add_argument(
        "--input-size",
        type=at_least(1),
        metavar="PIXELS",
        help="Height and width that images are scaled to for the network. Default: the network's own.",
    )
    group.add_argument(
        "--batch-size",
        type=at_least(1),
        default=default["batch_size"],
        metavar="N",
        help="Number of images in a forward pass. Default: %(default)s.",
    )


def _add_layers(group: Any, default: Mapping[str, Any]) -> None:
    group.add_argument(
        "--layers",
        default=DEFAULT_LAYERS,
        metavar="LAYERS",
        help="Layers to measure, separated by commas: main, last_pool (the last global pooling), output, all, blocks, "
        "names, and patterns such as 'block*_add'. Default: %(default)s, as far as the network has them.",
    )
    group.add_argument(
        "--pooling",
        default=default["pooling"],
        choices=tuple(POOLINGS),
        help="Features of a layer: flat takes all activations, mean the mean of each channel, both measures each. "
        "Default: %(default)s.",
    )
    group.add_argument(
        "--neighbors",
        type=at_least(1),
        default=default["neighbors"],
        metavar="K",
        help="Number of nearest neighbors to store for each sample. Default: %(default)s.",
    )
    group.add_argument(
        "--neighbor-layers",
        default=default["neighbor_layers"],
        metavar="LAYERS",
        help="Layers whose neighbors are stored, written as in --layers. Default: %(default)s.",
    )


def _add_measures(group: Any, default: Mapping[str, Any]) -> None:
    group.add_argument(
        "--sizes",
        type=sizes,
        default=(),
        metavar="N,N,...",
        help="Sizes of stratified subsamples of each split, for SI over sample size. Default: none.",
    )
    group.add_argument(
        "--repeats",
        type=at_least(1),
        default=default["repeats"],
        metavar="R",
        help="Number of subsamples to draw of each size. Default: %(default)s.",
    )
    group.add_argument(
        "--protocol",
        default=default["protocol"],
        choices=PROTOCOLS,
        help="Measures to compute: notebook adds the class-center measures of the original notebook and their permuted "
        "controls, and takes its choice of layers, pooling and samples. Default: %(default)s.",
    )
    group.add_argument(
        "--related-measures",
        action="store_true",
        help="Also compute related separability measures, intrinsic dimension, hubness, and CKA between layers.",
    )
    group.add_argument("--no-probe", dest="probe", action="store_false", help="Leave out the linear probe.")
    group.add_argument(
        "--projection",
        default=default["projection"],
        choices=PROJECTIONS,
        help="How samples are drawn on a plane; umap needs umap-learn. Default: %(default)s.",
    )


def _add_cost(group: Any) -> None:
    group.add_argument(
        "--precision",
        type=float,
        metavar="E",
        help="Half of the width of the 95 %% interval of SI to reach, such as 0.01: only as many samples are searched "
        "as that takes. Default: all samples are searched.",
    )
    group.add_argument(
        "--pilot",
        type=at_least(0),
        default=0,
        metavar="M",
        help="Number of samples of each split to search first, so that --precision takes fewer. Default: %(default)s.",
    )
    group.add_argument(
        "--allow-long-search",
        action="store_true",
        help="Search the neighbors of all samples even where that takes more than 4 hours, instead of stopping.",
    )
    group.add_argument("--memory", type=memory, metavar="SIZE", help=MEMORY_HELP)
    group.add_argument(
        "--spool",
        metavar="DIR",
        help="Folder for the activations of layers that do not fit the memory; removed afterwards. "
        "Default: such layers are computed in slices.",
    )
    group.add_argument("--dry-run", action="store_true", help="Print what would be computed and its cost, and stop.")


def _add_cluster(group: Any) -> None:
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="Address of the Dask scheduler whose workers compute, or local:N or local:N:2GiB for N processes of this "
        "computer. Default: this process computes.",
    )
    group.add_argument(
        "--cluster-storage",
        metavar="ADDRESS",
        help="Folder or s3://... address that all workers reach, for activations. Default: a folder beside DIR.",
    )


def _add_output(group: Any) -> None:
    group.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="Folder to write the study to; a study that was interrupted there goes on.",
    )
    group.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(group)


def study_options(options: argparse.Namespace) -> StudyOptions:
    """Read the options of a study from the command line; the protocol notebook sets those that are not given."""
    asked = StudyOptions(**{field.name: getattr(options, field.name) for field in fields(StudyOptions)})
    if asked.protocol != "notebook":
        return asked
    left = {field.name for field in fields(StudyOptions) if getattr(options, field.name) == field.default}
    left -= {"layers"} if asked.model == PIXELS else set()
    return replace(asked, **{name: value for name, value in NOTEBOOK.items() if name in left})


def run(options: argparse.Namespace) -> int:
    interrupt_when_terminated()
    asked = study_options(options)
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
