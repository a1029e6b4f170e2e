"""Tables and texts of the page Compare about related separability measures and the similarity of layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.analysis.layer_overlap import neighbor_overlap
from core.report.words.formatting import SAMPLES
from core.study.measuring.related_measures import MOST_ALIGNED
from core.study.store.opening import Study, StudyError
from explorer.app_pages.compare.tables import CompareSelection
from explorer.state.choices import POOLINGS
from explorer.studies.loading import OpenStudy

MAX_LAYERS = 100  # in a heat map of all pairs, which a browser draws cell by cell


@dataclass(frozen=True)
class MeasureDisplay:
    """How a measure is displayed.

    Attributes
    ----------
    title : str
        Title of the chart and of the column.
    logarithmic : bool
        Whether the y axis is logarithmic.
    digits : str
        Number format, such as "%.3f".
    help : str
        Definition, range, direction and source, for the column's tooltip.
    """

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
        "tr(Σ_W Σ_B⁺)/C: scatter within classes relative to the scatter of the class means, with equal weights of the "
        "classes. 0 to infinity, LOWER is better (Papyan, Han and Donoho 2020).",
    ),
    "fuzziness": MeasureDisplay(
        "Separation fuzziness (D)",
        True,
        "%.3g",
        "tr(SS_w SS_b⁺), classes weighted by size: C times NC1 if all sizes are equal. 0 to infinity, LOWER is better; "
        "its logarithm falls evenly in well-trained networks (arXiv 2210.17020).",
    ),
    "dimension_mle": MeasureDisplay(
        "Intrinsic dimension",
        False,
        "%.1f",
        "Two-NN, by maximum likelihood, with a 95% interval. At least 0; neither high nor low is better. Does not "
        "depend on labels (Facco et al. 2017).",
    ),
    "hubness": MeasureDisplay(
        "Hubness",
        False,
        "%.2f",
        "Skewness of the number of times that a sample is a nearest neighbor. Lower is better: far above chance, a few "
        "samples are the neighbors of many. Does not depend on labels (Radovanović et al. 2010).",
    ),
}
OVERLAP, CKA, DEBIASED = "overlap", "cka", "debiased"
SIMILARITIES: Mapping[str, str] = {OVERLAP: "Neighbor overlap", CKA: "CKA", DEBIASED: "CKA, debiased"}


def split_of(selection: CompareSelection) -> str:
    """The split of the measures on this page, which are never computed from test to training samples."""
    return "test" if selection.samples == "cross" else selection.samples


def related_rows(study: OpenStudy, tables: Study, selection: CompareSelection) -> pd.DataFrame:
    """The values of the measures in `MEASURES`; SI is that of channel means.

    Returns
    -------
    DataFrame
        One row per layer and measure: layer, measure, value, low, high, chance, in network order. Empty if the study
        was made without `--related-measures`.
    """
    split = split_of(selection)
    rows = tables.related_measures.astype({"layer": object, "measure": object, "split": object})
    rows = rows[(rows["split"] == split) & rows["measure"].isin(list(MEASURES))]
    if rows.empty:
        return pd.DataFrame(columns=["layer", "measure", "value", "low", "high", "chance"])
    pooling = "mean" if (study.curves["pooling"] == "mean").any() else "flat"
    separation = study.curves[(study.curves["measure"] == "SI") & (study.curves["samples"] == split)]
    separation = separation[(separation["pooling"] == pooling) & separation["layer"].isin(rows["layer"])]
    table = pd.concat([separation.assign(measure="si"), rows], ignore_index=True)
    position = table["layer"].map(study.layers.set_index("layer")["position"])
    table = table.assign(position=position).sort_values("position", kind="stable", ignore_index=True)
    return table[["layer", "measure", "value", "low", "high", "chance"]]


def related_table(rows: pd.DataFrame) -> pd.DataFrame:
    """The values of `related_rows` with one row per layer and one column per measure."""
    names = [name for name in MEASURES if (rows["measure"] == name).any()]
    wide = rows.pivot_table(index="layer", columns="measure", values="value", sort=False, observed=True)
    return wide.reindex(index=rows["layer"].unique(), columns=names).reset_index().rename_axis(columns=None)


def related_columns() -> dict[str, Any]:
    """Streamlit's column configuration of a `related_table`."""
    numbers = {
        name: st.column_config.NumberColumn(display.title, format=display.digits, help=display.help)
        for name, display in MEASURES.items()
    }
    return {"layer": st.column_config.TextColumn("Layer", pinned=True)} | numbers


