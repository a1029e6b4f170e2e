"""The page Method: definitions of the measures, how to judge them, and what the original notebook's curve shows."""

import pandas as pd
import streamlit as st

from core.study.store.opening import Study
from explorer.app_pages.method.definitions import (
    BIBTEX,
    CHECKING,
    CITATIONS,
    FAMILY,
    HOW_TO_CITE,
    JUDGING,
    LESSON,
    NEIGHBORS,
    NOTATION,
    SAMPLE_SIZE,
    Definition,
)
from explorer.app_pages.method.notebook import (
    COMMAND,
    notebook_curves,
    read_replication,
    read_reported,
    replication_finding,
)
from explorer.app_pages.method.notebook_chart import notebook_chart
from explorer.controls.downloads import Picture, save_menu
from explorer.controls.sections import TAB, show_tabs
from explorer.controls.study_picker import carry_study, show_name
from explorer.controls.terms import glossary
from explorer.server.page_errors import guarded
from explorer.state.address import current_view, keep_view
from explorer.studies.loading import NOTEBOOK, study_stamp

CHART = "notebook_chart"
SPLITS = {"test": "Test", "train": "Train"}
PAGE, TAB_KEY = "method", "open tab of method"
TABS = {
    "terms": "Terms",
    "measures": "Measures",
    "judging": "Chance and certainty",
    "computing": "Samples and neighbors",
    "notebook": "The notebook",
    "cite": "How to cite",
}
COMPUTING = {
    "More samples, higher SI": SAMPLE_SIZE,
    "Exact neighbors": NEIGHBORS,
    "Samples to check, small classes, time and blocks": CHECKING,
}
TEXT_WIDTH = 960  # pixels
SOURCE = (
    "**reported**: the values that the notebook printed, for a fine-tuned EfficientNet-B0 with noisy-student weights, "
    "74 layers, 10 images a class of Stanford Dogs. The others are ours: EfficientNet-Lite0 with ImageNet weights, not "
    "fine-tuned, as many images a class, all activations flattened. It has no squeeze-excite layers (`…_se_excite`), "
    "so they have gaps there. **replication**: center SI in sample, as in the notebook, true labels. **permuted "
    "labels**: the same, mean over 20 permutations. **leave-one-out center**: each sample left out of its own center."
)


def render() -> None:
    """Draw the page, a tab for each subject, in lines short enough to read."""
    show_name()
    carry_study()
    with st.container(width=TEXT_WIDTH):
        st.title("Method", anchor=False)
        st.markdown("What the numbers mean, how they are computed, and how to avoid wrong conclusions.")
    first = next(iter(TABS))
    opened, place = show_tabs(TABS, current_view(PAGE), first=first, key=TAB_KEY)
    keep_view(PAGE, {TAB: [] if opened == first else [opened]})
    with place:
        if opened == "notebook":
            show_notebook()
        with st.container(width=TEXT_WIDTH):
            show_texts(opened)


def show_texts(opened: str) -> None:
    """Show the texts of a tab."""
    if opened == "terms":
        st.header("Terms", anchor=False)
        st.markdown(glossary())
    elif opened == "measures":
        st.header("The measures", anchor=False)
        st.markdown(NOTATION)
        for definition in FAMILY:
            show_definition(definition)
    elif opened == "judging":
        st.header("Chance, interval, significance", anchor=False)
        st.markdown(JUDGING)
    elif opened == "computing":
        for title, text in COMPUTING.items():
            st.header(title, anchor=False)
            st.markdown(text)
    elif opened == "notebook":
        st.markdown(LESSON)
    else:
        show_citing()


def show_citing() -> None:
    """Show how to cite a number, this software, and the papers behind it."""
    st.header("How to cite", anchor=False)
    st.markdown(HOW_TO_CITE)
    st.code(BIBTEX, language="bibtex", wrap_lines=True)
    st.markdown("**The papers behind the numbers**")
    st.markdown(CITATIONS)


def show_definition(definition: Definition) -> None:
    """Show a measure: text on the left, formula and chance level on the right."""
    with st.container(border=True):
        words, formulas = st.columns([3, 2], gap="medium", vertical_alignment="center")
        with words:
            st.markdown(f"**{definition.name}**  \n`{definition.measure}`")
            st.markdown(definition.text)
        with formulas:
            st.latex(definition.formula)
            if definition.chance:
                st.latex(r"\text{chance} = " + definition.chance)


def show_notebook() -> None:
    """Show the reported curve, the replication and the permuted control in one chart, and what they mean."""
    st.header("The notebook, explained", anchor=False)
    st.markdown(
        "The notebook that this project started from reports values near 1.0 in the middle of the network. The same "
        "procedure gives such values with labels that mean nothing."
    )
    split = st.segmented_control("Samples", list(SPLITS), format_func=SPLITS.__getitem__, required=True, default="test")
    replication = _cached_replication(study_stamp(NOTEBOOK))
    curves = notebook_curves(read_reported(), replication, str(split))
    if replication is None:
        st.info("The replication is not bundled, so only the reported curve is shown. This command computes it:")
        st.code(COMMAND, language="bash", wrap_lines=True)
    elif finding := replication_finding(replication, str(split)):
        st.markdown(finding)
    show_chart(curves)


@st.cache_resource(max_entries=1, show_spinner=False)
def _cached_replication(stamp: tuple[int, ...]) -> Study | None:
    return read_replication(NOTEBOOK)


def show_chart(curves: pd.DataFrame) -> None:
    """Show the chart, the sources of its curves, and the numbers as a table."""
    with st.container(key=CHART):
        names = ", ".join(curves["series"].unique())
        chart = notebook_chart(curves)
        st.altair_chart(chart, width="stretch", alt=f"By layer, in network order: {names}.")
    st.caption(SOURCE)
    table = curves.pivot_table(index="layer", columns="series", values="value", sort=False)
    table = table[list(curves["series"].unique())]
    save_menu(
        "notebook", table.reset_index, Picture(chart, "SI as reported, replicated, and with permuted labels", SOURCE)
    )
    with st.expander("The numbers"):
        st.dataframe(table.style.format("{:.3f}", na_rep=""))


guarded(render)()
