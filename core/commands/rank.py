"""python -m core rank: which of several networks separates these samples best, and which are certainly worse."""

import argparse
import json
import os
import sys
from dataclasses import fields
from typing import Any

import pandas as pd

from core.analysis.ranking.options import RankOptions
from core.analysis.ranking.ranking import Ranking, rank_networks
from core.analysis.ranking.ready_features import FeatureFiles
from core.analysis.ranking.tables import BEST, TIE, WORSE, at_chance_text
from core.commands.terminal.arguments import add_command
from core.commands.terminal.option_flags import add_option, add_options
from core.commands.terminal.progress import LAYERS_STAY, add_output, interrupt_when_terminated, progress_on
from core.data.sampling import counted
from core.study.options import RUN_OPTIONS, STUDY_OPTIONS, options_of

_MEANINGS = {BEST: "highest SI", TIE: "not certainly worse"}
_COMPARED = {"cross": "test to train", "separation": "within {}"}


GROUPS = ("data", "features", "network", "layers", "measures", "cost", "output")
EXAMPLES = (
    "path/to/images --models efficientnet-lite0,efficientnet-lite1,efficientnet-lite2 --out ranking",
    "digits --models pixels,efficientnet-lite0 --per-class 20 --out digits-ranking",
    "--features vit=vit.npz --features clip=clip.npz --out features-ranking",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "rank", "Say which of several networks separate labelled images best.", EXAMPLES)
    groups = {title: parser.add_argument_group(title) for title in GROUPS}
    groups["data"].add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default="",
        help=f"{STUDY_OPTIONS['data'].help} Leave it out to rank only --features.",
    )
    groups["network"].add_argument(
        "--models",
        type=_listed,
        default=(),
        metavar="A,B,...",
        help="Networks to rank, separated by commas: names, .keras or .h5 files, or pixels. Default: none.",
    )
    for group in groups.values():
        add_options(group, options_of(RankOptions).values())
    _add_features(groups["features"])
    add_option(groups["cost"], RUN_OPTIONS["memory"])
    add_output(groups["output"], "ranking")
    parser.set_defaults(run=run, interrupted=LAYERS_STAY)


def _add_features(group: Any) -> None:
    group.add_argument(
        "--features",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="Ready-made features of another network, of the same samples; may be repeated. Default: none.",
    )
    group.add_argument(
        "--labels",
        metavar="COLUMN|FILE",
        help="Labels of the features. Default: those in their files.",
    )
    group.add_argument(
        "--ids",
        metavar="COLUMN|FILE",
        help="Ids of the features' samples, by which they are paired. Default: rows are paired by their order.",
    )
    group.add_argument(
        "--test",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="Features of the test samples of the network of this name; may be repeated. Default: none.",
    )
    group.add_argument(
        "--test-labels",
        metavar="COLUMN|FILE",
        help="Labels of the test samples. Default: the column given to --labels.",
    )
    group.add_argument(
        "--test-ids", metavar="COLUMN|FILE", help="Ids of the test samples. Default: the column given to --ids."
    )


def run(options: argparse.Namespace) -> int:
    """Rank, and print the networks, the best first."""
    interrupt_when_terminated()
    names = [field.name for field in fields(RankOptions) if field.name != "features"]
    chosen = RankOptions(**{name: getattr(options, name) for name in names}, features=_feature_files(options))
    report = progress_on(sys.stderr, options.progress)
    try:
        ranking = rank_networks(
            chosen, options.out, memory=options.memory, progress=report, overwrite=options.overwrite
        )
    finally:
        report.close()
    _print_json(ranking) if options.json else _print_table(ranking)
    return 0


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _named(text: str) -> tuple[str, str]:
    """A name and a path from a text such as "vit=features.npz"."""
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise argparse.ArgumentTypeError(f"must be NAME=FILE; got {text!r}.")
    return name, path


def _feature_files(options: argparse.Namespace) -> tuple[FeatureFiles, ...]:
    names, tests = [name for name, _ in options.features], dict(options.test)
    unknown = [name for name in tests if name not in names]
    if unknown:
        raise ValueError(f"test must name features that are ranked; got {unknown[0]!r}. Give --features {unknown[0]}=.")
    return tuple(
        FeatureFiles(
            name,
            path,
            options.labels,
            tests.get(name),
            options.test_labels if name in tests else None,
            options.ids,
            options.test_ids if name in tests else None,
        )
        for name, path in options.features
    )


def _print_json(ranking: Ranking) -> None:
    tables = {
        name: json.loads(table.to_json(orient="records"))
        for name, table in {"networks": ranking.networks, "layers": ranking.layers}.items()
    }
    summary = {name: ranking.info[name] for name in ("state", "compared", "samples", "cautions")}
    print(json.dumps({"path": os.fspath(ranking.path)} | summary | tables, indent=1))


def _print_table(ranking: Ranking) -> None:
    compared = ranking.info["compared"]
    title = f"SI {_COMPARED[compared['measure']].format(compared['split'])}"
    rows = [_shown(row, title) for _, row in ranking.networks.iterrows()]
    print(pd.DataFrame(rows).to_string(index=False))
    print(f"chance level: {ranking.networks['chance'].iloc[0]:.4f}; layers chosen by SI within {compared['chosen_in']}")
    num_samples = ranking.info["samples"][compared["split"]]
    samples = f"{num_samples:,} {compared['split']} samples"
    comparisons = counted(compared["num_comparisons"], "comparison")
    print(f"differences: 95% intervals on the same {samples}, which hold together ({comparisons})")
    if (ranking.networks["verdict"] == TIE).any():
        print(f"not certainly worse: {samples} cannot decide whether the first is better; that is no proof of a tie")
    if unclear := at_chance_text(ranking.networks, num_samples):
        print(unclear)
    for caution in ranking.info["cautions"]:
        print(f"note: {caution}")
    print(f"written to {ranking.path}")


def _shown(row: pd.Series, title: str) -> dict[str, str]:
    """A network's line."""
    best = row["verdict"] == BEST
    span = f"{row['difference']:+z.4f} [{row['difference_low']:+z.4f}, {row['difference_high']:+z.4f}]"
    sure = f" ({_percent(row['confidence'])})" if row["verdict"] == WORSE else ""
    return {
        "network": str(row["network"]),
        "layer": str(row["layer"]),
        title: f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]",
        "to the best": "" if best else span,
        "": f"{_MEANINGS.get(row['verdict'], row['verdict'])}{sure}",
        "parameters": _or_dash(row["cumulative_parameters"], "{:,.0f}"),
        "ms an image": _or_dash(1000 * row["seconds"], "{:.1f}"),
        "linear probe": _or_dash(row["linear_probe"], "{:.4f}"),
    }


def _percent(confidence: float) -> str:
    """A confidence in words, never rounded up to certainty."""
    return "> 99.99%" if confidence > 0.9999 else f"{confidence:.2%}"


def _or_dash(number: float, form: str) -> str:
    return "–" if pd.isna(number) else form.format(number)
