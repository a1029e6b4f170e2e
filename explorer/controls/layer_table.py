"""The table of layers below the chart: the values of each line first, then what is known about the layer itself."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from explorer.state.choices import DRAWS

MIN_P = 1e-4  # displayed for any smaller value, because 9,999 permutations cannot resolve it
LAYER_COLUMNS: Mapping[str, Any] = {
    "layer": st.column_config.TextColumn("Layer", pinned=True),
    "position": st.column_config.NumberColumn("Position", width="small"),
    "kind": st.column_config.TextColumn("Kind"),
    "block": st.column_config.TextColumn("Block", width="small"),
    "channels": st.column_config.NumberColumn("Depth (channels)", format="localized"),
    "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
    "num_features": st.column_config.NumberColumn("Activations", format="localized", help="Values per sample."),
}
TESTS = {  # number format and help
    "z": ("%.1f", "Standard deviations above chance, under permuted labels."),
    "p_value": ("%.4f", "One-sided, under permuted labels; 0.0001 stands for this or less."),
    "q_value": ("%.4f", "p after Benjamini and Hochberg, over all tests of the study; 0.0001 stands for this or less."),
}
INTERVAL, DRAWN, CHANCE = ", 95%", ", lowest to highest", "chance"


def layer_table(lines: pd.DataFrame, layers: pd.DataFrame, *, significance: bool) -> pd.DataFrame:
    """One row per layer: the columns of each line, then chance, the kNN baseline and the properties of the layer.

    Parameters
    ----------
    lines : DataFrame
        Rows of `OpenStudy.curves` with the columns that `with_series` adds.
    layers : DataFrame
        The layers to list, in this order.
    significance : bool
        Whether each line also has columns for z, p and q.
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
    known_columns = [name for name in LAYER_COLUMNS if layers[name].notna().any() and (layers[name] != "").any()]
    return table.merge(layers[known_columns], on="layer")


def column_config(table: pd.DataFrame) -> dict[str, Any]:
    """Streamlit's column configuration of a `layer_table`."""
    config: dict[str, Any] = {}
    for name in map(str, table.columns):
        if name in LAYER_COLUMNS:
            config[name] = LAYER_COLUMNS[name]
        elif name.endswith((INTERVAL, DRAWN)):
            config[name] = st.column_config.TextColumn(help="The text below the chart explains this interval.")
        else:
            config[name] = _number_column(name)
    return config


def _line_columns(rows: pd.DataFrame, significance: bool) -> dict[str, pd.Series]:
    """The columns of one line by title, each indexed by layer."""
    name, title = rows["series"].iloc[0], rows["title"].iloc[0]
    columns = {title: rows["value"]}
    if rows["low"].notna().any():
        low, high = rows["low"].map("{:.3f}".format), rows["high"].map("{:.3f}".format)
        suffix = DRAWN if (rows["target"] == DRAWS).all() else INTERVAL
        columns[title + suffix] = (low + " – " + high).where(rows["low"].notna())
    if significance:
        columns[f"{name} z"] = rows["z"]
        columns[f"{name} p"] = rows["p_value"].clip(lower=MIN_P)
        columns[f"{name} q"] = rows["q_value"].clip(lower=MIN_P)
    return columns


def _chance_columns(separation: list[pd.DataFrame]) -> dict[str, pd.Series]:
    """One column if all lines have the same chance level at each layer, else one per line; none if it is unknown."""
    if not separation or pd.concat(separation)["chance"].isna().all():
        return {}
    first = separation[0]["chance"]
    if all(rows["chance"].reindex(first.index).sub(first).abs().max() < 1e-9 for rows in separation):
        return {CHANCE.capitalize(): first}
    return {f"{rows['series'].iloc[0]} {CHANCE}": rows["chance"] for rows in separation}


def _number_column(title: str) -> Any:
    """Number format and help of a column, by the last word of its title: "z", "p", "q", "chance" or a measure."""
    by_word: dict[str, tuple[str, str | None]] = {name[0]: formatting for name, formatting in TESTS.items()}
    by_word[CHANCE] = ("%.4f", "Expected value with randomly permuted labels.")
    number_format, help_text = by_word.get(title.lower().split()[-1], ("%.3f", None))
    return st.column_config.NumberColumn(format=number_format, help=help_text)


def show_numbers(table: pd.DataFrame, titles: dict[str, str]) -> None:
    """Show some columns of a table.

    Parameters
    ----------
    table : DataFrame
        The numbers.
    titles : dict of str to str
        Column to title; other columns are left out.
    """
    titled = table[list(titles)].rename(columns=titles)
    formats = {title: "%.3f" for title in titles.values() if titled[title].dtype == float}
    titled[list(formats)] = without_minus_zero(titled[list(formats)])
    if "Parameters" in titled:
        formats["Parameters"] = "localized"
    config = {title: st.column_config.NumberColumn(format=number_format) for title, number_format in formats.items()}
    st.dataframe(titled, hide_index=True, column_config=config)


def without_minus_zero(numbers: pd.DataFrame) -> pd.DataFrame:
    """The same numbers, but 0 for those that three decimals would show as -0.000."""
    return numbers.mask(numbers.abs() < 0.0005, 0.0)
