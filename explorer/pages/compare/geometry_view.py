"""The sections of the page Compare about geometry: the siblings of SI, and how alike the layers are."""

from pathlib import Path

import pandas as pd
import streamlit as st

from explorer.controls.downloads import export_row, save_table_row
from explorer.pages.compare.geometry_charts import related_chart, similarity_chart
from explorer.pages.compare.geometry_tables import (
    MEASURES,
    SIMILARITIES,
    best_layers,
    related_columns,
    related_rows,
    related_table,
    similarity_note,
    similarity_rows,
    split_of,
)
from explorer.pages.compare.tables import CompareSelection
from explorer.state.address import current_layer
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
    rows = related_rows(study, cached_tables(study.path, stamp), selection)
    if len(rows):
        _show_related(study, rows, selection)
    likeness = {kind: _cached_similarity(study.path, stamp, selection, kind) for kind in SIMILARITIES}
    likeness = {kind: found for kind, found in likeness.items() if len(found)}
    if likeness:
        _show_similarity(study, likeness, selection)


@st.cache_data(max_entries=64, show_spinner="Comparing the layers")
def _cached_similarity(path: str, stamp: tuple[int, ...], selection: CompareSelection, kind: str) -> pd.DataFrame:
    return similarity_rows(cached_tables(path, stamp), selection, kind)


def _show_related(study: OpenStudy, rows: pd.DataFrame, selection: CompareSelection) -> None:
    """A small chart a measure, and one table of them."""
    st.header("Siblings of SI", anchor=False)
    st.markdown(best_layers(rows))
    names = [name for name in MEASURES if (rows["measure"] == name).any()]
    for row in range(0, len(names), COLUMNS):
        for place, name in zip(st.columns(COLUMNS, gap="medium"), names[row : row + COLUMNS], strict=False):
            with place, st.container(key=f"sibling_{name}"):
                alt = f"{MEASURES[name].title} by layer. {MEASURES[name].help}"
                st.altair_chart(related_chart(rows, name, current_layer()), width="stretch", alt=alt)
    samples = SAMPLES.get(split_of(selection), split_of(selection))
    st.caption(CAPTION.format(samples=samples))
    st.dataframe(related_table(rows), hide_index=True, column_config=related_columns())
    save_table_row(lambda: rows, f"{Path(study.path).name}_siblings")


def _show_similarity(study: OpenStudy, likeness: dict[str, pd.DataFrame], selection: CompareSelection) -> None:
    """One table of all pairs of layers, as colors."""
    st.header("How alike the layers are", anchor=False)
    kind = next(iter(likeness))
    if len(likeness) > 1:
        kind = str(
            st.segmented_control(
                "Alike by",
                list(likeness),
                default=kind,
                format_func=lambda name: SIMILARITIES[name],
                required=True,
                key=f"compare likeness of {study.path}",
            )
        )
    rows = likeness[kind]
    with st.container(key="similarity_chart"):
        note = similarity_note(rows, selection, kind)
        st.altair_chart(similarity_chart(rows, SIMILARITIES[kind]), width="stretch", alt=f"Layer by layer. {note}")
    st.caption(note)
    export_row("similarity_chart", lambda: rows, f"{Path(study.path).name}_{kind}")
