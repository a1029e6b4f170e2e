"""python -m core report: a study as one HTML file, or as Markdown for a pull request."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from core.commands.terminal.arguments import add_command
from core.data.files import check_new_file, write_new_file
from core.report.content import make_report
from core.report.html import as_html
from core.report.markdown import as_markdown

EXAMPLES = (
    "my-study --out report.html",
    "my-study --markdown report.md",
    "my-study --markdown -",
)
HTML_SUFFIXES = (".html", ".htm")


def add_parser(commands: Any) -> None:
    """Add the command and its options."""
    parser = add_command(commands, "report", "Write a study as one HTML file, or as Markdown.", EXAMPLES)
    data = parser.add_argument_group("data")
    data.add_argument("study", metavar="STUDY", help="Folder of the study.")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out", metavar="FILE", help="The HTML file to write, which needs no other file. Default: none is written."
    )
    output.add_argument(
        "--markdown",
        metavar="FILE",
        help="The Markdown file to write, a short report for a pull request; - prints it. Default: none is written.",
    )
    parser.set_defaults(run=run, interrupted="Nothing was written.")


def run(options: argparse.Namespace) -> int:
    """Write the report and print its path."""
    if not options.out and not options.markdown:
        raise ValueError("out must name a file, or markdown; got neither. Add --out report.html.")
    if options.out and Path(options.out).suffix.lower() not in HTML_SUFFIXES:
        raise ValueError(
            f"out must be a file that ends in .html; got {Path(options.out).name!r}. For Markdown, name it with "
            "--markdown; figures as PDF come from `python -m core figures`."
        )
    if options.out and options.markdown and Path(options.out).resolve() == Path(options.markdown).resolve():
        raise ValueError(f"out and markdown must be two files; got {options.out!r} for both. Add --markdown report.md.")
    for name, file in (("out", options.out), ("markdown", options.markdown)):
        if file and file != "-":
            check_new_file(Path(file), name)
    report = make_report(options.study, write=_command(options))
    if options.out:
        _write(Path(options.out), as_html(report))
    if options.markdown == "-":
        print(as_markdown(report), end="")
    elif options.markdown:
        _write(Path(options.markdown), as_markdown(report))
    return 0


def _command(options: argparse.Namespace) -> str:
    """What was typed."""
    flags = [("--out", options.out), ("--markdown", options.markdown)]
    words = [word for name, file in flags if file for word in (name, file)]
    return shlex.join(["python", "-m", "core", "report", options.study, *words])


def _write(path: Path, text: str) -> None:
    write_new_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    print(f"written to {path}")
