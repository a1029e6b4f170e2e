"""SI over sample size: how much a value depends on how many samples there are, or are asked."""

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from explorer.controls.downloads import export_row, save_configuration_button, save_table_buttons
from explorer.controls.page_header import show_notes, show_provenance
from explorer.controls.study_picker import open_chosen_study
from explorer.controls.widgets import choose_one, widget_key
from explorer.pages.sample_size.charts import size_chart, size_top
from explorer.pages.sample_size.tables import (
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
from explorer.runs.commands import missing_text, search_folders
from explorer.server.page_errors import guarded
from explorer.server.public_mode import is_public
from explorer.state.address import asked_view, current_layer, keep_view
from explorer.state.choices import POOLINGS, SAMPLES
from explorer.studies.loading import OpenStudy, offered_poolings, read_fitted

PAGE = "sample_size"
TITLE = "SI depends on the number of samples"
WAYS = {
    SUBSAMPLE: (
        "Fewer samples: a learning curve",
        "Queries and possible neighbors are drawn together. Among fewer samples the nearest is farther away, so SI "
        "tends to be lower: biased low for the samples at hand. Band: lowest to highest draw. Diamond: all samples.",
    ),
    QUERIES: (
        "Fewer queries: an estimate",
        "Only the queries are drawn; all samples stay possible neighbors. So the values are unbiased for the samples "
        "at hand (diamond, dotted). Band: lowest to highest draw. Whiskers: the 95 % interval of one draw, on average.",
    ),
}
FITTED = (
    "Dashed: the curve a − b·n^(−c) fitted to the means; beyond the largest size with its 95 % band, which does not "
    "cover that the curve may have another form."
)
COLUMNS = {
    "layer": st.column_config.TextColumn("Layer", pinned=True, width="medium"),
    "sampling": st.column_config.TextColumn("Drawn"),
    "size": st.column_config.NumberColumn("Size", format="localized"),
    "repeats": st.column_config.NumberColumn("Draws"),
    "value": st.column_config.NumberColumn("SI, mean", format="%.3f"),
    "lowest": st.column_config.NumberColumn("Lowest", format="%.3f"),
    "highest": st.column_config.NumberColumn("Highest", format="%.3f"),
    "low": st.column_config.NumberColumn("95 %, from", format="%.3f", help="Of one draw, averaged over the draws."),
    "high": st.column_config.NumberColumn("95 %, to", format="%.3f", help="Of one draw, averaged over the draws."),
    "chance": st.column_config.NumberColumn("Chance", format="%.4f"),
}
NO_COMMAND = (
    "This study has no values over sample size, and it was not made by `python -m core study`, which can draw them. In "
    "Python, `core.separation_index` of some of the rows gives the value of a subsample."
)
DRAWN = {SUBSAMPLE: "samples", QUERIES: "queries only", "full": "all"}


def render() -> None:
    """Choose a study, and show its SI over sample size both ways."""
    study = open_chosen_study()
    if study is None:
        return
    if study.subsamples.empty:
        show_how(study)
        return
    head = st.container()
    selection = controls(study)
    lines = size_lines(study, selection)
    curves = fitted_lines(cached_fitted(study.path, study.stamp), selection)
    extrapolated = len(curves) > 0 and extrapolation_toggle(study)
    curves = curves if extrapolated else curves[:0]
    ends = size_ends(study.curves, selection.pooling, selection.samples, selection.layers)
    with head:
        st.title(TITLE, anchor=False)
        st.markdown(" ".join([size_finding(lines, ends, selection), extrapolation_finding(curves, ends)]))
        show_notes(study)
    show_charts(study, lines, ends, curves)
    show_table(study, lines, ends)
    show_provenance(study)


def show_how(study: OpenStudy) -> None:
    """What this page would show, and how to compute it for this study."""
    st.title(TITLE, anchor=False)
    command = suggested_command(study)
    if command is None:
        st.info(NO_COMMAND)
        show_notes(study)
        return
    st.info("This study has no values over sample size. They are computed with `--sizes`, into a folder of their own:")
    st.code(command, language="bash", wrap_lines=True)
    missing = "" if is_public() else missing_text(study.info, search_folders(Path(study.path)))
    st.caption(
        f"{missing} "
        "Sizes are numbers of samples of a split, at least two a class. Each is drawn as often as `--repeats` says, in "
        "every class's share, a smaller one being part of a larger one; all layers are compared on the same draws."
    )
    show_notes(study)


def controls(study: OpenStudy) -> SizeSelection:
    """The widgets above the charts, started from the address and written back to it; no layer means the first ones."""
    carried = current_layer()
    start = size_selection(asked_view(PAGE), study, carried)
    keys = {name: widget_key(PAGE, name, study) for name in ("pooling", "samples", "layers")}
    poolings, splits = offered_poolings(study.subsamples), offered_samples(study.subsamples)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        pooling = choose_one("Pooling", poolings, POOLINGS, first=start.pooling, key=keys["pooling"])
        samples = choose_one("Samples", splits, SAMPLES, first=start.samples, key=keys["samples"])
        offered = offered_layers(study.subsamples, pooling, samples)
        kept = [name for name in st.session_state.get(keys["layers"], start.layers) if name in offered]
        st.session_state[keys["layers"]] = kept or list(first_layers(study.curves, offered, pooling, samples, carried))
        chosen = st.multiselect(
            "Layers", offered, key=keys["layers"], max_selections=MAX_LAYERS, filter_mode="contains", width=640
        )
    selection = SizeSelection(pooling, samples, tuple(name for name in offered if name in chosen))
    keep_view(PAGE, size_query(selection, study, carried))
    return selection


def show_charts(study: OpenStudy, lines: pd.DataFrame, ends: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Both ways side by side, on the same scale; one beneath the other where the window is narrow."""
    top = size_top(lines, ends, curves)
    ways = [way for way in WAYS if (lines["sampling"] == way).any()]
    for column, way in zip(st.columns(len(ways), gap="large"), ways, strict=True):
        title, text = WAYS[way]
        with column, st.container(key=f"size_chart_{way}"):
            st.subheader(title, anchor=False)
            alt = f"SI over {DRAWN[way]}. {text}"
            fitted = curves if way == SUBSAMPLE else None
            st.altair_chart(size_chart(lines, ends, way, top=top, curves=fitted), width="stretch", alt=alt)
            st.caption(f"{text} {FITTED}" if way == SUBSAMPLE and len(curves) else text)
            if way == QUERIES:
                st.markdown(precision_finding(ends))
            name = f"{Path(study.path).name}_{'sizes' if way == SUBSAMPLE else 'queries'}"
            drawn = pd.concat(
                [lines[lines["sampling"] == way], *([curves] if way == SUBSAMPLE and len(curves) else [])]
            )
            export_row(f"size_chart_{way}", partial(_as_is, drawn), name)


def show_table(study: OpenStudy, lines: pd.DataFrame, ends: pd.DataFrame) -> None:
    """The same numbers, all samples last, and every single draw as CSV."""
    full = ends.assign(sampling="full")
    table = pd.concat([lines, full]).sort_values(["position", "sampling", "size"], key=_in_order, ignore_index=True)
    table["sampling"] = table["sampling"].map(DRAWN)
    st.dataframe(table[list(COLUMNS)], hide_index=True, column_config=COLUMNS, placeholder="")
    shown = study.subsamples["layer"].isin(lines["layer"])
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("Save every draw", width="content")
        save_table_buttons(lambda: study.subsamples[shown], f"{Path(study.path).name}_sample_sizes")
        save_configuration_button(study.info, f"{Path(study.path).name}_sizes")


def extrapolation_toggle(study: OpenStudy) -> bool:
    """Whether the fitted curves are drawn, beyond the samples at hand too."""
    return st.toggle("Fitted curves and extrapolation", value=True, key=widget_key(PAGE, "fitted", study))


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_fitted(path: str, stamp: tuple[int, ...]) -> pd.DataFrame:
    """The study's fitted curves. Nobody may change them: all sessions share them."""
    return read_fitted(Path(path))


def _as_is(table: pd.DataFrame) -> pd.DataFrame:
    return table


def _in_order(values: pd.Series) -> pd.Series:
    return values.map(list(DRAWN).index) if values.name == "sampling" else values


guarded(render)()
