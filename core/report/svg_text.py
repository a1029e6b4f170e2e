"""Texts of an SVG at the widths for which it was laid out, whatever font shows them.

The renderer lays charts out in Liberation Sans, whose characters are as wide as those of Arial and Helvetica. Where a
viewer has none of the three, a wider font would run over the edge; with `textLength` it is compressed instead, and the
texts stay texts.
"""

import re
from html import unescape

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
        bold = re.search(r'font-weight="(?:bold|[6-9]00)"', attributes) is not None
        width = text_width(unescape(text), float(size[1]), bold=bold)
        return f'<text {attributes} textLength="{width:.2f}" lengthAdjust="spacingAndGlyphs">{text}</text>'

    return _TEXT.sub(measured, svg)
