"""Compare SI between two studies of the same samples, layer by layer: before and after training, or two networks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.curves import has_pooling, pooling_filters
from core.analysis.result_tables import FELL, LAYER_CHANGES, MATCHES, ROSE, checked
from core.data.cached_property import cached_property
from core.measures.paired import paired_difference, unpaired_interval
from core.measures.significance import normal_p, q_values, wilson, wilson_n
from core.study.store.filtering import Filter
from core.study.store.lookup import check_study
from core.study.store.opening import Study, StudyError
from core.study.store.study_json import look_up
from core.study.store.tables.schemas import POOLINGS
from core.study.store.tables.ties import MANY_TIES, has_many_ties

MEASURES = ("separation", "cross")
CERTAIN = 0.05  # a change with a q-value below this one is called certain
Z_95 = 1.959964  # standard errors in half of a 95% interval
_LEVEL = 0.95  # level of the intervals that studies store
COLUMNS = list(LAYER_CHANGES.columns)
_ALL_LAYERS_ONLY = ("q_value", "matched_by", "verdict")  # columns that need a comparison of all layers


@dataclass(frozen=True)
class LayerMatch:
    """The layers of two studies that are compared with each other.

    Attributes
    ----------
    by : str
        How layers were matched: by "name" or by "position".
    pairs : tuple of (str, str)
        Pairs of a layer of `before` and a layer of `after`, in the network order of `after`.
    only_before, only_after : tuple of str
        The layers of each study that have no partner in the other.
    num_common : int
        Number of layer names that both studies have.
    assumes_same_samples : bool
        Whether the samples are only assumed to be the same, because neither study has ids; see `lacks_ids`.
    """

    by: str
    pairs: tuple[tuple[str, str], ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    num_common: int
    assumes_same_samples: bool = False


def compare_studies(
    before: Study,
    after: Study,
    *,
    measure: str = "separation",
    pooling: str = "mean",
    split: str = "test",
    match: str | None = None,
) -> pd.DataFrame:
    """Return the change of SI from one study to another at each pair of layers, with its 95% interval.

    Where both studies store a layer's nearest neighbors, the interval is paired: both values are of the same samples,
    and the variance is summed over samples that share neighbors in either graph. Otherwise the interval is computed
    from the intervals of the two values, as if these were of independent samples, so it is wider than necessary. Where
    one of those is missing, there is no interval.

    Parameters
    ----------
    before : Study
        The study to compare with.
    after : Study
        A study of the same samples; the network may be another one. Where neither study has ids, the samples are
        assumed to be the same in the same order, which `match_layers` reports in `assumes_same_samples`.
    measure : {"separation", "cross"}
        SI within the split, or SI of test samples and their nearest training samples (split "test").
    pooling : {"mean", "flat"}
        Which features of a layer; a layer without spatial extent counts in both.
    split : {"test", "train"}
        Which samples.
    match : {"name", "position"}, optional
        How layers are matched; default as `match_layers` chooses.

    Returns
    -------
    DataFrame
        One row for each layer of `after` that has a partner, in network order: layer, layer_before, position,
        position_before, relative_position (0 to 1), before, after (SI), difference (after − before), low, high (95%
        interval of the difference), z, p_value (two-sided), q_value (Benjamini and Hochberg, over these rows), paired
        (whether the interval is paired), num_samples (of the value with fewer samples), matched_by ("name" or
        "position"), verdict. The verdict is "rose" or "fell" where q < 0.05, otherwise "no certain change", which is
        not "no change"; "no interval" where there is none; "many ties" where one of the two layers has many tied
        samples (`core.study.store.tables.ties`). Rows with many ties have no q-value and do not count in those of the
        others.

    Raises
    ------
    StudyError
        The studies are of different samples, or one lacks the measure; the message says what differs.
    ValueError
        Unknown measure, pooling or match.
    """
    for study in (before, after):
        check_study(study)
    layers = match_layers(before, after, measure=measure, pooling=pooling, split=split, match=match)
    check_same_samples(before, after, splits=_splits(measure, split))
    first, second = (_MeasuredStudy(study, measure, pooling, split) for study in (before, after))
    for measured in (first, second):
        measured.read_neighbors()
    table = pd.DataFrame([_compare_pair(first, second, *pair) for pair in layers.pairs], columns=COLUMNS)
    table["matched_by"] = layers.by
    tied = table["layer_before"].isin(first.tied_layers) | table["layer"].isin(second.tied_layers)
    table["q_value"] = q_values(table["p_value"].mask(tied).to_numpy(float))
    table["verdict"] = [_verdict(*row) for row in zip(table["difference"], table["q_value"], strict=True)]
    table["verdict"] = table["verdict"].mask(tied, MANY_TIES)
    return checked(table, LAYER_CHANGES, "changes by layer")


def match_layers(
    before: Study,
    after: Study,
    *,
    measure: str = "separation",
    pooling: str = "mean",
    split: str = "test",
    match: str | None = None,
) -> LayerMatch:
    """Match the layers of two studies for `compare_studies`.

    By default, layers are matched by name in three cases: all names of one study are among those of the other; both
    studies are of the same network and have a name in common; at least half of the names of the study with fewer layers
    are among those of the other. So two parts of one network are never matched by position. Two networks that share
    only names such as `input`, `avg_pool` and `predictions` are matched by position: each layer of `after` with the
    layer of `before` whose relative position (0 for the first layer, 1 for the last) is nearest.

    Parameters
    ----------
    before, after, measure, pooling, split
        As in `compare_studies`; layers without this measure do not count.
    match : {"name", "position"}, optional
        How layers are matched instead of the default.

    Raises
    ------
    StudyError
        A study lacks the measure.
    ValueError
        Unknown measure, pooling or match.
    """
    _check_choice("measure", measure, MEASURES)
    _check_choice("pooling", pooling, POOLINGS)
    if match is not None:
        _check_choice("match", match, MATCHES)
    first, second = (layer_values(study, measure=measure, pooling=pooling, split=split) for study in (before, after))
    common = second.index.intersection(first.index)
    by = match or default_match(len(common), len(first), len(second), one_network=_is_one_network(before, after))
    same_name = tuple((str(name), str(name)) for name in common)
    pairs = same_name if by == "name" else _pairs_by_position(first, second)
    used_before = {layer for layer, _ in pairs}
    used_after = {layer for _, layer in pairs}
    return LayerMatch(
        by=by,
        pairs=pairs,
        only_before=tuple(name for name in first.index if name not in used_before),
        only_after=tuple(name for name in second.index if name not in used_after),
        num_common=len(common),
        assumes_same_samples=before is not after and lacks_ids(before) and lacks_ids(after),
    )


def lacks_ids(study: Study) -> bool:
    """Whether the ids of a study are only the row numbers that features without ids get.

    The ids of two such studies are equal even if their samples are different, or the same in another order.
    """
    samples = study.samples
    numbers = samples["sample"].astype(str)
    named = samples["source"].notna() & (samples["source"] != "") & (samples["source"] != samples["id"])
    return bool((samples["id"] == numbers).all() and not named.any())


def default_match(num_common: int, num_before: int, num_after: int, *, one_network: bool) -> str:
    """Choose between "name" and "position" by the rules of `match_layers`.

    Parameters
    ----------
    num_common, num_before, num_after : int
        Number of layer names that both studies have, and of the layers of each.
    one_network : bool
        Whether both studies are of the same network.
    """
    by_name = num_common > 0 and (one_network or 2 * num_common >= min(num_before, num_after))
    return "name" if by_name else "position"


def _is_one_network(before: Study, after: Study) -> bool:
    """Whether both studies record the same network name."""
    first, second = (look_up(study.info, "used.model.name") for study in (before, after))
    return first is not None and first == second


def layer_values(study: Study, *, measure: str, pooling: str, split: str) -> pd.DataFrame:
    """Return the first-order SI of every layer of a study that has this measure.

    Parameters
    ----------
    study : Study
    measure, pooling, split
        As in `compare_studies`.

    Returns
    -------
    DataFrame
        One row a layer in network order, indexed by layer: position, relative_position (0 to 1), value, low, high,
        chance, num_queries, num_tied (null where unknown; see `core.study.store.tables.ties`), q_value (null until the
        study is complete).

    Raises
    ------
    StudyError
        No layer has this measure.
    """
    return _MeasuredStudy(study, measure, pooling, split).table


def compare_layers(
    before: Study,
    after: Study,
    pairs: Sequence[tuple[str, str]],
    *,
    measure: str = "separation",
    pooling: str = "mean",
    split: str = "test",
    level: float = 0.95,
) -> pd.DataFrame:
    """Return the change of SI from layers of one study to layers of another, paired where neighbors are stored.

    Parameters
    ----------
    before, after : Study
        Studies of the same samples, or twice the same study.
    pairs : sequence of (str, str)
        Pairs of a layer of `before` and a layer of `after`, both measured. Only their neighbors are read.
    measure, pooling, split
        As in `compare_studies`.
    level : float
        Level of the intervals. Unpaired ones are computed from the intervals of the values, stored at 95%.

    Returns
    -------
    DataFrame
        One row a pair, in the given order, with the columns of `compare_studies` except q_value, matched_by, verdict.

    Raises
    ------
    StudyError
        The samples differ, or a study lacks the measure or a layer of it.
    """
    _check_choice("measure", measure, MEASURES)
    _check_choice("pooling", pooling, POOLINGS)
    layers_before = [layer for layer, _ in pairs]
    layers_after = [layer for _, layer in pairs]
    if before is after:
        return LayersOfStudy(before, measure=measure, pooling=pooling, split=split).compare(pairs, level=level)
    check_same_samples(before, after, splits=_splits(measure, split))
    first, second = (_MeasuredStudy(study, measure, pooling, split) for study in (before, after))
    first.read_neighbors(layers_before)
    second.read_neighbors(layers_after)
    return _compared(first, second, pairs, level)


class LayersOfStudy:
    """Compares layers of one study with each other; the neighbors of each are read once, when it is first compared.

    Parameters
    ----------
    study : Study
        The study.
    measure, pooling, split
        As in `compare_studies`.
    """

    def __init__(self, study: Study, *, measure: str, pooling: str, split: str) -> None:
        self._measured = _MeasuredStudy(study, measure, pooling, split)

    def compare(self, pairs: Sequence[tuple[str, str]], *, level: float = _LEVEL) -> pd.DataFrame:
        """Compare the layers of each pair (before, after); the result is that of `compare_layers`.

        Raises
        ------
        StudyError
            The study lacks the measure or a layer of it.
        """
        self._measured.read_neighbors([layer for pair in pairs for layer in pair])
        return _compared(self._measured, self._measured, pairs, level)


def _compared(
    first: "_MeasuredStudy", second: "_MeasuredStudy", pairs: Sequence[tuple[str, str]], level: float
) -> pd.DataFrame:
    """Rows of `compare_layers`, without what needs a comparison of all layers."""
    columns = [column for column in COLUMNS if column not in _ALL_LAYERS_ONLY]
    return pd.DataFrame([_compare_pair(first, second, *pair, level) for pair in pairs], columns=columns)


def check_same_samples(before: Study, after: Study, *, splits: Sequence[str]) -> None:
    """Raise an error where the samples of two studies differ in number, id, order or class.

    Parameters
    ----------
    before, after : Study
    splits : sequence of str
        The splits to check.

    Raises
    ------
    StudyError
        With the first difference.
    """
    for split in splits:
        first, second = _samples_of(before, split), _samples_of(after, split)
        if len(first) != len(second) or first.empty:
            raise _different(f"{len(first):,} {split} samples before and {len(second):,} after")
        for column in ("id", "class"):
            rows = np.flatnonzero(first[column].to_numpy() != second[column].to_numpy())
            if len(rows):
                raise _different(_first_difference(first, second, column, split, int(rows[0])))


def _splits(measure: str, split: str) -> tuple[str, ...]:
    """The splits of all samples that a measure uses, as queries or as neighbors."""
    return ("train", "test") if measure == "cross" else (split,)


def _values_in_words(measurements: pd.DataFrame) -> str:
    """List the SI of all samples that a study has, such as "separation, flat, of train samples"."""
    rows = measurements[measurements["measure"].isin(MEASURES) & (measurements["repeat"] == 0)]
    kinds = rows[["measure", "pooling", "split"]].astype(str).drop_duplicates().itertuples(index=False)
    return "; ".join(f"{measure}, {pooling}, of {split} samples" for measure, pooling, split in kinds) or "no SI"


@dataclass(frozen=True, eq=False)
class _Nearest:
    """The nearest neighbor of each query of a layer, in the order of the queries.

    nodes : int32, shape (queries, 2), the query and its neighbor, which both index `_MeasuredStudy.classes`.
    same_label : bool, shape (queries,), whether they have the same label.
    """

    nodes: NDArray[np.int32]
    same_label: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _MeasuredStudy:
    """The values and the nearest neighbors of a study's layers for one measure, pooling and split.

    neighbors : by layer, the nearest neighbor of each query, in the order of the queries; see `read_neighbors`.
    """

    study: Study
    measure: str
    pooling: str
    split: str
    neighbors: dict[str, _Nearest] = field(default_factory=dict)
    _read: set[str] = field(default_factory=set)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a measured layer in network order, with the columns of `layer_values`.

        Only intervals whose target is the population are included; the others, such as the range of several draws, say
        nothing about other samples.
        """
        rows = self.study.measurements
        selected = (rows["measure"] == self.measure) & (rows["order"] == 1) & (rows["repeat"] == 0)
        selected &= (rows["split"] == self.split) & rows["sampling"].isin(["full", "queries"])
        selected &= has_pooling(rows, self.study.layers, self.pooling)
        rows = _preferred_rows(rows[selected]).astype({"layer": object})
        if rows.empty:
            raise StudyError(
                f"The study in {self.study.path} has no {self.measure}, {self.pooling}, of {self.split} samples; "
                f"it has {_values_in_words(self.study.measurements)}. Choose one of these."
            )
        rows = rows.assign(position=rows["layer"].map(self.study.layers.set_index("layer")["position"]))
        rows = rows.sort_values("position").drop_duplicates("layer").set_index("layer")
        for_population = rows["target"] == "population"
        return pd.DataFrame(
            {
                "position": rows["position"],
                "relative_position": np.linspace(0, 1, len(rows)) if len(rows) > 1 else 0.0,
                "value": rows["value"],
                "low": rows["low"].where(for_population),
                "high": rows["high"].where(for_population),
                "chance": rows["chance"],
                "num_queries": rows["num_queries"],
                "num_tied": rows["num_tied"],
                "q_value": rows["q_value"],
            }
        )

    @property
    def tied_layers(self) -> list[str]:
        """The layers with many tied samples."""
        return [str(layer) for layer in self.table.index[has_many_ties(self.table)]]

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The table with a column for each layer."""
        return self.table.T

    def read_neighbors(self, layers: Sequence[str] | None = None) -> None:
        """Read the neighbors of some layers, of which those read before are left out, or of all.

        Raises
        ------
        StudyError
            A layer has no value.
        """
        unknown = [layer for layer in layers or () if layer not in self.table.index]
        if unknown:
            raise StudyError(
                f"The study in {self.study.path} has no {self.measure}, {self.pooling}, of {self.split} samples at "
                f"{unknown[0]!r}. It has it at {', '.join(self.table.index[:5])} and others."
            )
        new = None if layers is None else [layer for layer in dict.fromkeys(layers) if layer not in self._read]
        if new == []:
            return
        self.neighbors.update(self._nearest(new))
        self._read.update(new or ())  # last: another thread that compares layers of this study may look at it

    def _nearest(self, layers: Sequence[str] | None) -> dict[str, _Nearest]:
        """The neighbors of some layers, or of all, as far as the study stores them."""
        table = self._neighbors_table(layers)
        table = table[has_pooling(table, self.study.layers, self.pooling)]
        if table.empty:
            return {}
        # The two studies may number the same samples differently, so samples are numbered anew, in their order.
        index_of_sample = np.full(int(self.study.samples["sample"].max()) + 1, -1, dtype=np.int32)
        index_of_sample[self._members["sample"].to_numpy()] = np.arange(len(self._members), dtype=np.int32)
        nodes = index_of_sample[table[["sample", "nearest"]].to_numpy()]
        same_label, names = table["same_label"].to_numpy(bool), table["layer"].astype("category").cat
        codes = names.codes.to_numpy()
        order = np.lexsort((nodes[:, 0], codes))
        ends = np.searchsorted(codes[order], np.arange(len(names.categories)), side="right")
        parts = zip(names.categories, np.split(order, ends[:-1]), strict=True)
        return {str(layer): _Nearest(nodes[part], same_label[part]) for layer, part in parts if len(part)}

    def _neighbors_table(self, layers: Sequence[str] | None) -> pd.DataFrame:
        """Read only the rows and columns that are needed: the neighbors are the largest table of a study."""
        among = "train" if self.measure == "cross" else self.split
        filters: list[Filter] = [("split", "==", self.split), ("nearest_split", "==", among), ("rank", "==", 1)]
        if layers is not None:
            filters.append(("layer", "in", list(layers)))
        columns = ["layer", "pooling", "sample", "nearest", "same_label"]
        return self.study.table("neighbors", columns, pooling_filters(filters, self.study.layers, self.pooling))

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """The class of each sample of the splits as a number, which is faster to compare than its name, shape (n,)."""
        return pd.factorize(self._members["class"], sort=True)[0].astype(np.int64)

    @cached_property
    def _members(self) -> pd.DataFrame:
        """The samples of the splits, with the columns of `_samples_of`."""
        splits = _splits(self.measure, self.split)
        return pd.concat([_samples_of(self.study, split) for split in splits], ignore_index=True)


def _pairs_by_position(before: pd.DataFrame, after: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Pair each layer of `after` with the layer of `before` whose relative position is nearest."""
    positions = before["relative_position"].to_numpy()
    pairs = []
    for layer, position in after["relative_position"].items():
        nearest = int(np.abs(positions - position).argmin())
        pairs.append((str(before.index[nearest]), str(layer)))
    return tuple(pairs)


