"""Says in words, computed from a curve, where in a network the classes separate."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

CLEAR = 3.0  # standard errors above chance, where there is no interval
SIGNIFICANT = 0.05  # of q-values
POOLED = {"mean": "channel means", "flat": "all activations"}


@dataclass(frozen=True)
class Finding:
    """A headline without a full stop, and the sentences beneath it, as Markdown."""

    headline: str
    detail: str


def lead_curve(curves: pd.DataFrame) -> pd.DataFrame:
    """The one curve to speak about: SI; test before train before test to train; channel means before all activations.

    Layers without a value are left out.
    """
    rows = curves[(curves["measure"] == "SI") & curves["value"].notna()]
    for column, preferred in {"samples": ("test", "train", "cross"), "pooling": ("mean", "flat")}.items():
        rows = rows[rows[column] == _preferred(rows[column], preferred)]
    return rows.sort_values("position", ignore_index=True)


def describe(curve: pd.DataFrame) -> Finding:
    """Where the classes separate along one curve of SI, as `lead_curve` returns it; at least one layer.

    Where the study does not say chance, gains are counted from 0 and nothing is said of chance.
    """
    value, chance = curve["value"].to_numpy(float), curve["chance"].to_numpy(float)
    known, best = bool(np.isfinite(chance).all()), int(np.argmax(value))
    at = f" (chance {number(chance[best])})" if known else ""
    if len(curve) == 1:
        return Finding("One layer", f"{_where(curve)} SI is **{number(value[0])}** in {_layer(curve, 0)}{at}.")
    if known and not clearly_above_chance(curve).any():
        highest = f"the highest is {number(value[best])} in {_layer(curve, best)}{at}"
        text = f"{_where(curve)} no layer's SI is clearly above chance; {highest}."
        return Finding("No layer separates the classes", text)
    gain = value - chance if known else value
    half = half_way(gain)
    sentences = [
        f"{_where(curve)} SI is highest in {_layer(curve, best)}, at **{number(value[best])}**{at}.",
        _rise(curve, half, best, "that gain over chance" if known else "that"),
        _end(curve, gain, best),
        _at_chance(curve) if known else "",
    ]
    return Finding(_headline(half, len(curve)), " ".join(filter(None, sentences)))


def significance_note(curve: pd.DataFrame) -> str:
    """Why z, p and q are not the headline, told by one curve's own layers; for a curve that has q-values."""
    known = curve[curve["q_value"].notna()].reset_index(drop=True)
    found = known[known["q_value"] < SIGNIFICANT].reset_index(drop=True)
    start = (
        f"z, p and q ask whether meaningless labels would score as high. With {known['num_queries'].max():,} samples"
    )
    end = "Read value, interval and chance first; significance says that a layer is not at chance, not that it is good."
    if found.empty:
        return f"{start}, no layer has q < {SIGNIFICANT}. {end}"
    least = int(found["value"].argmin())
    value, chance = found["value"].iloc[least], found["chance"].iloc[least]
    example = f"{_layer(found, least)} with an SI of {number(value)} (chance {number(chance)})"
    return f"{start}, {len(found)} of {len(known)} layers have q < {SIGNIFICANT}, among them {example}. {end}"


def half_way(gain: np.ndarray) -> int:
    """The layer from which on, up to the best one, the gain over chance stays at or above half of the best one's."""
    best = int(np.argmax(gain))
    below = np.flatnonzero(gain[:best] < gain[best] / 2)
    return int(below[-1]) + 1 if len(below) else 0


def clearly_above_chance(curve: pd.DataFrame) -> np.ndarray:
    """Whether SI lies three binomial standard errors above chance, and its whole 95 % interval, where known, above it.

    The interval alone would let a layer or two of many pass by luck. The first is a rough guide: labels permuted on a
    fixed neighbor graph spread up to 1.4 times as much, because two samples may be each other's nearest. p is not
    asked: with many samples it is small next to chance.
    """
    chance, low = curve["chance"].to_numpy(float), curve["low"].to_numpy(float)
    error = np.sqrt(chance * (1 - chance) / curve["num_queries"].to_numpy(float))
    far = curve["value"].to_numpy(float) > chance + CLEAR * error
    return far & ~(low <= chance)


