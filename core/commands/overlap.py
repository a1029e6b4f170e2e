"""python -m core overlap: how many nearest neighbors the layers of two networks, or of one, have in common."""

import argparse
import sys
from typing import Any

import pandas as pd

from core.analysis.comparing import lacks_ids
from core.analysis.layer_overlap import neighbor_overlap
from core.commands.terminal.arguments import add_command, at_least
from core.commands.terminal.tables import add_table_output, table_as_json, table_file, write_table
from core.report.words.changes import ASSUMED_SAMPLES
from core.study.store.opening import Study, load_study

EXAMPLES = (
    "my-study",
    "before after",
    "before after --split train --neighbors 5 --out overlap.csv",
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(
        commands, "overlap", "Compare the neighbors that two studies store of the same samples.", EXAMPLES
    )
    data = parser.add_argument_group("data")
    data.add_argument("study", metavar="STUDY", help="Folder of a study with stored neighbors.")
    data.add_argument(
        "other",
        metavar="OTHER",
        nargs="?",
        help="Folder of another study of the same samples. Default: STUDY, whose own layers are compared.",
    )
    data.add_argument(
        "--split",
        choices=("train", "test"),
        help="Split of the samples to compare. Default: test, or train where there are no test samples.",
    )
    measures = parser.add_argument_group("measures")
    measures.add_argument(
        "--pooling", choices=("mean", "flat"), default="mean", help="Pooling of the layers. Default: %(default)s."
    )
    measures.add_argument(
        "--neighbors",
        type=at_least(1),
        metavar="K",
        help="Number of nearest neighbors to compare. Default: as many as both studies store.",
    )
    output = parser.add_argument_group("output")
    add_table_output(output, rows=False)
    parser.set_defaults(run=run, interrupted="Nothing was written.")


def run(options: argparse.Namespace) -> int:
    """Print for each layer which one of the other network is most like it."""
    out = table_file(options)
    study = load_study(options.study)
    other = load_study(options.other) if options.other else None
    split = options.split or _split(study)
    pairs = neighbor_overlap(study, other, split=split, pooling=options.pooling, k=options.neighbors)
    if out is not None:
        write_table(pairs, out)
    assumed = other is not None and lacks_ids(study) and lacks_ids(other)
    if options.json:
        if assumed:
            print(f"note: {ASSUMED_SAMPLES}", file=sys.stderr)
        print(table_as_json(pairs))
        return 0
    print(_lines(pairs, within=other is None).to_string(index=False, float_format="{:.3f}".format, na_rep="–"))
    first = pairs.iloc[0]
    print(
        f"share of the {first['k']} nearest that both have, {split} samples, {options.pooling}; by chance "
        f"{first['chance']:.4f} ({first['num_samples']:,} samples)"
    )
    if assumed:
        print(f"note: {ASSUMED_SAMPLES}")
    if out is not None:
        print(f"all pairs: {out}")
    return 0


def _split(study: Study) -> str:
    return "test" if (study.samples["split"] == "test").any() else "train"


def _lines(pairs: pd.DataFrame, *, within: bool) -> pd.DataFrame:
    """One row a layer: the other one that is most like it, and, of two networks, its namesake."""
    others = pairs[pairs["layer"] != pairs["other_layer"]] if within else pairs
    closest = others.loc[others.groupby("layer", sort=False)["value"].idxmax()]
    lines = closest[["layer", "other_layer", "value"]]
    lines = lines.rename(columns={"other_layer": "most alike", "value": "overlap"})
    if within:
        return lines
    namesakes = pairs[pairs["layer"] == pairs["other_layer"]].set_index("layer")["value"]
    return lines.assign(**{"with its namesake": lines["layer"].map(namesakes)})