def _compare_pair(
    before: _MeasuredStudy, after: _MeasuredStudy, layer_before: str, layer: str, level: float = _LEVEL
) -> dict[str, object]:
    """Return a row of `compare_layers`: the two values, their difference and its interval."""
    first: pd.Series = before.rows[layer_before]
    second: pd.Series = after.rows[layer]
    row: dict[str, object] = {
        "layer": layer,
        "layer_before": layer_before,
        "position": int(second["position"]),
        "position_before": int(first["position"]),
        "relative_position": float(second["relative_position"]),
        "before": float(first["value"]),
        "after": float(second["value"]),
        "difference": float(second["value"] - first["value"]),
        "num_samples": float(min(first["num_queries"], second["num_queries"])),
    }
    return row | (_paired(before, after, layer_before, layer, level) or _unpaired(first, second, level))


def _paired(
    before: _MeasuredStudy, after: _MeasuredStudy, layer_before: str, layer: str, level: float
) -> dict[str, object] | None:
    """The paired interval; None where a study lacks the layer's neighbors, or the queries are different samples."""
    first, second = before.neighbors.get(layer_before), after.neighbors.get(layer)
    if first is None or second is None or not np.array_equal(first.nodes[:, 0], second.nodes[:, 0]):
        return None
    difference = paired_difference(
        first.same_label,
        second.same_label,
        after.classes[second.nodes[:, 0]],
        nodes_before=first.nodes,
        nodes_after=second.nodes,
    )
    low, high = difference.interval(level)
    return {"low": low, "high": high, "z": difference.z, "p_value": difference.p_value, "paired": True}


