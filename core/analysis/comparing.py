"""Two studies of the same samples, layer by layer: before and after fine-tuning, network against network."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.paired import paired_difference, unpaired_interval
from core.measures.significance import normal_p, q_values, wilson, wilson_n
from core.study.store.opening import Study, StudyError
from core.study.store.study_json import look_up
from core.study.store.ties import MANY_TIES, has_many_ties

MEASURES = ("separation", "cross")
MATCHES = ("name", "position")
CERTAIN = 0.05  # of q-values
Z_95 = 1.959964
_LEVEL = 0.95  # of the intervals that studies store
COLUMNS = [
    *("layer", "layer_before", "position", "position_before", "relative_position", "before", "after", "difference"),
    *("low", "high", "z", "p_value", "q_value", "paired", "num_samples", "matched_by", "meaning"),
]
_OF_ALL = ("q_value", "matched_by", "meaning")  # columns that speak of a comparison of all layers


@dataclass(frozen=True)
class LayerMatch:
    """Which layers of two studies are compared with each other.

    Attributes
    ----------
    by
        "name" or "position".
    pairs
        A layer of `before` and one of `after` each, in the network order of `after`.
    only_before, only_after
        The layers of either study that are compared with none.
    num_common
        Names that both studies have.
    assumes_same_samples
        Whether nothing says that the samples are the same ones, since neither study has ids: see `lacks_ids`.
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
    """The change of SI from one study to another at each common layer, with 95 % intervals of the difference.

    Where both studies store a layer's nearest neighbors, the interval is paired: of the same samples, its variance
    summed over samples that share neighbors in either graph. Where one does not, it comes from the two values' own
    intervals, as if the samples were others: wider than needed. Without those there is none.

    Parameters
    ----------
    before, after : studies of the same samples; the networks may be different ones. Where neither has ids, that the
        samples are the same, in the same order, is taken on trust: `match_layers` says so in `assumes_same_samples`.
    measure : "separation", or "cross" (test samples and their nearest training samples; split "test").
    pooling : "mean" or "flat"; a layer without space counts in both.
    split : of the samples.
    match : "name" or "position"; by default `match_layers` chooses.

    Returns
    -------
    DataFrame
        One row a layer of `after` that has a partner, in network order: layer, layer_before, position, position_before,
        relative_position (0 to 1), before, after, difference (after − before), low, high, z, p_value (two-sided),
        q_value (Benjamini and Hochberg, over these rows), paired (whether the interval is), num_samples (behind both
        values; the fewer where they differ), matched_by ("name" or "position"), meaning: "rose" or "fell" where
        q < 0.05, else "no certain change", which is not "no change"; "no interval" where there is none; "many ties" for
        layers of which one has many tied samples (`core.study.store.ties`), which have no q and count in none of the
        others.

    Raises
    ------
    StudyError
        The studies are of different samples, or one lacks the measure; the message says what differs.
    ValueError
        An unknown measure or match.
    """
    layers = match_layers(before, after, measure=measure, pooling=pooling, split=split, match=match)
    splits = _splits(measure, split)
    check_same_samples(before, after, splits=splits)
    first, second = (_Side(study, measure, pooling, split, splits) for study in (before, after))
    table = pd.DataFrame([_compared(first, second, *pair) for pair in layers.pairs], columns=COLUMNS)
    table["matched_by"] = layers.by
    tied = table["layer_before"].isin(first.tied) | table["layer"].isin(second.tied)
    table["q_value"] = q_values(table["p_value"].mask(tied).to_numpy(float))
    table["meaning"] = [_meaning(*row) for row in zip(table["difference"], table["q_value"], strict=True)]
    table["meaning"] = table["meaning"].mask(tied, MANY_TIES)
    return table


