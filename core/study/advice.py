"""Which layer to cut a network at: the best one, the earliest that is as good, and what cutting there saves and costs.

The best layer is the one of the highest SI. A layer is *within* where the 95 % interval of its difference to the best,
paired on the same samples, holds 0, and its own interval reaches that of the best. The earliest such layer, in network
order, is advised.

That the best was chosen by its value is not corrected for: the highest of many values is, by luck, a little too high,
so that differences to it come out too large, and the earliest layer rather too late than too early. Nor is being within
a proof of being equal: how much a cut may cost is what the interval's other end says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from core.study.comparing import MEASURES, compare_layers, measured_layers
from core.study.results import Study, StudyError

_SIZES = {"parameters": "cumulative_parameters", "flop": "cumulative_flop"}


@dataclass(frozen=True, eq=False)
class Advice:
    """Where to cut, and what each cut saves and costs.

    Attributes
    ----------
    best, earliest
        The layer of the highest SI, and the earliest one within; the same where no earlier one is.
    split, pooling, measure
        What was compared.
    layers
        One row a candidate, in network order: layer, position; value, low, high (SI); difference, difference_low,
        difference_high (SI minus that of the best, at most 0, with its 95 % interval; all 0 for the best), paired
        (whether that interval is), within; parameters, flop (up to the layer, on one image; null where unknown);
        parameters_saved, flop_saved (shares of those up to the deepest layer measured); seconds, seconds_saved (an
        image; null unless `with_seconds`); linear_probe, linear_probe_difference (accuracy, and that minus the one of
        the best; null where not measured).
    """

    best: str
    earliest: str
    split: str
    pooling: str
    measure: str
    layers: pd.DataFrame

    def row(self, layer: str) -> pd.Series:
        """What is known of a candidate."""
        found = self.layers[self.layers["layer"] == layer]
        if found.empty:
            raise ValueError(f"layer must be one of the candidates, {', '.join(self.layers['layer'])}; got {layer!r}.")
        return found.iloc[0]


@dataclass(frozen=True)
class EarliestEqual:
    """The earliest layer that cannot be told from the best one.

    low, high : 95 % interval of the best layer's SI minus this one's. paired : whether it knows that the samples are
    the same; nan and False where the layer is the best one itself.
    """

    best: str
    best_value: float
    layer: str
    value: float
    low: float
    high: float
    paired: bool


def advise(
    study: Study,
    *,
    split: str = "test",
    pooling: str = "mean",
    measure: str | None = None,
    layers: Sequence[str] | None = None,
) -> Advice:
    """Choose the layer to cut at, from the tables of a study alone.

    Parameters
    ----------
    study : of any kind; of ready-made features, which know no network, sizes and savings are null.
    split : of the samples; a study without test samples is asked about its training samples.
    pooling : "mean" or "flat"; a study that has only the other one is asked about that.
    measure : "separation" (default), or "cross": test samples and their nearest training samples.
    layers : the candidates; default all that were measured. `layers_before_head` leaves out the network's own head.

    Raises
    ------
    StudyError
        The study lacks the measure, or none of the candidates has a value.
    ValueError
        An unknown measure.
    """
    measure = measure or MEASURES[0]
    if measure not in MEASURES:
        raise ValueError(f"measure must be one of {', '.join(MEASURES)}; got {measure!r}.")
    split, pooling = _there(study, measure, split, pooling)
    values = _values(study, layers, measure, pooling, split)
    best = str(values["value"].idxmax())
    compared = _to_best(study, values, best, measure, pooling, split)
    table = compared.join(_sizes(study, compared)).join(_probe(study, compared, best, pooling, split))
    table = table.reset_index(names="layer")
    return Advice(best, str(table["layer"][table["within"].argmax()]), split, pooling, measure, table)


def earliest_within(
    study: Study, *, split: str, pooling: str, measure: str = "separation", layers: Sequence[str] | None = None
) -> EarliestEqual:
    """The layer that `advise` calls the earliest, found without comparing all of them.

    Raises
    ------
    StudyError
        The study lacks the measure, or none of the layers has a value.
    """
    values = _values(study, layers, measure, pooling, split)
    best = str(values["value"].idxmax())
    before = (values["position"] < values["position"][best]) & _reaches(values, best)
    compared = _to_best(study, values[before | (values.index == best)], best, measure, pooling, split)
    found = compared.iloc[int(compared["within"].argmax())]
    unknown, itself = float("nan"), found.name == best
    return EarliestEqual(
        best=best,
        best_value=float(values["value"][best]),
        layer=str(found.name),
        value=float(found["value"]),
        low=unknown if itself else -float(found["difference_high"]),
        high=unknown if itself else -float(found["difference_low"]),
        paired=bool(found["paired"]) and not itself,
    )


def layers_before_head(study: Study) -> list[str]:
    """The measured layers but for the network's own head: the dense layers without space at its end."""
    layers = study.layers
    is_head = (layers["kind"].astype(str) == "Dense") & (layers["output_shape"].map(len) == 1)
    body = int(np.flatnonzero(~is_head)[-1]) + 1 if (~is_head).any() else 0
    return layers["layer"].iloc[:body].tolist()


