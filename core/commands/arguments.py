"""Types of arguments that several commands take: a text becomes a value, or wrong usage."""

import argparse
import sys
from collections.abc import Callable, Iterable

from core.data.loading import TEST_FRACTION
from core.study.plan import parse_bytes

DATA_HELP = "an image folder (train/CLASS/..., test/CLASS/..., or CLASS/...), tfds:NAME, or digits"


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that reads labelled images: what is left out, and the split where there is none."""
    add = parser.add_argument
    add("--skip-broken", action="store_true", help="leave unreadable images out and record them")
    add(
        "--skip-small-classes",
        action="store_true",
        help="leave out classes that are empty, too small, or missing in a split, and record them",
    )
    add(
        "--test-fraction",
        type=fraction,
        default=TEST_FRACTION,
        metavar="F",
        help="share of the test split where the data have no splits; 0: none, all are measured (default: %(default)s)",
    )


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


def at_least(minimum: int) -> Callable[[str], int]:
    """A parser of whole numbers from `minimum`."""

    def parse(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number of at least {minimum}; got {text!r}.")
        return int(text)

    return parse


def sizes(text: str) -> tuple[int, ...]:
    """Distinct whole numbers, ascending, from a text such as "50,100,200"."""
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"sizes must be whole numbers such as 50,100,200; got {text!r}") from error
