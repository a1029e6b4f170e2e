"""The part of the page Classes about groups of classes that run into each other, and what helps."""

from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st

from core.analysis.class_clusters.table import (
    ClassCluster,
    ClusterSources,
    clusters_table,
    find_class_clusters,
    read_cluster_sources,
)
from core.analysis.samples.selection import LayerSelection
from core.report.words.classes.clusters import clusters_text, confusion_text, evidence_note, evidence_texts, names_text
from core.study.store.opening import StudyError
from explorer.controls.downloads import save_menu
from explorer.controls.sample_cards import show_picture
from explorer.controls.widgets import open_expander, widget_key
from explorer.studies.class_tables import pages
from explorer.studies.loading import OpenStudy, cached_tables
from explorer.studies.pictures import Pictures, study_pictures, why_no_pictures

PER_PAGE, PICTURE = 4, 74
RULE = (
    "A group is kept together where merging its classes raises SI significantly, and by more than 0.03 above what is "
    "expected if confused samples fell on all other classes in proportion to their sizes (average linkage; binomial "
    "test, corrected for all pairs of classes). The groups were found on these samples, so on fresh ones their "
    "confusion is likely somewhat lower."
)


def show_clusters(study: OpenStudy, selection: LayerSelection) -> None:
    """Show the groups of classes that run into each other at the chosen layer, each with pictures and evidence."""
    clusters = cached_clusters(study.path, study.stamp, selection)
    if clusters is None:  # the study stores no neighbors of the layer, which the finding above says
        return
    st.header("Classes that run into each other", anchor="groups")
    st.markdown(clusters_text(clusters, selection.layer))
    if not clusters:
        return
    if reason := why_no_pictures(study.info):
        st.caption(f":material/hide_image: {reason}")
    page_names = pages(len(clusters), PER_PAGE)
    chosen = page_names[0]
    if len(page_names) > 1:
        label = f"Groups, the most confused first ({len(clusters)} in total)"
        chosen = str(st.selectbox(label, page_names, key=_page_key(study, selection), width=300))
    shown = clusters[page_names.index(chosen) * PER_PAGE :][:PER_PAGE]
    samples, pictures = cached_tables(study.path, study.stamp).samples.set_index("sample"), study_pictures(study.info)
    for first in range(0, len(shown), 2):
        for column, cluster in zip(st.columns(2, gap="medium"), shown[first : first + 2], strict=False):
            with column, st.container(border=True, height="stretch", gap="small"):
                show_cluster(cluster, samples, pictures)
    st.caption(f"{evidence_note(clusters)} {RULE}")
    if table := open_expander("The groups as a table", widget_key("classes", "clusters table", study)):
        with table:
            st.dataframe(clusters_table(clusters), hide_index=True)
    save_menu(f"{Path(study.path).name}_class_clusters", lambda: clusters_table(clusters))


def show_cluster(cluster: ClassCluster, samples: pd.DataFrame, pictures: Pictures) -> None:
    """Show one group: its classes, four of the samples that are confused, and the evidence."""
    st.markdown(f"{names_text(cluster)}  \n{confusion_text(cluster)}")
    if pictures:
        with st.container(horizontal=True, gap="xsmall"):
            for sample in cluster.examples:
                row = samples.loc[sample]
                show_picture(pictures, str(row["source"]), str(row["class_name"]), PICTURE)
    st.markdown("\n".join(f"- {text}" for text in evidence_texts(cluster)))


def _page_key(study: OpenStudy, selection: LayerSelection) -> str:
    """The key of the widget that pages through the groups; another layer has other groups."""
    return widget_key("classes", f"clusters at {selection}", study)


@st.cache_data(max_entries=16, show_spinner="Looking for classes that run into each other")
def cached_clusters(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> list[ClassCluster] | None:
    """The groups of classes; None if the study stores no neighbors of the layer."""
    sources = partial(_cached_sources, path, stamp, selection.pooling, selection.split, selection.among)
    try:
        return find_class_clusters(cached_tables(path, stamp), selection, sources=sources)
    except StudyError:
        return None


@st.cache_resource(max_entries=2, show_spinner=False)
def _cached_sources(path: str, stamp: tuple[int, ...], pooling: str, split: str, among: str) -> ClusterSources:
    """What the groups of all layers have in common, read once."""
    return read_cluster_sources(cached_tables(path, stamp), pooling, split, among)
