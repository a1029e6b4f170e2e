"""Format a report as Markdown for a pull request: findings and short tables, with long tables collapsed."""

import re

from core.report.content import LIMITS, METHOD, Report, Section
from core.report.tables import Table
from core.report.words.formatting import plain


def as_markdown(report: Report) -> str:
    """Format the whole report; every text of the study is escaped."""
    parts = [
        f"## {plain(report.name)}: {_lower_first(report.finding.headline)}",
        report.caption,
        *(f"> **Caution.** {caution}" for caution in report.cautions),
        report.finding.detail,
        "\n".join(f"- {finding}" for finding in report.findings),
        *(part for section in report.sections for part in _section(section)),
        "### Method and limits",
        "\n".join(f"- {text}" for text in (*METHOD, *LIMITS)),
        *_commands(report),
        _details("How this was computed", _grid(["", ""], [[plain(a), plain(b)] for a, b in report.facts.items()])),
    ]
    return "\n\n".join(parts) + "\n"


def _section(section: Section) -> list[str]:
    tables = [part for table in section.tables for part in _table(table)]
    return [f"### {section.title}", *([section.text] if section.text else []), *tables]


def _table(table: Table) -> list[str]:
    """The rows of the short form and, where there are more, all of them collapsed."""
    head = [plain(name) for name in table.frame.columns]
    rows = [[plain(cell) for cell in row] for row in table.frame.itertuples(index=False)]
    numbers = [name not in table.texts for name in table.frame.columns]
    short = _grid(head, [rows[index] for index in table.lead], numbers)
    if len(table.lead) == len(rows):
        return [f"**{table.title}**", short]
    whole = _details(f"All {len(rows)} rows", _grid(head, rows, numbers))
    return [f"**{table.title}** ({len(table.lead)} of {len(rows)})", short, whole]


def _commands(report: Report) -> list[str]:
    lines = [line for line in (report.repeat, report.write) if line]
    if not lines:
        return []
    fence = "`" * max(3, 1 + max(map(_longest_fence, lines)))
    return ["### To repeat it", "\n".join([f"{fence}bash", *lines, fence])]


def _longest_fence(text: str) -> int:
    """The length of the longest run of backticks, which a fence around the text must exceed."""
    return max(map(len, re.findall("`+", text)), default=0)


def _grid(head: list[str], rows: list[list[str]], numbers: list[bool] | None = None) -> str:
    """A table of cells; columns of numbers are aligned to the right."""
    rule = ["---:" if number else "---" for number in numbers or [False] * len(head)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _details(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
