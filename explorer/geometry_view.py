"""The sections of the page Compare about geometry: the siblings of SI, and how alike the layers are."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.study.results import Study
from explorer.address import asked_layer
from explorer.comparing import CompareSelection
from explorer.components import export_row, save_table_row
from explorer.data import OpenStudy
from explorer.geometry_charts import likeness_chart, sibling_chart
from explorer.geometry_tables import (
    LIKENESS,
    MEASURES,
    best_layers,
    likeness_note,
    likeness_rows,
    offered_likeness,
    sibling_columns,
    sibling_rows,
    sibling_table,
    split_of,
)
from explorer.state import SAMPLES

COLUMNS = 3  # charts beside each other
CAPTION = (
    "{samples} samples, channel means. Dashed: chance, the median over 20 permutations of the labels (0 for "
    "GDV, neighbors drawn at random for hubness). The measures see different things and need not agree; point at a "
    "column's title for its range, its direction and its source."
)


def show_geometry(study: OpenStudy, tables: Study, selection: CompareSelection) -> None:
    """Both sections, each where the study has what it takes; tables : those of the study."""
    rows = sibling_rows(study, tables, selection)
    if len(rows):
        _show_siblings(study, rows, selection)
    kinds = offered_likeness(tables, selection)
    if kinds:
        _show_likeness(study, tables, selection, kinds)


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


def _show_likeness(study: OpenStudy, tables: Study, selection: CompareSelection, kinds: tuple[str, ...]) -> None:
    """One table of all pairs of layers, as colors."""
    st.header("How alike the layers are", anchor=False)
    kind = kinds[0]
    if len(kinds) > 1:
        kind = str(
            st.segmented_control(
                "Alike by",
                kinds,
                default=kinds[0],
                format_func=lambda name: LIKENESS[name],
                required=True,
                key=f"compare likeness of {study.path}",
            )
        )
    rows = likeness_rows(tables, selection, kind)
    if rows.empty:
        st.info("The study stores no neighbors of these samples in this pooling.")
        return
    with st.container(key="likeness_chart"):
        note = likeness_note(rows, selection, kind)
        st.altair_chart(likeness_chart(rows, LIKENESS[kind]), width="stretch", alt=f"Layer by layer. {note}")
    st.caption(note)
    export_row("likeness_chart", lambda: rows, f"{Path(study.path).name}_{kind}")