def layer_text(layer: pd.Series, lines: pd.DataFrame) -> str:
    """A layer in a few words, as Markdown: what it is, then the value of each line there; its name stands above.

    layer : a row of the table of layers. lines : curves with `title`, as `with_series` names them.
    """
    shape = " × ".join(map(str, layer["output_shape"]))
    parameters = f"{int(layer['parameters']):,} parameters" if pd.notna(layer["parameters"]) else ""
    known = [layer["kind"], layer["block"], f"output {shape}", parameters]
    here = lines[(lines["layer"] == layer["layer"]) & lines["value"].notna()]
    values = [_value(title, *row) for title, *row in here[["title", "value", "low", "high"]].itertuples(index=False)]
    return f":small[{' · '.join(filter(None, known))}]  \n" + "  \n".join(values)


def _value(title: str, value: float, low: float, high: float) -> str:
    span = "" if pd.isna(low) or pd.isna(high) else f" ({number(low)} to {number(high)})"
    return f"{title} **{number(value)}**{span}"


def number(value: float) -> str:
    """Two decimals, or as many as small values need for two digits."""
    return f"{value:.2f}" if abs(value) >= 0.095 or value == 0 else f"{value:.2g}"


def one_layer(name: str) -> str:
    """A layer's name as Markdown."""
    return f"`{name.replace('`', '')}`"


def _headline(half: int, count: int) -> str:
    if half == 0:
        return "The classes are apart from the first layer on"
    place = half / (count - 1)
    return f"The classes separate {'early' if place < 1 / 3 else 'midway' if place < 2 / 3 else 'late'}"


def _rise(curve: pd.DataFrame, half: int, best: int, gain: str) -> str:
    if half == 0:
        return f"From the first layer on, SI has at least half of {gain}."
    if half == best:
        return f"Right before it, SI has not reached half of {gain}."
    return f"Half of {gain} is reached from {_layer(curve, half)} on, layer {half + 1} of {len(curve)}."


def _end(curve: pd.DataFrame, gain: np.ndarray, best: int) -> str:
    """Only where the last layer lost a tenth of the gain, or more."""
    if gain[-1] > 0.9 * gain[best]:
        return ""
    return f"The last layer, {_layer(curve, len(curve) - 1)}, falls back to {number(curve['value'].iloc[-1])}."


def _at_chance(curve: pd.DataFrame) -> str:
    unclear = np.flatnonzero(~clearly_above_chance(curve))
    if len(unclear) == 0:
        return "Every layer is clearly above chance."
    first, last = _layer(curve, unclear[0]), _layer(curve, unclear[-1])
    if len(unclear) == 1:
        return f"One layer, {first}, is not clearly above chance."
    consecutive = unclear[-1] - unclear[0] == len(unclear) - 1
    span = f"from {first} to {last}" if consecutive else f"the first {first} and the last {last}"
    return f"{len(unclear)} layers, {span}, are not clearly above chance."


def _where(curve: pd.DataFrame) -> str:
    """Which samples and which pooling, to begin a sentence with."""
    samples, pooling = curve["samples"].iloc[0], curve["pooling"].iloc[0]
    text = {
        "test": "Among the test samples",
        "train": "Among the training samples",
        "cross": "From test to training samples",
    }.get(samples, f"Among the samples of {samples}")
    return f"{text} ({POOLED.get(pooling, pooling)}),"


def _layer(curve: pd.DataFrame, index: int) -> str:
    return one_layer(curve["layer"].iloc[index])


def _preferred(values: pd.Series, order: tuple[str, ...]) -> str | None:
    found = list(values.unique())
    return next((name for name in order if name in found), found[0] if found else None)
