"""The epochs of a recorded training as tables and texts."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from core.analysis.comparing import compare_studies
from core.analysis.result_tables import CERTAIN_CHANGES
from core.report.words.changes import samples_text
from core.report.words.findings import Finding
from core.report.words.formatting import one_layer
from core.study.store.opening import Study
from core.study.store.tables.ties import MANY_TIES, NO_CONCLUSION, left_out_text
from core.training.recording.epochs import load_epoch, read_epochs, read_history, recorded_epochs


@dataclass(frozen=True, eq=False)
class Training:
    """A recorded training.

    Attributes
    ----------
    epochs : tuple of int
        Recorded epochs, ascending; at least two.
    split : str
        The split of `rows`: "test" if it was recorded, else "train".
    layers : tuple of str
        Names in network order.
    rows : DataFrame
        SI, one row per epoch and layer: epoch, layer, value, low, high, chance.
    history : DataFrame
        As `core.training.recording.epochs.HISTORY`.
    change : DataFrame
        Of `compare_studies`, from the first recorded epoch to the last.
    """

    epochs: tuple[int, ...]
    split: str
    layers: tuple[str, ...]
    rows: pd.DataFrame
    history: pd.DataFrame
    change: pd.DataFrame


def read_training(study: Study) -> Training | None:
    """The training that a study recorded; None if it has fewer than two epochs."""
    epochs = recorded_epochs(study.path)
    rows, split = separation_rows(read_epochs(study.path))
    if len(epochs) < 2 or rows.empty:
        return None
    known = set(rows["layer"])
    return Training(
        epochs=epochs,
        split=split,
        layers=tuple(name for name in study.layers["layer"] if name in known),
        rows=rows,
        history=read_history(study.path),
        change=compare_studies(
            load_epoch(study.path, epochs[0]), load_epoch(study.path, epochs[-1]), split=split, match="name"
        ),
    )


def separation_rows(measurements: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """SI of recorded epochs, and the split that it is of: "test" if it was recorded, else "train"; "" without any.

    Parameters
    ----------
    measurements : DataFrame
        The table `measurements` with the additional column epoch.

    Returns
    -------
    rows : DataFrame
        One row for each epoch and layer: epoch, layer, value, low, high, chance.
    split : str
    """
    is_separation = (measurements["measure"] == "separation") & (measurements["order"] == 1)
    table = measurements[is_separation & (measurements["repeat"] == 0)]
    splits = [name for name in ("test", "train") if (table["split"] == name).any()]
    split = splits[0] if splits else ""
    return table.loc[table["split"] == split, ["epoch", "layer", "value", "low", "high", "chance"]], split


def describe_training(training: Training) -> Finding:
    """The layers whose SI certainly changed during the training, and the layer that changed most."""
    tied = training.change["verdict"] == MANY_TIES
    left_out = left_out_text(training.change.loc[tied, "layer"].tolist())
    if tied.all():
        return Finding(NO_CONCLUSION, left_out)
    change, first, last = training.change[~tied], training.epochs[0], training.epochs[-1]
    changed = {verb: list(change.loc[change["verdict"] == verb, "layer"]) for verb in CERTAIN_CHANGES}
    num_changed, num_layers = sum(map(len, changed.values())), len(change)
    samples = samples_text(change)
    largest = change.iloc[int(change["difference"].abs().argmax())]
    interval = "" if pd.isna(largest["low"]) else f" [{largest['low']:+z.3f}, {largest['high']:+z.3f}]"
    largest_text = (
        f"The largest change is that of {one_layer(largest['layer'])}: SI {largest['before']:.3f} → "
        f"{largest['after']:.3f}, {largest['difference']:+z.3f}{interval}."
    )
    if not num_changed:
        return Finding(f"No certain change with {samples}", f"{largest_text} {left_out}".strip())
    changes = f"From epoch {first} to epoch {last}, {_changed_text(changed)} (q < 0.05, {samples})."
    headline = f"SI changed in {num_changed} of {num_layers} layers during training"
    return Finding(headline, f"{changes} {largest_text} {left_out}".strip())


def _changed_text(changed: Mapping[str, list[str]]) -> str:
    """Such as "SI rose in `a` and SI fell in `b`, `c`"; the mapping has the layers by verb."""
    parts = [f"SI {verb} in {', '.join(map(one_layer, names))}" for verb, names in changed.items() if names]
    return " and ".join(parts)


def epoch_text(training: Training, epoch: int) -> str:
    """The epoch, and what the training reported for it, in one line of Markdown."""
    title = "Before training" if epoch == 0 else f"After epoch {epoch} of {training.epochs[-1]}"
    return " · ".join([f"**{title}**", *_reported(training.history, epoch)])


def history_text(history: pd.DataFrame) -> str:
    """The last epoch of a training that is running, and what it reported, in one line of Markdown."""
    epoch = int(history["epoch"].max()) if len(history) else 0
    title = f"{epoch} epoch{'s' * (epoch != 1)} trained" if epoch else "The first epoch is being trained"
    return " · ".join([f"**{title}**", *_reported(history, epoch)])


def _reported(history: pd.DataFrame, epoch: int) -> list[str]:
    """What the training reported for an epoch, as Markdown."""
    row = history[history["epoch"] == epoch]
    reported = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "validation accuracy"}
    return [f"{title} **{row[name].iloc[0]:.3f}**" for name, title in reported.items() if row[name].notna().any()]


def cost_text(history: pd.DataFrame) -> str:
    """The time that recording took in addition to the training; "" if the study does not store it."""
    timed = history.dropna(subset=["seconds", "separation_s"])
    if timed.empty:
        return ""
    recording_s, training_s = timed["separation_s"].sum(), timed["seconds"].sum()
    return (
        f"Recording took {recording_s:.1f} s in addition to {training_s:.1f} s of training, "
        f"an increase by {recording_s / training_s:.1%}."
    )


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_training(path: str, stamp: tuple[int, ...], _tables: Study) -> Training | None:
    """The training of a study. All sessions share it, so it must not be modified."""
    return read_training(_tables)
