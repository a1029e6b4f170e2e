"""python -m core cut: a study's network up to its best layer, as a file that Keras loads by itself."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import Any

import pandas as pd

from core.commands.progress import add_progress, interrupt_when_terminated, progress_on
from core.network.cutting import POOLINGS
from core.study.advice import Advice, advise, layers_before_head, with_seconds
from core.study.comparing import MEASURES
from core.study.exporting import HEADS, Export, export_cut
from core.study.reopening import reopen_network
from core.study.results import Study, load_study

AUTO = "auto"


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("cut", help="cut a study's network at a layer, and save what is below")
    add = parser.add_argument
    add("study", metavar="STUDY", help="the folder of a study of a network")
    add("--out", required=True, metavar="FILE", help="the .keras file; what is known of it goes to a .json beside it")
    add(
        "--layer",
        default=AUTO,
        metavar="NAME",
        help="where to cut; auto: the earliest layer before the head whose SI cannot be told from the best one's",
    )
    add("--pooling", default="mean", choices=POOLINGS, help="what it gives of the layer (default: %(default)s)")
    add("--head", choices=HEADS, help="a classifier on top: a linear probe, or the nearest training sample")
    add("--measure", choices=MEASURES, default=MEASURES[0], help="that chooses the layer (default: %(default)s)")
    add("--data", metavar="DATA", help="where the study's images lie now, for a head (default: where they lay)")
    add("--weights", metavar="FILE", help="where the study's .keras file lies now (default: where it lay)")
    add("--no-timing", dest="timing", action="store_false", help="leave out the seconds an image")
    add("--json", action="store_true", help="results for machines")
    add_progress(parser)
    parser.set_defaults(run=run, interrupted="Nothing is kept; the same command starts again.")


def run(options: argparse.Namespace) -> int:
    """Choose the layer, write the file, and say what it saves and costs."""
    interrupt_when_terminated()
    study = load_study(options.study)
    network = reopen_network(study, weights=options.weights)
    pooling = "flat" if options.pooling == "flat" else "mean"
    advice = advise(study, pooling=pooling, measure=options.measure, layers=layers_before_head(study))
    layer = advice.earliest if options.layer == AUTO else options.layer
    report = progress_on(sys.stderr, options.progress)
    try:
        export = export_cut(
            study,
            layer,
            options.out,
            pooling=options.pooling,
            head=options.head,
            data=options.data,
            weights=options.weights,
            progress=report,
        )
    finally:
        report.close()
    if options.timing and layer in set(advice.layers["layer"]):
        from core.network.timing import prefix_seconds

        last = str(study.layers["layer"].iloc[-1])
        advice = with_seconds(advice, prefix_seconds(network, [layer, last]))
    if options.json:
        print(json.dumps(_as_json(export, advice), indent=1))
    else:
        _print_choice(study, advice, layer, auto=options.layer == AUTO)
        _print_export(export)
    return 0


def _as_json(export: Export, advice: Advice) -> dict[str, Any]:
    rows = advice.layers[advice.layers["layer"] == export.layer]
    found = asdict(export) | {"path": os.fspath(export.path), "best": advice.best, "earliest": advice.earliest}
    costs = json.loads(rows.drop(columns="layer").to_json(orient="records"))
    found = {name: None if isinstance(value, float) and value != value else value for name, value in found.items()}
    return found | {"advice": costs[0] if costs else None}


def _print_choice(study: Study, advice: Advice, layer: str, *, auto: bool) -> None:
    """Which layer, why, and what cutting there saves and costs."""
    best = advice.row(advice.best)
    print(
        f"best layer before the head: {advice.best}, SI {best['value']:.3f} ({advice.measure}, {advice.split} samples)"
    )
    if auto and layer == advice.best:
        print("no earlier layer is statistically equal: cut there")
    elif auto:
        print(f"earliest that is statistically equal: {layer}")
    if layer not in set(advice.layers["layer"]):
        print(f"{layer} was not measured: what cutting there costs is not known")
        return
    row = advice.row(layer)
    if layer != advice.best:
        paired = "paired" if row["paired"] else "not paired"
        span = f"{row['difference_low']:+.3f} to {row['difference_high']:+.3f}, 95 %, {paired}"
        print(f"costs: SI {row['value']:.3f}, {row['difference']:+.3f} ({span})")
        if pd.notna(row["linear_probe_difference"]):
            accuracy, change = row["linear_probe"], row["linear_probe_difference"]
            print(f"       linear probe {accuracy:.3f}, {change:+.3f}")
    print(f"saves, of the network up to {study.layers['layer'].iloc[-1]}: {', '.join(_savings(row))}")


def _savings(row: pd.Series) -> list[str]:
    found = []
    for name, column, unit, scale in (
        ("parameters", "parameters", "M", 1e6),
        ("operations", "flop", "GFLOP", 1e9),
        ("time", "seconds", "ms an image", 1e-3),
    ):
        if pd.notna(row[column]):
            found.append(f"{row[f'{column}_saved']:.0%} of the {name} ({row[column] / scale:.3g} {unit} are left)")
    return found


def _print_export(export: Export) -> None:
    shape = " × ".join(map(str, export.shape))
    print(f"written to {export.path}: {export.layer}, pooling {export.pooling}, {export.parameters:,} parameters")
    print(f"takes raw pixels, gives {shape}{' scores, the largest of which wins' if export.head else ''}")
    print(
        f"same activations as the network on {export.checked_on}: largest difference {export.largest_difference:.1e}, "
        f"largest activation {export.largest_activation:.3g}"
    )
    if export.head and export.num_test:
        print(
            f"{export.head} head of {export.num_train:,} training images: accuracy {export.accuracy:.3f} "
            f"({export.low:.3f} to {export.high:.3f}, 95 %) on {export.num_test:,} test images"
        )
    elif export.head:
        print(f"{export.head} head of {export.num_train:,} training images; there are no test images to try it on")
    print(f"classes and origin: {export.path.with_suffix('.json')}")
