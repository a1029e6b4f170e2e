"""Content of the page Layers: tables, chart and cards, cached for all sessions that show the same."""

from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.separation_level import lead_curve
from core.report.charts.frame import spec_and_tables
from core.report.charts.layer_chart import layers_chart, with_chosen_layer
from core.report.words.cards import Card, make_cards
from explorer.app_pages.layers.lines import Lines, read_lines
from explorer.app_pages.layers.lines_chart import lines_chart
from explorer.app_pages.layers.measure_options import (
    chosen_curves,
    measure_title,
    offered_measures,
    offered_samplings,
    short_title,
)
from explorer.controls.study_picker import cached_study, untrained_control
from explorer.state.choices import Choices, Selection, choices, default_selection, select_curves, select_layers
from explorer.state.measures import FULL, SEPARATION
from explorer.studies.loading import OpenStudy, cached_tables


@dataclass(frozen=True, eq=False)
class ChartData:
    """The data of the chart and of the table below it.

    Attributes
    ----------
    curves : DataFrame
        The chosen rows of `OpenStudy.curves`.
    layers : DataFrame
        The chosen layers, in network order.
    measure : str
        Title of the measure in the rows of "SI".
    control : DataFrame
        Layer and value of the same network without training; empty without one.
    chosen : str or None
        The layer that the user chose.
    """

    curves: pd.DataFrame
    layers: pd.DataFrame
    measure: str
    control: pd.DataFrame
    chosen: str | None


def offered_choices(study: OpenStudy) -> Choices:
    """What the widgets of the page offer."""
    return choices(study.layers, study.curves, offered_measures(study), offered_samplings(study))


def chart_data(study: OpenStudy, selection: Selection, chosen: str | None) -> ChartData:
    """The data of the chart for the user's choices."""
    layers = select_layers(study.layers, selection)
    curves = select_curves(chosen_curves(study, selection.measure, selection.sampling), layers, selection)
    return ChartData(curves, layers, short_title(selection.measure), control_values(study, selection, curves), chosen)


def control_values(study: OpenStudy, selection: Selection, curves: pd.DataFrame) -> pd.DataFrame:
    """Layer and value of the untrained control at the layers of the leading curve; empty without a control."""
    lead = lead_curve(curves)
    control = untrained_control(study)
    if control is None or lead.empty or selection.sampling != FULL:
        return pd.DataFrame({"layer": [], "value": []})
    rows = chosen_curves(control, selection.measure, FULL)
    keep = (rows["measure"] == "SI") & (rows["samples"] == lead["samples"].iloc[0])
    keep &= (rows["pooling"] == lead["pooling"].iloc[0]) & rows["layer"].isin(lead["layer"])
    values: pd.DataFrame = rows.loc[keep, ["layer", "value"]].dropna()
    return values


def cached_chart(path: str, stamp: tuple[int, ...], selection: Selection, chosen: str | None) -> dict[str, Any]:
    """The chart as a Vega-Lite specification with its tables; at least one value must be shown."""
    spec, layers = _cached_chart(path, stamp, selection)
    return with_chosen_layer(spec, chosen if chosen in layers else None)


@st.cache_resource(max_entries=64, show_spinner=False)
def _cached_chart(path: str, stamp: tuple[int, ...], selection: Selection) -> tuple[dict[str, Any], frozenset[str]]:
    """The chart with some layer marked, which all sessions share and none may change, and the names of its layers."""
    data = chart_data(cached_study(path, stamp), selection, None)
    names = data.layers["layer"].tolist()
    chart = layers_chart(data.curves, data.layers, measure=data.measure, control=data.control, chosen=names[0])
    return spec_and_tables(chart), frozenset(names)


@st.cache_data(max_entries=64, show_spinner=False)
def cached_lines(studies: tuple[tuple[str, str, tuple[int, ...]], ...], selection: Selection) -> Lines:
    """The lines of several studies.

    Parameters
    ----------
    studies : tuple of (str, str, tuple)
        Name in the chart, path and stamp of each study; the open study first.
    selection : Selection
        The choices on the page.
    """
    return read_lines({name: cached_study(path, stamp) for name, path, stamp in studies}, selection)


def cached_lines_chart(
    studies: tuple[tuple[str, str, tuple[int, ...]], ...], selection: Selection, chosen: str | None
) -> dict[str, Any]:
    """The chart of `cached_lines` as a Vega-Lite specification with its tables; at least one line."""
    spec, layers = _cached_lines_chart(studies, selection)
    return with_chosen_layer(spec, chosen if chosen in layers else None)


@st.cache_resource(max_entries=64, show_spinner=False)
def _cached_lines_chart(
    studies: tuple[tuple[str, str, tuple[int, ...]], ...], selection: Selection
) -> tuple[dict[str, Any], frozenset[str]]:
    """The chart with some layer marked, which all sessions share and none may change, and the names of its layers."""
    title = "Separation Index" if selection.measure == SEPARATION else measure_title(selection.measure)
    lines = cached_lines(studies, selection)
    names = lines.alignment.layers
    return spec_and_tables(lines_chart(lines, title, next(iter(names), None))), frozenset(names)


def cards_of(study: OpenStudy, selection: Selection, tolerance: float) -> tuple[Card, ...]:
    """The three cards about the chosen layers and all samples; none without any value.

    If not all layers are chosen, each card says which layers it is about: the first two about the chosen layers, as the
    headline is; the last one about the late layers of the study, whichever are chosen.
    """
    layers = select_layers(study.layers, selection)
    lead = lead_curve(select_curves(study.curves, layers, replace(selection, measure=SEPARATION, samplings=(FULL,))))
    if lead.empty:
        return ()
    pooling, samples = str(lead["pooling"].iloc[0]), str(lead["samples"].iloc[0])
    cards = cached_cards(study.path, study.stamp, pooling, samples, tuple(lead["layer"]), tolerance)
    if len(layers) == len(study.layers):
        return cards
    chosen_scope = f"This is about the {len(layers)} layers shown, of {len(study.layers)}."
    full_scope = f"This is about all {len(study.layers)} layers, whichever are shown."
    scopes = (chosen_scope, chosen_scope, full_scope)
    return tuple(replace(card, text=f"{card.text} {scope}") for card, scope in zip(cards, scopes, strict=True))


@st.cache_data(max_entries=32, show_spinner=False)
def cached_cards(
    path: str, stamp: tuple[int, ...], pooling: str, samples: str, layers: tuple[str, ...], tolerance: float
) -> tuple[Card, Card, Card]:
    """The cards about one curve at the given layers."""
    study, tables = cached_study(path, stamp), cached_tables(path, stamp)
    keep = (study.curves["samples"] == samples) & (study.curves["pooling"] == pooling)
    return make_cards(tables, lead_curve(study.curves[keep & study.curves["layer"].isin(layers)]), tolerance)


def prepare(path: str, stamp: tuple[int, ...]) -> None:
    """Fill the caches with the default view of a study.

    Raises
    ------
    ValueError, OSError
        If the study cannot be opened.
    """
    study = cached_study(path, stamp)
    selection = default_selection(offered_choices(study))
    cached_chart(path, stamp, selection, None)
    cards_of(study, selection, SI_TOLERANCE)
