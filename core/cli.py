"""The command line, `python -m core COMMAND`. Progress on stderr, results on stdout."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core import __version__
from core.commands import blocks, cut, devices, figures, fine_tune, measure, overlap, rank, report, study
from core.commands.networks import layers, weights
from core.commands.samples import (
    class_clusters,
    class_pair,
    class_separation,
    confused_classes,
    duplicates,
    label_errors,
    marks,
    prediction_depths,
    sample_path,
)
from core.commands.terminal.progress import EARLIER_STAYS, LAYERS_STAY, NOTHING_WRITTEN
from core.data.errors import DataError, FaultsError
from core.study.store.lookup import did_you_mean
from core.study.store.opening import StudyError

# In the order of the help: studies, questions to a finished one, and what is there to make one.
COMMANDS = (
    *(study, rank, fine_tune, measure),
    *(cut, blocks, overlap, report, figures),
    *(label_errors, marks, duplicates, confused_classes, class_clusters, class_separation, class_pair),
    *(prediction_depths, sample_path),
    *(layers, weights, devices),
)
_FAILED = 1
_WRONG_USAGE = 2
_INTERRUPTED = 130
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
_PACKAGE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status: 0, 1 for failure, 2 for wrong usage, 130 for an interrupt.

    What goes wrong is one sentence on stderr; with `--debug` a traceback follows.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # its start-up notices are not about the study
    _write_any_name(sys.stdout)
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    if damaged := [text for text in given if "\0" in text]:
        parser.error(f"arguments must not hold NUL characters; got {damaged[0]!r}.")
    options, unknown = parser.parse_known_args(given)
    if unknown:  # told by the command, whose usage this is about, and not by the parser of all commands
        command = _parsers_of_commands(parser)[options.command]
        hint = did_you_mean(unknown[0].partition("=")[0], command._option_string_actions)
        command.error(f"unrecognized arguments: {' '.join(unknown)}.{hint} `{command.prog} --help` lists all.")
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        status = run(options)
        sys.stdout.flush()  # here, where a closed pipe is caught
        return status
    except KeyboardInterrupt:
        print(f"\nInterrupted. {_what_stays(options)}", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # of `| head`, which reads no more
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for what Python writes at its end
        return _FAILED
    except Exception as error:
        status, text = _told(error, options)
        print(f"\nerror: {text}{_options_of_others(text, options.command)}", file=sys.stderr)
        if options.debug:
            raise
        return status


def _what_stays(options: argparse.Namespace) -> str:
    """What an interrupted command leaves behind; one that was not to write anything leaves nothing."""
    writes_nothing = getattr(options, "dry_run", False) or getattr(options, "out", "") is None
    if writes_nothing and options.interrupted == LAYERS_STAY:
        return NOTHING_WRITTEN
    return EARLIER_STAYS if getattr(options, "overwrite", False) else str(options.interrupted)


def _option(options: argparse.Namespace, name: str, value: Any) -> str | None:
    """An option of core as it is written in this command; None where the command has no such option."""
    if not hasattr(options, name):
        return None
    flag = f"--{name.replace('_', '-')}"
    return flag if value is True else f"{flag} {value}"


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(prog="python -m core", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    parser.set_defaults(interrupted=NOTHING_WRITTEN)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    for name, subparser in commands.choices.items():
        subparser.add_argument("--debug", action="store_true", help="Print the traceback of an error, too.")
        subparser.set_defaults(command=name)
    return parser


def options_by_command(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """The options of each command, such as --out."""
    return {name: set(command._option_string_actions) for name, command in _parsers_of_commands(parser).items()}


def _parsers_of_commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (commands,) = [action.choices for action in parser._actions if isinstance(action.choices, dict)]
    return commands


def _options_of_others(text: str, command: str) -> str:
    """Whose option it is that a message names and the command does not have, as one of the study that it opened."""
    known = options_by_command(make_parser())
    named = dict.fromkeys(_OPTION.findall(re.sub("python -m core [^`]*`", "", text)))
    notes = []
    for option in [option for option in named if option not in known[command]]:
        owners = [name for name in known if option in known[name]]
        if owners:
            notes.append(f"{option} is an option of `python -m core {owners[0]}`.")
    return f" ({' '.join(notes)})" if notes else ""


def _told(error: Exception, options: argparse.Namespace) -> tuple[int, str]:
    """The exit status, and what went wrong in a sentence."""
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        smaller = ", or --pooling mean" if getattr(options, "pooling", None) in ("flat", "both") else ""
        return _FAILED, f"memory ran out. Take fewer samples or layers{smaller}."
    if isinstance(error, FaultsError):
        return _FAILED, error.text(partial(_option, options))
    if isinstance(error, OSError) and error.strerror and text.startswith("[Errno"):
        return _FAILED, _system_text(error)
    if isinstance(error, DataError | StudyError | OSError | ImportError):
        return _FAILED, text
    if isinstance(error, RuntimeError) and _is_raised_here(error):
        return _FAILED, text
    if isinstance(error, ValueError) and _is_raised_here(error):
        return _WRONG_USAGE, text  # an argument of core that must be something else: here, what was typed
    return _FAILED, (
        f"This is a defect of the program: {type(error).__name__}: {text[:300]}. Run the same command again with "
        "--debug, and report what it prints to the maintainers of the program."
    )


def _system_text(error: OSError) -> str:
    """What the operating system says, in the words of a message."""
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    what = f"{' or '.join(names)} cannot be read or written" if names else "a file cannot be read or written"
    return f"{what}: {str(error.strerror).lower()}. Check that it is there, and that you may use it."


def _is_raised_here(error: Exception) -> bool:
    """Whether this package raised the error itself, with a text for people, and not a library that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and Path(trace.tb_frame.f_code.co_filename).resolve().is_relative_to(_PACKAGE)


def _write_any_name(stream: object) -> None:
    """Let names of files that are no UTF-8 be printed, with escapes, instead of failing at the end of a run."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