def match_layers(
    before: Study,
    after: Study,
    *,
    measure: str = "separation",
    pooling: str = "mean",
    split: str = "test",
    match: str | None = None,
) -> LayerMatch:
    """Which layers of two studies `compare_studies` compares with each other.

    By default layers are matched by name wherever that can be done: where all names of one study are among those of
    the other, where both are studies of one network that have a name in common, and where at least half of the names
    of the study with fewer layers are among those of the other. So two parts of one network are never laid over each
    other, and two networks that share no more than names such as `input`, `avg_pool` and `predictions` are matched by
    position: each layer of `after` with the one of `before` nearest by relative position (0 the first layer, 1 the
    last).

    Parameters
    ----------
    before, after, measure, pooling, split : as in `compare_studies`; layers without that measure do not count.
    match : "name" or "position", to decide otherwise.

    Raises
    ------
    StudyError
        A study lacks the measure.
    ValueError
        An unknown measure or match.
    """
    _check_choice("measure", measure, MEASURES)
    if match is not None:
        _check_choice("match", match, MATCHES)
    first, second = (measured_layers(study, measure=measure, pooling=pooling, split=split) for study in (before, after))
    common = second.index.intersection(first.index)
    by = match or _usual_match(len(common), len(first), len(second), _is_one_network(before, after))
    pairs = tuple((str(name), str(name)) for name in common) if by == "name" else _by_position(first, second)
    used_before, used_after = ({pair[side] for pair in pairs} for side in (0, 1))
    return LayerMatch(
        by=by,
        pairs=pairs,
        only_before=tuple(name for name in first.index if name not in used_before),
        only_after=tuple(name for name in second.index if name not in used_after),
        num_common=len(common),
        assumes_same_samples=before is not after and lacks_ids(before) and lacks_ids(after),
    )


def lacks_ids(study: Study) -> bool:
    """Whether the samples are only numbered, as a study of features without ids numbers them, and nothing names them.

    Two such studies may be of other samples, or of the same in another order: their ids agree in any case.
    """
    samples = study.samples
    numbers = samples["sample"].astype(str)
    named = samples["source"].notna() & (samples["source"] != "") & (samples["source"] != samples["id"])
    return bool((samples["id"] == numbers).all() and not named.any())


def _usual_match(num_common: int, num_before: int, num_after: int, one_network: bool) -> str:
    """How layers are matched where nobody says it: see `match_layers`."""
    by_name = num_common > 0 and (one_network or 2 * num_common >= min(num_before, num_after))
    return "name" if by_name else "position"


def _is_one_network(before: Study, after: Study) -> bool:
    """Whether both studies say that they are of the network of one name."""
    first, second = (look_up(study.info, "used.model.name") for study in (before, after))
    return first is not None and first == second


def measured_layers(study: Study, *, measure: str, pooling: str, split: str) -> pd.DataFrame:
    """The first-order SI of every layer of a study that was measured so.

    Returns
    -------
    DataFrame
        One row a layer in network order, indexed by layer: position, relative_position (0 to 1), value, low, high,
        chance, num_queries, num_tied (null where unknown; see `core.study.store.ties`), q_value (null until the study
        is complete).

    Raises
    ------
    StudyError
        There is none.
    """
    return _Side(study, measure, pooling, split, _splits(measure, split)).measured


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
    """The change of SI from a layer of one study to a layer of another, paired where neighbors are stored.

    Parameters
    ----------
    before, after : studies of the same samples, or twice the same study.
    pairs : a layer of each, both measured; no more than their neighbors are read.
    measure, pooling, split : as in `compare_studies`.
    level : of the intervals. Unpaired ones follow from the values' own, which are stored at 95 %.

    Returns
    -------
    DataFrame
        One row a pair, in the given order, with the columns of `compare_studies` but for q_value, matched_by, meaning.

    Raises
    ------
    StudyError
        The samples differ, or a study lacks the measure or a layer of it.
    """
    _check_choice("measure", measure, MEASURES)
    splits = _splits(measure, split)
    if before is not after:
        check_same_samples(before, after, splits=splits)
    layers: tuple[tuple[str, ...], ...] = tuple(zip(*pairs, strict=True)) or ((), ())
    first = _side_with(before, layers[0] + layers[1] * (before is after), measure, pooling, split, splits)
    second = first if before is after else _side_with(after, layers[1], measure, pooling, split, splits)
    columns = [column for column in COLUMNS if column not in _OF_ALL]
    return pd.DataFrame([_compared(first, second, *pair, level) for pair in pairs], columns=columns)


