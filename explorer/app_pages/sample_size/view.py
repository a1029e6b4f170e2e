"""The page Sample size: how SI depends on the number of samples, and on the number of queries."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import offered_poolings
from core.report.words.formatting import SAMPLES
from explorer.app_pages.sample_size.charts import size_chart, size_top
from explorer.app_pages.sample_size.tables import (
    MAX_LAYERS,
    QUERIES,
    SUBSAMPLE,
    SizeSelection,
    extrapolation_finding,
    first_layers,
    fitted_lines,
    offered_layers,
    offered_samples,
    precision_finding,
    size_ends,
    size_finding,
    size_lines,
    size_query,
    size_selection,
    suggested_command,
)
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.phone_order import chart_first, controls_after_chart
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.terms import show_terms
from explorer.controls.widgets import choose_one, widget_key
from explorer.runs.commands import missing_text, search_folders
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.state.address import current_layer, current_view, keep_view
from explorer.state.choices import POOLINGS
from explorer.studies.loading import OpenStudy, read_fitted

PAGE = "sample_size"
TITLE = "SI depends on the number of samples"
SAMPLINGS = {  # title and explanation of the chart
    SUBSAMPLE: (
        "Fewer samples: a learning curve",
        "Queries and possible neighbors are drawn together. With fewer samples the nearest one is farther away, so SI "
        "tends to be lower than for all samples. Band: lowest to highest draw. Diamond: all samples.",
    ),
    QUERIES: (
        "Fewer queries: an estimate",
        "Only the queries are drawn; all samples are possible neighbors. So the values are unbiased estimates for all "
        "samples (diamond, dotted). Band: lowest to highest draw. Vertical lines: mean 95% interval of one draw.",
    ),
}
FITTED = (
    "Dashed: the curve a − b·n^(−c), fitted to the means, with a 95% band beyond the largest size. The band assumes "
    "that the curve has this form."
)
COLUMNS = {
    "layer": st.column_config.TextColumn("Layer", pinned=True, width="medium"),
    "sampling": st.column_config.TextColumn("Drawn"),
    "size": st.column_config.NumberColumn("Size", format="localized"),
    "repeats": st.column_config.NumberColumn("Draws"),
    "value": st.column_config.NumberColumn("SI, mean", format="%.3f"),
    "lowest": st.column_config.NumberColumn("Lowest", format="%.3f"),
    "highest": st.column_config.NumberColumn("Highest", format="%.3f"),
    "low": st.column_config.NumberColumn("95%, from", format="%.3f", help="Of one draw, averaged over the draws."),
    "high": st.column_config.NumberColumn("95%, to", format="%.3f", help="Of one draw, averaged over the draws."),
    "chance": st.column_config.NumberColumn("Chance", format="%.4f"),
}
NO_COMMAND = (
    "This study has no values over sample size, and it was not made by `python -m core study`, which can compute them. "
    "In Python, call `core.separation_index` with a part of the rows."
)
DRAWN = {SUBSAMPLE: "samples", QUERIES: "queries only", "full": "all"}


def render() -> None:
    """Draw the page: charts of both samplings and the table."""
    study = open_chosen_study()
    if study is None:
        return
    if study.subsamples.empty:
        show_how(study)
        return
    head = st.container()
    with chart_first(PAGE):
        with controls_after_chart(PAGE):
            selection = controls(study)
            curves = fitted_lines(cached_fitted(study.path, study.stamp), selection)
            if len(curves) and not extrapolation_toggle(study):
                curves = curves[:0]
        lines = size_lines(study, selection)
        ends = size_ends(study.curves, selection.pooling, selection.samples, selection.layers)
        show_charts(study, lines, ends, curves)
    with head:
        st.title(TITLE, anchor=False)
        st.markdown(" ".join([size_finding(lines, ends, selection), extrapolation_finding(curves, ends)]))
        show_notes(study)
        show_terms("SI", "chance", "interval", "subsample", "queries", "pooling")
    show_table(study, lines, ends)
    show_provenance(study)


def show_how(study: OpenStudy) -> None:
    """Show the command that computes SI over sample size for this study."""
    st.title(TITLE, anchor=False)
    command = suggested_command(study)
    if command is None:
        st.info(NO_COMMAND)
        show_notes(study)
        return
    st.info("This study has no values over sample size. This command computes them, in a new folder:")
    st.code(command, language="bash", wrap_lines=True)
    missing = "" if is_public() else missing_text(study.info, search_folders(Path(study.path)))
    st.caption(
        f"{missing} "
        "Sizes are numbers of samples of a split, at least two per class. `--repeats` sets the number of draws of each "
        "size. A draw keeps the shares of the classes and contains the smaller draws; all layers use the same draws."
    )
    show_notes(study)


def controls(study: OpenStudy) -> SizeSelection:
    """Show the widgets above the charts, initialized from the address and written back to it."""
    shared_layer = current_layer()
    start = size_selection(current_view(PAGE), study, shared_layer)
    keys = {name: widget_key(PAGE, name, study) for name in ("pooling", "samples", "layers")}
    poolings, splits = offered_poolings(study.subsamples), offered_samples(study.subsamples)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        samples = choose_one("Samples", splits, SAMPLES, first=start.samples, key=keys["samples"])
        offered = offered_layers(study.subsamples, pooling, samples)
        layers = [name for name in st.session_state.get(keys["layers"], start.layers) if name in offered]
        if not layers:
            layers = list(first_layers(study.curves, offered, pooling, samples, shared_layer))
        st.session_state[keys["layers"]] = layers
        chosen = st.multiselect(
            "Layers",
            offered,
            key=keys["layers"],
            max_selections=MAX_LAYERS,
            filter_mode="contains",
            width=640,
            wrap=True,
        )
    selection = SizeSelection(pooling, samples, tuple(name for name in offered if name in chosen))
    keep_view(PAGE, size_query(selection, study, shared_layer))
    return selection


def show_charts(study: OpenStudy, lines: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Show the charts of both samplings side by side, on the same scale."""
    top = size_top(lines, ends, curves)
    samplings = [name for name in SAMPLINGS if (lines["sampling"] == name).any()]
    for column, sampling in zip(st.columns(len(samplings), gap="large"), samplings, strict=True):
        title, text = SAMPLINGS[sampling]
        fitted = curves if sampling == SUBSAMPLE and len(curves) else None
        with column, st.container(key=f"size_chart_{sampling}"):
            st.header(title, anchor=False)
            alt = f"SI over {DRAWN[sampling]}. {text}"
            chart = size_chart(lines, ends, sampling, top=top, curves=fitted)
            st.altair_chart(chart, width="stretch", alt=alt)
            text = text if fitted is None else f"{text} {FITTED}"
            st.caption(text)
            if sampling == QUERIES:
                st.markdown(precision_finding(ends))
            file = f"{Path(study.path).name}_{'sizes' if sampling == SUBSAMPLE else 'queries'}"
            numbers = lines[lines["sampling"] == sampling]
            if fitted is not None:
                numbers = pd.concat([numbers, fitted])
            save_menu(file, numbers.copy, picture_of(chart, study, title, text))


