"""python -m core prediction-depths: the layer from which on each sample's neighbors name the same class."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import select_layer
from core.analysis.samples.tables import prediction_depths
from core.commands.samples.table_command import TableCommand, selection_of
from core.report.words.samples_to_check import depths_text
from core.study.store.opening import Study


def _make(study: Study, options: argparse.Namespace) -> pd.DataFrame:
    return prediction_depths(study, **selection_of(options))


def _text(study: Study, table: pd.DataFrame, options: argparse.Namespace) -> str:
    selection = select_layer(study, **selection_of(options))
    filters = [("split", "==", selection.split), ("nearest_split", "==", selection.among)]
    return depths_text(table, int(study.table("neighbors", ["rank"], filters)["rank"].max()))


COMMAND = TableCommand(
    name="prediction-depths",
    summary="List samples by the layer from which on the vote of their neighbors no longer changes, the latest first.",
    examples=("my-study", "my-study --split train --out depths.csv", "my-study --among train --json"),
    make=_make,
    text=_text,
    options=("split", "among", "pooling"),
    hidden=("sample", "split"),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
