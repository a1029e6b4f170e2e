"""The first page: a measure through the network, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from explorer.address import asked_view, keep_view
from explorer.charts import layers_chart
from explorer.components import save_svg_button
from explorer.data import OpenStudy
from explorer.findings import describe, lead_curve, significance_note
from explorer.frame import show_notes, show_provenance
from explorer.labels import with_series
from explorer.picker import open_chosen_study
from explorer.state import (
    COLUMNS,
    POOLINGS,
    SAMPLES,
    Choices,
    Selection,
    choices,
    from_query,
    select_curves,
    select_layers,
    to_query,
    unmatched_names,
)
from explorer.tables import column_config, layer_table

PAGE, CHART = "layers", "layers_chart"
FILTERS = ("kinds", "blocks", "names")
DEFINITION = (
    "**Separation Index (SI)**: the share of samples whose nearest other sample, in that layer's activations, has the "
    "same label. Dashed gray: chance, what meaningless labels would score."
)
BANDS = {
    "population": "Band: 95 % interval for the SI expected of a fresh sample of the same size and classes.",
    "data": "Band: 95 % interval for the SI of all samples at hand, of which only some were asked.",
}


def render() -> None:
    """Choose a study, say what it shows, draw it, list it."""
    study = open_chosen_study()
    if study is None:
        return
    if study.curves.empty:
        st.info("This study has no Separation Index to show yet. Come back when its first layer is done.")
        return
    head = st.container()
    offered = choices(study.layers, study.curves)
    selection = controls(study, offered)
    layers = select_layers(study.layers, selection)
    curves = select_curves(study.curves, layers, selection)
    with head:
        show_finding(study, curves, shown=len(layers))
    if curves["value"].notna().any():
        show_chart(study, curves, layers)
        show_table(curves, layers, offered_columns(curves), _keys(study)["columns"])
    else:
        show_nothing(study, selection)
    show_provenance(study)


def controls(study: OpenStudy, offered: Choices) -> Selection:
    """The widgets above the chart, started from the page's address and written back to it."""
    start = from_query(asked_view(PAGE), offered)
    keys = _keys(study)
    for name in keys:
        value = getattr(start, name)
        st.session_state.setdefault(keys[name], list(value) if isinstance(value, tuple) else value)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling, samples, knn = line_controls(offered, keys)
        kinds, blocks, names = layer_filters(offered, keys)
    selection = Selection(pooling, samples, knn, kinds, blocks, names, st.session_state[keys["columns"]])
    keep_view(PAGE, to_query(selection, offered))
    return selection


def line_controls(offered: Choices, keys: Mapping[str, str]) -> tuple[str, tuple[str, ...], bool]:
    """Pooling, samples, and whether the baseline is shown."""
    pooling = st.segmented_control(
        "Pooling",
        offered.poolings,
        format_func=POOLINGS.__getitem__,
        required=True,
        key=keys["pooling"],
        help="The vector of a layer: the mean of each channel, or all activations, flattened.",
    )
    samples = st.pills(
        "Samples",
        offered.samples,
        format_func=lambda name: SAMPLES.get(name, name),
        selection_mode="multi",
        key=keys["samples"],
        help="Test, Train: each sample's nearest other sample in its own split. "
        "Test to train: each test sample's nearest training sample.",
    )
    knn = st.toggle("kNN baseline", key=keys["knn"], disabled=not offered.knn)
    return str(pooling), tuple(name for name in offered.samples if name in samples), knn


