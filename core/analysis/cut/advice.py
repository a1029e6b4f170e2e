"""Recommend the layer to cut a network at: the earliest that is not worse than the best by more than a tolerance.

The rule is that of `core.measures.noninferiority`: the interval of a layer's difference to the best, paired on the same
samples and corrected for the number of layers compared, must lie above minus the tolerance. This must hold for each of
the layers that may be the best. Where the samples are too few to name a layer, none is recommended, and the advice says
how many would be enough. The network's own head, its last dense layer, is not a candidate.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.comparing import MEASURES, LayersOfStudy, at_level, layer_values
from core.analysis.curves import has_pooling, has_space
from core.analysis.cut.time_saved import COLUMNS as TIME_COLUMNS
from core.analysis.cut.time_saved import time_saved
from core.analysis.result_tables import CUT_CANDIDATES, checked
from core.analysis.separation_level import best_is_clear
from core.data.cached_property import cached_property
from core.measures.noninferiority import UNDECIDED, Decision, Pairs, check_tolerance, corrected_level, decide
from core.measures.paired import unpaired_interval
from core.study.store.opening import Study, StudyError
from core.study.store.tables.ties import has_many_ties

SI_TOLERANCE = 0.03  # default, as a difference of SI
_SIZES = {"parameters": "cumulative_parameters", "flop": "cumulative_flop"}


@dataclass(frozen=True, eq=False)
class Advice:
    """The layer to cut at, and what a cut at each layer saves and costs.

    Attributes
    ----------
    best : str
        The layer of the highest SI.
    recommended : str or None
        The earliest layer that is certainly not worse than the best by more than the tolerance; None where the samples
        cannot decide on one.
    tolerance : float
        How much less SI than the best is acceptable.
    num_samples : int
        Number of queries: samples whose nearest neighbor was searched.
    num_candidates : int
        Number of layers among which the best is the best; intervals are corrected for it.
    separates : bool
        Whether the best layer is above chance by more than the tolerance: the lower end of its interval, corrected
        likewise, is, and the layer is clearly above chance by the rule of the headline; also True where chance is
        unknown. Where it is False, a layer without any information about the classes could be within the tolerance, so
        none is recommended.
    head : str or None
        The network's own head, which is not a candidate; None where it was not measured.
    head_value : float
        SI of the head; nan where it was not measured.
    tied : tuple of str
        The layers that are not candidates because many samples have several neighbors at the same smallest distance
        (`core.study.store.tables.ties`). Where all layers are tied, they are compared nevertheless, and none is
        recommended.
    samples_needed : float
        Number of samples with which a layer could be recommended if all values stayed as they are; nan where unknown.
    smallest_tolerance : float
        With any larger tolerance, a layer could be recommended with the same samples; nan where no interval is known.
    most_tolerance : float
        `separates` is True for all tolerances below this one; 0 where it never is, inf where chance or the interval is
        unknown.
    first : str
        The first candidate in network order.
    split, pooling, measure : str
        The values that were compared.
    layers : DataFrame
        One row a candidate, in network order (`core.analysis.result_tables.CUT_CANDIDATES`):
        layer, position; value, low, high, chance (SI and its individual 95%
        interval); difference (SI minus the highest), difference_low, difference_high (95% interval of the difference
        to the best layer, whichever that is, corrected for the number of candidates; at most 0), paired (whether the
        interval is paired on the same samples); verdict ("within" the tolerance, "worse" or "undecided");
        samples_needed (with which the layer would be within the tolerance if all values stayed as they are; inf where
        it would not, nan where unknown); parameters, flop (up to the layer, for one image; null where unknown);
        parameters_saved, flop_saved (shares of those up to the deepest measured layer); seconds, seconds_saved,
        seconds_saved_low, seconds_saved_high, timing_rounds (for one image, as in `core.analysis.cut.time_saved`; null
        unless added by `with_seconds`); linear_probe, linear_probe_difference (accuracy, and accuracy minus that at the
        best layer; null where not measured).
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
        """The layer to look at first: the recommended one if there is one, else the best."""
        return self.recommended or self.best

    @property
    def undecided(self) -> pd.DataFrame:
        """The rows of the layers before `target` for which these samples cannot decide."""
        before = self.layers["position"] < self.row(self.target)["position"]
        rows: pd.DataFrame = self.layers[before & (self.layers["verdict"] == UNDECIDED)]
        return rows

    def row(self, layer: str) -> pd.Series:
        """Return the row of a candidate.

        Raises
        ------
        ValueError
            The layer is not a candidate.
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
    tolerance: float = SI_TOLERANCE,
) -> Advice:
    """Choose the layer to cut at, from the tables of a study alone.

    Parameters
    ----------
    study : Study
        In a study of ready-made features, where the network is unknown, sizes and savings are null.
    split : {"test", "train"}, optional
        Which samples. The default is "test", or "train" where there are no test samples or all of them are of a single
        class. Where a study has no test samples, "test" means its training samples too.
    pooling : {"mean", "flat"}
        Where the study has only the other one, that one is used.
    measure : {"separation", "cross"}, optional
        SI within the split (default), or SI of test samples and their nearest training samples.
    layers : sequence of str, optional
        The candidates; default all layers at which a network can be cut (`cut_candidates`).
    tolerance : float
        How much less SI than the best is acceptable, between 0 and 1.

    Raises
    ------
    StudyError
        The study lacks the measure, or none of the candidates has a value.
    ValueError
        Unknown measure, or tolerance out of range.
    """
    check_tolerance(tolerance)
    return CutCandidates.of(study, split=split, pooling=pooling, measure=measure, layers=layers).advise(tolerance)


def recommend_layer(
    study: Study,
    *,
    split: str | None = None,
    pooling: str = "mean",
    measure: str | None = None,
    layers: Sequence[str] | None = None,
    tolerance: float = SI_TOLERANCE,
) -> Advice:
    """Return the same recommendation as `advise` in less time.

    Layers whose individual intervals already exclude that they are within the tolerance are not compared, and are
    missing from the table `layers` of the result. Parameters and errors are those of `advise`.
    """
    check_tolerance(tolerance)
    candidates = CutCandidates.of(study, split=split, pooling=pooling, measure=measure, layers=layers)
    return _advice(candidates, candidates.layers[candidates.may_be_within(tolerance)], tolerance)


def cut_candidates(study: Study) -> list[str]:
    """Return the measured layers at which a network can be cut, in network order.

    These are all layers except the pixels and the network's own head, or all layers if nothing else was measured.
    """
    head = head_layer(study)
    layers = study.layers[study.layers["kind"].astype(str) != "Input"]
    names = [str(layer) for layer in layers["layer"] if layer != head]
    return names or study.layers["layer"].tolist()


def head_layer(study: Study) -> str | None:
    """Return the network's own head: the last measured layer, if it is dense and without spatial extent."""
    last = study.layers.iloc[-1]
    is_head = str(last["kind"]) in ("Dense", "Linear") and len(last["output_shape"]) == 1
    return str(last["layer"]) if is_head else None


