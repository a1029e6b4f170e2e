"""Which layer to cut a network at: the earliest that is not worse than the best by more than a tolerance.

The rule is that of `core.measures.noninferiority`: the interval of a layer's difference to the best, paired on the same
samples and corrected for the number of layers compared, must lie above minus the tolerance, whichever of the layers
that may be the best is the best. Where no layer can be named with the samples at hand, none is recommended, and how
many samples would be enough is said. The network's own head, its last dense layer, is no place to cut.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.comparing import MEASURES, at_level, compare_layers, layer_values
from core.analysis.cut.time_saved import COLUMNS as TIME_COLUMNS
from core.analysis.cut.time_saved import time_saved
from core.analysis.separation_level import best_is_clear
from core.measures.noninferiority import UNDECIDED, Decision, Pairs, check_tolerance, corrected_level, decide
from core.measures.paired import unpaired_interval
from core.study.store.opening import Study, StudyError
from core.study.store.ties import has_many_ties

TOLERANCE = 0.03  # of SI
_SIZES = {"parameters": "cumulative_parameters", "flop": "cumulative_flop"}


@dataclass(frozen=True, eq=False)
class Advice:
    """Where to cut, and what each cut saves and costs.

    Attributes
    ----------
    best
        The layer of the highest SI.
    recommended
        The earliest layer that is certainly not worse than the best by more than the tolerance; None where the samples
        cannot name one.
    tolerance
        How much less SI than the best is acceptable.
    num_samples, num_candidates
        Samples whose neighbor was asked for, and layers compared.
    separates
        Whether the best layer's own interval, corrected likewise, lies above chance by more than the tolerance and the
        headline would call it clearly above chance, or chance is unknown. Where it does not, a layer that knows nothing
        of the classes would be within the tolerance, and none is recommended.
    head, head_value
        The network's own head, which is no candidate, and its SI; None and nan where it was not measured.
    tied
        The layers that are no candidates because many samples have several neighbors at the same smallest distance
        (`core.study.store.ties`). Where all are so, they are compared all the same and none is recommended.
    samples_needed
        Samples with which a layer could be named if all values stayed as they are; nan where unknown.
    smallest_tolerance
        A larger tolerance than this one names a layer with the same samples; nan where no interval is known.
    most_tolerance
        `separates` holds for tolerances below this one; 0 where for none, inf where chance or the interval is unknown.
    first
        The first candidate in network order.
    split, pooling, measure
        What was compared.
    layers
        One row a candidate, in network order: layer, position; value, low, high, chance (SI and its own 95 % interval);
        difference (SI minus the highest), difference_low, difference_high (95 % interval of the difference to the best
        layer, whichever that is, corrected for the number of candidates; at most 0), paired (whether it knows that the
        samples are the same); verdict: "within" the tolerance, "worse" than that, or "undecided"; samples_needed (at
        which the layer would be within if all values stayed as they are; inf where it would not, nan where unknown);
        parameters, flop (up to the layer, on one image; null where unknown); parameters_saved, flop_saved (shares of
        those up to the deepest layer measured); seconds, seconds_saved, seconds_saved_low, seconds_saved_high,
        timing_rounds (an image; of `core.analysis.cut.time_saved`, null unless `with_seconds`);
        linear_probe, linear_probe_difference (accuracy, and that minus the one of the best; null where not measured).
    """

    best: str
    recommended: str | None
    tolerance: float
    num_samples: int
    num_candidates: int
    separates: bool
    head: str | None
    head_value: float
    samples_needed: float
    smallest_tolerance: float
    most_tolerance: float
    split: str
    pooling: str
    measure: str
    layers: pd.DataFrame
    first: str
    tied: tuple[str, ...] = ()

    @property
    def all_tied(self) -> bool:
        """Whether nothing can be concluded from any layer's SI."""
        return self.best in self.tied

    @property
    def target(self) -> str:
        """The layer to look at first: the recommended one, else the best."""
        return self.recommended or self.best

    @property
    def undecided(self) -> pd.DataFrame:
        """The layers before the recommended one, or else the best, that these samples leave open."""
        before = self.layers["position"] < self.row(self.target)["position"]
        rows: pd.DataFrame = self.layers[before & (self.layers["verdict"] == UNDECIDED)]
        return rows

    def row(self, layer: str) -> pd.Series:
        """What is known of a candidate.

        Raises
        ------
        ValueError
            It is none.
        """
        rows = self.layers[self.layers["layer"] == layer]
        if rows.empty:
            raise ValueError(f"layer must be one of the candidates, {', '.join(self.layers['layer'])}; got {layer!r}.")
        return rows.iloc[0]


