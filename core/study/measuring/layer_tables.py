"""One layer's activations become its rows in the study's tables."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.baselines import LinearProbe, knn_correct
from core.measures.neighbor_graph import LabelledGraph, cross_graph
from core.measures.sample_size import FARTHEST, MIN_SIZES, fit_curve
from core.measures.separation import EncodedLabels, Separation
from core.measures.significance import Shuffles, all_alike, finite_population_n, wilson
from core.search.blas_threads import one_blas_thread
from core.study.measuring.geometry import aligned_samples, can_align, geometry_rows, gram_row
from core.study.measuring.projection import projection_rows
from core.study.measuring.searches import KNN, ORDERS, HeldLayer, SlicedLayer, StoredLayer, comparison_questions, take
from core.study.measuring.unusable import UnusableLayer, layer_note, survey
from core.study.samples import MeasureOptions, StudySamples

Layer = HeldLayer | StoredLayer | SlicedLayer
Tables = dict[str, pd.DataFrame]

SMALL_BYTES = 1 << 27  # of a layer's activations: up to so many are measured with one thread for matrix algebra
_CURVE_POINTS = 16  # of a fitted curve, evenly spaced in the logarithm of the size


@dataclass(frozen=True, eq=False)
class _Comparison:
    """The labelled neighbor graph of one split's samples, within the split or (`cross`) among the training samples."""

    split: str
    reference_split: str
    queries: NDArray[np.int64]
    references: NDArray[np.int64]
    graph: LabelledGraph

    @property
    def cross(self) -> bool:
        return self.split != self.reference_split

    @property
    def all_asked(self) -> bool:
        """Whether every sample of the split is a query."""
        return self.graph.num_queries == (self.graph.num_all or len(self.references))


def measure_layer(
    layer: Mapping[str, Any],
    activations: Mapping[str, NDArray[Any] | StoredLayer | SlicedLayer | UnusableLayer],
    samples: StudySamples,
    options: MeasureOptions,
) -> Tables:
    """All tables' rows of one layer.

    Activations that are the same for all samples, or not finite, give rows without values, and a note in the table
    `layers`; see `core.study.measuring.unusable`. Several small layers may be measured at once, in threads.

    Parameters
    ----------
    layer : the layer's row in the table `layers`.
    activations : pooling ("flat", "mean") to array of shape (n, d), rows in the order of `samples`, or to what was
        found by searching that array in slices, or where it is stored.
    samples : the n samples.
    options : what to compute.
    """
    notes: dict[str, str] = {}
    by_pooling: list[Tables] = []
    is_small = activation_bytes(layer, tuple(activations), len(samples)) <= SMALL_BYTES
    with one_blas_thread() if is_small else nullcontext():
        for pooling, given in activations.items():
            notes[pooling] = _note(given)
            if notes[pooling]:
                by_pooling.append(_without_values(layer, pooling, samples, options))
            else:
                by_pooling.append(_measured(layer, pooling, given, samples, options))
    return {"layers": pd.DataFrame([dict(layer) | {"note": layer_note(notes)}]), **_merged(by_pooling)}


def activation_bytes(layer: Mapping[str, Any], poolings: Sequence[str], num_samples: int) -> int:
    """Bytes of a layer's activations in float32, in all poolings together. layer : its row in the table `layers`."""
    widths = [layer["channels"] if pooling == "mean" else layer["num_features"] for pooling in poolings]
    return 4 * num_samples * sum(widths)


def _merged(by_pooling: Sequence[Tables]) -> Tables:
    """The rows of all poolings, table by table."""
    merged: Tables = {}
    for name in dict.fromkeys(name for tables in by_pooling for name in tables):
        frames = [tables[name] for tables in by_pooling if name in tables]
        filled = [frame for frame in frames if len(frame)]
        merged[name] = pd.concat(filled or frames[:1], ignore_index=True)
    return merged


def _note(given: NDArray[Any] | StoredLayer | SlicedLayer | UnusableLayer) -> str:
    """Why activations cannot be measured; empty where they can. What was searched has been looked at before."""
    if isinstance(given, UnusableLayer):
        return given.note
    return survey(given).note if isinstance(given, np.ndarray) else ""


def _without_values(layer: Mapping[str, Any], pooling: str, samples: StudySamples, options: MeasureOptions) -> Tables:
    """The rows that a layer always has, with null in place of what follows from its activations."""
    stand_in = np.arange(1, len(samples) + 1, dtype=np.float32)[:, None]
    less = replace(options, geometry=False, projection="none")
    tables = _measured(layer, pooling, stand_in, samples, less)
    rows = tables["measurements"]
    unknown = rows["measure"].str.startswith("center")  # their chance is that of the activations, too
    empty = {"value": np.nan, "low": np.nan, "high": np.nan, "excess": np.nan, "z": np.nan, "p_value": np.nan}
    empty["num_tied"] = np.nan
    found = {"measurements": rows.assign(**empty, chance=rows["chance"].mask(unknown))}
    return found | {name: tables[name].iloc[:0] for name in ("classes", "neighbors")}


