"""python -m core class-pair: how often two classes are confused at each layer."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.class_pairs import first_separated_layer
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import class_pair
from core.commands.samples.table_command import TableCommand
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    if table.empty:
        return f"No sample of {options.first} or {options.second} was a query."
    separated, last = first_separated_layer(table), table.iloc[-1]
    where = f"{last['layer']}, the last layer with stored neighbors"
    if separated == last["layer"]:
        return f"not confused at {where}"
    if separated is not None:
        return f"not confused from {separated} on, to {where}"
    return f"still confused at {where}: {last['count']} of {last['total']} samples"


COMMAND = TableCommand(
    name="class-pair",
    summary="List how often the nearest neighbors of two classes are of the other one, at each layer.",
    examples=("my-study cat dog", "my-study cat dog --split train --rows 100", "my-study cat dog --out pair.csv"),
    make=class_pair,
    text=_text,
    options=("split", "among", "pooling"),
    names={"first": "Name of a class.", "second": "Name of the other class."},
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
