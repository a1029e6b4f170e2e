"""The siblings of SI and the likeness of layers, as the tables and sentences that the page Compare shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.layer_overlap import neighbor_overlap
from core.study.measuring.geometry import MOST_ALIGNED
from core.study.store.opening import Study, StudyError
from explorer.pages.compare.tables import CompareSelection
from explorer.state.choices import POOLINGS, SAMPLES
from explorer.studies.loading import OpenStudy

MAX_LAYERS = 100  # beside each other: a table of their pairs is drawn cell by cell


@dataclass(frozen=True)
class MeasureDisplay:
    """How a measure is shown: its title, whether its axis is logarithmic, digits, and what the table says of it."""

    title: str
    logarithmic: bool
    digits: str
    help: str


MEASURES: Mapping[str, MeasureDisplay] = {
    "si": MeasureDisplay("SI", False, "%.3f", "Separation Index. 0 to 1, higher is better."),
    "silhouette": MeasureDisplay(
        "Silhouette",
        False,
        "%.3f",
        "How much nearer a sample is to its class than to the nearest other class, on average. −1 to 1, higher is "
        "better (Rousseeuw 1987).",
    ),
    "discrimination": MeasureDisplay(
        "Discrimination value (GDV)",
        False,
        "%.3f",
        "Mean distance within classes minus between classes, of z-scored channels. LOWER is better: about −1 for "
        "perfectly separated classes, exactly 0 by chance (arXiv 1811.01753).",
    ),
    "neural_collapse": MeasureDisplay(
        "Neural collapse (NC1)",
        True,
        "%.3g",
        "tr(Σ_W Σ_B⁺)/C: scatter within classes against that of the class means, each class counting the same. 0 to "
        "infinity, LOWER is better (Papyan, Han and Donoho 2020).",
    ),
    "fuzziness": MeasureDisplay(
        "Separation fuzziness (D)",
        True,
        "%.3g",
        "tr(SS_w SS_b⁺), classes counting by size: C times NC1 where they are equal. 0 to infinity, LOWER is better; "
        "its logarithm falls evenly in well-trained networks (arXiv 2210.17020).",
    ),
    "dimension_mle": MeasureDisplay(
        "Intrinsic dimension",
        False,
        "%.1f",
        "Two-NN, by maximum likelihood, with a 95 % interval. At least 0; neither end is better. Labels play no part "
        "(Facco et al. 2017).",
    ),
    "hubness": MeasureDisplay(
        "Hubness",
        False,
        "%.2f",
        "Skewness of how often a sample is a nearest neighbor. Lower is better: far above chance, a few samples are "
        "nearest to many. Labels play no part (Radovanović et al. 2010).",
    ),
}
OVERLAP, CKA, DEBIASED = "overlap", "cka", "debiased"
SIMILARITIES: Mapping[str, str] = {OVERLAP: "Neighbor overlap", CKA: "CKA", DEBIASED: "CKA, debiased"}


def split_of(selection: CompareSelection) -> str:
    """The samples that geometry is of: those of a split, never test among train."""
    return "test" if selection.samples == "cross" else selection.samples


def related_rows(study: OpenStudy, tables: Study, selection: CompareSelection) -> pd.DataFrame:
    """One row a layer and measure of `MEASURES`: layer, measure, value, low, high, chance, in network order.

    Empty where the study was made without `--related-measures`. SI is that of channel means.
    """
    split = split_of(selection)
    rows = tables.geometry.astype({"layer": object, "measure": object, "split": object})
    rows = rows[(rows["split"] == split) & rows["measure"].isin(list(MEASURES))]
    if rows.empty:
        return pd.DataFrame(columns=["layer", "measure", "value", "low", "high", "chance"])
    poolings = set(study.curves["pooling"])
    own = study.curves[(study.curves["measure"] == "SI") & (study.curves["samples"] == split)]
    own = own[(own["pooling"] == ("mean" if "mean" in poolings else "flat")) & own["layer"].isin(rows["layer"])]
    both = pd.concat([own.assign(measure="si"), rows], ignore_index=True)
    order = both["layer"].map(study.layers.set_index("layer")["position"])
    both = both.assign(place=order).sort_values("place", kind="stable", ignore_index=True)
    return both[["layer", "measure", "value", "low", "high", "chance"]]


def related_table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a layer, one column a measure."""
    names = [name for name in MEASURES if (rows["measure"] == name).any()]
    wide = rows.pivot_table(index="layer", columns="measure", values="value", sort=False, observed=True)
    return wide.reindex(index=rows["layer"].unique(), columns=names).reset_index().rename_axis(columns=None)