def _measured(
    layer: Mapping[str, Any],
    pooling: str,
    given: Any,
    samples: StudySamples,
    options: MeasureOptions,
) -> Tables:
    """The rows of one pooling of a layer."""
    rows: dict[str, list[pd.DataFrame]] = {
        name: [] for name in ("measurements", "classes", "neighbors", "curves", "projection", "geometry", "grams")
    }
    place = {"layer": layer["layer"], "pooling": pooling}
    found = HeldLayer(given, samples, options) if isinstance(given, np.ndarray) else given
    averaged = pooling == "mean" or len(layer["output_shape"]) == 1

    @cache
    def probe_of(split: str) -> LinearProbe:
        """One decomposition serves the samples of a split and those that its probe is tried on."""
        own = samples.rows(split)
        return LinearProbe.fit(take(found.features, own), samples.labels[own])

    for comparison in _comparisons(found, samples, options):
        measures = _measures(comparison.graph)
        rows["measurements"].append(_measurements(comparison, measures, samples, options).assign(**place))
        if not comparison.cross and options.sizes:
            sampled = _sampled(comparison, found, measures[0], samples, options)
            rows["measurements"].append(sampled.assign(**place))
            if len(options.sizes) >= MIN_SIZES:
                rows["curves"].append(fitted_curve(sampled, comparison.graph.num_queries).assign(**place))
        if not comparison.cross and options.centers:
            centers = _centers(comparison, found, samples)
            rows["measurements"].append(centers.assign(**place))
        if not comparison.cross and options.probe and averaged:
            assert not isinstance(found, SlicedLayer), "only activations with space are searched in slices"
            probe = _probe(comparison, found.features, probe_of, samples, options)
            rows["measurements"].append(probe.assign(**place))
        if not comparison.cross and options.geometry and averaged:
            assert not isinstance(found, SlicedLayer), "only activations with space are searched in slices"
            rows["geometry"].append(_geometry(comparison, found.features, options).assign(**place))
            grams = _grams(comparison, found.features, samples, options)
            rows["grams"] += [gram.assign(layer=layer["layer"]) for gram in grams]
        rows["classes"].append(_classes(comparison, measures[0]).assign(**place))
        rows["neighbors"].append(_neighbors(comparison, samples, options).assign(**place))
    if averaged and options.projection != "none":
        assert not isinstance(found, SlicedLayer), "only activations with space are searched in slices"
        projected = projection_rows(found.features, samples, options.projection, options.seed)
        rows["projection"].append(projected.assign(layer=layer["layer"]))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items() if frames}


def _comparisons(found: Layer, samples: StudySamples, options: MeasureOptions) -> Iterator[_Comparison]:
    """Each split within itself, then test among train."""
    labels = {
        split: EncodedLabels(samples.labels[samples.rows(split)], samples.classes) for split in samples.split_names
    }
    questions = comparison_questions(samples, options)
    for split in samples.split_names:
        question = questions[split, split]
        codes, own = labels[split].codes, np.searchsorted(question.references, question.queries)
        neighbors = found.neighbors(question, (split, split))
        graph = LabelledGraph(neighbors, codes[own], codes, samples.classes, own)
        yield _Comparison(split, split, question.queries, question.references, graph)
    if ("test", "train") in questions:
        question, rows = questions["test", "train"], samples.rows("test")
        test = EncodedLabels(samples.labels[question.queries], samples.classes)
        neighbors = found.neighbors(question, ("test", "train"))
        graph = cross_graph(neighbors, labels["train"], test, num_all=len(rows))
        yield _Comparison("test", "train", question.queries, question.references, graph)


def _measures(graph: LabelledGraph) -> list[Separation]:
    """The family on one graph; first comes separation (or cross, which stands alone)."""
    if graph.own is None:
        return [graph.separation()]
    orders = [order for order in ORDERS if order <= graph.k]
    by_order = [measure(order) for measure in (graph.high_order, graph.soft, graph.anti) for order in orders]
    return [graph.separation(), graph.balanced(), *by_order]