def _side_with(
    study: Study, layers: Sequence[str], measure: str, pooling: str, split: str, splits: tuple[str, ...]
) -> "_Side":
    """A side of which only some layers are read, all of them measured."""
    side = _Side(study, measure, pooling, split, splits, tuple(dict.fromkeys(layers)))
    unknown = [layer for layer in side.layers or () if layer not in side.measured.index]
    if unknown:
        raise StudyError(
            f"The study in {study.path} has no {measure}, {pooling}, of {split} samples at {unknown[0]!r}. "
            f"It has it at {', '.join(side.measured.index[:5])} and others."
        )
    return side


def check_same_samples(before: Study, after: Study, *, splits: Sequence[str]) -> None:
    """Refuse two studies whose samples of these splits differ in number, id, order or class.

    Raises
    ------
    StudyError
        Says what differs, and where first.
    """
    for split in splits:
        first, second = _samples_of(before, split), _samples_of(after, split)
        if len(first) != len(second) or first.empty:
            raise _different(f"{len(first):,} {split} samples before and {len(second):,} after")
        for column in ("id", "class"):
            places = np.flatnonzero(first[column].to_numpy() != second[column].to_numpy())
            if len(places):
                raise _different(_first_difference(first, second, column, split, int(places[0])))


def _splits(measure: str, split: str) -> tuple[str, ...]:
    """The splits whose samples a measure speaks about."""
    return ("train", "test") if measure == "cross" else (split,)


