"""python -m core cut: where to cut a study's network, and what is below as a file that Keras loads by itself."""

import argparse
import json
import os
import sys
from dataclasses import asdict, replace
from typing import Any

import pandas as pd

from core.analysis.cut.advice import Advice, advise, head_layer, with_seconds
from core.analysis.cut.class_losses import class_differences
from core.analysis.cut.exporting import Export, cut_file, export_cut
from core.analysis.cut.options import AUTO, CUT_OPTIONS
from core.analysis.cut.time_saved import time_saved_text
from core.analysis.cut.timings import measure_timing, time_layers
from core.analysis.cut.without_network import torch_cut_lines, why_no_network
from core.commands.terminal.arguments import JSON_HELP, add_command, add_network_study
from core.commands.terminal.option_flags import add_options
from core.commands.terminal.progress import add_progress, interrupt_when_terminated, progress_on
from core.network.catalogue import catalogue
from core.network.cutting import known_layer
from core.network.models.registry import Network
from core.report.words.class_losses import class_cost_text
from core.report.words.cut import conclusion, difference_to_best_text, enough_text, headline, level_text
from core.study.reopening import has_network, reopen_network
from core.study.store.lookup import check_layers, did_you_mean
from core.study.store.opening import Study, StudyError, load_study
from core.study.store.study_json import look_up
from core.study.store.tables.ties import reason_text

EXAMPLES = (
    "my-study",
    "my-study --out features.keras",
    "my-study --layer block5c_add --head probe --out classifier.keras",
    "my-study --tolerance 0.05 --out features.keras",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "cut", "Say where to cut a study's network, and save what is below.", EXAMPLES)
    network = add_network_study(parser, images_for="a head")
    add_options(network, CUT_OPTIONS.values())
    add_options(parser.add_argument_group("layers"), CUT_OPTIONS.values())
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        metavar="FILE",
        help="The .keras file to write; a .json file beside it says what is known of the cut. Default: nothing is cut; "
        "all layers are timed, and their seconds are kept in the study.",
    )
    output.add_argument("--no-timing", dest="timing", action="store_false", help="Leave out the seconds an image.")
    output.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(output)
    parser.set_defaults(run=run, interrupted="Nothing is kept; the same command starts again.")


def run(options: argparse.Namespace) -> int:
    """Choose the layer, write the file, and say what it saves and costs."""
    interrupt_when_terminated()
    if options.out is None and options.head:
        raise ValueError(f"head must go with --out, the file that it is part of; got {options.head!r} alone.")
    study = load_study(options.study)
    if options.out is not None:
        cut_file(options.out)  # before the network is built
    network, without = _network(study, options)
    pooling = "flat" if options.pooling == "flat" else "mean"
    advice = advise(study, pooling=pooling, measure=options.measure, tolerance=options.tolerance)
    if options.layer == AUTO and options.out is not None and advice.recommended is None:
        raise StudyError(_cannot_choose(advice))
    layer = advice.target if options.layer == AUTO else options.layer
    export = _exported(study, layer, options) if options.out is not None else None
    if options.timing and network is not None:
        advice = with_seconds(advice, _timing(study, network, layer, keep=export is None))
    if options.json:
        print(json.dumps(_as_json(study, export, layer, advice), indent=1))
        if options.timing and network is None:
            print(without, file=sys.stderr)
        return 0
    _print_choice(study, advice, layer, auto=options.layer == AUTO)
    if export is not None:
        _print_export(export)
    if network is None:
        lines = torch_cut_lines(study, layer)
        print("\n".join([f"{without} With torchvision it is cut so:" if lines else without, *lines]))
    return 0


def _network(study: Study, options: argparse.Namespace) -> tuple[Network | None, str]:
    """The study's network; or None where only the tables are needed or there, and what that leaves out.

    A layer that neither the study nor its network has is refused.
    """
    layers = study.layers["layer"].tolist()
    measured = options.layer in (AUTO, *layers)
    if options.out is None and not has_network(study.info):
        check_layers(study, [] if measured else [options.layer])
        return None, why_no_network(study)
    if options.out is None and measured and not options.timing and options.weights is None:
        name, weights = (look_up(study.info, f"used.model.{field}") for field in ("name", "weights"))
        needed = f"the network, {name} (weights: {weights})" if name and weights else "the network"
        return None, f"This is from the study's tables. Seconds an image, and a file (--out), need {needed}."
    try:
        network = reopen_network(study, weights=options.weights)
    except StudyError as error:
        if options.out is not None or options.weights is not None:
            raise
        if not measured:
            raise StudyError(
                f"layer must be one of the study or of its network; got {options.layer!r}."
                f"{did_you_mean(options.layer, layers)} The study has no such layer, and its network cannot be loaded. "
                f"{error}"
            ) from error
        return None, f"This is from the study's tables: seconds an image are left out. {error}"
    if not measured:
        known_layer(options.layer, [info.layer for info in catalogue(network.model)])
    return network, ""


