"""The words on a chart: names of lines and where they stand, the chance level, tooltips. Plain tables in and out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from explorer.state.choices import SAMPLES

TARGETS = {"population": "of the SI expected of a fresh sample", "data": "of the SI of all samples at hand"}


def with_series(curves: pd.DataFrame, measure: str = "SI") -> pd.DataFrame:
    """Add what each row's line is called: `series` beside the line, `title` in tables, `samples_name` for its color.

    A line's name has what distinguishes it from the other lines, no more. measure : what the rows of SI show.
    """
    samples = curves["samples"].map(lambda name: SAMPLES.get(name, name))
    name = samples + " " + curves["pooling"] if len(curves["pooling"].unique()) > 1 else samples
    series = name.where(curves["measure"] == "SI", name + " kNN")
    shown = curves["measure"].replace("SI", measure)
    return curves.assign(series=series, title=name + " " + shown, samples_name=samples)


def direct_labels(
    lines: pd.DataFrame, top: float, gap: float, others: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """Where the lines' names and the chance level stand beside the plot, moved apart where they would overlap.

    Columns: text, samples_name (null for chance and the `others`, drawn in gray), y (at most `top`, at least `gap`
    apart where there is room).
    """
    last = lines.dropna(subset=["value"]).groupby("series", sort=False).tail(1)
    ends = last[["series", "samples_name", "value"]].set_axis(["text", "samples_name", "y"], axis=1)
    chance = [
        {"text": f"chance {level.label}", "samples_name": None, "y": level.value} for level in chance_levels(lines)
    ]
    gray = [{"text": text, "samples_name": None, "y": value} for text, value in (others or {}).items()]
    labels = pd.DataFrame([*ends.to_dict("records"), *chance, *gray]).sort_values("y", ignore_index=True)
    return labels.assign(y=spread(labels["y"].to_list(), gap, top))


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


def spread(positions: Sequence[float], gap: float, top: float) -> list[float]:
    """Ascending positions moved as little as upward then downward passes allow, at least `gap` apart, below `top`."""
    placed = list(positions)
    for index in range(1, len(placed)):
        placed[index] = max(placed[index], placed[index - 1] + gap)
    limit = top
    for index in reversed(range(len(placed))):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def tooltip_table(lines: pd.DataFrame, layers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row a layer of texts, and the titles of its columns; columns without any text are left out."""
    columns = {"layer": "Layer", "kind": "Kind", "block": "Block", "output": "Output", "channels": "Depth (channels)"}
    columns |= {"parameters": "Parameters"}
    table = layers.assign(
        output=layers["output_shape"].map(_output),
        channels=layers["channels"].map(_count),
        parameters=layers["parameters"].map(_count),
    )[list(columns)]
    for index, (title, texts) in enumerate(_value_texts(lines).items()):
        columns[f"s{index}"] = title
        table[f"s{index}"] = [texts.get(layer, "") for layer in table["layer"]]
    shown = {name: title for name, title in columns.items() if (table[name] != "").any()}
    named = [[f"{title} {text}" if text else "" for text in table[name]] for name, title in shown.items()]
    described = [", ".join(filter(None, row)) for row in zip(*named, strict=True)]
    return table.assign(description=described), shown


def _value_texts(lines: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Title to texts by layer: value and interval of each line, then what the intervals are for, chance and N."""
    texts = {
        str(title): dict(zip(rows["layer"], map(_value_text, rows["value"], rows["low"], rows["high"]), strict=True))
        for title, rows in lines.groupby("title", sort=False)
    }
    separation = lines[(lines["measure"] == "SI") & lines["value"].notna()]
    targets = separation["target"].where(separation["low"].notna()).map(TARGETS, na_action="ignore")
    texts["95 % interval"] = _by_layer(separation, targets)
    texts["Chance"] = _by_layer(separation, separation["chance"].map("{:.4f}".format, na_action="ignore"))
    texts["N"] = _by_layer(separation, _sample_counts(separation))
    return texts


def _by_layer(lines: pd.DataFrame, texts: pd.Series) -> dict[str, str]:
    """One text a layer: alone where all lines share it, else each after its line's name."""
    known = lines.assign(text=texts).dropna(subset=["text"])
    once = known.drop_duplicates("layer")
    first = dict(zip(once["layer"].astype(str), once["text"].astype(str), strict=True))
    if (known["text"].astype(str) == known["layer"].map(first)).all():
        return first
    named = known.assign(text=known["series"] + " " + known["text"].astype(str))
    joined = named.groupby("layer")["text"].agg(", ".join)
    return dict(zip(joined.index.astype(str), joined, strict=True))


def _sample_counts(lines: pd.DataFrame) -> pd.Series:
    """Such as "1,200", or "200 asked, among 1,200" where only some samples are queries."""
    counts = lines[["num_queries", "num_references"]].map("{:,}".format).astype(str)  # of no rows, too
    queries, references = counts["num_queries"], counts["num_references"]
    return queries.where(lines["sampling"] == "full", queries + " asked, among " + references)


def _output(shape: Sequence[int]) -> str:
    """The output's shape; without spatial extent, flat and mean are the same numbers."""
    return " × ".join(map(str, shape)) if len(shape) > 1 else f"{', '.join(map(str, shape))} (no space to average over)"


def _value_text(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return ""
    return f"{value:.3f}" if pd.isna(low) or pd.isna(high) else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _count(value: float) -> str:
    return "" if pd.isna(value) else f"{int(value):,}"