@dataclass(frozen=True, eq=False)
class _Side:
    """One of two studies under the choices that both share. `splits` are those that the measure speaks about.

    layers : whose neighbors are read; default all.
    """

    study: Study
    measure: str
    pooling: str
    split: str
    splits: tuple[str, ...]
    layers: tuple[str, ...] | None = None

    @cached_property
    def measured(self) -> pd.DataFrame:
        """One row a measured layer in network order, with the columns of `measured_layers`.

        An interval of another target than the population is left out.
        """
        rows = self.study.measurements
        keep = (rows["measure"] == self.measure) & (rows["order"] == 1) & (rows["repeat"] == 0)
        keep &= (rows["split"] == self.split) & rows["sampling"].isin(["full", "queries"])
        rows = _one_kind(rows[keep & self._pooled(rows)]).astype({"layer": object})
        if rows.empty:
            raise StudyError(
                f"The study in {self.study.path} has no {self.measure}, {self.pooling}, of {self.split} samples. "
                "Choose what both studies have."
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
    def tied(self) -> list[str]:
        """The layers with many tied samples."""
        return [str(layer) for layer in self.measured.index[has_many_ties(self.measured)]]

    @cached_property
    def neighbors(self) -> dict[str, pd.DataFrame]:
        """By layer, the nearest neighbor of each sample asked: sample and nearest (places in `classes`), agrees."""
        table = self._read_neighbors()
        table = table[self._pooled(table)]
        if table.empty:
            return {}
        place = np.full(int(self.study.samples["sample"].max()) + 1, -1, dtype=np.int64)
        place[self._members["sample"].to_numpy()] = np.arange(len(self._members))
        placed = table.assign(sample=place[table["sample"]], nearest=place[table["nearest"]])
        placed = placed.sort_values("sample", kind="stable")
        return {str(layer): rows for layer, rows in placed.groupby("layer", observed=True)}

    def _read_neighbors(self) -> pd.DataFrame:
        """No more of the table than it takes: of a large study it is most of what there is."""
        among = "train" if self.measure == "cross" else self.split
        filters: list[tuple[str, str, Any]] = [("split", "==", self.split), ("nearest_split", "==", among)]
        filters += [("rank", "==", 1), ("pooling", "in", [self.pooling, "flat"])]
        filters += [] if self.layers is None else [("layer", "in", list(self.layers))]
        return self.study.table("neighbors", ["layer", "pooling", "sample", "nearest", "agrees"], filters)

    @cached_property
    def classes(self) -> NDArray[np.object_]:
        """The class of each sample of the splits."""
        return self._members["class"].to_numpy(object)

    @cached_property
    def _members(self) -> pd.DataFrame:
        return pd.concat([_samples_of(self.study, split) for split in self.splits], ignore_index=True)

    def _pooled(self, rows: pd.DataFrame) -> pd.Series:
        """Rows of the pooling; those of layers without space, stored as `flat`, in both."""
        flat_only = self.study.layers.loc[self.study.layers["output_shape"].map(len) <= 1, "layer"]
        return (rows["pooling"] == self.pooling) | rows["layer"].isin(flat_only)


def _by_position(before: pd.DataFrame, after: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """Each layer of after with the one of before nearest by relative position."""
    positions = before["relative_position"].to_numpy()
    nearest = [int(np.abs(positions - position).argmin()) for position in after["relative_position"]]
    return tuple((str(before.index[at]), str(layer)) for at, layer in zip(nearest, after.index, strict=True))


def _compared(before: _Side, after: _Side, layer_before: str, layer: str, level: float = _LEVEL) -> dict[str, object]:
    """One row: the two values, their difference, and how sure it is."""
    first: pd.Series = before.measured.T[layer_before]
    second: pd.Series = after.measured.T[layer]
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


def _paired(before: _Side, after: _Side, layer_before: str, layer: str, level: float) -> dict[str, object] | None:
    """The paired interval; None where a study lacks the layer's neighbors, or they are of other queries."""
    first, second = before.neighbors.get(layer_before), after.neighbors.get(layer)
    if first is None or second is None or not np.array_equal(first["sample"], second["sample"]):
        return None
    difference = paired_difference(
        first["agrees"],
        second["agrees"],
        after.classes[second["sample"]],
        nodes_before=first[["sample", "nearest"]],
        nodes_after=second[["sample", "nearest"]],
    )
    low, high = difference.interval(level)
    return {"low": low, "high": high, "z": difference.z, "p_value": difference.p_value, "paired": True}


def _unpaired(before: pd.Series, after: pd.Series, level: float) -> dict[str, object]:
    """The interval from the two values' own, and z by the half of the one of 95 % that reaches toward 0."""
    low, high = unpaired_interval(at_level(before, level), at_level(after, level))
    usual = unpaired_interval(at_level(before, _LEVEL), at_level(after, _LEVEL))
    difference = after["value"] - before["value"]
    half = difference - usual[0] if difference > 0 else usual[1] - difference
    z = Z_95 * difference / half if half > 0 else float("nan")
    p_value = min(1.0, 2 * normal_p(abs(z))) if np.isfinite(z) else float("nan")
    return {"low": low, "high": high, "z": z, "p_value": p_value, "paired": False}


def at_level(measured: pd.Series, level: float) -> tuple[float, float, float]:
    """A layer's value with its own interval at a level; the stored one is Wilson's of 95 %.

    measured : a row of `measured_layers`.
    """
    value, low, high = (float(measured[name]) for name in ("value", "low", "high"))
    if level == _LEVEL:
        return value, low, high
    return (value, *wilson(value, wilson_n(value, low, high, _LEVEL), level))


def _meaning(difference: float, q_value: float) -> str:
    if np.isnan(q_value):
        return "no interval"
    if q_value >= CERTAIN:
        return "no certain change"
    return "rose" if difference > 0 else "fell"


def _one_kind(rows: pd.DataFrame) -> pd.DataFrame:
    """Euclidean distances, the first of ties, and all samples as queries, where the study has them."""
    for column, first in {"metric": "euclidean", "ties": "first", "sampling": "full"}.items():
        usual = rows[rows[column] == first]
        rows = rows if usual.empty else usual
    return rows


def _samples_of(study: Study, split: str) -> pd.DataFrame:
    """The samples of a split in their order: sample, id, class (its name, or its label where it has none)."""
    rows = study.samples[study.samples["split"] == split].sort_values("sample", ignore_index=True)
    names = rows["class_name"].astype(object)
    labels = rows["label"].astype(str).astype(object)
    return rows[["sample", "id"]].assign(**{"class": names.where(names.notna(), labels)})


def _first_difference(first: pd.DataFrame, second: pd.DataFrame, column: str, split: str, at: int) -> str:
    reordered = column == "id" and set(first["id"]) == set(second["id"])
    note = "the same ids in another order: " if reordered else ""
    values = f"{column} {first[column][at]!r} before and {second[column][at]!r} after"
    return f"{note}{values}, at {split} sample {at:,}"


def _different(what: str) -> StudyError:
    return StudyError(
        f"before and after must be studies of the same samples; got {what}. "
        "Make both of the same data: of images with the same split, samples a class and seed, of features with the "
        "same ids in the same order."
    )


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
