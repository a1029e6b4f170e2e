"""An option is declared once: all that a person sees or records of it follows from the declaration."""

import argparse
import dataclasses
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

import core
from core.analysis.cut.options import CutOptions
from core.analysis.ranking.options import RankOptions
from core.cli import make_parser
from core.commands.terminal.option_flags import add_option
from core.study.from_features.options import FeatureChoices
from core.study.options import (
    STUDY_OPTIONS,
    Option,
    RunChoices,
    StudyChoices,
    check_options,
    declare,
    options_of,
    with_parameters,
)
from core.study.store.study_json import info_faults
from core.training.augmentation import Augmentation
from core.training.options import TrainingOptions
from explorer.runs.request import FORM_OPTIONS, Request, parse_request


@with_parameters
@dataclass(frozen=True)
class Extended(StudyChoices):
    """A study with one option more."""

    whitening: int | None = declare(
        None,
        help="Number of principal components to whiten.",
        group="measures",
        metavar="N",
        least=1,
        most=64,
        default_text="all",
        label="Whitening",
    )


def parser_of(options: dict[str, Option]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    for option in options.values():
        add_option(parser, option)
    return parser


def test_a_new_option_is_one_field():
    option = options_of(Extended)["whitening"]
    assert (option.flag, option.kind, option.default, option.form_limits) == ("--whitening", int, None, (1, 64))
    assert option.json_types == (int, type(None))
    parser = parser_of(options_of(Extended))
    assert parser.parse_args(["digits", "--whitening", "8"]).whitening == 8
    assert "Number of principal components to whiten. Default: all." in " ".join(parser.format_help().split())
    assert "    whitening : int, default all\n        Number of principal components to whiten." in Extended.__doc__
    check_options(Extended("digits", whitening=64))
    with pytest.raises(ValueError, match=r"^whitening must be at most 64; got 65\.$"):
        check_options(Extended("digits", whitening=65))


def test_every_field_of_a_study_is_declared():
    assert list(STUDY_OPTIONS) == [field.name for field in fields(core.StudyOptions)]


DECLARED = [
    pytest.param(command, declaring, option, id=f"{command} {option.name}")
    for command, declaring in (
        ("study", core.StudyOptions),
        ("study", RunChoices),
        ("rank", RankOptions),
        ("fine-tune", core.FineTuneOptions),
        ("fine-tune", TrainingOptions),
        ("fine-tune", Augmentation),
        ("measure", FeatureChoices),
        ("cut", CutOptions),
    )
    for option in options_of(declaring).values()
]


@pytest.mark.parametrize(("command", "declaring", "option"), DECLARED)
def test_every_option_is_a_flag_and_stands_in_the_docstring(command: str, declaring: type, option: Option):
    (commands,) = [action.choices for action in make_parser()._actions if isinstance(action.choices, dict)]
    (flag,) = [action for action in commands[command]._actions if action.dest == option.name]
    is_needed = option.default is dataclasses.MISSING
    can_be_turned_off = option.kind is bool and option.default is None
    flags = [option.flag, *([f"--no-{option.flag.removeprefix('--')}"] if can_be_turned_off else [])]
    assert flag.option_strings == ([] if is_needed else flags)
    assert is_needed or flag.default == option.default
    assert flag.container.title == option.group
    assert f"\n    {option.name} : {option.kind.__name__}" in str(declaring.__doc__)
    assert option.help in str(declaring.__doc__)


WRONG: dict[type, Any] = {str: 1, int: "1", float: "1", bool: "yes", tuple: 3}


@pytest.mark.parametrize("option", STUDY_OPTIONS.values(), ids=lambda option: option.name)
def test_study_json_records_every_option_that_tables_depend_on_with_its_type(option: Option):
    asked = core.StudyOptions("digits").asked()
    assert (option.name in asked) == option.recorded
    assert info_faults({"state": "complete", "asked": asked}) == []
    faults = info_faults({"state": "complete", "asked": asked | {option.name: WRONG[option.kind]}})
    assert bool(faults) == option.recorded
    assert not faults or faults[0].startswith(f"'asked.{option.name}' must be ")


IN_ADDRESS: dict[type, Any] = {int: 7, float: 0.25, bool: True}


@pytest.mark.parametrize("option", FORM_OPTIONS.values(), ids=lambda option: option.name)
def test_every_option_of_the_form_is_in_its_address_and_in_the_command(option: Option):
    others = [choice for choice in option.choices or () if choice != option.default]  # a default is not in the address
    value = IN_ADDRESS.get(option.kind, others[0] if others else "50,100")
    start = Request(source="folder", data="images", model="resnet50")
    asked = dataclasses.replace(start, **{option.name: value})
    assert asked.query()[option.name] == [str(value)]
    assert parse_request(asked.query()) == asked
    absolute = option.name in ("spool", "cluster_storage")
    words = {"model": "--model=50,100"}.get(
        option.name, f"{option.flag}={Path(value).resolve() if absolute else value}"
    )
    assert (option.flag if option.kind is bool else words) in asked.arguments()


def test_of_options_without_a_field_the_address_has_those_of_a_study_that_is_run_again():
    """But for those that each plan chooses anew, and those that cost much."""
    query = {"batch_size": ["7"], "allow_long_search": ["True"], "precision": ["0.1"]}
    assert parse_request(query) == Request(batch_size=7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"neighbors": 0}, r"^neighbors must be at least 1; got 0\.$"),
        ({"per_class": 1}, r"^per_class must be at least 2; got 1\.$"),
        ({"seed": 2**32}, r"^seed must be at most 4,294,967,295; got 4,294,967,296\.$"),
        ({"split": "val"}, r"^split must be one of train, test, both; got 'val'\.$"),
        (
            {"repeats": 0, "protocol": "x"},
            r"^repeats must be at least 1; got 0\. protocol must be one of separation, notebook; got 'x'\.$",
        ),
    ],
)
def test_values_beyond_the_declaration_are_refused_together(values: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        core.StudyOptions("digits", **values)


@pytest.mark.parametrize(
    ("limits", "value", "message"),
    [
        ({"most": 1, "excludes_most": True}, 1.0, "must be at least 0 and less than 1; got 1.0"),
        ({"most": 1, "excludes_most": True}, 0.0, None),
        ({"most": 0.5, "excludes_least": True, "excludes_most": True}, 0.0, "must lie between 0 and 0.5; got 0.0"),
        ({"most": 1}, 1.0, None),
        ({"most": 1}, 1.5, "must lie between 0 and 1; got 1.5"),
        ({"most": 1}, float("nan"), "must lie between 0 and 1; got nan"),
        ({"most": float("inf"), "excludes_least": True, "excludes_most": True}, 1e9, None),
        (
            {"most": float("inf"), "excludes_least": True, "excludes_most": True},
            float("inf"),
            "must be a finite number of more than 0; got inf",
        ),
    ],
)
def test_limits_of_a_number_with_a_fraction(limits: dict[str, Any], value: float, message: str | None):
    option = Option("A share.", "data", name="share", kind=float, advice="Try 0.2.", **limits)
    assert option.fault(value) == (None if message is None else f"share {message}. Try 0.2.")