def advise(
    study: Study,
    *,
    split: str | None = None,
    pooling: str = "mean",
    measure: str | None = None,
    layers: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Advice:
    """Choose the layer to cut at, from the tables of a study alone.

    Parameters
    ----------
    study : of any kind; of ready-made features, which know no network, sizes and savings are null.
    split : of the samples; default "test". A study without test samples is asked about its training samples, by default
        one with test samples of a single class, too.
    pooling : "mean" or "flat"; a study that has only the other one is asked about that.
    measure : "separation" (default), or "cross": test samples and their nearest training samples.
    layers : the candidates; default all at which a network can be cut (`cut_candidates`).
    tolerance : how much less SI than the best is acceptable, between 0 and 1.

    Raises
    ------
    StudyError
        The study lacks the measure, or none of the candidates has a value.
    ValueError
        An unknown measure, or a tolerance out of range.
    """
    candidates = _Candidates.of(study, split, pooling, measure, layers, tolerance)
    return _advice(candidates, candidates.layers)


def recommend_layer(
    study: Study,
    *,
    split: str | None = None,
    pooling: str = "mean",
    measure: str | None = None,
    layers: Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
) -> Advice:
    """The same recommendation as `advise`, without comparing the layers whose own intervals put them beyond doubt.

    Parameters and errors are those of `advise`; `layers` of the result lists the compared ones only.
    """
    candidates = _Candidates.of(study, split, pooling, measure, layers, tolerance)
    return _advice(candidates, candidates.layers[candidates.may_be_within()])


def cut_candidates(study: Study) -> list[str]:
    """The measured layers at which a network can be cut, in network order.

    These are all but the pixels and the network's own head; all layers where nothing else was measured.
    """
    head = head_layer(study)
    layers = study.layers[study.layers["kind"].astype(str) != "Input"]
    names = [str(layer) for layer in layers["layer"] if layer != head]
    return names or study.layers["layer"].tolist()


def head_layer(study: Study) -> str | None:
    """The network's own head: its last measured layer, where that is dense and without space."""
    last = study.layers.iloc[-1]
    is_head = str(last["kind"]) == "Dense" and len(last["output_shape"]) == 1
    return str(last["layer"]) if is_head else None


def with_seconds(advice: Advice, timing: Mapping[str, Any]) -> Advice:
    """The same advice with the seconds an image that were measured from the pixels to some layers.

    timing : with seconds and, where known, rounds, as `core.analysis.cut.timings` measures and keeps them.
    """
    table = time_saved(timing["seconds"], timing.get("rounds"), advice.layers["layer"].tolist())
    columns = {name: table[name].to_numpy() for name in TIME_COLUMNS}
    return replace(advice, layers=advice.layers.assign(**columns))


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The layers to choose from under the choices of a question, and how sure their differences are.

    layers : in network order, indexed by layer: position, value, low, high, chance,
        num_queries.
    measured : the same of all layers with a value but for those with many tied samples, candidates or not.
    tied : the layers that are no candidates because of their many tied samples.
    """

    study: Study
    split: str
    pooling: str
    measure: str
    tolerance: float
    layers: pd.DataFrame
    measured: pd.DataFrame
    tied: tuple[str, ...]
    head: str | None
    head_value: float

    @classmethod
    def of(
        cls,
        study: Study,
        split: str | None,
        pooling: str,
        measure: str | None,
        layers: Sequence[str] | None,
        tolerance: float,
    ) -> "_Candidates":
        """Find the candidates, or say what the study lacks."""
        measure = measure or MEASURES[0]
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}; got {measure!r}.")
        check_tolerance(tolerance)
        split, pooling = _available(study, measure, split, pooling)
        measured = layer_values(study, measure=measure, pooling=pooling, split=split)
        candidates = _chosen(study, measured, layers, f"{measure}, {pooling}, of {split} samples")
        head = head_layer(study)
        head = None if head in candidates.index or head not in measured.index else head
        head_value = float("nan") if head is None else float(measured["value"].to_dict()[head])
        tied = has_many_ties(candidates)
        return cls(
            study,
            split,
            pooling,
            measure,
            tolerance,
            layers=candidates if tied.all() else candidates[~tied],
            measured=measured[measured["value"].notna() & ~has_many_ties(measured)],
            tied=tuple(candidates.index[tied]),
            head=head,
            head_value=head_value,
        )

    @property
    def level(self) -> float:
        """That of each interval."""
        return corrected_level(len(self.layers))

    def may_be_within(self) -> NDArray[np.bool_]:
        """Whether a layer's own interval and that of the best leave it possible that it is within the tolerance."""
        best = at_level(self.layers.iloc[int(self.layers["value"].argmax())], self.level)
        own = [at_level(row, self.level) for _, row in self.layers.iterrows()]
        high = np.array([unpaired_interval(best, layer)[1] for layer in own])
        return ~(high < -self.tolerance)

    def most_tolerance(self, best: str) -> float:
        """The tolerance from which on the best layer is no longer certain to be above chance by more than it.

        It must be clearly above chance by the rule of the headline, too, as one of all layers that are measured.
        """
        if best in self.tied:
            return 0.0
        row = self.layers.T[best]
        if np.isfinite(row["chance"]) and not best_is_clear(self.measured, self.measured.index.tolist().index(best)):
            return 0.0
        margin = float(at_level(row, self.level)[1] - row["chance"])
        return math.inf if math.isnan(margin) else max(0.0, margin)

    def compare(self, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
        """SI of the first layer of each pair minus that of the second, a row a pair: low, high, paired."""
        rows = compare_layers(
            self.study,
            self.study,
            [(second, first) for first, second in pairs],
            measure=self.measure,
            pooling=self.pooling,
            split=self.split,
            level=self.level,
        )
        return rows[["low", "high", "paired"]].set_axis(pd.MultiIndex.from_tuples(pairs, names=["first", "second"]))


def _advice(candidates: _Candidates, values: pd.DataFrame) -> Advice:
    """Decide among some of the candidates, all others being worse beyond doubt."""
    names = values.index.tolist()
    compared: list[pd.DataFrame] = []

    def intervals(pairs: Pairs) -> NDArray[np.float64]:
        if not pairs:
            return np.empty((0, 2))
        compared.append(candidates.compare([(names[first], names[second]) for first, second in pairs]))
        return compared[-1][["low", "high"]].to_numpy(float)

    decision = decide(values["value"], intervals, tolerance=candidates.tolerance)
    best = names[decision.best]
    most_tolerance = candidates.most_tolerance(best)
    separates = candidates.tolerance < most_tolerance
    recommended = decision.recommended if separates else None
    paired = {first for rows in compared for first, second in rows.index[rows["paired"].eq(True)] if second == best}
    table = _decided(values, decision).assign(paired=values.index.isin([*paired, best]))
    study = candidates.study
    table = table.join(_sizes(study, table)).join(_probe(study, table, best, candidates.pooling, candidates.split))
    return Advice(
        best=best,
        recommended=None if recommended is None else names[recommended],
        tolerance=candidates.tolerance,
        num_samples=int(values["num_queries"].max()),
        num_candidates=len(candidates.layers),
        separates=separates,
        head=candidates.head,
        head_value=candidates.head_value,
        samples_needed=_samples_needed(decision.smallest_ratio, float(values["num_queries"].max())),
        smallest_tolerance=decision.smallest_tolerance,
        most_tolerance=most_tolerance,
        split=candidates.split,
        pooling=candidates.pooling,
        measure=candidates.measure,
        layers=table.reset_index(names="layer"),
        first=str(candidates.layers.index[0]),
        tied=candidates.tied,
    )


def _decided(values: pd.DataFrame, decision: Decision) -> pd.DataFrame:
    """The candidates, indexed by layer, with their differences to the best and the verdicts."""
    needed = [_samples_needed(*row) for row in zip(decision.sample_ratio, values["num_queries"], strict=True)]
    return values.drop(columns=["num_queries", "num_tied"]).assign(
        difference=values["value"] - values["value"].iloc[decision.best],
        difference_low=decision.low,
        difference_high=decision.high,
        verdict=decision.verdicts,
        samples_needed=needed,
    )


def _samples_needed(ratio: float, num_samples: float) -> float:
    """A number of samples, rounded up to two digits: more would pretend to know it."""
    exact = ratio * num_samples
    if not np.isfinite(exact) or exact <= 0:
        return exact
    unit = 10 ** max(0, math.floor(math.log10(exact)) - 1)
    return float(math.ceil(exact / unit) * unit)


def _available(study: Study, measure: str, split: str | None, pooling: str) -> tuple[str, str]:
    """The split and the pooling asked for, or the ones that there are where the study has no other."""
    rows = study.measurements
    rows = rows[(rows["measure"] == measure) & (rows["repeat"] == 0)]
    if split is None:
        split = "test"
        several_classes = rows.loc[~(rows["chance"] == 1), "split"]
        rows = rows[~(rows["chance"] == 1)] if (several_classes == "train").any() else rows
    if not (rows["split"] == split).any() and measure == "separation":
        split = "train" if (rows["split"] == "train").any() else split
    spatial = study.layers.loc[study.layers["output_shape"].map(len) > 1, "layer"]
    poolings = set(rows.loc[rows["layer"].isin(spatial), "pooling"].astype(str))
    return split, poolings.pop() if len(poolings) == 1 else pooling


def _chosen(study: Study, measured: pd.DataFrame, layers: Sequence[str] | None, what: str) -> pd.DataFrame:
    """The candidates in network order, indexed by layer: position, value, low, high, chance, num_queries.

    measured : of `layer_values`. what : was measured, in words.
    """
    unknown = [layer for layer in layers or () if layer not in measured.index]
    if unknown:
        raise StudyError(
            f"The study in {study.path} has no {what} at {unknown[0]!r}. "
            f"It has it at {', '.join(measured.index[:5])} and others."
        )
    chosen = cut_candidates(study) if layers is None else list(layers)
    candidates = measured[measured["value"].notna() & measured.index.isin(chosen)]
    if candidates.empty:
        raise StudyError(f"The study in {study.path} must have a value at one layer at least; got none.")
    return candidates[["position", "value", "low", "high", "chance", "num_queries", "num_tied"]]


def _sizes(study: Study, compared: pd.DataFrame) -> pd.DataFrame:
    """What the network holds and does up to each candidate, and the shares of it that cutting there saves."""
    layers = study.layers.set_index("layer")
    columns = {}
    for name, column in _SIZES.items():
        whole = layers[column].astype(float)
        columns[name] = whole.reindex(compared.index)
        columns[f"{name}_saved"] = 1 - columns[name] / (whole.max() if whole.max() > 0 else np.nan)
    return pd.DataFrame(columns).assign(**dict.fromkeys(TIME_COLUMNS, np.nan))


def _probe(study: Study, compared: pd.DataFrame, best: str, pooling: str, split: str) -> pd.DataFrame:
    """The accuracy of the linear probe at each candidate, where it was measured."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["split"] == split) & (rows["repeat"] == 0)]
    flat_only = study.layers.loc[study.layers["output_shape"].map(len) <= 1, "layer"]
    rows = rows[(rows["pooling"] == pooling) | rows["layer"].isin(flat_only)].drop_duplicates("layer")
    accuracy = rows.astype({"layer": object}).set_index("layer")["value"].reindex(compared.index)
    return pd.DataFrame({"linear_probe": accuracy, "linear_probe_difference": accuracy - accuracy[best]})