def _unpaired(before: pd.Series, after: pd.Series, level: float) -> dict[str, object]:
    """The interval from the intervals of the two values; z from the half of the 95% interval that faces 0."""
    low, high = unpaired_interval(at_level(before, level), at_level(after, level))
    low_95, high_95 = unpaired_interval(at_level(before, _LEVEL), at_level(after, _LEVEL))
    difference = after["value"] - before["value"]
    half = difference - low_95 if difference > 0 else high_95 - difference
    z = Z_95 * difference / half if half > 0 else float("nan")
    p_value = min(1.0, 2 * normal_p(abs(z))) if np.isfinite(z) else float("nan")
    return {"low": low, "high": high, "z": z, "p_value": p_value, "paired": False}


def at_level(measured: pd.Series, level: float) -> tuple[float, float, float]:
    """Return a layer's value and the low and high ends of its interval at another level than the stored 95%.

    Parameters
    ----------
    measured : Series
        A row of `layer_values`, whose interval is Wilson's.
    level : float
        Between 0 and 1.
    """
    value, low, high = (float(measured[name]) for name in ("value", "low", "high"))
    if level == _LEVEL:
        return value, low, high
    return (value, *wilson(value, wilson_n(value, low, high, _LEVEL), level))


def _verdict(difference: float, q_value: float) -> str:
    if np.isnan(q_value):
        return "no interval"
    if q_value >= CERTAIN:
        return "no certain change"
    return ROSE if difference > 0 else FELL


