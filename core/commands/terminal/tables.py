"""Tables that a command prints, as text or JSON, or writes to a file."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd

from core.commands.terminal.arguments import JSON_HELP, at_least
from core.data.files import check_new_file, write_new_file

SUFFIXES = (".csv", ".json", ".parquet")
USUAL_ROWS = 20


def add_table_output(group: Any, *, rows: bool = True) -> None:
    """Add the options of a command whose result is a table to its group of options about output.

    Parameters
    ----------
    group : the command's group of options about output.
    rows : whether the command prints only the first rows of the table.
    """
    if rows:
        group.add_argument(
            "--rows",
            type=at_least(1),
            default=USUAL_ROWS,
            metavar="N",
            help="Number of rows to print as text; --json and --out have all of them. Default: %(default)s.",
        )
    group.add_argument(
        "--out",
        metavar="FILE",
        help="A .csv, .json or .parquet file to write the whole table to. Default: none is written.",
    )
    group.add_argument("--json", action="store_true", help=JSON_HELP)


def table_file(options: argparse.Namespace) -> Path | None:
    """The file that --out names; None without the option.

    Raises
    ------
    ValueError
        It is neither a .csv nor a .json nor a .parquet file, or cannot be written.
    """
    if options.out is None:
        return None
    path = Path(options.out)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"out must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; got {path.name!r}.")
    check_new_file(path)
    return path


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table to a file; its suffix, one of `SUFFIXES`, decides the format."""
    write_new_file(path, lambda scratch: _write(table, path.suffix, scratch))


def _write(table: pd.DataFrame, suffix: str, scratch: Path) -> None:
    if suffix == ".json":
        scratch.write_text(table_as_json(table), encoding="utf-8")
    elif suffix == ".csv":
        table.to_csv(scratch, index=False)
    else:
        table.to_parquet(scratch, index=False)


def table_as_json(table: pd.DataFrame) -> str:
    """A table as a JSON list with one object a row; missing values are null."""
    rows = json.loads(table.to_json(orient="records", double_precision=15))
    return json.dumps(rows, indent=1)
