"""python -m core report: a study as one HTML file, or as Markdown for a pull request."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from core.report.content import make_report
from core.report.html import as_html
from core.report.markdown import as_markdown
from core.study.store.writing import replace_file


def add_parser(commands: Any) -> None:
    """How the command is asked for."""
    parser = commands.add_parser("report", help="write a study as one HTML file, or as Markdown")
    parser.add_argument("study", metavar="STUDY", help="the study's folder")
    parser.add_argument("--out", metavar="FILE", help="one HTML file that needs nothing else")
    parser.add_argument("--markdown", metavar="FILE", help="the same in short, for a pull request; - prints it")
    parser.set_defaults(run=run, interrupted="Nothing was written.")


def run(options: argparse.Namespace) -> int:
    """Write what is asked for, and say where it is."""
    if not options.out and not options.markdown:
        raise ValueError("out must name a file, or markdown; got neither. Add --out report.html.")
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
    asked = [("--out", options.out), ("--markdown", options.markdown)]
    words = [word for name, file in asked if file for word in (name, file)]
    return shlex.join(["python", "-m", "core", "report", options.study, *words])


def _write(path: Path, text: str) -> None:
    replace_file(path, lambda scratch: scratch.write_text(text, encoding="utf-8"))
    print(f"written to {path}")
