"""Tabs of the page Compare: related separability measures, and the similarity of layers."""

from pathlib import Path

import pandas as pd
import streamlit as st

from core.report.words.formatting import SAMPLES
from explorer.app_pages.compare.related_measures_charts import related_chart, similarity_chart
from explorer.app_pages.compare.related_measures_tables import (
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
from explorer.app_pages.compare.tables import CompareSelection
from explorer.controls.downloads import picture_of, save_menu
from explorer.state.address import current_layer
from explorer.studies.loading import OpenStudy, cached_tables

COLUMNS = 3  # charts beside each other
CAPTION = (
    "{samples} samples, channel means. Dashed: chance, exact for SI and GDV, with randomly drawn neighbors for "
    "hubness, otherwise the median over 20 permutations of the labels. The measures capture different properties and "
    "need not agree; point at a column's title for its range, direction and source."
)


def show_related_measures(study: OpenStudy, stamp: tuple[int, ...], selection: CompareSelection) -> None:
    """Show a small chart of each related measure, and a table of all, if the study has them.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    stamp : tuple of int
        Of `study_stamp`.
    selection : CompareSelection
        The choices on the page.
    """
    st.header("Related separability measures", anchor=False)
    rows = related_rows(study, cached_tables(study.path, stamp), selection)
    if rows.empty:
        st.info("This study was made without `--related-measures`, or not for these samples, so it has none.")
        return
    _show_related(study, rows, selection)


def show_similarity(study: OpenStudy, stamp: tuple[int, ...], selection: CompareSelection) -> None:
    """Show how similar each two layers are, if the study has what tells it; parameters as of the function above."""
    st.header("Similarity of layers", anchor=False)
    similarities = {}
    for kind in SIMILARITIES:
        pairs = _cached_similarity(study.path, stamp, selection, kind)
        if len(pairs):
            similarities[kind] = pairs
    if not similarities:
        st.info("The study stores no neighbors of two layers for these samples, so it is unknown how similar they are.")
        return
    _show_similarity(study, similarities, selection)


@st.cache_data(max_entries=64, show_spinner="Comparing the layers")
def _cached_similarity(path: str, stamp: tuple[int, ...], selection: CompareSelection, kind: str) -> pd.DataFrame:
    """The similarity of layers; see `similarity_rows`."""
    return similarity_rows(cached_tables(path, stamp), selection, kind)


def _show_related(study: OpenStudy, rows: pd.DataFrame, selection: CompareSelection) -> None:
    """Show a small chart of each measure, and a table of all."""
    st.markdown(best_layers(rows))
    names = [name for name in MEASURES if (rows["measure"] == name).any()]
    for start in range(0, len(names), COLUMNS):
        for column, name in zip(st.columns(COLUMNS, gap="medium"), names[start : start + COLUMNS], strict=False):
            with column, st.container(key=f"related_{name}"):
                alt = f"{MEASURES[name].title} by layer. {MEASURES[name].help}"
                chart = related_chart(rows, name, current_layer())
                st.altair_chart(chart, width="stretch", alt=alt)
                picture = picture_of(chart, study, MEASURES[name].title, MEASURES[name].help)
                save_menu(f"{Path(study.path).name}_{name}", rows.copy, picture)
    samples = SAMPLES.get(split_of(selection), split_of(selection))
    st.caption(CAPTION.format(samples=samples))
    st.dataframe(related_table(rows), hide_index=True, column_config=related_columns())
    save_menu(f"{Path(study.path).name}_related_measures", lambda: rows)


def _show_similarity(study: OpenStudy, similarities: dict[str, pd.DataFrame], selection: CompareSelection) -> None:
    """Show a heat map of one kind of similarity, and a choice if there are several."""
    kind = next(iter(similarities))
    if len(similarities) > 1:
        kind = str(
            st.segmented_control(
                "Similarity measure",
                list(similarities),
                default=kind,
                format_func=lambda name: SIMILARITIES[name],
                required=True,
                key=f"compare similarity of {study.path}",
            )
        )
    rows = similarities[kind]
    with st.container(key="similarity_chart"):
        note = similarity_note(rows, selection, kind)
        chart = similarity_chart(rows, SIMILARITIES[kind])
        st.altair_chart(chart, width="stretch", alt=f"Layer by layer. {note}")
    st.caption(note)
    picture = picture_of(chart, study, f"Similarity of layers: {SIMILARITIES[kind]}", note)
    save_menu(f"{Path(study.path).name}_{kind}", lambda: rows, picture)
