"""The documentation says what is there: links, commands, options, Python blocks, tables and docstrings' examples."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pytest

import core
from core.cli import make_parser, options_by_command
from core.study.store.study_json import read_json_object
from core.study.store.tables.schemas import HISTORY, RANKING_TABLES, TABLES, Column, Table
from tests.documents import (
    DOCUMENTS,
    ROOT,
    anchors,
    broken_links,
    code_blocks,
    commands,
    dotted_names,
    inline_code,
    prose,
    table_rows,
)
from tests.test_architecture import ROOMS

CORE, BENCHMARK = "python -m core", "python -m tests.benchmarks."
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
OTHER_PROGRAMS = {"--memory-limit", "--nthreads", "--study", "--port", "--no-browser"}  # of Dask and the app
EXAMPLES = {"--within-only"}  # of CONTRIBUTING.md
TABLE_DOCUMENTS = {
    "core/study/README.md": {**TABLES, "history": HISTORY},
    "core/analysis/README.md": dict(RANKING_TABLES),
}
RUN, TORCH, NOT_RUN = "<!-- run -->", "<!-- torch recipe -->", re.compile(r"<!-- not run: .{5,} -->")
MODULES_WITH_EXAMPLES = sorted(
    path for path in (ROOT / "core").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)


def test_the_documents_are_found():
    names = {name_of(path) for path in DOCUMENTS}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "core/study/README.md", "explorer/README.md"} <= names


def test_the_readme_is_a_page_that_can_be_read():
    assert len(read(ROOT / "README.md").splitlines()) <= 200


# Links and paths


def test_links_and_anchors_of_a_document(tmp_path: Path):
    (tmp_path / "other.md").write_text("# A title: `x`, 1.0\n\n## Twice\n\n## Twice\n")
    assert anchors(read(tmp_path / "other.md")) == {"a-title-x-10", "twice", "twice-1"}
    text = (
        "# Here\n[a](other.md) [b](other.md#twice-1) [c](#here) [d](https://example.org/x) `[not](a-link)`\n"
        "[e](gone.md) [f](other.md#gone) ![g](gone.png) [h](#gone)\n\n    [in](code.md)\n"
    )
    assert broken_links(text, tmp_path) == ["gone.md", "other.md#gone", "gone.png", "#gone"]


@each_document
def test_every_link_leads_somewhere(document: Path):
    assert not broken_links(read(document), document.parent)


def missing_files(text: str, folder: Path) -> list[str]:
    """The files in inline code that lie neither in the project nor in the document's folder or below."""
    names = [code for code in inline_code(text) if re.fullmatch(r"\.?[a-z_][\w./]*\.(py|toml)", code)]
    folders = [ROOT / "core", ROOT / "explorer", ROOT / "tests"] if folder == ROOT else [folder]
    return [name for name in names if not (ROOT / name).exists() and not any([*top.rglob(name)] for top in folders)]


def test_a_missing_file_is_found():
    text = "`core/cli.py` `cli.py` `tables/schemas.py` `core/gone.py` `gone.py`"
    assert missing_files(text, ROOT / "core" / "study") == ["cli.py", "core/gone.py", "gone.py"]


@each_document
def test_files_that_a_document_names_exist(document: Path):
    if document.name != "CHANGELOG.md":
        assert not missing_files(read(document), document.parent)


# Commands


NAMES_IN_FILE = re.compile(r"((?:`[\w.]+`(?:, | and )?)+) (?:in|of) `([\w./-]+\.(?:py|toml|js|css))`")


def names_not_in_their_files(text: str) -> list[str]:
    """Names that a document says to be in a file, such as "`TOLERANCE` in `core/analysis/cut/advice.py`", and are
    not."""
    faults = []
    for names, file in NAMES_IN_FILE.findall(" ".join(text.split())):
        words = set(re.findall(r"\w+", read(ROOT / file)))
        for name in re.findall(r"`([\w.]+)`", names):
            if name.rpartition(".")[2] not in words:
                faults.append(f"{name} in {file}")
    return faults


def test_a_name_that_is_not_in_its_file_is_found():
    text = "see `Separation.p_value` and\n`no_such_name` in `core/measures/separation.py`"
    assert names_not_in_their_files(text) == ["no_such_name in core/measures/separation.py"]
    assert len(NAMES_IN_FILE.findall(" ".join(read(ROOT / "CONTRIBUTING.md").split()))) > 10


@each_document
def test_names_are_in_the_files_that_a_document_says(document: Path):
    assert not names_not_in_their_files(read(document))


def test_commands_are_found_in_code_blocks():
    indented = "    A=1 .venv/bin/python -m core cut 'a b' --json  # why"
    text = f"Say `python -m core x`.\n\n{indented}\n\n```\npython -m core y | z\n```\n"
    assert [words for _, words in commands(text, CORE)] == [["cut", "a b", "--json"], ["y"]]
    assert [line for line, _ in commands(text, CORE)] == [3, 6]