def _preferred_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of Euclidean distance, the first of ties, and all samples as queries, where the study has such rows."""
    for column, preferred in {"metric": "euclidean", "ties": "first", "sampling": "full"}.items():
        matching = rows[rows[column] == preferred]
        rows = rows if matching.empty else matching
    return rows


def _samples_of(study: Study, split: str) -> pd.DataFrame:
    """The samples of a split in their order: sample, id, class (the name, or the label where there is no name)."""
    rows = study.samples[study.samples["split"] == split].sort_values("sample", ignore_index=True)
    names = rows["class_name"].astype(object)
    labels = rows["label"].astype(str).astype(object)
    return rows[["sample", "id"]].assign(**{"class": names.where(names.notna(), labels)})


def _first_difference(first: pd.DataFrame, second: pd.DataFrame, column: str, split: str, row: int) -> str:
    reordered = column == "id" and set(first["id"]) == set(second["id"])
    note = "the same ids in another order: " if reordered else ""
    values = f"{column} {first[column][row]!r} before and {second[column][row]!r} after"
    return f"{note}{values}, at {split} sample {row:,}"


def _different(difference: str) -> StudyError:
    return StudyError(
        f"before and after must be studies of the same samples; got {difference}. "
        "Make both of the same data: of images with the same split, samples a class and seed, of features with the "
        "same ids in the same order."
    )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
