"""A message names only options that some command has, and the right command where it names one."""

import ast
import re
from pathlib import Path

import pytest

import core
from core.cli import main, make_parser, options_by_command

PACKAGE = Path(core.__file__).parent
EXPLORER = PACKAGE.parent / "explorer"
OTHER_PROGRAMS = {
    "--memory-limit",
    "--nthreads",
    "--server",
    "--study",
    "--version",
    "--port",
    "--no-browser",
}  # of Dask, Streamlit, the app
OPTION = re.compile(r"(?<![\w-])--(?!st-)[a-z][a-z-]*[a-z]")  # but for the variables of Streamlit's style sheets


def texts(path: Path) -> list[tuple[int, str]]:
    """The texts of a module that a person may read: all but docstrings; parts of an f-string are joined."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            found.append((node.lineno, "".join(map(str, parts))))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inner:
            found.append((node.lineno, node.value))
    return found


MODULES = sorted([*PACKAGE.rglob("*.py"), *EXPLORER.rglob("*.py")])


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_options_that_messages_name_exist(module: Path):
    known = set().union(*options_by_command(make_parser()).values()) | OTHER_PROGRAMS
    for line, text in texts(module):
        unknown = set(OPTION.findall(text)) - known
        assert not unknown, f"{module}:{line} names {unknown}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE.parent)))
def test_a_command_that_a_message_names_has_the_options_beside_it(module: Path):
    by_command = options_by_command(make_parser())
    for line, text in texts(module):
        for command, rest in re.findall(r"python -m core ([a-z-]+)([^`]*)", text):
            if command in by_command:
                unknown = set(OPTION.findall(rest)) - by_command[command]
                assert not unknown, f"{module}:{line}: {command} has no {unknown}"


ABOUT_OTHERS = {"weights": {"--weights", "--model"}}  # a command that says what other commands' options need


@pytest.mark.parametrize("command", sorted(options_by_command(make_parser())))
def test_a_command_s_own_module_names_its_own_options(command: str):
    (module,) = (PACKAGE / "commands").rglob(f"{command.replace('-', '_')}.py")
    own = options_by_command(make_parser())[command] | ABOUT_OTHERS.get(command, set())
    others = re.compile(r"python -m core [^`]*`|measure --layers main")  # where another command is named
    for line, text in texts(module):
        unknown = set(OPTION.findall(others.sub("", text))) - own
        assert not unknown, f"{module}:{line}: {command} has no {unknown}"


def test_an_option_of_another_command_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, capsys):
    def refuse(path: str) -> None:
        raise core.StudyError("The study must have layers. Run it with --layers main, or give --measure cross.")

    monkeypatch.setattr("core.commands.blocks.load_study", refuse)
    assert main(["blocks", "study"]) == 1
    assert capsys.readouterr().err.endswith(
        "give --measure cross. (--layers is an option of `python -m core study`.)\n"
    )
