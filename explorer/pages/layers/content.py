"""What the page Layers shows of a study: tables, chart and cards, each made once for all who look at the same."""

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.cut.advice import TOLERANCE
from core.analysis.separation_level import lead_curve
from core.report.words.cards import Card, make_cards
from explorer.charts.layer_chart import layers_chart, spec_and_tables
from explorer.controls.study_picker import cached_study, untrained_control
from explorer.pages.layers.measure_options import (
    FULL,
    SEPARATION,
    chosen_curves,
    offered_measures,
    offered_samplings,
    short_title,
)
from explorer.state.choices import Choices, Selection, choices, default_selection, select_curves, select_layers
from explorer.studies.loading import OpenStudy, cached_tables


@dataclass(frozen=True, eq=False)
class ChartData:
    """What is on the page: curves at layers, what their rows of SI show, the untrained control, the chosen layer."""

    curves: pd.DataFrame
    layers: pd.DataFrame
    measure: str
    control: pd.DataFrame
    chosen: str | None


def offered_choices(study: OpenStudy) -> Choices:
    """What the controls offer."""
    return choices(study.layers, study.curves, offered_measures(study), offered_samplings(study))


def chart_data(study: OpenStudy, selection: Selection, chosen: str | None) -> ChartData:
    """The tables behind the chart."""
    layers = select_layers(study.layers, selection)
    curves = select_curves(chosen_curves(study, selection.measure, selection.sampling), layers, selection)
    return ChartData(curves, layers, short_title(selection.measure), control_values(study, selection, curves), chosen)


def control_values(study: OpenStudy, selection: Selection, curves: pd.DataFrame) -> pd.DataFrame:
    """Layer and value of the untrained control along the curve that is spoken about; empty where there is none."""
    lead = lead_curve(curves)
    control = untrained_control(study)
    if control is None or lead.empty or selection.sampling != FULL:
        return pd.DataFrame({"layer": [], "value": []})
    rows = chosen_curves(control, selection.measure, FULL)
    keep = (rows["measure"] == "SI") & (rows["samples"] == lead["samples"].iloc[0])
    result: pd.DataFrame = rows.loc[keep & (rows["pooling"] == lead["pooling"].iloc[0]), ["layer", "value"]].dropna()
    return result


@st.cache_data(max_entries=64, show_spinner=False)
def cached_chart(path: str, stamp: tuple[int, ...], selection: Selection, chosen: str | None) -> dict[str, Any]:
    """The chart of a selection that has a value, as Vega-Lite with its tables."""
    shown = chart_data(cached_study(path, stamp), selection, chosen)
    chart = layers_chart(shown.curves, shown.layers, measure=shown.measure, control=shown.control, chosen=chosen)
    return spec_and_tables(chart)


def cards_of(study: OpenStudy, selection: Selection, tolerance: float) -> tuple[Card, ...]:
    """The three cards, about the layers that are shown and all samples; none where no value is there.

    Where not all layers are shown, each card says which it speaks of: the first two of those shown, as the headline
    does; the last of the late layers of the study, whatever is shown.
    """
    layers = select_layers(study.layers, selection)
    lead = lead_curve(select_curves(study.curves, layers, replace(selection, measure=SEPARATION, sampling=FULL)))
    if lead.empty:
        return ()
    place = str(lead["pooling"].iloc[0]), str(lead["samples"].iloc[0])
    cards = cached_cards(study.path, study.stamp, *place, tuple(lead["layer"]), tolerance)
    if len(layers) == len(study.layers):
        return cards
    shown = f"This is about the {len(layers)} layers shown, of {len(study.layers)}."
    every = f"This is about all {len(study.layers)} layers, whichever are shown."
    scopes = (shown, shown, every)
    return tuple(replace(card, text=f"{card.text} {scope}") for card, scope in zip(cards, scopes, strict=True))


@st.cache_data(max_entries=32, show_spinner=False)
def cached_cards(
    path: str, stamp: tuple[int, ...], pooling: str, samples: str, layers: tuple[str, ...], tolerance: float
) -> tuple[Card, Card, Card]:
    """The cards about one curve at some layers."""
    study, tables = cached_study(path, stamp), cached_tables(path, stamp)
    keep = (study.curves["samples"] == samples) & (study.curves["pooling"] == pooling)
    return make_cards(tables, lead_curve(study.curves[keep & study.curves["layer"].isin(layers)]), tolerance)


def prepare(path: str, stamp: tuple[int, ...]) -> None:
    """Make what the first visitor of a study sees.

    Raises
    ------
    ValueError, OSError
        The study cannot be opened.
    """
    study = cached_study(path, stamp)
    selection = default_selection(offered_choices(study))
    cached_chart(path, stamp, selection, None)
    cards_of(study, selection, TOLERANCE)