@each_document
def test_every_command_line_parses(document: Path, capsys: pytest.CaptureFixture[str]):
    for line, words in commands(read(document), CORE):
        if "--help" in words:
            assert words[0] in options_by_command(make_parser())
            continue
        try:
            make_parser().parse_args(words)
        except SystemExit:
            pytest.fail(f"{name_of(document)}:{line}: {' '.join(words)}: {capsys.readouterr().err}")


@pytest.mark.parametrize("words", [["study", "DATA"], ["cut", "STUDY", "--lair", "x"], ["slice", "STUDY"]])
def test_a_command_that_does_not_exist_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        make_parser().parse_args(words)
    assert "error" in capsys.readouterr().err


def unknown_options(text: str) -> list[str]:
    """Options in inline code that no command has, or not the command that is named with them."""
    by_command = options_by_command(make_parser())
    every = set().union(*by_command.values()) | OTHER_PROGRAMS | EXAMPLES
    unknown = []
    for code in inline_code(text):
        named = re.match(rf".*\b(?:{CORE}|core) ([a-z-]+)", code)
        if BENCHMARK in code or "pytest" in code or "streamlit" in code:
            continue
        known = by_command.get(named[1], set()) if named else every
        unknown += [f"{code}: {option}" for option in OPTION.findall(code) if option not in known]
    return unknown


def test_an_unknown_option_is_found():
    text = "`--layers all` `--lair` `python -m core cut STUDY --head probe` `core blocks --head` `--nthreads 1`"
    assert unknown_options(text) == ["--lair: --lair", "core blocks --head: --head"]


@each_document
def test_every_option_exists(document: Path):
    text = read(document)
    if document.parent.name == "benchmarks":  # whose modules have options of their own
        text = re.sub(r"`--(parts|readme)[^`]*`", "", text)
    if document.name != "CHANGELOG.md":
        assert not unknown_options(text)


def benchmark_faults(name: str, options: list[str]) -> list[str]:
    """What is wrong with a command that runs a benchmark: its module, or options that the module does not name."""
    path = ROOT / "tests" / "benchmarks" / f"{name}.py"
    if not path.exists():
        return [f"there is no {name_of(path)}"]
    source = read(path)
    return [f"{name} has no {option}" for option in options if f'"{option}"' not in source]


def test_benchmarks_that_do_not_exist_are_found():
    assert benchmark_faults("neighbor_search", ["--part", "--rounds", "--gone"]) == ["neighbor_search has no --gone"]
    assert benchmark_faults("gone", []) == ["there is no tests/benchmarks/gone.py"]


@each_document
def test_every_benchmark_exists(document: Path):
    text = read(document)
    faults = [] if document.name == "CHANGELOG.md" else named_benchmark_faults(prose(text))
    for _, words in commands(text, BENCHMARK):
        faults += benchmark_faults(words[0], [word for word in words if word.startswith("--")])
    assert not faults


def named_benchmark_faults(text: str) -> list[str]:
    """The faults of benchmarks that are named within sentences."""
    faults = []
    for name, rest in re.findall(rf"{re.escape(BENCHMARK)}(\w+)([^`\n]*)", text):
        if name != "NAME":
            faults += benchmark_faults(name, OPTION.findall(rest))
    return faults


# Python


