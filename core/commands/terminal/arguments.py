"""Types of arguments that several commands take: a text becomes a value, or wrong usage."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from core.study.options import LARGEST_COUNT
from core.study.plan import parse_bytes

_MOST_DIGITS = 4_000  # Python reads no longer numbers
JSON_HELP = "Print the results as JSON, for other programs."


def add_command(commands: Any, name: str, summary: str, examples: Sequence[str]) -> argparse.ArgumentParser:
    """Add a command to the parser of all commands.

    Parameters
    ----------
    commands : what `add_subparsers` returned.
    name : of the command.
    summary : what it does, a sentence.
    examples : what can follow the command's name; shown at the end of its help.
    """
    lines = [f"  python -m core {name} {example}".rstrip() for example in examples]
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog="\n".join(["examples:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_network_study(parser: argparse.ArgumentParser, *, images_for: str) -> Any:
    """Add the options of every command that loads the network of a finished study again.

    Parameters
    ----------
    parser : of the command.
    images_for : what the study's images are read for, in the help.

    Returns
    -------
    The group of options about the network, for more of them.
    """
    data = parser.add_argument_group("data")
    data.add_argument("study", metavar="STUDY", help="Folder of a study of a network.")
    data.add_argument(
        "--data",
        metavar="DATA",
        help=f"Folder in which the study's images lie now; they are read for {images_for}. Default: where they lay.",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weights", metavar="FILE", help="The study's .keras or .h5 file where it lies now. Default: where it lay."
    )
    return network


def print_notes(notes: Iterable[str]) -> None:
    """Say on stderr how data were read, before the results."""
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def fraction(text: str) -> float:
    """A number from 0 to 1, 1 excluded."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 0 and less than 1; got {text!r}.")
    return value


def memory(text: str) -> int:
    """Bytes from a text such as "2GiB"."""
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def at_least(minimum: int, most: int = LARGEST_COUNT) -> Callable[[str], int]:
    """A parser of whole numbers from `minimum` to `most`."""

    def parse(text: str) -> int:
        number = _whole(text)
        if number is None or number < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {minimum}; got {_short(text)}.")
        if number > most:
            raise argparse.ArgumentTypeError(f"must be a whole number of at most {most}; got {_short(text)}.")
        return number

    return parse


def seed(text: str) -> int:
    """A random seed, which NumPy and scikit-learn take from 0 to 2³² − 1."""
    if _whole(text.strip().removeprefix("-")) is None:
        raise argparse.ArgumentTypeError(f"invalid int value: {_short(text)}")
    return at_least(0, 2**32 - 1)(text)


def sizes(text: str) -> tuple[int, ...]:
    """Distinct whole numbers, ascending, from a text such as "50,100,200"."""
    numbers = [_whole(part) for part in text.split(",")]
    known = {number for number in numbers if number is not None and number <= LARGEST_COUNT}
    if len(known) < len(set(numbers)):
        raise argparse.ArgumentTypeError(f"sizes must be whole numbers such as 50,100,200; got {_short(text)}")
    return tuple(sorted(known))


def _whole(text: str) -> int | None:
    """The number that a text of decimal digits says; None for any other text."""
    digits = text.strip()
    return int(digits) if digits.isdecimal() and len(digits) <= _MOST_DIGITS else None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:80]!r} …"
