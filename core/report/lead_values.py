"""The curves and values of a study that a report, a notebook and a figure show unless they are told otherwise."""

import pandas as pd

from core.analysis.curves import measured_layers, tidy_curves
from core.analysis.samples.class_values import class_names, class_values, ranked_classes
from core.analysis.samples.selection import LayerSelection
from core.analysis.separation_level import lead_curve
from core.report.words.formatting import SAMPLES
from core.study.store.lookup import did_you_mean
from core.study.store.opening import Study

POOLINGS = ("mean", "flat")


def chosen_curves(study: Study, *, samples: str | None = None, pooling: str | None = None) -> pd.DataFrame:
    """Return the curves of a study with the values of some samples and of one pooling, in the order of display.

    Parameters
    ----------
    study : Study
    samples : {"test", "train", "cross"}, optional
        By default each split by itself.
    pooling : {"mean", "flat"}, optional
        By default channel means where there are any.

    Raises
    ------
    ValueError
        The study has no value of SI, or none of these samples and this pooling; the message names what it has.
    """
    curves = tidy_curves(measured_layers(study), study.measurements)
    separation = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    if separation.empty:
        raise ValueError(f"study must have values of SI; {study.path} has none. Run it first.")
    offered = {"samples": [name for name in SAMPLES if (separation["samples"] == name).any()]}
    offered["pooling"] = [name for name in POOLINGS if (separation["pooling"] == name).any()]
    faults = [
        f"{name} must be {_one_of(offered[name])} for this study; got {value!r}.{did_you_mean(value, offered[name])}"
        for name, value in {"samples": samples, "pooling": pooling}.items()
        if value is not None and value not in offered[name]
    ]
    if faults:
        raise ValueError(" ".join(faults))
    splits = [name for name in offered["samples"] if name != "cross"] or offered["samples"]
    rows = curves[curves["samples"].isin([samples] if samples else splits)]
    return in_display_order(rows[(rows["pooling"] == (pooling or offered["pooling"][0])) & rows["value"].notna()])


def in_display_order(curves: pd.DataFrame) -> pd.DataFrame:
    """Return curves with SI before kNN, test before training samples, in network order."""
    rank = curves["measure"].map(["SI", "kNN"].index) * len(SAMPLES) + curves["samples"].map(list(SAMPLES).index)
    ordered = curves.assign(rank=rank).sort_values(["rank", "position"], kind="stable", ignore_index=True)
    return ordered.drop(columns="rank")


def _one_of(names: list[str]) -> str:
    return f"one of {', '.join(map(repr, names))}" if len(names) > 1 else repr(names[0])


def chosen_lead(study: Study, *, samples: str | None = None, pooling: str | None = None) -> pd.DataFrame:
    """Return the curve of SI that a conclusion is about; parameters and errors as of `chosen_curves`."""
    lead = lead_curve(chosen_curves(study, samples=samples, pooling=pooling))
    if lead.empty:
        raise ValueError("study must have values of SI for these samples and this pooling; got none.")
    return lead


def splits_of(lead: pd.DataFrame) -> tuple[str, str]:
    """Return the split of the samples of a curve, and that of their neighbors."""
    samples = str(lead["samples"].iloc[0])
    return ("test", "train") if samples == "cross" else (samples, samples)


def values_at(study_table: pd.DataFrame, lead: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the rows of SI at a layer, for the samples and the pooling of the lead curve; else the other pooling.

    Parameters
    ----------
    study_table : DataFrame
        Such as the table `curves` of a study.
    lead : DataFrame
        As returned by `core.analysis.separation_level.lead_curve`.
    layer : str
    """
    split, among = splits_of(lead)
    measure = "cross" if among != split else "separation"
    table = study_table
    rows = table[(table["layer"] == layer) & (table["split"] == split) & (table["measure"] == measure)]
    poolings = set(rows["pooling"].astype(str))
    pooling = str(lead["pooling"].iloc[0])
    if pooling not in poolings:
        pooling = next(iter(poolings), pooling)
    return rows[rows["pooling"] == pooling]


def classes_at(study: Study, lead: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return SI of each class at a layer, the hardest classes first: class_name, value, chance, num_queries."""
    selection = LayerSelection(layer, str(lead["pooling"].iloc[0]), str(lead["samples"].iloc[0]))
    values = class_values(study.classes, measured_layers(study), class_names(study.samples), selection)
    return ranked_classes(values, layer)