def resolve(name: str) -> object:
    """The object of a dotted name, such as core.analysis.comparing.compare_studies."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return reduce(getattr, parts[length:], module)
    raise AttributeError(name)


def test_names_that_code_uses_are_found():
    code = "import core\nfrom core.cli import main\ncore.run_study(core.StudyOptions(1)).measurements\nimport numpy"
    assert dotted_names(code) == {"core.cli.main", "core.run_study", "core.StudyOptions"}
    assert resolve("core.study.store.opening.load_study") is core.load_study
    with pytest.raises(AttributeError):
        resolve("core.run_studies")


@each_document
def test_python_blocks_compile_and_name_what_exists(document: Path):
    for block in code_blocks(read(document)):
        if block.language == "python":
            compile(block.text, f"{name_of(document)}:{block.line}", "exec", ast.PyCF_ONLY_AST)
            for name in dotted_names(block.text):
                resolve(name)


@each_document
def test_dotted_names_in_sentences_exist(document: Path):
    for code in inline_code(read(document)):
        if document.name != "CHANGELOG.md" and re.fullmatch(r"core(\.[A-Za-z_]\w*)+(\(.*\))?", code):
            resolve(code.partition("(")[0])


def is_marked(mark: str) -> bool:
    """Whether the line before a block says that the tests run it, or why they do not."""
    return mark in (RUN, TORCH) or NOT_RUN.fullmatch(mark) is not None


def test_a_mark_says_whether_a_block_is_run():
    text = "<!-- run -->\n```python\n1\n```\n\n```python\n2\n```\n<!-- not run: needs a GPU -->\n```python\n3\n```\n"
    blocks = code_blocks(text)
    assert [(block.text, block.line, is_marked(block.mark)) for block in blocks] == [
        ("1", 3, True),
        ("2", 7, False),
        ("3", 11, True),
    ]
    assert not is_marked("<!-- not run: -->")


@each_document
def test_every_python_block_is_run_or_says_why_not(document: Path):
    blocks = [block for block in code_blocks(read(document)) if block.language == "python"]
    assert not [f"{name_of(document)}:{block.line}" for block in blocks if not is_marked(block.mark)]


RUNNABLE = [
    pytest.param(block.text, id=f"{name_of(document)}:{block.line}")
    for document in DOCUMENTS
    for block in code_blocks(read(document))
    if block.language == "python" and block.mark == RUN
]


def test_there_are_blocks_to_run():
    assert len(RUNNABLE) >= 4


@pytest.mark.parametrize("code", RUNNABLE)
def test_a_python_block_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "explorer").symlink_to(ROOT / "explorer", target_is_directory=True)
    exec(compile(code, "<documentation>", "exec"), {})


# Tables


def type_in_words(type_: pa.DataType) -> str:
    if pa.types.is_dictionary(type_):
        return type_in_words(type_.value_type)
    if pa.types.is_list(type_):
        return f"list of {type_in_words(type_.value_type)}"
    return {"string": "text", "float": "float32", "double": "float64"}.get(str(type_), str(type_))


def declared_rows(table: Table) -> list[list[str]]:
    """Name, type and whether it is required, of each column, as documents have them."""
    return [
        [f"`{name}`", type_in_words(column.type), "yes" if column.required else ""]
        for name, column in table.columns.items()
    ]


def test_the_columns_of_a_document_are_those_of_its_table():
    head = "| column | type | required | meaning |\n|---|---|---|---|"
    text = f"### `a`\n\nText.\n\n{head}\n| `x` | text | yes | y |\n\n### `b`\n"
    assert [row[:3] for row in table_rows(text, "### `a`")] == declared_rows(
        Table({"x": Column(pa.dictionary(pa.int32(), pa.string()), required=True)})
    )
    assert declared_rows(Table({"x": Column(pa.list_(pa.float32()))})) == [["`x`", "list of float32", ""]]


@pytest.mark.parametrize(
    ("document", "name"), [(document, name) for document, tables in TABLE_DOCUMENTS.items() for name in tables]
)
def test_documented_columns_are_the_declared_ones(document: str, name: str):
    rows = table_rows(read(ROOT / document), f"### `{name}`")
    assert [row[:3] for row in rows] == declared_rows(TABLE_DOCUMENTS[document][name])
    assert all(row[3] for row in rows), "each column has a meaning"


@pytest.mark.parametrize("document", TABLE_DOCUMENTS)
def test_no_table_is_documented_that_does_not_exist(document: str):
    headings = re.findall(r"^### `(\w+)`$", read(ROOT / document), re.MULTILINE)
    assert headings == list(TABLE_DOCUMENTS[document])


@pytest.mark.parametrize("path", sorted((ROOT / "explorer" / "demo").glob("*/study.json")), ids=name_of)
def test_the_fields_of_study_json_are_documented(path: Path):
    rows = table_rows(read(ROOT / "core/study/README.md"), "## `study.json`")
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert set(read_json_object(path, path.name)) <= documented


# The diagram of the rooms


def reachable(arrows: dict[str, set[str]], room: str) -> set[str]:
    """The rooms that arrows lead to from a room, over others, too."""
    return arrows.get(room, set()).union(*(reachable(arrows, other) for other in arrows.get(room, set())))


def test_what_arrows_lead_to():
    assert reachable({"a": {"b"}, "b": {"c"}}, "a") == {"b", "c"}
    assert reachable({"a": {"b"}}, "b") == set()


def test_the_diagram_has_the_arrows_that_the_architecture_test_checks():
    (diagram,) = [block.text for block in code_blocks(read(ROOT / "core" / "README.md")) if block.language == "mermaid"]
    arrows: dict[str, set[str]] = {}
    for room, other in re.findall(r"^ *(\w+)(?:\[.*?\])? --> (\w+)", diagram, re.MULTILINE):
        arrows.setdefault(room, set()).add(other)
    for room, others in ROOMS.items():
        assert {f"core.{other}" for other in reachable(arrows, room.removeprefix("core."))} == set(others), room


# Docstrings


def test_docstrings_have_examples():
    assert len(MODULES_WITH_EXAMPLES) >= 3


@pytest.mark.parametrize("path", MODULES_WITH_EXAMPLES, ids=name_of)
def test_examples_in_docstrings_are_right(path: Path):
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    results = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert results.attempted > 0
    assert results.failed == 0


def test_the_api_reference_has_every_public_name_and_short_types(tmp_path: Path):
    subprocess.run([sys.executable, "-m", "tests.api_reference", str(tmp_path)], cwd=ROOT, check=True)
    page = (tmp_path / "core.html").read_text(encoding="utf-8")
    assert [name for name in core.__all__ if f'id="{name}"' not in page] == []
    assert "ArrayLike" in page
    assert "_SupportsArray" not in page
