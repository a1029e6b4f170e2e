"""python -m core prediction-depths: the layer from which on each sample's neighbors name the same class."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import prediction_depths
from core.commands.samples.table_command import TableCommand
from core.report.words.samples_to_check import depths_text
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    filters = [("split", "==", selection.split), ("nearest_split", "==", selection.among)]
    return depths_text(table, int(study.table("neighbors", ["rank"], filters)["rank"].max()))


COMMAND = TableCommand(
    name="prediction-depths",
    summary="List samples by the layer from which on the vote of their neighbors no longer changes, the latest first.",
    examples=("my-study", "my-study --split train --out depths.csv", "my-study --among train --json"),
    make=prediction_depths,
    text=_text,
    options=("split", "among", "pooling"),
    hidden=("sample", "split"),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
