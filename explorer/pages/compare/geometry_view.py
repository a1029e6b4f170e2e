"""The sections of the page Compare about geometry: the siblings of SI, and how alike the layers are."""

from pathlib import Path

import pandas as pd
import streamlit as st

from explorer.controls.downloads import export_row, save_table_row
from explorer.pages.compare.geometry_charts import likeness_chart, sibling_chart
from explorer.pages.compare.geometry_tables import (
    LIKENESS,
    MEASURES,
    best_layers,
    likeness_note,
    likeness_rows,
    sibling_columns,
    sibling_rows,
    sibling_table,
    split_of,
)
from explorer.pages.compare.tables import CompareSelection
from explorer.state.address import asked_layer
from explorer.state.choices import SAMPLES
from explorer.studies.loading import OpenStudy, cached_tables

COLUMNS = 3  # charts beside each other
CAPTION = (
    "{samples} samples, channel means. Dashed: chance. Exact for SI and GDV; for hubness, neighbors drawn at "
    "random; else the median over 20 permutations of the labels. The measures see different things and need not "
    "agree; point at a column's title for its range, its direction and its source."
)


def show_geometry(study: OpenStudy, stamp: tuple[int, ...], selection: CompareSelection) -> None:
    """Both sections, each where the study has what it takes; stamp : of the study's files, for caches."""
    rows = sibling_rows(study, cached_tables(study.path, stamp), selection)
    if len(rows):
        _show_siblings(study, rows, selection)
    likeness = {kind: _cached_likeness(study.path, stamp, selection, kind) for kind in LIKENESS}
    likeness = {kind: found for kind, found in likeness.items() if len(found)}
    if likeness:
        _show_likeness(study, likeness, selection)


@st.cache_data(max_entries=64, show_spinner="Comparing the layers")
def _cached_likeness(path: str, stamp: tuple[int, ...], selection: CompareSelection, kind: str) -> pd.DataFrame:
    return likeness_rows(cached_tables(path, stamp), selection, kind)


def _show_siblings(study: OpenStudy, rows: pd.DataFrame, selection: CompareSelection) -> None:
    """A small chart a measure, and one table of them."""
    st.header("Siblings of SI", anchor=False)
    st.markdown(best_layers(rows))
    names = [name for name in MEASURES if (rows["measure"] == name).any()]
    for row in range(0, len(names), COLUMNS):
        for place, name in zip(st.columns(COLUMNS, gap="medium"), names[row : row + COLUMNS], strict=False):
            with place, st.container(key=f"sibling_{name}"):
                alt = f"{MEASURES[name].title} by layer. {MEASURES[name].help}"
                st.altair_chart(sibling_chart(rows, name, asked_layer()), width="stretch", alt=alt)
    samples = SAMPLES.get(split_of(selection), split_of(selection))
    st.caption(CAPTION.format(samples=samples))
    st.dataframe(sibling_table(rows), hide_index=True, column_config=sibling_columns())
    save_table_row(lambda: rows, f"{Path(study.path).name}_siblings")


def _show_likeness(study: OpenStudy, likeness: dict[str, pd.DataFrame], selection: CompareSelection) -> None:
    """One table of all pairs of layers, as colors."""
    st.header("How alike the layers are", anchor=False)
    kind = next(iter(likeness))
    if len(likeness) > 1:
        kind = str(
            st.segmented_control(
                "Alike by",
                list(likeness),
                default=kind,
                format_func=lambda name: LIKENESS[name],
                required=True,
                key=f"compare likeness of {study.path}",
            )
        )
    rows = likeness[kind]
    with st.container(key="likeness_chart"):
        note = likeness_note(rows, selection, kind)
        st.altair_chart(likeness_chart(rows, LIKENESS[kind]), width="stretch", alt=f"Layer by layer. {note}")
    st.caption(note)
    export_row("likeness_chart", lambda: rows, f"{Path(study.path).name}_{kind}")
