"""The words on a chart: names of lines and where they stand, the chance level, tooltips. Plain tables in and out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from explorer.state import SAMPLES


def with_series(curves: pd.DataFrame) -> pd.DataFrame:
    """Add what each row's line is called: `series` beside the line, `title` in tables, `samples_name` for its color.

    A line's name has what distinguishes it from the other lines, no more.
    """
    samples = curves["samples"].map(lambda name: SAMPLES.get(name, name))
    name = samples + " " + curves["pooling"] if len(curves["pooling"].unique()) > 1 else samples
    series = name.where(curves["measure"] == "SI", name + " kNN")
    return curves.assign(series=series, title=name + " " + curves["measure"], samples_name=samples)


def direct_labels(lines: pd.DataFrame, top: float, gap: float) -> pd.DataFrame:
    """Where the lines' names and the chance level stand beside the plot, moved apart where they would overlap.

    Columns: text, samples_name (null for chance), y (at most `top`, at least `gap` apart where there is room).
    """
    last = lines.dropna(subset=["value"]).groupby("series", sort=False).tail(1)
    ends = last[["series", "samples_name", "value"]].set_axis(["text", "samples_name", "y"], axis=1)
    chance = [
        {"text": f"chance {level.label}", "samples_name": None, "y": level.value} for level in chance_levels(lines)
    ]
    labels = pd.DataFrame([*ends.to_dict("records"), *chance]).sort_values("y", ignore_index=True)
    return labels.assign(y=_spread(labels["y"].to_list(), gap, top))


@dataclass(frozen=True)
class ChanceLevel:
    """A level of chance, or several that cannot be told apart on the chart."""

    value: float
    label: str


def chance_levels(lines: pd.DataFrame) -> list[ChanceLevel]:
    """The distinct chance levels of the lines; levels that are closer than 0.01 share a rule."""
    values = sorted(lines.loc[lines["measure"] == "SI", "chance"].dropna().unique())
    groups: list[list[float]] = []
    for value in values:
        if groups and value - groups[-1][0] < 0.01:
            groups[-1].append(value)
        else:
            groups.append([value])
    return [ChanceLevel(float(np.mean(group)), f"{np.mean(group):.2g}") for group in groups]


def tooltip_table(lines: pd.DataFrame, layers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row a layer of texts, and the titles of its columns; columns without any text are left out."""
    columns = {"layer": "Layer", "kind": "Kind", "block": "Block", "output": "Output", "channels": "Depth (channels)"}
    columns |= {"parameters": "Parameters"}
    table = layers.assign(
        output=layers["output_shape"].map(_output),
        channels=layers["channels"].map(_count),
        parameters=layers["parameters"].map(_count),
    )[list(columns)]
    for index, (title, rows) in enumerate(lines.groupby("title", sort=False)):
        columns[f"s{index}"] = str(title)
        texts = map(_value_text, rows["value"], rows["low"], rows["high"])
        values = dict(zip(rows["layer"], texts, strict=True))
        table[f"s{index}"] = table["layer"].map(values).fillna("")
    shown = {name: title for name, title in columns.items() if (table[name] != "").any()}
    named = [[f"{title} {text}" if text else "" for text in table[name]] for name, title in shown.items()]
    described = [", ".join(filter(None, row)) for row in zip(*named, strict=True)]
    return table.assign(description=described), shown


def _output(shape: Sequence[int]) -> str:
    """The output's shape; without spatial extent, flat and mean are the same numbers."""
    return " × ".join(map(str, shape)) if len(shape) > 1 else f"{', '.join(map(str, shape))} (no space to average over)"


def _value_text(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if pd.isna(low) or pd.isna(high) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _count(value: float) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"


def _spread(positions: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending positions moved as little as upward then downward passes allow, at least `gap` apart, below `top`."""
    placed = list(positions)
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    limit = top
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed
