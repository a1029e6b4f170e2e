"""python -m core confused-classes: pairs of classes whose samples are nearest to each other."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import confused_classes
from core.commands.samples.table_command import TableCommand
from core.report.words.cards import confused_text, most_confused
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    return confused_text(most_confused(table, selection.layer), selection.layer)


COMMAND = TableCommand(
    name="confused-classes",
    summary="List pairs of classes whose samples are nearest to each other, the most confused first.",
    examples=("my-study", "my-study --layer block5c_add --split train", "my-study --among train --out confused.csv"),
    make=confused_classes,
    text=_text,
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
