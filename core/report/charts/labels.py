"""Texts on charts: names of lines and their positions, chance levels and tooltips, as DataFrames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from core.report.words.formatting import SAMPLES

TARGETS = {"population": "of the SI expected of a fresh sample", "data": "of the SI of all samples at hand"}


def with_series(curves: pd.DataFrame, measure: str = "SI") -> pd.DataFrame:
    """Add the names of each row's line.

    A line's name contains only what distinguishes it from the other lines.

    Parameters
    ----------
    curves : DataFrame
        Rows of `OpenStudy.curves`.
    measure : str
        Title of the measure in the rows of "SI".

    Returns
    -------
    DataFrame
        `curves` with the columns `series`, the line's name on a chart; `title`, its name in tables; and `samples_name`,
        which decides its color.
    """
    samples = curves["samples"].map(lambda name: SAMPLES.get(name, name))
    name = samples
    if len(curves["pooling"].unique()) > 1:
        name = samples + " " + curves["pooling"]
    series = name.where(curves["measure"] == "SI", name + " kNN")
    measures = curves["measure"].replace("SI", measure)
    return curves.assign(series=series, title=name + " " + measures, samples_name=samples)


def direct_labels(
    lines: pd.DataFrame, top: float, gap: float, gray_labels: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Positions of the lines' names and of the chance levels beside the plot, moved apart where they would overlap.

    Parameters
    ----------
    lines : DataFrame
        Of `with_series`.
    top : float
        Largest position.
    gap : float
        Smallest distance of two positions, if there is enough room.
    gray_labels : mapping, optional
        Text to position of further labels, drawn in gray.

    Returns
    -------
    DataFrame
        text; samples_name, null for what is drawn in gray; and y, the position in units of the y axis.
    """
    last = lines.dropna(subset=["value"]).groupby("series", sort=False).tail(1)
    ends = last[["series", "samples_name", "value"]].set_axis(["text", "samples_name", "y"], axis=1)
    chance = [
        {"text": f"chance {level.label}", "samples_name": None, "y": level.value} for level in chance_levels(lines)
    ]
    gray = [{"text": text, "samples_name": None, "y": value} for text, value in (gray_labels or {}).items()]
    labels = pd.DataFrame([*ends.to_dict("records"), *chance, *gray]).sort_values("y", ignore_index=True)
    return labels.assign(y=spread(labels["y"].to_list(), gap, top))


@dataclass(frozen=True)
class ChanceLevel:
    """A chance level, or the mean of several that are too close to distinguish on the chart."""

    value: float
    label: str


def chance_levels(lines: pd.DataFrame) -> list[ChanceLevel]:
    """The distinct chance levels of the lines of SI; levels less than 0.01 apart are merged."""
    return merged_levels(lines.loc[lines["measure"] == "SI", "chance"])


def merged_levels(chances: pd.Series) -> list[ChanceLevel]:
    """The distinct chance levels; levels less than 0.01 apart are merged."""
    groups: list[list[float]] = []
    for value in sorted(chances.dropna().unique()):
        if groups and value - groups[-1][0] < 0.01:
            groups[-1].append(value)
        else:
            groups.append([value])
    return [ChanceLevel(float(np.mean(group)), f"{np.mean(group):.2g}") for group in groups]


