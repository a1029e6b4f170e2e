"""python -m core sample-path: the nearest neighbor of one sample at each layer."""

import argparse
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.tables import sample_path
from core.commands.samples.table_command import TableCommand
from core.study.store.opening import Study


def _text(study: Study, table: pd.DataFrame, selection: LayerSelection, options: argparse.Namespace) -> str:
    return f"its nearest neighbor has its label at {int(table['same_label'].sum())} of {len(table)} layers"


COMMAND = TableCommand(
    name="sample-path",
    summary="List the nearest neighbor of one sample at each layer.",
    examples=("my-study cat/001.jpg", "my-study cat/001.jpg --among train --out path.csv"),
    make=sample_path,
    text=_text,
    options=("split", "among", "pooling"),
    names={"sample": "Id of the sample, as the other commands and the table samples name it."},
    hidden=(),
)


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    COMMAND.add_parser(commands)
