"""python -m core confused-classes: pairs of classes whose samples are nearest to each other."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import select_layer
from core.analysis.samples.tables import confused_classes
from core.commands.samples.table_command import TableCommand, selection_of
from core.report.words.cards import confused_text, most_confused
from core.study.store.opening import Study


def _make(study: Study, options: argparse.Namespace) -> pd.DataFrame:
    return confused_classes(study, **selection_of(options))


def _text(study: Study, table: pd.DataFrame, options: argparse.Namespace) -> str:
    layer = select_layer(study, **selection_of(options)).layer
    return confused_text(most_confused(table, layer), layer)


COMMAND = TableCommand(
    name="confused-classes",
    summary="List pairs of classes whose samples are nearest to each other, the most confused first.",
    examples=("my-study", "my-study --layer block5c_add --split train", "my-study --among train --out confused.csv"),
    make=_make,
    text=_text,
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
