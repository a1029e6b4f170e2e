"""Flags of the command line made from declared options."""

from argparse import BooleanOptionalAction
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from core.commands.terminal.arguments import at_least, fraction, memory, seed, sizes
from core.study.options import Option

_SPECIAL: Mapping[str, Callable[[str], Any]] = {"seed": seed, "test_fraction": fraction, "memory": memory}


def add_option(group: Any, option: Option) -> None:
    """Add the flag of an option, or its argument without a flag where it must be given, to a group of a parser."""
    text = option.help.replace("%", "%%")
    if option.kind is bool and option.default is None:
        group.add_argument(
            option.flag, action=BooleanOptionalAction, help=f"{text} Default: {option.default_in_words}."
        )
    elif option.kind is bool:
        action = "store_false" if option.default else "store_true"
        help_text = f"Do not {text[0].lower()}{text[1:]}" if option.default else text
        group.add_argument(option.flag, dest=option.name, action=action, help=help_text)
    elif option.default is MISSING:
        group.add_argument(option.name, metavar=option.metavar, help=text)
    else:
        group.add_argument(
            option.flag,
            type=_parser_of(option),
            default=option.default,
            choices=option.choices or None,
            metavar=option.metavar,
            help=f"{text} Default: {option.default_in_words}.",
        )


def add_options(group: Any, options: Iterable[Option]) -> None:
    """Add those of the options that belong to a group, by its title."""
    for option in options:
        if option.group == group.title:
            add_option(group, option)


def _parser_of(option: Option) -> Callable[[str], Any]:
    """What makes a value of a text."""
    if option.name in _SPECIAL:
        return _SPECIAL[option.name]
    if option.kind is int:
        return at_least(int(option.least), int(option.most))
    return sizes if option.kind is tuple else option.kind
