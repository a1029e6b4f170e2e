"""The part of the page Samples about data quality: duplicates, samples to check, and hard samples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.planted_labels import LEAST_WRONG, PlantedSwaps
from core.analysis.samples.selection import LayerSelection
from core.analysis.samples.suspects import CLEAR_SCORE, LEAST_SCORE, duplicate_flags, hard_samples
from core.analysis.samples.tables import with_duplicates, with_ids
from core.report.words.formatting import plain
from core.report.words.samples_to_check import depths_text, duplicates_text, span
from core.study.store.opening import StudyError
from explorer.controls.downloads import save_menu
from explorer.controls.sample_cards import CARD, PAGE, show_picture
from explorer.controls.samples.marking import StudyMarks, mark_column
from explorer.controls.samples.open_sample import open_button, open_sample
from explorer.controls.widgets import selected_row, widget_key
from explorer.server.page_errors import guarded
from explorer.studies.gallery import short_id
from explorer.studies.loading import OpenStudy
from explorer.studies.pictures import Pictures
from explorer.studies.sample_paths import SamplePaths, cached_duplicates, cached_label_trial, cached_to_check

DUPLICATES = {0.0: "Exact", 0.1: "Near"}  # by distance, as a share of the median distance to the nearest neighbor
CARDS, PICTURE = 6, 104
TO_CHECK, HARD, PAIRS = "Samples to check", "Hard samples", "Duplicates"
RATES = (0.01, 0.02, 0.05)  # of wrong labels
ASSUMPTIONS = (
    "They were swapped with similar classes: those that the neighbors at the best layer confuse. This assumes that "
    "wrong labels are like these and spread evenly, and that the network was not trained on them. Images that "
    "themselves look like the wrong class are listed less often."
)
CONFIG: Mapping[str, Any] = {
    "id": st.column_config.TextColumn("Sample", pinned=True),
    "split": st.column_config.TextColumn("Split"),
    "class_name": st.column_config.TextColumn("Label"),
    "suggested": st.column_config.TextColumn("Neighbors say"),
    "score": st.column_config.ProgressColumn("Score", format="%.2f", min_value=0, max_value=1),
    "votes": st.column_config.NumberColumn("Votes for it", format="%.1f", help="Neighbors per layer."),
    "own_votes": st.column_config.NumberColumn("Votes for the label", format="%.1f", help="Neighbors per layer."),
    "duplicate": st.column_config.TextColumn("Has a duplicate"),
    "mark": st.column_config.TextColumn("Mark"),
    "depth": st.column_config.NumberColumn("Prediction depth"),
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "decided": st.column_config.TextColumn("Decided at"),
    "prediction": st.column_config.TextColumn("Neighbors say at the end"),
    "correct": st.column_config.CheckboxColumn("Right"),
    "settled": st.column_config.CheckboxColumn("Before the last layer"),
    "distance": st.column_config.NumberColumn("Distance", format="%.3g"),
    "same_label": st.column_config.CheckboxColumn("Same class"),
    "nearest_id": st.column_config.TextColumn("Nearest neighbor"),
    "nearest_class": st.column_config.TextColumn("Its class"),
    "first": st.column_config.TextColumn("Sample", pinned=True),
    "second": st.column_config.TextColumn("and its duplicate"),
    "first_split": st.column_config.TextColumn("Split"),
    "second_split": st.column_config.TextColumn("Its split"),
    "same_class": st.column_config.CheckboxColumn("Same class"),
    "across": st.column_config.CheckboxColumn("Train and test"),
}


def show_data_quality(
    study: OpenStudy, sample_paths: SamplePaths, selection: LayerSelection, pictures: Pictures, kept: StudyMarks
) -> None:
    """Show duplicates first, because they make every number too good; then samples to check and hard samples."""
    st.header("Data quality", anchor=False)
    flags = show_duplicates(study, sample_paths, selection)
    if sample_paths.small_classes:
        st.caption(f":orange[:material/warning:] {sample_paths.small_classes}")
    check, hard = st.tabs([TO_CHECK, HARD])
    with check:
        show_samples_to_check(study, sample_paths, selection, flags, pictures, kept)
    with hard:
        show_hard(study, sample_paths, selection, kept)


def show_samples_to_check(
    study: OpenStudy,
    sample_paths: SamplePaths,
    selection: LayerSelection,
    flags: Mapping[int, str],
    pictures: Pictures,
    kept: StudyMarks,
) -> None:
    """Show the samples whose neighbors are of another class, and how many of their labels may be wrong.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    sample_paths : SamplePaths
        The samples through the network.
    selection : LayerSelection
        The layer that the page shows.
    flags : mapping
        Of `show_duplicates`.
    pictures : Pictures
        The study's pictures.
    kept : StudyMarks
        The marks of samples.
    """
    chosen = (study.path, study.stamp, selection.pooling, selection.split, selection.among)
    listed = cached_to_check(*chosen)
    if listed.empty:
        st.info("At the late layers, no sample has more neighbors of another class than of its label.")
        return
    listed, trial = with_duplicates(listed, flags), cached_label_trial(*chosen)
    num_layers = int(listed["layers"].iloc[0])
    st.markdown(
        f"**{trial.num_clear:,}** of {len(sample_paths.summaries):,} samples have a score of {CLEAR_SCORE} or "
        f"more; the {len(listed):,} with {LEAST_SCORE} or more are listed. At the last {num_layers} layers, a sample's "
        "stored neighbors vote, and so do the samples whose neighbor it is. The score is a / (a + b), where a are the "
        "votes for the strongest other class and b those for the label. A high score does not prove that a label is "
        "wrong. "
        f"{trial.expectation}"
    )
    show_swaps(trial.swaps, trial.num_clear)
    if pictures:
        show_check_cards(study, listed, sample_paths.samples, selection, pictures)
    show_selectable(
        study, with_marks(listed.drop(columns="layers"), kept), TO_CHECK, selection, "the highest score first"
    )
    save_menu(f"{Path(study.path).name}_samples_to_check", lambda: listed)


def show_swaps(swaps: PlantedSwaps | None, num_clear: int) -> None:
    """Show how many wrong labels would be listed if certain shares of all labels were wrong."""
    if swaps is None or not swaps.tells_wrong_labels(num_clear):
        return
    rates = [rate for rate in RATES if swaps.num_wrong(rate) >= LEAST_WRONG]
    table = pd.DataFrame(
        {
            "Assumed wrong labels": [f"{rate:.0%}: {swaps.num_wrong(rate):,}" for rate in rates],
            f"Of these, score of {CLEAR_SCORE} or more": [span(*swaps.expected(rate)) for rate in rates],
        }
    )
    st.table(table.set_index(table.columns[0]), border="horizontal", width="content")
    st.caption(
        f"{swaps.share_listed:.0%} of {swaps.num_swapped:,} labels that were swapped as a test, a few at a time, have "
        f"a score of {CLEAR_SCORE} or more; the ranges are 95% intervals. {ASSUMPTIONS}"
    )


def show_check_cards(
    study: OpenStudy, listed: pd.DataFrame, samples: pd.DataFrame, selection: LayerSelection, pictures: Pictures
) -> None:
    """Show the first samples to check as cards: picture, label, and the class that their neighbors suggest.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    listed : DataFrame
        Of `samples_to_check`.
    samples : DataFrame
        Of `named_samples`.
    selection : LayerSelection
        The layer that the page shows.
    pictures : Pictures
        The study's pictures.
    """
    sources = samples.set_index("sample")["source"]
    with st.container(horizontal=True, gap="small"):
        for row in listed.head(CARDS).to_dict("records"):
            with st.container(border=True, width=CARD):
                show_picture(pictures, sources[row["sample"]], row["class_name"], PICTURE)
                st.markdown(
                    f"**{plain(row['class_name'])}**, or **{plain(row['suggested'])}**?  \n"
                    f":small[{plain(short_id(row['id']))}]  \n:small[score {row['score']:.2f}]"
                )
                open_button(study, PAGE, int(row["sample"]), listed["sample"], TO_CHECK, selection, name="check")


def show_hard(study: OpenStudy, sample_paths: SamplePaths, selection: LayerSelection, kept: StudyMarks) -> None:
    """Show the samples by prediction depth, the latest first."""
    samples = hard_samples(sample_paths.depths, sample_paths.samples)
    if samples.empty:
        return
    st.markdown(depths_text(samples, sample_paths.arrays.num_voters))
    table = samples.rename(columns={"layer": "decided"})
    show_selectable(study, with_marks(table, kept), HARD, selection, "by prediction depth, the latest first")
    save_menu(f"{Path(study.path).name}_prediction_depth", lambda: samples)


def with_marks(samples: pd.DataFrame, kept: StudyMarks) -> pd.DataFrame:
    """The table with the column mark, if any sample is marked."""
    if not kept.marks:
        return samples
    columns = samples.columns.tolist()
    columns.insert(columns.index("id") + 1, "mark")
    return samples.assign(mark=mark_column(kept, samples["id"]))[columns]


def show_selectable(study: OpenStudy, samples: pd.DataFrame, title: str, selection: LayerSelection, order: str) -> None:
    """Show a table of samples; a click on a row opens the sample, from which the arrow keys go to the others."""
    key = widget_key(PAGE, title, study)

    def select() -> None:
        row = selected_row(st.session_state[key], len(samples))
        if row is not None:
            open_sample(study, PAGE, int(samples["sample"].iloc[row]), samples["sample"], title, selection)

    st.dataframe(
        samples.drop(columns="sample"),
        hide_index=True,
        column_config=dict(CONFIG),
        on_select=guarded(select),
        selection_mode="single-row",
        key=key,
        alt=f"{title}, {order}",
    )
    st.caption("A click on a row opens the sample.")


def show_duplicates(study: OpenStudy, sample_paths: SamplePaths, selection: LayerSelection) -> Mapping[int, str]:
    """Show pairs of samples with (nearly) equal activations, pairs of a training and a test sample first.

    Returns
    -------
    mapping
        Of `core.analysis.samples.suspects.duplicate_flags`: sample to "across" or "within".
    """
    within = st.segmented_control(
        "Duplicates",
        list(DUPLICATES),
        format_func=DUPLICATES.__getitem__,
        default=0.0,
        required=True,
        key=widget_key(PAGE, "within", study),
        help="Near: within a tenth of the median distance to the nearest neighbor.",
    )
    try:
        duplicates = cached_duplicates(study.path, study.stamp, selection, float(within or 0.0))
    except StudyError:  # the study stores no neighbors of this layer
        st.markdown(
            f"The study stores no neighbors of `{selection.layer}`, so that duplicates cannot be looked for there."
        )
        return {}
    text = duplicates_text(duplicates, selection.layer, near=bool(within))
    if duplicates.empty:
        st.markdown(f":material/check_circle: {text}")
        return {}
    if duplicates["across"].any():
        st.warning(text, icon=":material/content_copy:")
    else:
        st.info(text, icon=":material/content_copy:")
    table = with_ids(duplicates, sample_paths.samples)
    key, pairs = widget_key(PAGE, "duplicates", study), duplicates[["first", "second"]].to_numpy(int)

    def select() -> None:
        row = selected_row(st.session_state[key], len(pairs))
        if row is not None:
            open_sample(study, PAGE, int(pairs[row, 0]), pairs[row].tolist(), PAIRS, selection)

    st.dataframe(
        table,
        hide_index=True,
        column_config=dict(CONFIG),
        on_select=guarded(select),
        selection_mode="single-row",
        key=key,
        alt="Pairs of duplicates",
    )
    st.caption("A click on a row opens the pair.")
    save_menu(f"{Path(study.path).name}_duplicates", lambda: table)
    return duplicate_flags(duplicates)
