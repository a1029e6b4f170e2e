"""The table beneath the chart: one row a layer, its lines' numbers first, then what the catalogue knows of it."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from explorer.state.choices import DRAWS

MIN_P = 1e-4  # shown for anything smaller: 9,999 permutations tell no more
CATALOGUE: Mapping[str, Any] = {
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "position": st.column_config.NumberColumn("Position", width="small"),
    "kind": st.column_config.TextColumn("Kind"),
    "block": st.column_config.TextColumn("Block", width="small"),
    "channels": st.column_config.NumberColumn("Depth (channels)", format="localized"),
    "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
    "num_features": st.column_config.NumberColumn("Activations", format="localized", help="Numbers a sample."),
}
JUDGED = {
    "z": ("%.1f", "Standard deviations above chance, under permuted labels."),
    "p_value": ("%.4f", "One-sided, under permuted labels; 0.0001 stands for this or less."),
    "q_value": ("%.4f", "p after Benjamini and Hochberg, over all tests of the study; 0.0001 stands for this or less."),
}
INTERVAL, DRAWN, CHANCE = ", 95 %", ", lowest to highest", "chance"


def layer_table(lines: pd.DataFrame, layers: pd.DataFrame, *, significance: bool) -> pd.DataFrame:
    """One row a layer; the columns of each line in the order of the lines, then chance, the baseline, the catalogue.

    Parameters
    ----------
    lines : rows of curves with `series` and `title`, as `with_series` names them.
    layers : the layers to list, in order.
    significance : z, p and q of each line too.
    """
    table = layers[["layer"]].copy()
    separation = [rows.set_index("layer") for _, rows in lines[lines["measure"] == "SI"].groupby("title", sort=False)]
    for rows in separation:
        for title, values in _line_columns(rows, significance).items():
            table[title] = table["layer"].map(values)
    for title, values in _chance_columns(separation).items():
        table[title] = table["layer"].map(values)
    for name, rows in lines[lines["measure"] != "SI"].groupby("title", sort=False):
        table[str(name)] = table["layer"].map(rows.set_index("layer")["value"])
    known = [column for column in CATALOGUE if layers[column].notna().any() and (layers[column] != "").any()]
    return table.merge(layers[known], on="layer")


def column_config(table: pd.DataFrame) -> dict[str, Any]:
    """How the columns of `layer_table` are shown."""
    config: dict[str, Any] = {}
    for name in map(str, table.columns):
        if name in CATALOGUE:
            config[name] = CATALOGUE[name]
        elif name.endswith((INTERVAL, DRAWN)):
            config[name] = st.column_config.TextColumn(help="The text beneath the chart says of what.")
        else:
            config[name] = _number_column(name)
    return config


def _line_columns(rows: pd.DataFrame, significance: bool) -> dict[str, pd.Series]:
    """Title to values by layer of one line."""
    name, title = rows["series"].iloc[0], rows["title"].iloc[0]
    columns = {title: rows["value"]}
    if rows["low"].notna().any():
        low, high = rows["low"].map("{:.3f}".format), rows["high"].map("{:.3f}".format)
        columns[title + (DRAWN if (rows["target"] == DRAWS).all() else INTERVAL)] = (low + " – " + high).where(
            rows["low"].notna()
        )
    if significance:
        columns |= {f"{name} z": rows["z"]}
        columns |= {f"{name} {test[0]}": rows[test].clip(lower=MIN_P) for test in ("p_value", "q_value")}
    return columns


def _chance_columns(separation: list[pd.DataFrame]) -> dict[str, pd.Series]:
    """One column where all lines have the same chance at a layer, else one a line; none where it is not known."""
    if not separation or pd.concat(separation)["chance"].isna().all():
        return {}
    first = separation[0]["chance"]
    if all(rows["chance"].reindex(first.index).sub(first).abs().max() < 1e-9 for rows in separation):
        return {CHANCE.capitalize(): first}
    return {f"{rows['series'].iloc[0]} {CHANCE}": rows["chance"] for rows in separation}


def _number_column(title: str) -> Any:
    """Number format and help of a column, by the last word of its title."""
    by_word = {name[0]: shown for name, shown in JUDGED.items()}
    by_word[CHANCE] = ("%.4f", "What meaningless labels would score on average.")
    numbers, text = by_word.get(title.lower().split()[-1], ("%.3f", None))
    return st.column_config.NumberColumn(format=numbers, help=text)


def show_numbers(table: pd.DataFrame, titles: dict[str, str]) -> None:
    """A table with the columns that have a title."""
    shown = table[list(titles)].rename(columns=titles)
    decimals = {title: "%.3f" for title in titles.values() if shown[title].dtype == float}
    decimals |= {title: "%.0f" for title in ("Parameters",) if title in shown}
    config = {title: st.column_config.NumberColumn(format=form) for title, form in decimals.items()}
    st.dataframe(shown, hide_index=True, column_config=config)