def layer_filters(offered: Choices, keys: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Kinds, blocks and names or patterns to restrict the layers to."""
    chosen = sum(bool(st.session_state[keys[name]]) for name in FILTERS)
    label = f"Layers ({chosen} filter{'s' * (chosen > 1)})" if chosen else "All layers"
    with st.popover(label, icon=":material/filter_list:", key="layer_filters"):
        kinds = _multiselect("Kinds", offered.kinds, keys["kinds"])
        blocks = _multiselect("Blocks", offered.blocks, keys["blocks"])
        names = _multiselect("Names or patterns, such as *_add", offered.names, keys["names"], new=True)
        for name in unmatched_names(offered.names, names):
            st.warning(f"No layer is called {name!r}, or matches it.")
        show_all_button(keys, key="show_all", disabled=not chosen)
    return kinds, blocks, names


def show_all_button(keys: Mapping[str, str], *, key: str, disabled: bool = False) -> None:
    """Drops every filter."""

    def drop_filters() -> None:
        st.session_state.update({keys[name]: [] for name in FILTERS})

    st.button("Show all layers", on_click=drop_filters, key=key, disabled=disabled)


def show_finding(study: OpenStudy, curves: pd.DataFrame, *, shown: int) -> None:
    """The headline and the sentences that the numbers say, and what the study itself cautions against."""
    lead = lead_curve(curves)
    if len(lead):
        finding = describe(lead)
        st.title(finding.headline, anchor=False)
        some = f" This is about the {shown} layers shown, of {len(study.layers)}." if shown < len(study.layers) else ""
        st.markdown(finding.detail + some)
    show_notes(study)


def show_chart(study: OpenStudy, curves: pd.DataFrame, layers: pd.DataFrame) -> None:
    """The chart, what it shows in a line, and how to take it away. PNG is in the chart's own menu."""
    lead = lead_curve(curves)
    said = f" {describe(lead).headline}." if len(lead) else ""
    with st.container(key=CHART):
        alt = f"Separation Index through the network, {len(layers)} layers.{said}"
        st.altair_chart(layers_chart(curves, layers), width="stretch", alt=alt)
    name = Path(study.path).name
    targets = curves.loc[(curves["measure"] == "SI") & curves["low"].notna(), "target"].unique()
    st.caption(" ".join([DEFINITION, *(BANDS[target] for target in BANDS if target in targets)]))
    with st.container(horizontal=True, vertical_alignment="center"):
        save_svg_button("Chart as SVG", container=CHART, file_name=f"{name}_layers.svg")
        csv = _numbers(curves, layers).to_csv(index=False).encode()
        st.download_button("Numbers as CSV", csv, f"{name}_layers.csv", "text/csv", on_click="ignore")
        st.caption("PNG: in the chart's own menu, at its upper right.", width="content")


def _numbers(curves: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The curves shown, a row a value, with what is known of the layers; shapes such as 7x7x320."""
    known = layers.assign(output_shape=layers["output_shape"].map(lambda shape: "x".join(map(str, shape))))
    return curves.merge(known.drop(columns="position"), on="layer")


def offered_columns(curves: pd.DataFrame) -> tuple[str, ...]:
    """What the table may show: significance only where the study has it."""
    return tuple(COLUMNS) if curves["q_value"].notna().any() else ("interval",)


def show_table(curves: pd.DataFrame, layers: pd.DataFrame, offered: Sequence[str], key: str) -> None:
    """One row a layer; a click on a column's head sorts. Significance is one click away, and said why."""
    columns: str | None = None
    if len(offered) > 1:
        columns = st.segmented_control("Columns", offered, format_func=COLUMNS.__getitem__, required=True, key=key)
    significance = columns == "significance"
    if significance:
        st.caption(significance_note(lead_curve(curves[curves["q_value"].notna()])))
    table = layer_table(with_series(curves), layers, significance=significance)
    st.dataframe(table, hide_index=True, column_config=column_config(table))


def show_nothing(study: OpenStudy, selection: Selection) -> None:
    """Why there is no chart, and the way back."""
    if not selection.samples:
        st.info("Choose the samples to show, above.")
        return
    st.info("No measured layer is of the chosen kinds, blocks and names at once.")
    show_all_button(_keys(study), key="show_all_below")


def _keys(study: OpenStudy) -> dict[str, str]:
    """Session keys of the widgets: a study has its own, because another one offers other choices."""
    return {name: f"{name} of {study.path}" for name in ("pooling", "samples", "knn", "columns", *FILTERS)}


def _multiselect(label: str, options: Sequence[str], key: str, *, new: bool = False) -> tuple[str, ...]:
    chosen = st.multiselect(label, options, key=key, accept_new_options=new, filter_mode="contains", placeholder="All")
    return tuple(chosen)


render()