def _measurements(
    comparison: _Comparison, measures: list[Separation], samples: StudySamples, options: MeasureOptions
) -> pd.DataFrame:
    """Rows of the table `measurements`: the family, and the kNN baseline."""
    graph = comparison.graph
    target = "population" if comparison.all_asked else "data"
    rows = [_judged(measure, target, samples.shuffles) for measure in measures]
    votes = [] if comparison.cross else [k for k in KNN if k <= graph.k]
    for k in votes:
        neighbor_codes = graph.reference_codes[graph.neighbors.indices[:, :k]]
        correct = knn_correct(neighbor_codes, graph.query_codes, len(graph.classes))
        rows.append({"measure": "knn", "order": k, "value": float(correct.mean())})
    return pd.DataFrame([_common(comparison, options.metric) | row for row in rows])


def _common(comparison: _Comparison, metric: str) -> dict[str, Any]:
    """What all rows about all samples of a comparison have in common."""
    return {
        "split": comparison.split,
        "metric": metric,
        "ties": "first",
        "sampling": "full" if comparison.all_asked else "queries",
        "num_queries": comparison.graph.num_queries,
        "num_references": len(comparison.references) - (not comparison.cross),
        "repeat": 0,
        "num_undecided": 0,
    }


def _sampled(
    comparison: _Comparison,
    found: Layer,
    full: Separation,
    samples: StudySamples,
    options: MeasureOptions,
) -> pd.DataFrame:
    """First-order SI over sample size, both ways: queries and references subsampled, or the queries alone.

    The first is a learning curve, biased low for the samples at hand; the second is unbiased for them.
    """
    rows, graph = [], comparison.graph
    for repeat, chosen in samples.subsamples(comparison.split, options):
        codes, size = graph.query_codes[chosen], len(chosen)
        drawn = {"repeat": repeat, "num_queries": size}
        nearest = found.nearest_among(comparison.split, repeat, chosen, graph.neighbors)
        curve = _against(float((codes[nearest] == codes).mean()), chance=all_alike(np.bincount(codes), 2))
        rows.append(drawn | curve | {"sampling": "subsample", "num_references": size - 1})
        share = float(full.by_sample[chosen].mean())
        low, high = wilson(share, finite_population_n(size, graph.num_queries))
        interval = {"low": low, "high": high, "target": "data"}
        rows.append(drawn | _against(share, full.chance) | interval | {"sampling": "queries"})
    common = _common(comparison, options.metric) | {"measure": "separation", "order": 1}
    return pd.DataFrame([common | row for row in rows])


def fitted_curve(sampled: pd.DataFrame, num_samples: int) -> pd.DataFrame:
    """Rows of the table `curves`: the means observed, and the curve fitted to them and extrapolated.

    Parameters
    ----------
    sampled : rows of the table `measurements` for one split, layer and pooling.
    num_samples : samples of the split, from which the subsamples were drawn.
    """
    rows = sampled[sampled["sampling"] == "subsample"]
    values = rows.pivot_table(index="repeat", columns="num_queries", values="value", observed=True)
    sizes = [int(size) for size in values.columns]
    fit = fit_curve(sizes, values.to_numpy(), num_samples=num_samples)
    grid = np.unique(np.geomspace(sizes[0], FARTHEST * sizes[-1], _CURVE_POINTS).round().astype(int)).tolist()
    observed = [{"size": size, "kind": "observed", "value": values[size].mean()} for size in sizes]
    drawn = [
        {"size": size, "kind": "fitted" if size <= sizes[-1] else "extrapolated", "value": fit.value(size)}
        | dict(zip(("low", "high"), fit.interval(size), strict=True))
        for size in sorted({*grid, sizes[-1]})
    ]
    common = {
        "split": rows["split"].iloc[0],
        "metric": rows["metric"].iloc[0],
        "measure": "separation",
        "num_samples": num_samples,
        "num_sizes": len(sizes),
        "largest_size": sizes[-1],
        "repeats": len(values),
        "asymptote": fit.asymptote,
        "gap": fit.gap,
        "rate": fit.rate,
    }
    return pd.DataFrame([common | row for row in observed + drawn])


def _against(value: float, chance: float) -> dict[str, float]:
    """A value beside its chance level."""
    return {"value": value, "chance": chance, "excess": (value - chance) / (1 - chance) if chance < 1 else float("nan")}


def _centers(comparison: _Comparison, found: Layer, samples: StudySamples) -> pd.DataFrame:
    """The center measures; their chance has no closed form and is the mean over permuted labels."""
    geometry = found.geometry(comparison.references)
    labels = EncodedLabels(comparison.graph.reference_codes, comparison.graph.classes)
    rows = []
    for leave_one_out in (False, True):
        measure = geometry.separation(labels, leave_one_out=leave_one_out)
        assert measure.null_values is not None
        chance = float(measure.null_values(samples.center_shuffles).mean())
        rows.append({"measure": measure.measure, "order": 1} | _against(measure.value, chance))
    return pd.DataFrame(
        [_common(comparison, "euclidean") | {"sampling": "full", "num_queries": len(geometry)} | row for row in rows]
    )