def best_layers(rows: pd.DataFrame) -> str:
    """At which layer each measure of separability has its best value, as Markdown."""
    directions = {"si": 1, "silhouette": 1, "discrimination": -1, "neural_collapse": -1, "fuzziness": -1}
    measures_by_layer: dict[str, list[str]] = {}
    for name, direction in directions.items():
        values = rows[rows["measure"] == name].dropna(subset=["value"])
        if len(values):
            best = str(values["layer"].iloc[int((direction * values["value"]).to_numpy().argmax())])
            measures_by_layer.setdefault(best, []).append(MEASURES[name].title)
    layers = "; ".join(f"`{layer}` by {_listed(titles)}" for layer, titles in measures_by_layer.items())
    return (
        f"Best value of {rows['layer'].nunique()} layers: {layers}. The difference to other layers need not be "
        "certain; for SI, the page *Decide* shows intervals of the differences."
    )


def similarity_rows(tables: Study, selection: CompareSelection, kind: str) -> pd.DataFrame:
    """The similarity of each pair of layers.

    Parameters
    ----------
    tables : Study
        The study's tables.
    selection : CompareSelection
        Split and pooling; CKA is that of channel means for either pooling.
    kind : str
        A key of `SIMILARITIES`.

    Returns
    -------
    DataFrame
        One row per ordered pair of at most `MAX_LAYERS` layers: layer, other, value, chance, num_samples; also k, the
        number of neighbors, for neighbor overlap. Empty if the study has no such numbers.
    """
    columns = ["layer", "other", "value", "chance", "num_samples"]
    if kind == OVERLAP:
        try:
            overlap = neighbor_overlap(tables, split=split_of(selection), pooling=selection.pooling)
        except StudyError:  # the study stores no neighbors
            return pd.DataFrame(columns=columns)
        rows = overlap.rename(columns={"other_layer": "other"})[[*columns, "k"]]
    else:
        rows = _alignment(tables, split_of(selection), kind)[columns]
    return _thinned(rows, tables.layers["layer"].tolist())


def similarity_note(rows: pd.DataFrame, selection: CompareSelection, kind: str) -> str:
    """What the heat map shows, for which samples, and the chance level."""
    count, split = int(rows["num_samples"].iloc[0]), split_of(selection)
    samples = SAMPLES.get(split, split).lower()
    if kind == OVERLAP:
        num_neighbors = int(rows["k"].iloc[0])
        neighbors = "nearest neighbor" if num_neighbors == 1 else f"{num_neighbors} nearest neighbors"
        return (
            f"Mean share of a sample's {neighbors} that two layers have in common, over {count:,} {samples} samples, "
            f"{POOLINGS[selection.pooling].lower()}. 0 to 1; {rows['chance'].iloc[0]:.4f} by chance, k/(n − 1)."
        )
    text = f"Linear CKA of channel means, on {count:,} {samples} samples"
    if count == MOST_ALIGNED:
        text += f" (at most {MOST_ALIGNED}, drawn with the study's seed)"
    if kind == DEBIASED:
        return f"{text}. Each inner product is replaced by its U-statistic: exactly 0 on average by chance, at most 1."
    chance = rows[rows["layer"] != rows["other"]]["chance"]
    return f"{text}. 0 to 1; by chance {chance.min():.3f} to {chance.max():.3f}, higher for wide layers."


def _alignment(tables: Study, split: str, kind: str) -> pd.DataFrame:
    """CKA for both orders of each pair, and the diagonal."""
    rows = tables.alignment.astype({"layer": object, "other_layer": object, "split": object})
    rows = rows[rows["split"] == split].rename(columns={"other_layer": "other"})
    rows = rows.assign(value=rows["value"] if kind == CKA else rows["debiased"])
    if kind == DEBIASED:
        rows = rows.assign(chance=0.0)
    mirrored = rows.rename(columns={"layer": "other", "other": "layer"})
    names = pd.unique(pd.concat([rows["layer"], rows["other"]]))
    diagonal = pd.DataFrame({"layer": names, "other": names, "value": 1.0, "chance": np.nan})
    diagonal = diagonal.assign(num_samples=rows["num_samples"].max())
    return pd.concat([rows, mirrored, diagonal], ignore_index=True)


def _thinned(rows: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """The rows in network order; of more than `MAX_LAYERS` layers, that many evenly spaced ones."""
    layers = [layer for layer in order if layer in set(rows["layer"])]
    if len(layers) > MAX_LAYERS:
        indices = np.linspace(0, len(layers) - 1, MAX_LAYERS).round().astype(int)
        layers = [layers[index] for index in indices]
    positions = {layer: index for index, layer in enumerate(layers)}
    rows = rows[rows["layer"].isin(layers) & rows["other"].isin(layers)]
    return rows.sort_values(["layer", "other"], key=lambda names: names.map(positions), ignore_index=True)


def _listed(names: list[str]) -> str:
    """Such as "a, b and c"."""
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
