"""The part of the page Classes that finds one class: its SI through the layers, and its confusions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection
from core.report.words.formatting import number, one_layer, plain
from explorer.app_pages.classes.charts import development_chart
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.state.choices import one_offered
from explorer.studies.class_tables import PAGE_SIZE, pages
from explorer.studies.loading import OpenStudy

FOUND = "found_class"


def find_class(study: OpenStudy, ranked: pd.DataFrame, query: Mapping[str, Sequence[str]], page_key: str) -> str | None:
    """Show the search field, and return the class that was chosen; None without one.

    A class that is newly chosen turns the heat map to its page.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    ranked : DataFrame
        Of `core.analysis.samples.class_values.ranked_classes`.
    query : dict
        Query parameters of the page.
    page_key : str
        Session key of the widget that pages through the heat map.
    """
    classes, key = sorted(ranked["class_name"]), widget_key("classes", "find", study)
    st.session_state.setdefault(key, one_offered(query, "find", classes))
    if st.session_state[key] not in classes:
        st.session_state[key] = None

    def turn_page() -> None:
        names, searched = ranked["class_name"].tolist(), st.session_state[key]
        row = names.index(searched) if searched in names else 0
        st.session_state[page_key] = pages(len(ranked))[row // PAGE_SIZE]

    chosen = st.selectbox(
        "Find a class",
        classes,
        index=None,
        key=key,
        on_change=guarded(turn_page),
        filter_mode="contains",
        placeholder="Type a part of its name",
        width=300,
    )
    return None if chosen is None else str(chosen)


def show_class(
    study: OpenStudy,
    name: str,
    values: pd.DataFrame,
    ranked: pd.DataFrame,
    pairs: pd.DataFrame | None,
    selection: LayerSelection,
) -> None:
    """Show the SI of a class through the layers, and the classes that it is confused with.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    name : str
        The class.
    values, ranked : DataFrame
        Of `class_values` and `ranked_classes` in `core.analysis.samples.class_values`.
    pairs : DataFrame or None
        Of `core.analysis.samples.tables.named_pairs`; None if the study stores no neighbors of the layer.
    selection : LayerSelection
        Layer, pooling and samples.
    """
    with st.container(border=True):
        st.markdown(class_text(name, ranked, pairs, selection.layer))
        with st.container(key=FOUND):
            chart = development_chart(values, [name], selection.layer)
            st.altair_chart(chart, width="stretch", alt=f"Separation Index of {name} through the network.")
        picture = picture_of(chart, study, f"SI of {name} through the network", "Gray: the mean of all classes.")
        save_menu(f"{Path(study.path).name}_class", lambda: values[values["class_name"] == name], picture)


def class_text(name: str, ranked: pd.DataFrame, pairs: pd.DataFrame | None, layer: str) -> str:
    """The SI of a class at a layer, its rank among the classes, and its confusions, as Markdown."""
    rank = ranked["class_name"].tolist().index(name)
    row = ranked.iloc[rank]
    text = (
        f"**{plain(name)}** has an SI of **{number(row['value'])}** at {one_layer(layer)} (chance "
        f"{number(row['chance'])}; {int(row['num_queries'])} samples): number {rank + 1} of {len(ranked)}, from the "
        "lowest."
    )
    if pairs is None:
        return text
    of_class = pairs[(pairs["first"] == name) | (pairs["second"] == name)].head(5)
    if of_class.empty:
        return f"{text} It is confused with no other class."
    parts = []
    for pair in of_class.to_dict("records"):
        other = pair["second"] if pair["first"] == name else pair["first"]
        parts.append(f"{plain(other)} ({pair['count']} of {pair['total']} samples of both)")
    return f"{text} It is confused with {', '.join(parts)}."