def _exported(study: Study, layer: str, options: argparse.Namespace) -> Export:
    report = progress_on(sys.stderr, options.progress)
    try:
        return export_cut(
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


def _timing(study: Study, network: Network, layer: str, *, keep: bool) -> dict[str, Any]:
    """Seconds an image to all layers, kept in the study; or, not kept, to the cut and to the last one."""
    if keep:
        return time_layers(study, network)
    return measure_timing(study, network, [layer] if layer in set(study.layers["layer"]) else [])


def _as_json(study: Study, export: Export | None, layer: str, advice: Advice) -> dict[str, Any]:
    """The export, where there is one, and what is known of the cut; without an export of all layers."""
    measured = layer in set(advice.layers["layer"])
    classes = class_differences(study, advice, layer) if measured else pd.DataFrame()
    saved = {row["layer"]: time_saved_text(row) or None for _, row in advice.layers.iterrows()}
    advice = replace(advice, layers=advice.layers.assign(time_saved=advice.layers["layer"].map(saved)))
    rows = json.loads(advice.layers.to_json(orient="records"))
    costs = next((row for row in rows if row["layer"] == layer), None)
    content: dict[str, Any] = {
        "layer": layer,
        "best": advice.best,
        "recommended": advice.recommended,
        "tolerance": advice.tolerance,
        "num_samples": advice.num_samples,
        "conclusion": _words(advice),
        "advice": costs,
        "classes": json.loads(classes.to_json(orient="records")),
    }
    if export is None:
        return content | {"layers": rows}
    numbers = asdict(export) | {"path": os.fspath(export.path)}
    return content | {
        name: None if isinstance(value, float) and value != value else value for name, value in numbers.items()
    }


def _print_choice(study: Study, advice: Advice, layer: str, *, auto: bool) -> None:
    """Which layer, why, and what cutting there saves and costs."""
    print(_words(advice))
    if auto and advice.recommended is None:
        print(f"What follows is for {layer}.")
    if layer not in set(advice.layers["layer"]):
        print(_no_candidate(study, advice, layer))
        return
    row = advice.row(layer)
    if layer != advice.best:
        print(f"costs: SI {row['value']:.3f}, {difference_to_best_text(row)} against the best ({level_text(advice)})")
        if pd.notna(row["linear_probe_difference"]):
            accuracy, change = row["linear_probe"], row["linear_probe_difference"]
            print(f"       linear probe {accuracy:.3f}, {change:+z.3f}")
        if text := class_cost_text(study, advice, layer):
            print(f"       {text.replace('**', '')}")
    print(f"saves, of the network up to {study.layers['layer'].iloc[-1]}: {', '.join(_savings(row))}")


def _no_candidate(study: Study, advice: Advice, layer: str) -> str:
    """Why it is not known what cutting at a layer costs."""
    if layer == head_layer(study):
        return f"{layer} is the network's own head: below it is the whole network, and nothing is saved"
    if layer in advice.tied:
        return f"what cutting at {layer} costs is not known: {reason_text()}"
    if layer in set(study.layers["layer"]):
        return f"{layer} has no value of SI here: what cutting there costs is not known"
    return f"{layer} was not measured: what cutting there costs is not known"


def _words(advice: Advice) -> str:
    """What the page Decide says, without Markdown."""
    return conclusion(advice).replace("**", "").replace("`", "")


def _cannot_choose(advice: Advice) -> str:
    """Why `auto` has no layer, and what to do."""
    ways = enough_text(advice).replace("a tolerance of", "--tolerance")
    decided = f" {ways[0].upper()}{ways[1:]} would decide it." if ways and advice.separates else ""
    by_name = f"--layer {advice.best}, the one of the highest SI"
    return f"{headline(advice)}.{decided} To cut all the same, choose a layer yourself, such as {by_name}."


def _savings(row: pd.Series) -> list[str]:
    """The shares that are known, and what is left."""
    parts = []
    for name, column, unit, scale in (("parameters", "parameters", "M", 1e6), ("operations", "flop", "GFLOP", 1e9)):
        if pd.notna(row[column]):
            parts.append(f"{row[f'{column}_saved']:.0%} of the {name} ({row[column] / scale:.3g} {unit} are left)")
    if text := time_saved_text(row):
        parts.append(f"{text}; {1000 * row['seconds']:.3g} ms an image are left in the fastest round")
    return parts


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
            f"({export.low:.3f} to {export.high:.3f}, 95%) on {export.num_test:,} test images"
        )
    elif export.head:
        print(f"{export.head} head of {export.num_train:,} training images; there are no test images to try it on")
    print(f"classes, origin, and lines of Python that use it: {export.path.with_suffix('.json')}")
