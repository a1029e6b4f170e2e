"""Names, numbers and plain text in sentences, as Markdown."""

import re
from typing import Any

SPLIT_NAMES = {"train": "training", "test": "test"}


def plain(text: Any) -> str:
    """Text as Markdown that shows it as it is."""
    return re.sub(r"([\\`*_\[\]$~<>#|:])", r"\\\1", str(text))


POOLED = {"mean": "channel means", "flat": "all activations"}


def number(value: float) -> str:
    """Two decimals, or as many as small values need for two digits."""
    return f"{value:.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:.2g}"


def one_layer(name: str) -> str:
    """A layer's name as Markdown."""
    return f"`{name.replace('`', '')}`"
