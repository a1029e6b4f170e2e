"""Format a report as one self-contained HTML file, with charts, their JavaScript and styles."""

import json
import re
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from core.report.content import LIMITS, METHOD, Chart, Report, Section
from core.report.tables import Table

_INLINE = (  # applied in this order to text in which HTML is escaped
    (re.compile(r"`([^`]*)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\*(.+?)\*"), r"<em>\1</em>"),
)
_ESCAPED = re.compile(r"\\([\\`*_\[\]$~&<>#|:])")  # a character that a backslash protects from being Markdown
# While Markdown is converted, protected characters are replaced by those this far above, in the private use area.
_PRIVATE_USE = 0xE000
_MARKDOWN = "A Markdown report needs nothing: --markdown FILE alone."


def as_html(report: Report) -> str:
    """Format the whole report; every text of the study is escaped.

    Raises
    ------
    ImportError
        Altair, which makes the charts, or vl-convert-python, which contains their JavaScript, is not installed.
    """
    bundle = _bundle()
    themes, specs = _charts(report)
    style = files("core.report").joinpath("report.css").read_text(encoding="utf-8")
    draw = files("core.report").joinpath("report.js").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; \
script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:">
<title>{escape(f"{report.name}: {report.finding.headline}")}</title>
<style>
{style}</style>
</head>
<body>
<main>
{_head(report)}
{_sections(report)}
{_method(report)}
</main>
<script type="application/json" id="themes">{themes}</script>
<script type="application/json" id="specs">{specs}</script>
<script>{bundle}</script>
<script>
{draw}</script>
</body>
</html>
"""


def _charts(report: Report) -> tuple[str, str]:
    """The themes and the charts as JSON that can stand in a script element."""
    try:
        from core.report.charts.frame import standalone_spec
        from core.report.charts.theme import vega_config
    except ImportError as error:
        raise ImportError(f"{error} Or install the extra `report`. {_MARKDOWN}") from error
    charts = [chart for section in report.sections for chart in section.charts]
    specs = [standalone_spec(chart.draw()) for chart in charts]
    return _json({ground: vega_config(ground) for ground in ("light", "dark")}), _json(specs)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _bundle() -> str:
    """The JavaScript of Vega, Vega-Lite and vega-embed."""
    try:
        from vl_convert import javascript_bundle
    except ImportError as error:
        raise ImportError(
            f"the charts of an HTML report need vl-convert-python: pip install vl-convert-python (or the extra "
            f"`report`). {_MARKDOWN}"
        ) from error
    return str(javascript_bundle()).replace("</script", "<\\/script")  # type: ignore[call-arg]  # its stub forgets the default


def _head(report: Report) -> str:
    cautions = "".join(f'<p class="caution">{inline(caution)}</p>' for caution in report.cautions)
    findings = "".join(f"<li>{inline(finding)}</li>" for finding in report.findings)
    return (
        f'<header><p class="name">{escape(report.name)}</p><h1>{inline(report.finding.headline)}</h1>'
        f'<p class="caption">{inline(report.caption)}</p>{cautions}</header>'
        f'<p class="lead">{inline(report.finding.detail)}</p><ul class="findings">{findings}</ul>'
    )


def _sections(report: Report) -> str:
    sections, num_charts = [], 0
    for section in report.sections:
        sections.append(_section(section, num_charts))
        num_charts += len(section.charts)
    return "\n".join(sections)


def _section(section: Section, first_chart: int) -> str:
    """One section; its charts are numbered from `first_chart`, as in the list of all specifications."""
    text = f"<p>{inline(section.text)}</p>" if section.text else ""
    charts = "".join(_chart(chart, number) for number, chart in enumerate(section.charts, first_chart))
    return f"<section><h2>{escape(section.title)}</h2>{text}{charts}{''.join(map(_table, section.tables))}</section>"


def _chart(chart: Chart, number: int) -> str:
    return (
        f'<figure><figcaption>{escape(chart.title)}</figcaption><div class="chart" data-spec="{number}" role="img" '
        f'aria-label="{escape(chart.title)}"></div><p class="note">{inline(chart.note)}</p></figure>'
    )


def _table(table: Table) -> str:
    grid = f'<div class="scroll">{table_html(table)}</div>'
    return f"<details open><summary>{escape(table.title)}, {len(table.frame)} rows</summary>{grid}</details>"


def table_html(table: Table) -> str:
    """The table as HTML; its texts are escaped."""
    head = "".join(f"<th{_kind(table, name)}>{escape(str(name))}</th>" for name in table.frame.columns)
    body = "".join(_row(table, row) for row in table.frame.itertuples(index=False))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(table: Table, row: Iterable[object]) -> str:
    cells = zip(table.frame.columns, row, strict=True)
    return f"<tr>{''.join(f'<td{_kind(table, name)}>{escape(str(cell))}</td>' for name, cell in cells)}</tr>"


def _kind(table: Table, name: str) -> str:
    return "" if name in table.texts else ' class="number"'


def _method(report: Report) -> str:
    facts = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in report.facts.items())
    commands = "\n".join(line for line in (report.repeat, report.write) if line)
    repeat = f"<h2>To repeat it</h2><pre><code>{escape(commands)}</code></pre>" if commands else ""
    return (
        f"<section><h2>Method</h2>{''.join(f'<p>{inline(text)}</p>' for text in METHOD)}"
        f"<h2>Limits</h2><ul>{''.join(f'<li>{inline(text)}</li>' for text in LIMITS)}</ul>{repeat}"
        f'<h2>How this was computed</h2><div class="scroll"><table class="facts"><tbody>{facts}</tbody></table></div>'
        "</section>"
    )


def inline(text: str) -> str:
    """Convert the Markdown of a sentence to HTML: code, bold, italic, and characters escaped by a backslash."""
    html = escape(_ESCAPED.sub(lambda match: chr(_PRIVATE_USE + ord(match[1])), text))
    for pattern, tag in _INLINE:
        html = pattern.sub(tag, html)
    return re.sub("[\ue000-\ue0ff]", lambda match: escape(chr(ord(match[0]) - _PRIVATE_USE)), html)
