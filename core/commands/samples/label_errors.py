"""python -m core label-errors: samples whose label may be wrong."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.suspects import CLEAR_SCORE, LEAST_SCORE, late_neighbors
from core.analysis.samples.tables import label_errors
from core.commands.samples.table_command import TableCommand
from core.report.words.samples_to_check import check_text
from core.study.store.opening import Study

NONE_LISTED = "At the late layers, no sample has more neighbors of another class than of its label."
COLUMNS = (
    "votes: of the neighbors for the suggested class; own_votes: for the label; score: votes / (votes + own_votes)."
)


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    """What the page Samples says of the table."""
    if table.empty:
        return NONE_LISTED
    neighbors = late_neighbors(study, selection.pooling, selection.split, among=selection.among)
    text = (
        f"{check_text(study, neighbors, selection.split, among=selection.among)} A score of {CLEAR_SCORE} or more "
        f"contradicts a label clearly; it does not prove that the label is wrong. {COLUMNS}"
    )
    if table["duplicate"].isna().all():
        text += (
            f" Duplicates were not looked for: the study stores no neighbors of {selection.layer} "
            f"({selection.pooling}). Choose another --layer."
        )
    return text


COMMAND = TableCommand(
    name="label-errors",
    summary="List samples whose label may be wrong: their neighbors at the late layers have another one.",
    examples=("my-study", "my-study --split train --at-least 0.9 --out label-errors.csv", "my-study --json"),
    make=label_errors,
    text=_text,
    own_options=("at_least",),
    hidden=("sample", "split", "layers"),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    measures = COMMAND.add_parser(commands)
    measures.add_argument(
        "--at-least",
        type=float,
        default=LEAST_SCORE,
        metavar="SCORE",
        help="Lowest score to list: the votes for the strongest other class as a share of those for it and for the "
        "label. Default: %(default)s.",
    )