def _probe(
    comparison: _Comparison,
    features: NDArray[Any],
    probe_of: Callable[[str], LinearProbe],
    samples: StudySamples,
    options: MeasureOptions,
) -> pd.DataFrame:
    """The linear probe: trained on the training samples for the test samples, cross-validated within otherwise.

    Null where a class has a single sample to train on. probe_of : from a split to the probe of its samples.
    """
    codes = comparison.graph.reference_codes
    row = {"measure": "linear_probe", "value": float("nan"), "sampling": "full", "num_queries": len(codes)}
    if comparison.split == "test" and "train" in samples.split_names:
        own = take(features, comparison.references)
        correct = probe_of("train").names(own, codes)
        row |= {"value": float(correct.mean()), "num_references": len(samples.rows("train"))}
    elif np.bincount(codes)[codes].min() > 1:
        row["value"] = float(probe_of(comparison.split).cross_validated(seed=options.seed).mean())
    return pd.DataFrame([_common(comparison, "euclidean") | row])


def _geometry(comparison: _Comparison, features: NDArray[Any], options: MeasureOptions) -> pd.DataFrame:
    """Rows of the table `geometry`."""
    graph = comparison.graph
    own = take(features, comparison.references)
    found = geometry_rows(own, graph.reference_codes, graph.neighbors, seed=options.seed)
    return found.assign(split=comparison.split)


def _grams(
    comparison: _Comparison, features: NDArray[Any], samples: StudySamples, options: MeasureOptions
) -> list[pd.DataFrame]:
    """The row of the table `grams`, where the split has samples enough."""
    chosen = aligned_samples(samples.seeded_order(comparison.split, options.seed))
    if not can_align(len(chosen)):
        return []
    return [gram_row(features[comparison.references[chosen]]).assign(split=comparison.split)]


def _judged(measure: Separation, target: str, shuffles: Shuffles) -> dict[str, Any]:
    """A measure's value with its chance level and interval; significance for the first order, where it is asked for."""
    low, high = measure.interval(target=target)
    return {
        "measure": measure.measure,
        "order": measure.order,
        "value": measure.value,
        "low": low,
        "high": high,
        "target": target,
        "chance": measure.chance,
        "excess": measure.excess,
        "z": measure.z,
        "p_value": measure.p_value(shuffles=shuffles) if measure.measure in ("separation", "cross") else float("nan"),
        "num_tied": measure.num_tied,
    }


def _classes(comparison: _Comparison, first: Separation) -> pd.DataFrame:
    """Rows of the table `classes`: the first order of each class that the split has."""
    counts = np.bincount(comparison.graph.query_codes, minlength=len(first.by_class))
    return pd.DataFrame(
        {
            "split": comparison.split,
            "measure": first.measure,
            "order": 1,
            "label": list(first.by_class),
            "num_queries": counts,
            "value": list(first.by_class.values()),
            "chance": _class_chance(comparison),
        }
    )[counts > 0]


def _class_chance(comparison: _Comparison) -> NDArray[np.float64]:
    """What a class would score with meaningless labels: its share of the samples that can be neighbors."""
    counts = comparison.graph.reference_counts.astype(np.float64)
    return counts / counts.sum() if comparison.cross else np.maximum(counts - 1, 0) / (counts.sum() - 1)


def _neighbors(comparison: _Comparison, samples: StudySamples, options: MeasureOptions) -> pd.DataFrame:
    """Rows of the table `neighbors`, the nearest first."""
    neighbors = comparison.graph.neighbors
    k = min(options.num_neighbors, neighbors.indices.shape[1])
    nearest = comparison.references[neighbors.indices[:, :k]].ravel()
    sample = np.repeat(comparison.queries, k)
    return pd.DataFrame(
        {
            "split": comparison.split,
            "sample": sample,
            "rank": np.tile(np.arange(1, k + 1), len(comparison.queries)),
            "nearest": nearest,
            "nearest_split": comparison.reference_split,
            "distance": neighbors.distances[:, :k].ravel(),
            "agrees": samples.labels[sample] == samples.labels[nearest],
        }
    )


def layer_row(layer: Any) -> dict[str, Any]:
    """A dataclass that describes a layer as its row in the table `layers`, which has fewer columns."""
    row = asdict(layer) | {"output_shape": list(layer.output_shape)}
    return {name: value for name, value in row.items() if name not in ("pooled", "flop", "is_output")}
