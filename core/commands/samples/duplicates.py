"""python -m core duplicates: pairs of samples with equal or nearly equal activations."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import duplicates
from core.commands.samples.table_command import TableCommand
from core.report.words.samples_to_check import duplicates_text
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    return duplicates_text(table, selection.layer, near=options.within > 0)


COMMAND = TableCommand(
    name="duplicates",
    summary="List pairs of samples with equal or nearly equal activations, train against test first.",
    examples=("my-study", "my-study --layer input --within 0.1", "my-study --out duplicates.csv"),
    make=duplicates,
    text=_text,
    own_options=("within",),
    options=("pooling", "layer"),
    hidden=(),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    measures = COMMAND.add_parser(commands)
    measures.add_argument(
        "--within",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="Largest distance of a pair, as a share of the median distance to the nearest neighbor; 0.1 lists near "
        "duplicates, too. Default: %(default)s.",
    )
