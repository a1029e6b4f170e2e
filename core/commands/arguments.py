"""Types of arguments that several commands take: a text becomes a value, or wrong usage."""

import argparse
from collections.abc import Callable

from core.study.plan import parse_bytes

DATA_HELP = "an image folder (train/CLASS/..., test/CLASS/..., or CLASS/...), tfds:NAME, or digits"


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
