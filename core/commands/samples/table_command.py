"""What the commands about samples and classes have in common: their options, and how their tables are printed."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from core.analysis.samples.selection import LayerSelection, select_layer
from core.commands.terminal.arguments import add_command
from core.commands.terminal.tables import add_table_output, table_as_json, table_file, write_table
from core.study.store.opening import Study, load_study

WIDEST = 40  # characters of a text in a printed column; files have all of it
_MARKS = re.compile(r"\*\*|`|\\(?=[^\w\s])")


@dataclass(frozen=True)
class TableCommand:
    """A command that prints one table of a study.

    Attributes
    ----------
    name : str
        Of the command.
    summary : str
        What it does, a sentence.
    examples : sequence of str
        What can follow its name.
    make : callable
        Takes the study and, by their names, the options; returns the table. Of `core.analysis.samples.tables`.
    text : callable
        Takes the study, the table, what it is of, and the options; returns sentences about it, as Markdown.
    options : sequence of str
        Which of "layer", "split", "among" and "pooling" it has.
    own_options : sequence of str
        Options of `make` besides these, which the command adds itself.
    names : mapping
        What the table is of, arguments after the study: name to help.
    hidden : sequence of str
        Columns that are not printed as text.
    """

    name: str
    summary: str
    examples: Sequence[str]
    make: Callable[..., pd.DataFrame]
    text: Callable[[Study, pd.DataFrame, LayerSelection, argparse.Namespace], str]
    options: Sequence[str] = ("split", "among", "pooling", "layer")
    own_options: Sequence[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[str] = ("sample",)

    def add_parser(self, commands: Any) -> Any:
        """Add the command and its options; return its group of options about what is computed, for more of them."""
        parser = add_command(commands, self.name, self.summary, self.examples)
        data = parser.add_argument_group("data")
        data.add_argument("study", metavar="STUDY", help="Folder of a study with stored neighbors.")
        for name, text in self.names.items():
            data.add_argument(name, metavar=name.upper(), help=text)
        if "split" in self.options:
            _add_split(data)
        measures = parser.add_argument_group("measures")
        if "pooling" in self.options:
            measures.add_argument(
                "--pooling",
                choices=("mean", "flat"),
                help="Activations to compare: means of channels, or all. Default: mean, where the study has it.",
            )
        if "layer" in self.options:
            measures.add_argument(
                "--layer",
                metavar="NAME",
                help="Layer to look at. Default: that of the highest SI, of those whose neighbors are stored.",
            )
        add_table_output(parser.add_argument_group("output"))
        parser.set_defaults(run=self.run, interrupted="Nothing was written.")
        return measures

    def run(self, options: argparse.Namespace) -> int:
        """Print the table of a study, or write it."""
        path = table_file(options)
        study = load_study(options.study)
        chosen = {name: getattr(options, name) for name in self.options}
        further = {name: getattr(options, name) for name in (*self.names, *self.own_options)}
        table = self.make(study, **chosen, **further)
        if path is not None:
            write_table(table, path)
        if options.json:
            print(table_as_json(table))
            return 0
        if len(table):
            print(_lines(table.drop(columns=list(self.hidden), errors="ignore").head(options.rows)))
        if len(table) > options.rows:
            print(f"{options.rows:,} of {len(table):,} rows; --rows prints more, --out FILE writes all")
        if text := self.text(study, table, select_layer(study, **chosen), options):
            print(without_marks(text))
        if path is not None:
            print(f"written to {path}")
        return 0


def without_marks(text: str) -> str:
    """Markdown as plain text."""
    return _MARKS.sub("", text)


def _add_split(data: Any) -> None:
    data.add_argument(
        "--split",
        choices=("train", "test"),
        help="Split of the samples. Default: test, or train where there are no test samples.",
    )
    data.add_argument(
        "--among",
        choices=("train", "test"),
        help="Split of the neighbors; train with --split test asks for the nearest training samples of the test "
        "samples. Default: that of the samples.",
    )


def _lines(table: pd.DataFrame) -> str:
    printed = table.copy()
    for name in printed.columns:
        if printed[name].dtype == object or isinstance(printed[name].dtype, pd.StringDtype):
            printed[name] = printed[name].map(_shortened, na_action="ignore").fillna("")
    return printed.to_string(index=False, float_format="{:.4g}".format, na_rep="–")


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= WIDEST else f"…{text[1 - WIDEST :]}"