def with_seconds(advice: Advice, seconds: Mapping[str, float]) -> Advice:
    """The same advice with the seconds an image that were measured from the pixels to some layers.

    seconds : from layer to seconds, as `core.network.timing.prefix_seconds` measures them. Savings are shares of the
        longest.
    """
    measured = advice.layers["layer"].map(dict(seconds)).astype(float)
    saved = 1 - measured / max(seconds.values())
    return replace(advice, layers=advice.layers.assign(seconds=measured, seconds_saved=saved))


def _there(study: Study, measure: str, split: str, pooling: str) -> tuple[str, str]:
    """The split and the pooling asked for, or the ones that there are where the study has no other."""
    rows = study.measurements
    rows = rows[(rows["measure"] == measure) & (rows["repeat"] == 0)]
    if not (rows["split"] == split).any() and measure == "separation":
        split = "train" if (rows["split"] == "train").any() else split
    spatial = study.layers.loc[study.layers["output_shape"].map(len) > 1, "layer"]
    found = set(rows.loc[rows["layer"].isin(spatial), "pooling"].astype(str))
    return split, found.pop() if len(found) == 1 else pooling


def _values(study: Study, layers: Sequence[str] | None, measure: str, pooling: str, split: str) -> pd.DataFrame:
    """The candidates in network order, indexed by layer: position, value, low, high."""
    values = measured_layers(study, measure=measure, pooling=pooling, split=split)
    unknown = [layer for layer in layers or () if layer not in values.index]
    if unknown:
        raise StudyError(
            f"The study in {study.path} has no {measure}, {pooling}, of {split} samples at {unknown[0]!r}. "
            f"It has it at {', '.join(values.index[:5])} and others."
        )
    kept = values["value"].notna() & (True if layers is None else values.index.isin(list(layers)))
    if not kept.any():
        raise StudyError(f"The study in {study.path} must have a value at one layer at least; got none.")
    return values.loc[kept, ["position", "value", "low", "high"]]


def _to_best(study: Study, values: pd.DataFrame, best: str, measure: str, pooling: str, split: str) -> pd.DataFrame:
    """The candidates with their differences to the best, 0 for itself, and whether they are within."""
    pairs = [(layer, best) for layer in values.index if layer != best]
    against = compare_layers(study, study, pairs, measure=measure, pooling=pooling, split=split).set_index(
        "layer_before"
    )
    against = against.reindex(values.index)
    itself = values.index == best
    low, high = (-against[end].astype(float).mask(itself, 0.0) + 0.0 for end in ("high", "low"))  # + 0.0: no −0
    return values.assign(
        difference=values["value"] - values["value"][best],
        difference_low=low,
        difference_high=high,
        paired=against["paired"].eq(True) | itself,
        within=(low <= 0) & (high >= 0) & _reaches(values, best),
    )


def _reaches(values: pd.DataFrame, best: str) -> pd.Series:
    """Whether a layer's own interval, where there is one, reaches that of the best."""
    return ~(values["high"] < values["low"][best])


def _sizes(study: Study, compared: pd.DataFrame) -> pd.DataFrame:
    """What the network holds and does up to each candidate, and the shares of it that cutting there saves."""
    layers = study.layers.set_index("layer")
    columns = {}
    for name, column in _SIZES.items():
        whole = layers[column].astype(float)
        columns[name] = whole.reindex(compared.index)
        columns[f"{name}_saved"] = 1 - columns[name] / (whole.max() if whole.max() > 0 else np.nan)
    return pd.DataFrame(columns).assign(seconds=np.nan, seconds_saved=np.nan)


def _probe(study: Study, compared: pd.DataFrame, best: str, pooling: str, split: str) -> pd.DataFrame:
    """The accuracy of the linear probe at each candidate, where it was measured."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["split"] == split) & (rows["repeat"] == 0)]
    flat_only = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    rows = rows[(rows["pooling"] == pooling) | rows["layer"].isin(flat_only)].drop_duplicates("layer")
    accuracy = rows.astype({"layer": object}).set_index("layer")["value"].reindex(compared.index)
    return pd.DataFrame({"linear_probe": accuracy, "linear_probe_difference": accuracy - accuracy[best]})
