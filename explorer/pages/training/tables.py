"""The recorded epochs of a training: whether the open study has some, and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.analysis.comparing import compare_studies
from core.report.words.changes import samples_text
from core.report.words.findings import Finding
from core.report.words.formatting import one_layer
from core.study.store.opening import Study, StudyError
from core.study.store.ties import MANY_TIES, NO_CONCLUSION, left_out_text
from core.training.recording.epochs import has_epochs, load_epoch, read_epochs, read_history, recorded_epochs
from explorer.runs.study_list import known_studies, study_path
from explorer.state.address import current_study

CHOSEN = "study"  # the session key of the picker, which knows of a change before the address does


@dataclass(frozen=True, eq=False)
class Training:
    """A recorded training.

    epochs : recorded, ascending; at least two. layers : names in network order. rows : SI of one split, one row an
    epoch and layer: epoch, layer, value, low, high, chance. history : as `core.training.recording.epochs.HISTORY`.
    change : from the first recorded epoch to the last, as `compare_studies` gives it.
    """

    epochs: tuple[int, ...]
    split: str
    layers: tuple[str, ...]
    rows: pd.DataFrame
    history: pd.DataFrame
    change: pd.DataFrame


def shows_training() -> bool:
    """Whether the study that is open, or being opened, has epochs to show."""
    name = st.session_state.get(CHOSEN) or current_study()
    if not name:
        return False
    try:
        return has_epochs(study_path(name, known_studies()))
    except (StudyError, OSError):  # a name that is no study's here, or no path that the system can look at
        return False


def read_training(study: Study) -> Training | None:
    """The training that a study recorded; None where there are fewer than two epochs."""
    epochs = recorded_epochs(study.path)
    table = read_epochs(study.path)
    table = table[(table["measure"] == "separation") & (table["order"] == 1) & (table["repeat"] == 0)]
    splits = [name for name in ("test", "train") if (table["split"] == name).any()]
    if len(epochs) < 2 or not splits:
        return None
    rows = table[table["split"] == splits[0]]
    known = set(rows["layer"])
    return Training(
        epochs=epochs,
        split=splits[0],
        layers=tuple(name for name in study.layers["layer"] if name in known),
        rows=rows[["epoch", "layer", "value", "low", "high", "chance"]],
        history=read_history(study.path),
        change=compare_studies(
            load_epoch(study.path, epochs[0]), load_epoch(study.path, epochs[-1]), split=splits[0], match="name"
        ),
    )


def describe_training(training: Training) -> Finding:
    """What the training moved: the layers whose change is certain, and the one that changed most."""
    tied = training.change["meaning"] == MANY_TIES
    left_out = left_out_text(training.change.loc[tied, "layer"].tolist())
    if tied.all():
        return Finding(NO_CONCLUSION, left_out)
    change, first, last = training.change[~tied], training.epochs[0], training.epochs[-1]
    moved = {word: list(change.loc[change["meaning"] == word, "layer"]) for word in ("rose", "fell")}
    certain, count = sum(map(len, moved.values())), len(change)
    samples = samples_text(change)
    headline = f"Training moved {certain} of {count} layers" if certain else f"No certain change with {samples}"
    most = change.iloc[int(change["difference"].abs().argmax())]
    span = "" if pd.isna(most["low"]) else f" [{most['low']:+.3f}, {most['high']:+.3f}]"
    sentences = [
        f"From epoch {first} to epoch {last}, {_names(moved)} (q < 0.05, {samples})." if certain else "",
        f"The largest change is that of {one_layer(most['layer'])}: SI {most['before']:.3f} → {most['after']:.3f}, "
        f"{most['difference']:+.3f}{span}.",
        left_out,
    ]
    return Finding(headline, " ".join(filter(None, sentences)))


def _names(moved: Mapping[str, list[str]]) -> str:
    parts = [f"SI {word} in {', '.join(map(one_layer, names))}" for word, names in moved.items() if names]
    return " and ".join(parts)


def epoch_text(training: Training, epoch: int) -> str:
    """An epoch in a line, as Markdown: its place, and what the training reported."""
    row = training.history[training.history["epoch"] == epoch]
    reported = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "validation accuracy"}
    values = [f"{title} **{row[name].iloc[0]:.3f}**" for name, title in reported.items() if row[name].notna().any()]
    place = "Before training" if epoch == 0 else f"After epoch {epoch} of {training.epochs[-1]}"
    return " · ".join([f"**{place}**", *values])


def cost_text(history: pd.DataFrame) -> str:
    """What recording took beside the training; empty where the study does not say."""
    known = history.dropna(subset=["seconds", "separation_s"])
    if known.empty:
        return ""
    spent, trained = known["separation_s"].sum(), known["seconds"].sum()
    return f"Recording took {spent:.1f} s beside {trained:.1f} s of training, {spent / trained:.1%}."


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_training(path: str, stamp: tuple[int, ...], _tables: Study) -> Training | None:
    """Nobody may change it: all sessions share it."""
    return read_training(_tables)
