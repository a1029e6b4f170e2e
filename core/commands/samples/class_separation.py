"""python -m core class-separation: SI of each class, the hardest first."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import class_separation
from core.commands.samples.table_command import TableCommand
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    if table.empty:
        return f"The study stores no Separation Index by class at {selection.layer}."
    among = f" among {selection.among} samples" if selection.among != selection.split else ""
    return f"SI of {len(table):,} classes at {selection.layer} ({selection.pooling}), {selection.split} samples{among}"


COMMAND = TableCommand(
    name="class-separation",
    summary="List SI of each class at a layer, the lowest first.",
    examples=("my-study", "my-study --layer block5c_add", "my-study --split train --out classes.csv"),
    make=class_separation,
    text=_text,
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
