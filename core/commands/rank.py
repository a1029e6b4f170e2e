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
from core.commands.terminal.arguments import DATA_HELP, add_data_options, at_least, memory, seed
from core.commands.terminal.progress import add_progress, interrupt_when_terminated, progress_on

_MEANINGS = {BEST: "highest SI", TIE: "not certainly worse"}
_COMPARED = {"cross": "test to train", "separation": "within {}"}


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("rank", help="say which networks separate labelled images best")
    add = parser.add_argument
    add("data", metavar="DATA", nargs="?", default="", help=f"{DATA_HELP}; leave out to rank only --features")
    add("--out", required=True, metavar="DIR", help="the ranking's folder; a ranking begun there goes on")
    add("--models", type=_listed, default=(), metavar="A,B,...", help="networks, .keras or .h5 files, or: pixels")
    add(
        "--features",
        type=_named,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="ready-made features of another network, of the same samples; may be repeated",
    )
    add("--labels", metavar="COLUMN|FILE", help="of the features, where their file has none")
    add(
        "--ids",
        metavar="COLUMN|FILE",
        help="of the features' samples, which are paired by them; without ids, rows must be in the same order",
    )
    add("--test", type=_named, action="append", default=[], metavar="NAME=FILE", help="that network's, of test samples")
    add("--test-labels", metavar="COLUMN|FILE", help="theirs (default: the same column)")
    add("--test-ids", metavar="COLUMN|FILE", help="theirs (default: the same column)")
    add(
        "--weights",
        default=RankOptions.weights,
        help="imagenet or none, of all networks but files (default: %(default)s)",
    )
    add("--layers", default=RankOptions.layers, help="candidates of each network (default: %(default)s)")
    add("--pooling", choices=("mean", "flat"), default=RankOptions.pooling, help="default: %(default)s")
    add_data_options(parser)
    add("--per-class", type=at_least(2), metavar="K", help="samples of each class and split (default: all)")
    add("--seed", type=seed, default=RankOptions.seed, help="of the choice of samples (default: %(default)s)")
    add("--neighbors", type=at_least(1), default=RankOptions.neighbors, metavar="K", help="stored a sample")
    add("--no-probe", dest="probe", action="store_false", help="leave out the linear probe")
    add("--memory", type=memory, metavar="SIZE", help="for the activations of a pass (default: half of what is free)")
    add("--json", action="store_true", help="results for machines")
    add_progress(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Rank, and print the networks, the best first."""
    interrupt_when_terminated()
    names = [field.name for field in fields(RankOptions) if field.name != "features"]
    asked = RankOptions(**{name: getattr(options, name) for name in names}, features=_feature_files(options))
    report = progress_on(sys.stderr, options.progress)
    try:
        ranking = rank_networks(asked, options.out, memory=options.memory, progress=report)
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
    told = {name: ranking.info[name] for name in ("state", "compared", "samples", "cautions")}
    print(json.dumps({"path": os.fspath(ranking.path)} | told | tables, indent=1))


def _print_table(ranking: Ranking) -> None:
    compared = ranking.info["compared"]
    title = f"SI {_COMPARED[compared['measure']].format(compared['split'])}"
    rows = [_shown(row, title) for _, row in ranking.networks.iterrows()]
    print(pd.DataFrame(rows).to_string(index=False))
    print(f"chance level: {ranking.networks['chance'].iloc[0]:.4f}; layers chosen by SI within {compared['chosen_in']}")
    count, num_samples = compared["num_comparisons"], ranking.info["samples"][compared["split"]]
    samples = f"{num_samples:,} {compared['split']} samples"
    print(f"differences: 95 % intervals on the same {samples}, which hold together ({count} comparisons)")
    if (ranking.networks["meaning"] == TIE).any():
        print(f"not certainly worse: {samples} cannot decide whether the first is better; that is no proof of a tie")
    if unclear := at_chance_text(ranking.networks, num_samples):
        print(unclear)
    for caution in ranking.info["cautions"]:
        print(f"note: {caution}")
    print(f"written to {ranking.path}")


def _shown(row: pd.Series, title: str) -> dict[str, str]:
    """A network's line."""
    best = row["meaning"] == BEST
    span = f"{row['difference']:+.4f} [{row['difference_low']:+.4f}, {row['difference_high']:+.4f}]"
    sure = f" ({_percent(row['confidence'])})" if row["meaning"] == WORSE else ""
    return {
        "network": str(row["network"]),
        "layer": str(row["layer"]),
        title: f"{row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]",
        "to the best": "" if best else span,
        "": f"{_MEANINGS.get(row['meaning'], row['meaning'])}{sure}",
        "parameters": _or_dash(row["cumulative_parameters"], "{:,.0f}"),
        "ms an image": _or_dash(1000 * row["seconds"], "{:.1f}"),
        "linear probe": _or_dash(row["linear_probe"], "{:.4f}"),
    }


def _percent(confidence: float) -> str:
    """A confidence in words, never rounded up to certainty."""
    return "> 99.99 %" if confidence > 0.9999 else f"{confidence:.2%}".replace("%", " %")


def _or_dash(number: float, form: str) -> str:
    return "–" if pd.isna(number) else form.format(number)
