"""A chart as a file: PDF, SVG or PNG, on white, with its title above and its caption below.

The figures of a paper, the charts that the app saves and the charts of notebooks come from here. Drawing takes about
130 MB, which a process keeps; so a server has it done by a process that ends with it (`chart_file_apart`).
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from html import escape
from typing import Any

from core.report.svg_text import has_all_characters, text_width, with_embedded_fonts, with_text_lengths

FORMATS = ("pdf", "svg", "png")
WIDTH = 960  # pixels of a chart that follows the width of its page
PORTABLE_FONT = "Arimo, Liberation Sans, Arial, Helvetica, sans-serif"  # the first four are equally wide
SECONDS = 60  # that drawing a chart may take
_TITLE_STYLE, _CAPTION_STYLE = 'font-weight="bold" fill="#1f2933"', 'fill="#5b6672"'
_MARGIN = 12  # pixels around a chart with a title or caption
_TITLE_PIXELS, _CAPTION_PIXELS = 15, 11
_WIDER_FONT = 1.3  # how much wider a font may be that stands in for ours
_LINE = 1.4  # height of a line, in font sizes
_PIXELS_AN_INCH = 144  # of a PNG: two of its pixels for each of the chart's
_ROOT = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)" viewBox="[^"]*"[^>]*>')
INSTALL = "Figures need Altair and vl-convert-python: pip install altair vl-convert-python (or the extra `report`)."


def chart_file(
    spec: Mapping[str, Any],
    file_format: str,
    *,
    title: str = "",
    caption: str = "",
    pixels_an_inch: int = _PIXELS_AN_INCH,
) -> bytes:
    """Return a chart as the content of a file.

    Parameters
    ----------
    spec : mapping
        A specification of Vega-Lite that holds its data, as `core.report.charts.frame.standalone_spec` returns it.
    file_format : {"pdf", "svg", "png"}
        PDF and SVG embed their fonts, and SVG keeps texts as texts.
    title, caption : str
        Plain text above and below the chart, wrapped at its width.
    pixels_an_inch : int
        Of a PNG; a chart has 72.

    Raises
    ------
    ValueError
        The format is unknown, or the specification is none of Vega-Lite.
    ImportError
        vl-convert-python is not installed.
    """
    if file_format not in FORMATS:
        raise ValueError(f"file_format must be one of {', '.join(FORMATS)}; got {file_format!r}.")
    try:
        import vl_convert
    except ImportError as error:
        raise ImportError(INSTALL) from error
    svg = vl_convert.vegalite_to_svg({**spec, "background": "#ffffff"})
    if title or caption:
        svg = with_texts(svg, title, caption)
    if file_format == "pdf":
        return bytes(vl_convert.svg_to_pdf(svg))
    if file_format == "png":
        return bytes(vl_convert.svg_to_png(svg, ppi=pixels_an_inch))
    return with_embedded_fonts(with_text_lengths(svg)).encode()


def chart_file_apart(spec: Mapping[str, Any], file_format: str, *, title: str = "", caption: str = "") -> bytes:
    """Return the same as `chart_file`, drawn by a process of its own, which gives its memory back.

    Raises
    ------
    RuntimeError
        The process failed or took longer than `SECONDS`; the message has the last line that it wrote.
    """
    order = json.dumps({"spec": spec, "file_format": file_format, "title": title, "caption": caption})
    command = [sys.executable, "-m", "core.report.chart_files"]
    try:
        done = subprocess.run(command, input=order.encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"Drawing the chart took longer than {SECONDS} s. Save its numbers instead.") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"The chart could not be drawn: {lines[-1]}")
    return done.stdout


def with_texts(svg: str, title: str, caption: str) -> str:
    """Return an SVG with a title above and a caption below its content, both wrapped at its width."""
    root = _ROOT.search(svg)
    if root is None:  # another version of the renderer
        raise ValueError("svg must start with a root that has width, height and viewBox; it does not.")
    width, height = float(root[1]), float(root[2])
    title_lines = wrapped(title, width, _TITLE_PIXELS, bold=True)
    caption_lines = wrapped(caption, width, _CAPTION_PIXELS)
    above = _MARGIN + len(title_lines) * _TITLE_PIXELS * _LINE + (_MARGIN if title_lines else 0)
    below = _MARGIN + len(caption_lines) * _CAPTION_PIXELS * _LINE + (_MARGIN if caption_lines else 0)
    box = (-_MARGIN, -above, width + 2 * _MARGIN, above + height + below)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{box[2]:g}" height="{box[3]:g}" '
        f'viewBox="{" ".join(f"{number:g}" for number in box)}">'
        f'<rect x="{box[0]:g}" y="{box[1]:g}" width="{box[2]:g}" height="{box[3]:g}" fill="#ffffff"/>'
        f"{_lines(title_lines, _MARGIN - above, _TITLE_PIXELS, _TITLE_STYLE)}"
        f"{_lines(caption_lines, height + _MARGIN, _CAPTION_PIXELS, _CAPTION_STYLE)}"
    )
    return svg.replace(root[0], head, 1)


def wrapped(text: str, width: float, font_size: float, *, bold: bool = False) -> list[str]:
    """Break a text at spaces into lines of at most `width`; a word that is wider has a line of its own.

    A text with characters that the font lacks is drawn in another one, for which there is room, too.

    >>> wrapped("one two three", 40, 10)
    ['one two', 'three']
    """
    if not has_all_characters(text):
        width /= _WIDER_FONT
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, font_size, bold=bold) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _lines(lines: list[str], top: float, font_size: float, style: str) -> str:
    baselines = [top + font_size * (1 + number * _LINE) for number in range(len(lines))]
    return "".join(
        f'<text x="0" y="{baseline:g}" font-family="{PORTABLE_FONT}" font-size="{font_size}px" {style}>'
        f"{escape(line)}</text>"
        for line, baseline in zip(lines, baselines, strict=True)
    )


def _main() -> None:
    """Draw what stands on standard input; an error ends the process with its first two lines as one."""
    try:
        content = chart_file(**json.load(sys.stdin))
    except (ValueError, ImportError) as error:
        sys.exit(" ".join(str(error).split("\n")[:2]))
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    _main()
