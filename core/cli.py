"""The command line, `python -m core COMMAND`. Progress on stderr, results on stdout."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from core import __version__
from core.commands import blocks, cut, devices, fine_tune, layers, measure, overlap, rank, report, study
from core.data.errors import DataError, FaultsError
from core.study.results import StudyError

_FAILED = 1
_WRONG_USAGE = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 0, 1 for failure, 2 for wrong usage, 130 for an interrupt."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notices are not about the study
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except KeyboardInterrupt:
        print(f"\nInterrupted. {options.interrupted}", file=sys.stderr)
        return _INTERRUPTED
    except MemoryError:
        print("\nerror: memory ran out. Take fewer samples or layers, or --pooling mean.", file=sys.stderr)
        return _FAILED
    except FaultsError as error:
        print(f"\nerror: {error.text(partial(_option, options))}", file=sys.stderr)
        return _FAILED
    except (DataError, StudyError, OSError, ImportError, RuntimeError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return _FAILED
    except ValueError as error:  # an argument of core that must be something else: here, what was typed
        print(f"\nerror: {error}", file=sys.stderr)
        return _WRONG_USAGE


def _option(options: argparse.Namespace, name: str, value: Any) -> str | None:
    """An option of core as it is written in this command; None where the command has no such option."""
    if not hasattr(options, name):
        return None
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(interrupted="The layers done so far are kept; the same command goes on from there.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (study, rank, cut, blocks, overlap, fine_tune, measure, report, layers, devices):
        command.add_parser(commands)
    return parser