def show_table(study: OpenStudy, lines: pd.DataFrame, ends: pd.DataFrame) -> None:
    """Show the numbers as a table, all samples last, and buttons that save every single draw."""
    full = ends.assign(sampling="full")
    table = pd.concat([lines, full]).sort_values(["position", "sampling", "size"], key=_in_order, ignore_index=True)
    table["sampling"] = table["sampling"].map(DRAWN)
    st.dataframe(table[list(COLUMNS)], hide_index=True, column_config=COLUMNS, placeholder="")
    is_shown = study.subsamples["layer"].isin(lines["layer"])
    file = f"{Path(study.path).name}_sample_sizes"
    save_menu(file, lambda: study.subsamples[is_shown], info=study.info, label="Save every draw")


def extrapolation_toggle(study: OpenStudy) -> bool:
    """Show a switch for the fitted curves and their extrapolation."""
    return st.toggle("Fitted curves and extrapolation", value=True, key=widget_key(PAGE, "fitted", study))


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_fitted(path: str, stamp: tuple[int, ...]) -> pd.DataFrame:
    """The study's fitted curves. All sessions share them, so they must not be modified."""
    return read_fitted(Path(path))


def _in_order(values: pd.Series) -> pd.Series:
    """Sort key: samplings in the order of `DRAWN`, other columns by value."""
    return values.map(list(DRAWN).index) if values.name == "sampling" else values


guarded(render)()
