"""The project's Markdown files as the tests read them: links, headings, code blocks, commands and tables."""

import ast
import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for room in ("core", "explorer", "tests") for path in (ROOT / room).rglob("README.md"))]
)
_FENCE = re.compile(r"^ *```(\w*)$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_INLINE_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class CodeBlock:
    """A block of code in a document.

    language : what stands behind the fence; empty for an indented block. line : number of its first line, from 1.
    mark : the line before the block, such as <!-- run -->.
    """

    language: str
    text: str
    line: int
    mark: str


def code_blocks(text: str) -> list[CodeBlock]:
    """Fenced blocks, and blocks that are indented by four spaces or more after an empty line."""
    lines = text.splitlines()
    blocks: list[CodeBlock] = []
    number = 0
    while number < len(lines):
        start = number
        fence = _FENCE.match(lines[number])
        if fence:
            number += 1
            while not _FENCE.match(lines[number]):
                number += 1
            body = textwrap.dedent("\n".join(lines[start + 1 : number]))
            blocks.append(CodeBlock(fence[1], body, start + 2, lines[start - 1].strip() if start else ""))
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            while number + 1 < len(lines) and (lines[number + 1].startswith("    ") or not lines[number + 1].strip()):
                number += 1
            body = [line.strip() for line in lines[start : number + 1]]
            blocks.append(CodeBlock("", "\n".join(body), start + 1, lines[start - 2] if start > 1 else ""))
        number += 1
    return blocks


def prose(text: str) -> str:
    """The document with code blocks as empty lines, so that lines keep their numbers."""
    lines = text.splitlines()
    for block in code_blocks(text):
        for number in range(block.line - 1, block.line - 1 + len(block.text.splitlines())):
            lines[number] = ""
    return "\n".join(lines)


def inline_code(text: str) -> list[str]:
    """The texts between backticks, outside of code blocks."""
    return _INLINE_CODE.findall(prose(text))


def section(text: str, heading: str) -> str:
    """The text below a heading, up to the next heading of the same or a higher level."""
    lines = prose(text).splitlines()
    assert heading in lines, f"there must be a heading {heading!r}"
    start = lines.index(heading) + 1
    level = len(heading.split()[0])
    ends = [number for number in range(start, len(lines)) if re.match(rf"#{{1,{level}}} ", lines[number])]
    return "\n".join(text.splitlines()[start : ends[0] if ends else None])


def anchors(text: str) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found = []
    for line in prose(text).splitlines():
        heading = re.match(r"#+ +(.*)", line)
        if heading:
            words = re.sub(r"[^\w\- ]", "", heading[1].strip().lower())
            found.append(words.replace(" ", "-"))
    counts: Counter[str] = Counter()
    unique = set()
    for anchor in found:
        unique.add(f"{anchor}-{counts[anchor]}" if counts[anchor] else anchor)
        counts[anchor] += 1
    return unique


def broken_links(text: str, folder: Path) -> list[str]:
    """The links of a document to a file or a heading that does not exist. folder : where the document lies."""
    links = _LINK.findall(re.sub(_INLINE_CODE, "", prose(text)))
    return [link for link in links if not re.match(r"[a-z]+:", link) and not _leads_somewhere(link, text, folder)]


def _leads_somewhere(link: str, text: str, folder: Path) -> bool:
    """Whether the file and the heading of a link exist; a link without a file is to a heading of the same text."""
    path, _, anchor = link.partition("#")
    if path and not (folder / path).exists():
        return False
    return not anchor or anchor in anchors((folder / path).read_text(encoding="utf-8") if path else text)


def commands(text: str, program: str) -> Iterator[tuple[int, list[str]]]:
    """The line and the words after `program` of each command in a code block, without comments and what is piped."""
    for block in code_blocks(text):
        if block.language == "python":
            continue
        for offset, line in enumerate(block.text.replace("\\\n", "  ").splitlines()):
            if program not in line:
                continue
            words = shlex.split(line.partition(program)[2], comments=True)
            ends = [index for index, word in enumerate(words) if word in ("|", "&", "&&", ";", ">", ">>")]
            yield block.line + offset, words[: ends[0]] if ends else words


def dotted_names(code: str, package: str = "core") -> set[str]:
    """The names below a package that Python code uses or imports, such as core.run_study."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if re.fullmatch(rf"{package}(\.\w+)+", name):
                names.add(name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith(f"{package}.")}
    return {name for name in names if not any(other.startswith(f"{name}.") for other in names)}


def table_rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its two head lines."""
    lines = text.splitlines()
    assert heading in lines, f"there must be a heading {heading!r}"
    rows = []
    for line in lines[lines.index(heading) + 1 :]:
        if line.startswith("#") or (rows and not line.startswith("|")):
            break
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip().strip("|").split("|")])
    return rows[2:]
