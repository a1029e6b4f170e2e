"""The help of each command: groups of options, a sentence for each, and examples that can be typed."""

import argparse
import re
import shlex

import pytest

from core.cli import make_parser


def commands() -> dict[str, argparse.ArgumentParser]:
    (choices,) = [action.choices for action in make_parser()._actions if isinstance(action.choices, dict)]
    return choices


COMMANDS = commands()
OPTIONS = [
    pytest.param(action, id=f"{name} {action.option_strings[0] if action.option_strings else action.dest}")
    for name, parser in COMMANDS.items()
    for action in parser._actions
    if action.dest != "help"
]
GROUPS = ("data", "features", "network", "layers", "measures", "training", "augmentation", "cost", "cluster", "output")


@pytest.mark.parametrize("option", OPTIONS)
def test_the_help_of_an_option_is_a_sentence_that_stands_alone(option: argparse.Action):
    assert option.help is not None
    assert re.match(r"[A-Z]\S* \S", option.help), "it must start with a capital"
    assert option.help.endswith("."), "it must end as a sentence does"


@pytest.mark.parametrize("option", OPTIONS)
def test_the_help_says_the_default(option: argparse.Action):
    is_switch = option.nargs == 0 and option.const is not None
    is_needed = option.required
    has_words_for_it = "Leave it out to" in option.help
    assert "Default: " in option.help or is_switch or is_needed or has_words_for_it


@pytest.mark.parametrize("option", OPTIONS)
def test_a_value_has_a_name_that_says_what_is_expected(option: argparse.Action):
    assert option.metavar or option.choices or option.nargs == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_options_stand_in_groups(name: str):
    groups = [group for group in COMMANDS[name]._action_groups if group._group_actions]
    titles = [group.title for group in groups]
    assert titles[0] == "options"
    assert [option.dest for option in groups[0]._group_actions] == ["help", "debug"]
    assert titles[1:] == sorted(titles[1:], key=GROUPS.index)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_examples_that_parse(name: str):
    first, *examples = COMMANDS[name].epilog.splitlines()
    assert first == "examples:"
    assert 2 <= len(examples) <= 4
    for example in examples:
        python, minus_m, core, *arguments = shlex.split(example)
        assert (python, minus_m, core) == ("python", "-m", "core")
        assert make_parser().parse_args(arguments).command == name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_printed(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        make_parser().parse_args([name, "--help"])
    assert stopped.value.code == 0
    assert "examples:\n" in capsys.readouterr().out  # each % in a text is written as argparse wants it