def spread(positions: Sequence[float], gap: float, top: float) -> list[float]:
    """Move ascending positions apart so that labels do not overlap.

    One pass moves positions up where they are closer than the gap, a second one moves them down below the top.

    Parameters
    ----------
    positions : sequence of float
        Ascending positions.
    gap : float
        Smallest distance of two positions.
    top : float
        Largest position.

    Returns
    -------
    list of float
        The new positions, in the same order.
    """
    moved = list(positions)
    for index in range(1, len(moved)):
        moved[index] = max(moved[index], moved[index - 1] + gap)
    limit = top
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def tooltip_table(lines: pd.DataFrame, layers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Tooltips of the layers.

    Parameters
    ----------
    lines : DataFrame
        Of `with_series`.
    layers : DataFrame
        The layers of the chart.

    Returns
    -------
    table : DataFrame
        One row per layer, columns of texts. `description` joins them, for screen readers.
    titles : dict of str to str
        Column to title of the tooltip's rows; columns without any text are left out.
    """
    columns = {
        "layer": "Layer",
        "kind": "Kind",
        "block": "Block",
        "output": "Output",
        "channels": "Depth (channels)",
        "parameters": "Parameters",
    }
    table = layers.assign(
        output=layers["output_shape"].map(_output_text),
        channels=layers["channels"].map(_count_text),
        parameters=layers["parameters"].map(_count_text),
    )[list(columns)]
    for index, (title, texts) in enumerate(_value_texts(lines).items()):
        columns[f"s{index}"] = title
        table[f"s{index}"] = [texts.get(layer, "") for layer in table["layer"]]
    titles = {name: title for name, title in columns.items() if (table[name] != "").any()}
    return table.assign(description=_descriptions(table, titles)), titles


def _descriptions(table: pd.DataFrame, titles: Mapping[str, str]) -> list[str]:
    """One text per row: each non-empty cell after the title of its column."""
    descriptions = []
    for row in table.to_dict("records"):
        parts = [f"{title} {row[name]}" for name, title in titles.items() if row[name]]
        descriptions.append(", ".join(parts))
    return descriptions


def _value_texts(lines: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Title to texts by layer: value and interval of each line, target of the intervals, chance and N."""
    texts = {
        str(title): dict(zip(rows["layer"], map(_value_text, rows["value"], rows["low"], rows["high"]), strict=True))
        for title, rows in lines.groupby("title", sort=False)
    }
    separation = lines[(lines["measure"] == "SI") & lines["value"].notna()]
    targets = separation["target"].where(separation["low"].notna()).map(TARGETS, na_action="ignore")
    texts["95% interval"] = _by_layer(separation, targets)
    texts["Chance"] = _by_layer(separation, separation["chance"].map("{:.4f}".format, na_action="ignore"))
    texts["N"] = _by_layer(separation, _sample_counts(separation))
    return texts


def _by_layer(lines: pd.DataFrame, texts: pd.Series) -> dict[str, str]:
    """One text per layer: the text alone if all lines share it, else each line's text after the line's name."""
    rows = lines.assign(text=texts).dropna(subset=["text"])
    first_rows = rows.drop_duplicates("layer")
    first = dict(zip(first_rows["layer"].astype(str), first_rows["text"].astype(str), strict=True))
    if (rows["text"].astype(str) == rows["layer"].map(first)).all():
        return first
    named = rows.assign(text=rows["series"] + " " + rows["text"].astype(str))
    joined = named.groupby("layer")["text"].agg(", ".join)
    return dict(zip(joined.index.astype(str), joined, strict=True))


def _sample_counts(lines: pd.DataFrame) -> pd.Series:
    """Such as "1,200", or "200 queries among 1,200" if only some samples are queries."""
    counts = lines[["num_queries", "num_references"]].map("{:,}".format).astype(str)  # astype, because of no rows
    queries, references = counts["num_queries"], counts["num_references"]
    return queries.where(lines["sampling"] == "full", queries + " queries among " + references)


def _output_text(shape: Sequence[int]) -> str:
    """The shape of the output; without spatial extent, pooling makes no difference."""
    if len(shape) > 1:
        return " × ".join(map(str, shape))
    return f"{', '.join(map(str, shape))} (no spatial axes)"


def _value_text(value: float, low: float, high: float) -> str:
    """A value with its interval, if it has one; "" without a value."""
    if pd.isna(value):
        return ""
    if pd.isna(low) or pd.isna(high):
        return f"{value:.3f}"
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _count_text(value: float) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"
