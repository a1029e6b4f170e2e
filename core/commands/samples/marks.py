"""python -m core marks: the samples that were marked in the explorer."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import marks
from core.commands.samples.table_command import TableCommand
from core.report.words.samples_to_check import marks_text
from core.study.store.marks import MARKS
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    return marks_text(table, options.mark)


COMMAND = TableCommand(
    name="marks",
    summary="List the samples that were marked in the explorer: which files to relabel, to remove, or to leave.",
    examples=("my-study", "my-study --mark label-error --out relabel.csv", "my-study --mark duplicate --json"),
    make=marks,
    text=_text,
    options=(),
    own_options=("mark",),
    hidden=("sample", "split", "file", "changed"),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    measures = COMMAND.add_parser(commands)
    measures.add_argument(
        "--mark",
        type=lambda text: text.replace("-", " "),
        metavar="MARK",
        help=f"Only samples with this mark: {', '.join(mark.replace(' ', '-') for mark in MARKS)}. Default: all.",
    )
