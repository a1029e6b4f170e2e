"""What SI is, in one sentence and a small drawing with the numbers of the open study."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.separation_level import best_layer, has_best_layer
from core.study.store.study_json import look_up
from explorer.controls.terms import terms_html

AGREES, DIFFERS = "#2f80c8", "#d9772b"  # the colors of two classes, readable on light and on dark
COLUMNS, PITCH, EDGE = 20, 8, 6.5  # squares in a row, distance of their corners, length of an edge
STYLE = """<style>
.si-intro {display: flex; flex-wrap: wrap; gap: .6rem 1.6rem; align-items: center; margin-bottom: .6rem;}
.si-intro > div {flex: 1 1 20rem; max-width: 46rem; font-size: 1.05rem;}
.si-intro svg {flex: 0 1 auto; max-width: 100%; height: auto;}
</style>"""


@dataclass(frozen=True)
class Introduction:
    """The numbers that the sentence needs.

    Attributes
    ----------
    unit : str
        What the study's samples are: "images" or "samples".
    layer : str
        The layer of the highest SI.
    value, chance : float
        Its SI and the chance level, in [0, 1].
    """

    unit: str
    layer: str
    value: float
    chance: float


def introduction(lead: pd.DataFrame, info: Mapping[str, Any]) -> Introduction | None:
    """The numbers of a study's best layer; None where no layer can be called the best, or chance is unknown.

    Parameters
    ----------
    lead : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`.
    info : mapping
        Content of study.json.
    """
    if lead.empty or (len(lead) > 1 and not has_best_layer(lead)):
        return None
    layer = best_layer(lead)
    row = lead[lead["layer"] == layer].iloc[0]
    if pd.isna(row["chance"]) or row["chance"] >= 1:
        return None
    return Introduction(unit_of(info), layer, float(row["value"]), float(row["chance"]))


def unit_of(info: Mapping[str, Any]) -> str:
    """What the samples are: images where a network took images, else samples."""
    has_images = look_up(info, "used.model.input_size") or look_up(info, "asked.model")
    return "images" if has_images else "samples"


def sentence(facts: Introduction) -> str:
    """What SI is, as plain text with the marks of `explorer.controls.terms.terms_html`."""
    one, verb = facts.unit.removesuffix("s"), "look most like" if facts.unit == "images" else "lie closest to"
    return (
        f"At layer {' '.join(facts.layer.split())}, {of_hundred(facts.value)} of 100 {facts.unit} {verb} another "
        f"{one} of their own class: this share is the {{Separation Index (SI)|SI}}. {{Guessing|chance}} gives "
        f"{of_hundred(facts.chance)} of 100."
    )


def of_hundred(share: float) -> str:
    """A share as a number out of 100: whole, but with decimals near 0 and 100, which it names only where it is exact.

    >>> of_hundred(0.8125), of_hundred(0.0075), of_hundred(0.9958), of_hundred(1.0)
    ('81', '0.75', '99.6', '100')
    """
    number = 100 * share
    if number in (0, 100):
        return f"{number:.0f}"
    if number < 1:
        return f"{number:.2g}"
    if number >= 99:
        return f"{min(number, 99.9):.1f}"
    return f"{number:.0f}"


def drawing(facts: Introduction) -> str:
    """The SVG: samples with their nearest neighbors, and a hundred squares each for SI and for chance."""
    value, chance = of_hundred(facts.value), of_hundred(facts.chance)
    title = f"{value} of 100 squares are filled for the Separation Index, {chance} of 100 for guessing."
    return (
        f'<svg width="420" height="92" viewBox="0 0 420 92" role="img" aria-label="{title}">{_neighbors_drawn()}'
        f'<g transform="translate(152,1)">{_squares(facts.value)}</g>{_text(322, 25, f"SI: {value} of 100")}'
        f'<g transform="translate(152,51)">{_squares(facts.chance)}</g>{_text(322, 75, f"guessing: {chance}")}</svg>'
    )


def show_introduction(lead: pd.DataFrame, info: Mapping[str, Any]) -> None:
    """Show the sentence and the drawing, unless the study has no numbers for them."""
    facts = introduction(lead, info)
    if facts is not None:
        words, picture = terms_html(sentence(facts)), drawing(facts)
        st.html(STYLE)
        # `st.html` removes drawings; Markdown keeps them. All of it is made here, nothing comes from a visitor.
        st.markdown(f'<div class="si-intro">{words}{picture}</div>', unsafe_allow_html=True)


def _neighbors_drawn() -> str:
    """Two classes, as circles and squares: two pairs of nearest neighbors of the same class, and one of both."""
    circles, squares = ((12, 22), (42, 8), (48, 44)), ((88, 38), (104, 8), (126, 24))
    lines = "".join(
        f'<path d="{path}" stroke="currentColor" stroke-width="2"/>' for path in ("M12 22L42 8", "M104 8L126 24")
    )
    wrong = f'<path d="M48 44L88 38" stroke="{DIFFERS}" stroke-width="2.5" stroke-dasharray="4 3"/>'
    dots = "".join(f'<circle cx="{x}" cy="{y}" r="7" fill="{AGREES}"/>' for x, y in circles)
    boxes = "".join(f'<path d="M{x - 6} {y - 6}h12v12h-12z" fill="{DIFFERS}"/>' for x, y in squares)
    return f"{lines}{wrong}{dots}{boxes}{_text(0, 73, 'solid: own class')}{_text(0, 88, 'dashed: another one')}"


def _squares(share: float) -> str:
    """A hundred squares, of which as many are filled as the share says, the last one in part."""
    parts = []
    for index in range(100):
        x, y = PITCH * (index % COLUMNS), PITCH * (index // COLUMNS)
        filled = min(max(100 * share - index, 0.0), 1.0)
        if filled:
            parts.append(f'<path d="M{x} {y}h{EDGE * filled:.2f}v{EDGE}h-{EDGE * filled:.2f}z" fill="{AGREES}"/>')
        outline = f"M{x} {y}h{EDGE}v{EDGE}h-{EDGE}z"
        parts.append(f'<path d="{outline}" fill="none" stroke="currentColor" stroke-opacity=".4" stroke-width=".7"/>')
    return "".join(parts)


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="13" fill="currentColor">{text}</text>'