def with_seconds(advice: Advice, timing: Mapping[str, Any]) -> Advice:
    """Return the advice with the measured seconds an image from the pixels to each layer.

    Parameters
    ----------
    advice : Advice
    timing : mapping
        With seconds and rounds, as returned by `core.analysis.cut.timings.load_timing`.
    """
    table = time_saved(timing["seconds"], timing["rounds"], advice.layers["layer"].tolist())
    columns = {name: table[name].to_numpy() for name in TIME_COLUMNS}
    return replace(advice, layers=advice.layers.assign(**columns))


@dataclass(frozen=True, eq=False)
class CutCandidates:
    """The candidates of `advise`, their values, and the intervals of their differences, for advice at any tolerance.

    An interval does not depend on the tolerance, and takes most of the time. So it is computed once.

    Attributes
    ----------
    study : Study
        The study.
    split, pooling, measure : str
        The values that are compared.
    layers : DataFrame
        The candidates in network order, indexed by layer: position, value, low, high, chance, num_queries, num_tied.
    measured : DataFrame
        The values of all layers, candidates or not, without those that have no value or many tied samples.
    tied : tuple of str
        The layers that are not candidates because of their many tied samples.
    head, head_value
        As in `Advice`.
    """

    study: Study
    split: str
    pooling: str
    measure: str
    layers: pd.DataFrame
    measured: pd.DataFrame
    tied: tuple[str, ...]
    head: str | None
    head_value: float
    _intervals: dict[tuple[str, str], tuple[float, float, bool]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        study: Study,
        *,
        split: str | None = None,
        pooling: str = "mean",
        measure: str | None = None,
        layers: Sequence[str] | None = None,
    ) -> "CutCandidates":
        """Select the candidates; parameters and errors are those of `advise`."""
        measure = measure or MEASURES[0]
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}; got {measure!r}.")
        split, pooling = _available(study, measure, split, pooling)
        measured = layer_values(study, measure=measure, pooling=pooling, split=split)
        candidates = _select(study, measured, layers, f"{measure}, {pooling}, of {split} samples")
        head = head_layer(study)
        if head in candidates.index or head not in measured.index:
            head = None
        head_value = float("nan") if head is None else float(measured["value"].to_dict()[head])
        tied = has_many_ties(candidates)
        return cls(
            study,
            split,
            pooling,
            measure,
            layers=candidates if tied.all() else candidates[~tied],
            measured=measured[measured["value"].notna() & ~has_many_ties(measured)],
            tied=tuple(candidates.index[tied]),
            head=head,
            head_value=head_value,
        )

    def advise(self, tolerance: float = SI_TOLERANCE) -> Advice:
        """Choose the layer to cut at; see `advise`."""
        return _advice(self, self.layers, tolerance)

    @property
    def level(self) -> float:
        """The level of each interval, corrected for the number of candidates."""
        return corrected_level(len(self.layers))

    def may_be_within(self, tolerance: float) -> NDArray[np.bool_]:
        """Return whether each layer may be within the tolerance, as far as the individual intervals tell."""
        best = at_level(self.layers.iloc[int(self.layers["value"].argmax())], self.level)
        intervals = [at_level(row, self.level) for _, row in self.layers.iterrows()]
        high = np.array([unpaired_interval(best, interval)[1] for interval in intervals])
        return ~(high < -tolerance)  # also where the upper end is nan, which decides nothing

    def most_tolerance(self, best: str) -> float:
        """Return the tolerance from which on the best layer is no longer certainly above chance by more than it.

        It is 0 where the best layer is not clearly above chance by the rule of the headline, which corrects for the
        number of all measured layers.
        """
        if best in self.tied:
            return 0.0
        row = self.layers.T[best]
        if np.isfinite(row["chance"]) and not best_is_clear(self.measured, self.measured.index.tolist().index(best)):
            return 0.0
        margin = float(at_level(row, self.level)[1] - row["chance"])
        return math.inf if math.isnan(margin) else max(0.0, margin)

    @cached_property
    def compared(self) -> LayersOfStudy:
        """The study's layers with their neighbors, as far as they have been compared."""
        return LayersOfStudy(self.study, measure=self.measure, pooling=self.pooling, split=self.split)

    def compare(self, pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
        """Compare SI of the first layer of each pair with that of the second: low, high and paired, one row a pair."""
        unknown = [pair for pair in dict.fromkeys(pairs) if pair not in self._intervals]
        if unknown:
            rows = self.compared.compare([(second, first) for first, second in unknown], level=self.level)
            self._intervals.update(
                zip(unknown, zip(rows["low"], rows["high"], rows["paired"], strict=True), strict=True)
            )
        index = pd.MultiIndex.from_tuples(pairs, names=["first", "second"])
        return pd.DataFrame([self._intervals[pair] for pair in pairs], index, columns=["low", "high", "paired"])


def _advice(candidates: CutCandidates, values: pd.DataFrame, tolerance: float) -> Advice:
    """Decide among the candidates in `values`; all others are certainly worse."""
    names = values.index.tolist()
    compared: list[pd.DataFrame] = []

    def intervals(pairs: Pairs) -> NDArray[np.float64]:
        """Compute the intervals that the decision needs, and remember which of them are paired."""
        if not pairs:
            return np.empty((0, 2))
        compared.append(candidates.compare([(names[first], names[second]) for first, second in pairs]))
        return compared[-1][["low", "high"]].to_numpy(float)

    decision = decide(values["value"], intervals, tolerance=tolerance)
    best = names[decision.best]
    most_tolerance = candidates.most_tolerance(best)
    separates = tolerance < most_tolerance
    recommended = decision.recommended if separates else None
    paired = {best}
    for rows in compared:
        paired.update(first for first, second in rows.index[rows["paired"].eq(True)] if second == best)
    table = _with_decision(values, decision).assign(paired=values.index.isin(paired))
    study = candidates.study
    table = table.join(_sizes(study, table))
    table = table.join(_probe_accuracies(study, table, best, candidates.pooling, candidates.split))
    return Advice(
        best=best,
        recommended=None if recommended is None else names[recommended],
        tolerance=tolerance,
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
        layers=checked(table.reset_index(names="layer"), CUT_CANDIDATES, "candidates"),
        first=str(candidates.layers.index[0]),
        tied=candidates.tied,
    )


def _with_decision(values: pd.DataFrame, decision: Decision) -> pd.DataFrame:
    """Add the differences to the best and the verdicts to the candidates."""
    needed = [_samples_needed(*row) for row in zip(decision.sample_ratio, values["num_queries"], strict=True)]
    return values.drop(columns=["num_queries", "num_tied"]).assign(
        difference=values["value"] - values["value"].iloc[decision.best],
        difference_low=decision.low,
        difference_high=decision.high,
        verdict=decision.verdicts,
        samples_needed=needed,
    )


def _samples_needed(ratio: float, num_samples: float) -> float:
    """The number of samples that a ratio means, rounded up to two digits, because it is only an estimate."""
    exact = ratio * num_samples
    if not np.isfinite(exact) or exact <= 0:
        return exact
    unit = 10 ** max(0, math.floor(math.log10(exact)) - 1)
    return float(math.ceil(exact / unit) * unit)


def _available(study: Study, measure: str, split: str | None, pooling: str) -> tuple[str, str]:
    """The requested split and pooling, or those that the study has instead; see `advise`."""
    rows = study.measurements
    rows = rows[(rows["measure"] == measure) & (rows["repeat"] == 0)]
    if split is None:
        split = "test"
        several_classes = rows.loc[~(rows["chance"] == 1), "split"]
        rows = rows[~(rows["chance"] == 1)] if (several_classes == "train").any() else rows
    if not (rows["split"] == split).any() and measure == "separation":
        split = "train" if (rows["split"] == "train").any() else split
    spatial = study.layers.loc[has_space(study.layers), "layer"]
    poolings = set(rows.loc[rows["layer"].isin(spatial), "pooling"].astype(str))
    return split, poolings.pop() if len(poolings) == 1 else pooling


def _select(study: Study, measured: pd.DataFrame, layers: Sequence[str] | None, description: str) -> pd.DataFrame:
    """Select the rows of the candidates from those of `layer_values`. description : what was measured, in words."""
    unknown = [layer for layer in layers or () if layer not in measured.index]
    if unknown:
        raise StudyError(
            f"The study in {study.path} has no {description} at {unknown[0]!r}. "
            f"It has it at {', '.join(measured.index[:5])} and others."
        )
    chosen = cut_candidates(study) if layers is None else list(layers)
    candidates = measured[measured["value"].notna() & measured.index.isin(chosen)]
    if candidates.empty:
        raise StudyError(f"The study in {study.path} must have a value at one layer at least; got none.")
    return candidates[["position", "value", "low", "high", "chance", "num_queries", "num_tied"]]


def _sizes(study: Study, compared: pd.DataFrame) -> pd.DataFrame:
    """Parameters and operations up to each candidate, and the shares of them that a cut there saves."""
    layers = study.layers.set_index("layer")
    columns = {}
    for name, column in _SIZES.items():
        cumulative = layers[column].astype(float)
        total = cumulative.max() if cumulative.max() > 0 else np.nan
        columns[name] = cumulative.reindex(compared.index)
        columns[f"{name}_saved"] = 1 - columns[name] / total
    return pd.DataFrame(columns).assign(**dict.fromkeys(TIME_COLUMNS, np.nan))


def _probe_accuracies(study: Study, compared: pd.DataFrame, best: str, pooling: str, split: str) -> pd.DataFrame:
    """The accuracy of the linear probe at each candidate, where it was measured."""
    rows = study.measurements
    rows = rows[(rows["measure"] == "linear_probe") & (rows["split"] == split) & (rows["repeat"] == 0)]
    rows = rows[has_pooling(rows, study.layers, pooling)].drop_duplicates("layer")
    accuracy = rows.astype({"layer": object}).set_index("layer")["value"].reindex(compared.index)
    return pd.DataFrame({"linear_probe": accuracy, "linear_probe_difference": accuracy - accuracy[best]})