def related_columns() -> dict[str, Any]:
    """How the columns of `related_table` are shown."""
    numbers = {
        name: st.column_config.NumberColumn(shown.title, format=shown.digits, help=shown.help)
        for name, shown in MEASURES.items()
    }
    return {"layer": st.column_config.TextColumn("Layer", pinned=True)} | numbers


def best_layers(rows: pd.DataFrame) -> str:
    """At which layer each measure of separation has its best value, as Markdown."""
    found: dict[str, list[str]] = {}
    for name, better in {
        "si": 1,
        "silhouette": 1,
        "discrimination": -1,
        "neural_collapse": -1,
        "fuzziness": -1,
    }.items():
        own = rows[rows["measure"] == name].dropna(subset=["value"])
        if len(own):
            best = str(own["layer"].iloc[int((better * own["value"]).to_numpy().argmax())])
            found.setdefault(best, []).append(MEASURES[name].title)
    places = "; ".join(f"`{layer}` by {_listed(names)}" for layer, names in found.items())
    return (
        f"Best value of {rows['layer'].nunique()} layers: {places}. A best value is no certain difference: for SI, "
        "*Decide* has the intervals of the differences."
    )


def similarity_rows(tables: Study, selection: CompareSelection, kind: str) -> pd.DataFrame:
    """One row an ordered pair of layers: layer, other, value, chance, num_samples; at most `MAX_LAYERS` layers.

    Empty where the study has none. CKA is of channel means whatever the pooling.
    """
    columns = ["layer", "other", "value", "chance", "num_samples"]
    if kind == OVERLAP:
        try:
            found = neighbor_overlap(tables, split=split_of(selection), pooling=selection.pooling)
        except StudyError:
            return pd.DataFrame(columns=columns)
        rows = found.rename(columns={"other_layer": "other"})[[*columns, "k"]]
    else:
        rows = _alignment(tables, split_of(selection), kind)[columns]
    return _thinned(rows, tables.layers["layer"].tolist())


def similarity_note(rows: pd.DataFrame, selection: CompareSelection, kind: str) -> str:
    """What the chart shows, on which samples, and what chance would give."""
    count, samples = int(rows["num_samples"].iloc[0]), SAMPLES.get(split_of(selection), split_of(selection)).lower()
    if kind == OVERLAP:
        neighbors = int(rows["k"].iloc[0])
        what = "nearest neighbor" if neighbors == 1 else f"{neighbors} nearest neighbors"
        return (
            f"Mean share of a sample's {what} that two layers have in common, over {count:,} {samples} samples, "
            f"{POOLINGS[selection.pooling].lower()}. 0 to 1; {rows['chance'].iloc[0]:.4f} by chance, k/(n − 1)."
        )
    text = f"Linear CKA of channel means, on {count:,} {samples} samples"
    text += f" (at most {MOST_ALIGNED}, drawn with the study's seed). " if count == MOST_ALIGNED else ". "
    if kind == DEBIASED:
        return text + "Each inner product is replaced by its U-statistic: exactly 0 on average by chance, at most 1."
    pairs = rows[rows["layer"] != rows["other"]]["chance"]
    return text + f"0 to 1; by chance {pairs.min():.3f} to {pairs.max():.3f}, more where layers are wide."


def _alignment(tables: Study, split: str, kind: str) -> pd.DataFrame:
    """Both directions of each pair, and the diagonal."""
    rows = tables.alignment.astype({"layer": object, "other_layer": object, "split": object})
    rows = rows[rows["split"] == split].rename(columns={"other_layer": "other"})
    rows = rows.assign(value=rows["value"] if kind == CKA else rows["debiased"])
    if kind == DEBIASED:
        rows = rows.assign(chance=0.0)
    mirrored = rows.rename(columns={"layer": "other", "other": "layer"})
    names = pd.unique(pd.concat([rows["layer"], rows["other"]]))
    itself = pd.DataFrame({"layer": names, "other": names, "value": 1.0, "chance": np.nan})
    itself = itself.assign(num_samples=rows["num_samples"].max())
    return pd.concat([rows, mirrored, itself], ignore_index=True)


def _thinned(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """In network order; of more than `MAX_LAYERS` layers, as many evenly spaced ones."""
    present = [layer for layer in order if layer in set(rows["layer"])]
    if len(present) > MAX_LAYERS:
        chosen = np.linspace(0, len(present) - 1, MAX_LAYERS).round().astype(int)
        present = [present[place] for place in chosen]
    place = {layer: number for number, layer in enumerate(present)}
    rows = rows[rows["layer"].isin(present) & rows["other"].isin(present)]
    return rows.sort_values(["layer", "other"], key=lambda names: names.map(place), ignore_index=True)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
