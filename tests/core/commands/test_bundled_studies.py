"""The studies that come with the app record the command that makes them, and options that it has."""

import json
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import explorer
from core.cli import make_parser
from core.commands.study import study_options
from core.study.plan import StudyOptions

DEMO = Path(explorer.__file__).parent / "demo"
INFOS = {str(path.parent.relative_to(DEMO)): json.loads(path.read_text()) for path in DEMO.rglob("study.json")}
WITH_COMMAND = {name: info for name, info in INFOS.items() if "command" in info}


def test_there_are_some():
    assert {"digits", "dogs", "notebook", "ranking/efficientnet-lite0"} <= set(WITH_COMMAND)


@pytest.mark.parametrize("name", WITH_COMMAND)
def test_the_command_asks_for_what_was_recorded(name: str):
    recorded = WITH_COMMAND[name]["asked"]
    python, minus_m, core, *arguments = shlex.split(WITH_COMMAND[name]["command"])
    assert (python, minus_m, core) == ("python", "-m", "core")
    options = study_options(make_parser().parse_args(arguments)).asked()
    by_default_then = {"layers", "model", "batch_size"} if "--layers" not in arguments else {"model", "batch_size"}
    compared = recorded.keys() - by_default_then  # whose defaults were others
    assert {option: options[option] for option in compared} == {option: recorded[option] for option in compared}


@pytest.mark.parametrize("name", WITH_COMMAND)
def test_only_options_that_a_study_has_are_recorded(name: str):
    known = {field.name for field in fields(StudyOptions)}
    recorded: dict[str, Any] = WITH_COMMAND[name]["asked"]
    assert set(recorded) <= known
