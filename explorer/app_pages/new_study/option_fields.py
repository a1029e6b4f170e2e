"""Fields of the form that are made from declared options: label, help, limits and choices are those of the option."""

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from core.study.options import Option
from explorer.runs.request import FORM_OPTIONS, Request

FRACTION_STEP = 0.05
_CHOICE_LABELS: Mapping[str, Mapping[str, str]] = {
    "pooling": {"mean": "Mean of each channel", "flat": "All activations", "both": "Both"},
    "projection": {"pca": "Principal components", "tsne": "Neighbor embedding", "none": "None"},
    "split": {"both": "Train and test", "train": "Train", "test": "Test"},
}


def option_field(name: str, start: Request) -> Any:
    """Show the field of an option, with the value that the address asks for. Returns the value that it has now."""
    option = FORM_OPTIONS[name]
    show: Callable[[Option, Any], Any] = _FIELDS.get(option.kind, _text)
    return _choice(option, getattr(start, name)) if option.choices else show(option, getattr(start, name))


def key_of(name: str) -> str:
    """The key of an option's widget."""
    return f"new {name.replace('_', ' ')}"


def _choice(option: Option, value: str) -> str:
    labels = _CHOICE_LABELS.get(option.name, {choice: choice.capitalize() for choice in option.choices})
    return str(
        st.segmented_control(
            option.label,
            list(labels),
            format_func=labels.__getitem__,
            default=value,
            required=True,
            key=key_of(option.name),
            help=option.help,
        )
    )


def _switch(option: Option, value: bool) -> bool:
    return st.checkbox(option.label, value, key=key_of(option.name), help=option.help)


def _whole_number(option: Option, value: int | None) -> int | None:
    least, most = option.form_limits
    number = st.number_input(
        option.label,
        int(least),
        int(most),
        value,
        placeholder=option.default_text or None,
        key=key_of(option.name),
        help=option.help,
    )
    return None if number is None else int(number)


def _number(option: Option, value: float) -> float:
    least, most = option.form_limits
    return float(
        st.number_input(
            option.label,
            float(least),
            float(most),
            float(value),
            FRACTION_STEP,
            format="%.2f",
            key=key_of(option.name),
            help=option.help,
        )
    )


def _text(option: Option, value: str | None) -> str | None:
    text = st.text_input(
        option.label, value or "", key=key_of(option.name), placeholder=option.default_in_words, help=option.help
    )
    return str(text).strip() or option.default if option.default is None else str(text).strip()


_FIELDS: Mapping[type, Callable[[Option, Any], Any]] = {bool: _switch, int: _whole_number, float: _number}
