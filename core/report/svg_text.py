"""Texts of an SVG as they were laid out, on every machine: they stay texts, and the file embeds their font.

The renderer lays charts out in Liberation Sans, whose characters are as wide as those of Arimo, Arial and Helvetica.
Browsers draw them in Arimo, which the file holds. Programs that ignore embedded fonts take one of the others; where
there is none, `textLength` keeps a wider font from running over the edge.
"""

import base64
import re
from html import unescape
from importlib.resources import files

# Widths in thousandths of the font's size, for the characters from space to tilde (Adobe's metrics of Helvetica).
_REGULAR = (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 "
    "556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 "
    "722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 "
    "500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584"
)
_BOLD = (
    "278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 "
    "556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 "
    "722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278 "
    "556 278 889 611 611 611 611 389 556 333 611 556 778 556 556 500 389 280 389 584"
)
_OTHERS = {"−": 584, "×": 584, "…": 1000, "–": 556, "·": 333, "’": 222, "“": 333, "”": 333}
_USUAL = 556  # of any other character
_TEXT = re.compile(r"<text ([^>]*)>([^<]*)</text>")
_BOLD_TEXT = re.compile(r'font-weight="(?:bold|[6-9]00)"')
_EMBEDDED_FONT = "Arimo"  # the first family of `core.report.chart_files.PORTABLE_FONT`


def text_width(text: str, font_size: float, *, bold: bool = False) -> float:
    """Return the width of a text in Liberation Sans, Arial or Helvetica, in the unit of the font's size.

    >>> text_width("0.0", 10)
    13.9
    """
    widths = [int(width) for width in (_BOLD if bold else _REGULAR).split()]
    total = 0
    for character in text:
        index = ord(character) - ord(" ")
        total += widths[index] if 0 <= index < len(widths) else _OTHERS.get(character, _USUAL)
    return total * font_size / 1000


def has_all_characters(text: str) -> bool:
    """Whether the width of every character of a text is known: those of Western languages.

    >>> has_all_characters("Größe − 1"), has_all_characters("● dog")
    (True, False)
    """
    return all(character in _OTHERS or character.isspace() or " " <= character <= "\u017f" for character in text)


def with_text_lengths(svg: str) -> str:
    """Return an SVG in which every text states its width, so that no font makes it wider."""

    def measured(match: re.Match[str]) -> str:
        attributes, text = match[1], match[2]
        size = re.search(r'font-size="([\d.]+)px"', attributes)
        if size is None or not text.strip():
            return match[0]
        bold = _BOLD_TEXT.search(attributes) is not None
        width = text_width(unescape(text), float(size[1]), bold=bold)
        return f'<text {attributes} textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs">{text}</text>'

    return _TEXT.sub(measured, svg)


def with_embedded_fonts(svg: str) -> str:
    """Return an SVG that holds the font of its texts, bold where any of them is."""
    faces = _font_face("arimo-regular", 400)
    if _BOLD_TEXT.search(svg):
        faces += _font_face("arimo-bold", 700)
    return re.sub(r"<svg [^>]*>", lambda root: f"{root[0]}<style>{faces}</style>", svg, count=1)


def _font_face(name: str, weight: int) -> str:
    font = files("core.report").joinpath("fonts", f"{name}.woff2").read_bytes()
    source = f"url(data:font/woff2;base64,{base64.b64encode(font).decode()})"
    return f'@font-face{{font-family:{_EMBEDDED_FONT};font-weight:{weight};src:{source} format("woff2")}}'
