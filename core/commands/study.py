"""python -m core study: how each layer of a network separates labelled images."""

import argparse
import json
import os
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from core.cluster.engine import DaskEngine
from core.commands.study_plan import print_plan
from core.commands.terminal.arguments import add_command, print_notes
from core.commands.terminal.option_flags import add_options
from core.commands.terminal.progress import LAYERS_STAY, add_output, interrupt_when_terminated, progress_on
from core.study.engine import LocalEngine
from core.study.options import PIXELS, RUN_OPTIONS, STUDY_OPTIONS
from core.study.plan import NOTEBOOK, Plan, StudyOptions, plan_study
from core.study.run import memory_of_plan, run_study
from core.study.store.opening import Study

GROUPS = ("data", "network", "layers", "measures", "cost", "cluster", "output")
EXAMPLES = (
    "digits --model pixels --out digits-study",
    "path/to/images --out my-study",
    "path/to/images --layers 'block*_add,top_conv' --per-class 20 --out blocks-study",
    "path/to/images --sizes 100,200,400 --out curve-study --dry-run",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "study", "Measure how each layer of a network separates labelled images.", EXAMPLES)
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    for group in groups.values():
        add_options(group, [*STUDY_OPTIONS.values(), *RUN_OPTIONS.values()])
    groups["cost"].add_argument(
        "--dry-run", action="store_true", help="Print what would be computed and its cost, and stop."
    )
    add_output(groups["output"], "study")
    parser.set_defaults(run=run, interrupted=LAYERS_STAY)


def study_options(options: argparse.Namespace) -> StudyOptions:
    """Read the options of a study from the command line; the protocol notebook sets those that are not given."""
    chosen = StudyOptions(**{name: getattr(options, name) for name in STUDY_OPTIONS})
    if chosen.protocol != "notebook":
        return chosen
    not_given = {name for name, option in STUDY_OPTIONS.items() if getattr(options, name) == option.default}
    not_given -= {"layers"} if chosen.model == PIXELS else set()
    return replace(chosen, **{name: value for name, value in NOTEBOOK.items() if name in not_given})


def run(options: argparse.Namespace) -> int:
    interrupt_when_terminated()
    chosen = study_options(options)
    report = progress_on(sys.stderr, options.progress)
    printed_notes: tuple[str, ...] = ()
    engine = LocalEngine() if options.cluster is None else DaskEngine(options.cluster, options.cluster_storage)
    try:
        if options.dry_run:
            memory = memory_of_plan(engine, options.memory, options.spool)
            plan = plan_study(chosen, memory=memory, spool=options.spool, progress=report)
            report.close()
            if not options.json:
                print_notes(plan.notes)
            print_plan(plan, options.cluster, as_json=options.json)
            return 0
        to_run: Plan | StudyOptions = chosen
        if options.cluster is None:  # a cluster is connected to first
            to_run = plan_study(chosen, memory=options.memory, spool=options.spool, progress=report)
            report.close()
            if options.progress == "text":
                printed_notes = to_run.notes
                print_notes(printed_notes)
        study = run_study(
            to_run,
            options.out,
            memory=options.memory,
            spool=options.spool,
            engine=engine,
            progress=report,
            overwrite=options.overwrite,
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
    wide = wide.rename(columns=lambda name: f"SI {name}").rename_axis(columns=None)
    print(wide.to_string(float_format=lambda value: f"{value:.4f}", na_rep="–"))
    chance = ", ".join(f"{name} {value:.4f}" for name, value in table.groupby("column")["chance"].first().items())
    print(f"chance level: {chance}")
    for caution in study.info.get("cautions", []):
        if caution not in printed_notes:
            print(f"note: {caution}")
    print(f"written to {Path(study.path)}")
