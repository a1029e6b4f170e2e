"""The first page: a measure through the network, layer by layer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from core.study.results import is_being_written
from explorer.charts import layers_chart
from explorer.components import save_svg_button
from explorer.data import OpenStudy
from explorer.findings import describe, lead_curve
from explorer.labels import with_series
from explorer.picker import open_chosen_study
from explorer.provenance import caption, facts, plain
from explorer.state import (
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

CHART = "layers_chart"
FILTERS = ("kinds", "blocks", "names")
DEFINITION = (
    "**Separation Index (SI)**: the share of samples whose nearest other sample, in that layer's activations, has the "
    "same label. Dashed gray: chance, what meaningless labels would score."
)
CATALOGUE = {
    "position": st.column_config.NumberColumn("Position", width="small"),
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "kind": st.column_config.TextColumn("Kind"),
    "block": st.column_config.TextColumn("Block", width="small"),
    "channels": st.column_config.NumberColumn("Depth (channels)", format="localized"),
    "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
    "num_features": st.column_config.NumberColumn("Activations", format="localized", help="Numbers a sample."),
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
        show_table(curves, layers)
    else:
        show_nothing(study, selection)
    show_provenance(study)


def controls(study: OpenStudy, offered: Choices) -> Selection:
    """The widgets above the chart, started from the page's address and written back to it."""
    start = from_query({name: st.query_params.get_all(name) for name in st.query_params}, offered)
    keys = _keys(study)
    for name in keys:
        value = getattr(start, name)
        st.session_state.setdefault(keys[name], list(value) if isinstance(value, tuple) else value)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling, samples, knn = line_controls(offered, keys)
        kinds, blocks, names = layer_filters(offered, keys)
    selection = Selection(pooling, samples, knn, kinds, blocks, names)
    st.query_params.from_dict({"study": st.query_params["study"], **to_query(selection, offered)})
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
    st.caption(caption(study))
    for caution in study.info.get("cautions", []):
        st.caption(f":orange[:material/warning:] {plain(caution)}")
    if study.state != "complete":
        show_unfinished(study)


def show_unfinished(study: OpenStudy) -> None:
    text = (
        "is running" if is_being_written(Path(study.path)) else "was interrupted; its command, run again, finishes it"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.info(f"This study {text}. It has {len(study.layers)} layers so far.", icon=":material/hourglass_top:")
        st.button("Look again", icon=":material/refresh:")


def show_chart(study: OpenStudy, curves: pd.DataFrame, layers: pd.DataFrame) -> None:
    """The chart, what it shows in a line, and how to take it away. PNG is in the chart's own menu."""
    lead = lead_curve(curves)
    said = f" {describe(lead).headline}." if len(lead) else ""
    with st.container(key=CHART):
        alt = f"Separation Index through the network, {len(layers)} layers.{said}"
        st.altair_chart(layers_chart(curves, layers), width="stretch", alt=alt)
    name = Path(study.path).name
    st.caption(DEFINITION)
    with st.container(horizontal=True, vertical_alignment="center"):
        save_svg_button("Chart as SVG", container=CHART, file_name=f"{name}_layers.svg")
        csv = _numbers(curves, layers).to_csv(index=False).encode()
        st.download_button("Numbers as CSV", csv, f"{name}_layers.csv", "text/csv", on_click="ignore")
        st.caption("PNG: in the chart's own menu, at its upper right.", width="content")


def _numbers(curves: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """The curves shown, a row a value, with what is known of the layers; shapes such as 7x7x320."""
    known = layers.assign(output_shape=layers["output_shape"].map(lambda shape: "x".join(map(str, shape))))
    return curves.merge(known.drop(columns="position"), on="layer")


def show_table(curves: pd.DataFrame, layers: pd.DataFrame) -> None:
    """One row a layer; a click on a column's head sorts."""
    lines = with_series(curves)
    wide = lines.set_index(["layer", "title"])["value"].unstack()[list(lines["title"].unique())]  # noqa: PD010 nothing to aggregate
    known = [name for name in CATALOGUE if layers[name].notna().any() and (layers[name] != "").any()]
    table = layers[known].merge(wide, left_on="layer", right_index=True, how="left")
    columns = {name: st.column_config.NumberColumn(format="%.3f") for name in wide.columns}
    st.dataframe(table, hide_index=True, column_config=columns | {name: CATALOGUE[name] for name in known})


def show_nothing(study: OpenStudy, selection: Selection) -> None:
    """Why there is no chart, and the way back."""
    if not selection.samples:
        st.info("Choose the samples to show, above.")
        return
    st.info("No measured layer is of the chosen kinds, blocks and names at once.")
    show_all_button(_keys(study), key="show_all_below")


def show_provenance(study: OpenStudy) -> None:
    with st.expander("How this was computed"):
        if study.info.get("command"):
            st.code(study.info["command"], language="bash", wrap_lines=True)
        st.table(facts(study), border="horizontal")


def _keys(study: OpenStudy) -> dict[str, str]:
    """Session keys of the widgets: a study has its own, because another one offers other choices."""
    return {name: f"{name} of {study.path}" for name in ("pooling", "samples", "knn", *FILTERS)}


def _multiselect(label: str, options: Sequence[str], key: str, *, new: bool = False) -> tuple[str, ...]:
    chosen = st.multiselect(label, options, key=key, accept_new_options=new, filter_mode="contains", placeholder="All")
    return tuple(chosen)


render()
