"""Format names, numbers and plain text for sentences in Markdown."""

import math
import re
from typing import Any

SPLIT_NAMES = {"train": "training", "test": "test"}
SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}  # titles, in the order of display
POOLED = {"mean": "channel means", "flat": "all activations"}


def plain(text: Any) -> str:
    """Escape a text, so that Markdown shows it unchanged."""
    return re.sub(r"([\\`*_\[\]$~<>#|:])", r"\\\1", str(text))


_MARKUP = re.compile(r"\\([\\`*_\[\]$~<>#|:])|\*\*|`|:\w+\[([^\]]*)\]|\[([^\]]*)\]\([^)]*\)|:material/\w+:")


def without_markdown(text: str) -> str:
    """Return the plain text of a sentence in Markdown; characters that `plain` escaped stand for themselves.

    >>> without_markdown(r"**best** at `top_conv`, class \\*a\\* ([Method](method))")
    'best at top_conv, class *a* (Method)'
    """
    return " ".join(_MARKUP.sub(lambda match: match[1] or match[2] or match[3] or "", text).split())


def number(value: float) -> str:
    """Format a number with two decimals, or a small one with two significant digits."""
    return f"{value:.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:.2g}"


def difference_text(difference: float, low: float, high: float) -> str:
    """Format a difference with its interval, such as "+0.120 [+0.100, +0.140]"; without one where it is nan.

    >>> difference_text(0.12, 0.1, 0.14)
    '+0.120 [+0.100, +0.140]'
    """
    text = f"{difference:+z.3f}"
    return text if math.isnan(low) or math.isnan(high) else f"{text} [{low:+z.3f}, {high:+z.3f}]"


def one_layer(name: str) -> str:
    """Format a layer's name as Markdown code."""
    return f"`{name.replace('`', '')}`"
