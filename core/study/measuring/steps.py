"""The steps that measure a layer: each is a small function from a comparison to rows of one table.

`STEPS` lists them in the order in which they run. Studies of networks and of ready-made features, `core measure`,
recorded trainings and clusters all run this list, so that a measure has the same settings wherever it appears. Only
the projection is not of a comparison; `core.study.measuring.layer_tables` computes it once a layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.baselines import knn_correct
from core.measures.sample_size import FARTHEST, MIN_SIZES, fit_curve
from core.measures.separation import EncodedLabels, Separation, excess_over_chance
from core.measures.significance import all_alike, finite_population_n, wilson
from core.study.measuring.comparison import Comparison
from core.study.measuring.related_measures import aligned_samples, can_align, gram_row, related_measure_rows
from core.study.measuring.searches import KNN, ORDERS

ALWAYS_TESTED = ("separation", "cross")  # measures that have a p-value in every study
_CURVE_POINTS = 16  # of a fitted curve, evenly spaced in the logarithm of the size


@dataclass(frozen=True)
class Step:
    """A step of measuring.

    table : that its rows belong to.
    rows : function from a comparison to these rows.
    applies : whether a comparison has such rows.
    """

    table: str
    rows: Callable[[Comparison], pd.DataFrame]
    applies: Callable[[Comparison], bool] = lambda comparison: True


def family_rows(comparison: Comparison) -> pd.DataFrame:
    """The Separation Index and its family, from the neighbor graph; of cross comparisons, `cross` alone."""
    graph = comparison.graph
    if comparison.is_cross:
        return _judged_rows(comparison, [comparison.separation])
    orders = [order for order in ORDERS if order <= graph.k]
    measures = [comparison.separation, graph.balanced()]
    for measure in (graph.high_order, graph.soft, graph.anti):
        measures += [measure(order) for order in orders]
    return _judged_rows(comparison, measures)


def knn_rows(comparison: Comparison) -> pd.DataFrame:
    """The kNN baseline: the vote of the nearest neighbors, leave-one-out."""
    graph, rows = comparison.graph, []
    for k in KNN:
        if k <= graph.k:
            neighbor_codes = graph.reference_codes[graph.neighbors.indices[:, :k]]
            correct = knn_correct(neighbor_codes, graph.query_codes, len(graph.classes))
            rows.append({"measure": "knn", "order": k, "value": float(correct.mean())})
    return _with_common(comparison, rows)


def subsample_rows(comparison: Comparison) -> pd.DataFrame:
    """First-order SI over sample size, both ways: queries and references subsampled, or the queries alone.

    The first is a learning curve, biased low for the samples at hand; the second is unbiased for them.
    """
    full, graph, rows = comparison.separation, comparison.graph, []
    for repeat, chosen, nearest in comparison.subsamples:
        codes, size = graph.query_codes[chosen], len(chosen)
        drawn = {"repeat": repeat, "num_queries": size}
        curve = _against(float((codes[nearest] == codes).mean()), chance=all_alike(np.bincount(codes), 2))
        rows.append(drawn | curve | {"sampling": "subsample", "num_references": size - 1})
        share = float(full.by_sample[chosen].mean())
        low, high = wilson(share, finite_population_n(size, graph.num_queries))
        interval = {"low": low, "high": high, "target": "data"}
        rows.append(drawn | _against(share, full.chance) | interval | {"sampling": "queries"})
    return _with_common(comparison, [{"measure": "separation", "order": 1} | row for row in rows])


def curve_rows(comparison: Comparison) -> pd.DataFrame:
    """The curve fitted to the subsamples."""
    return fitted_curve(subsample_rows(comparison), comparison.graph.num_queries)


def center_rows(comparison: Comparison) -> pd.DataFrame:
    """The center measures; their chance has no closed form and is the mean over permuted labels."""
    samples, graph = comparison.layer.samples, comparison.graph
    centers = comparison.layer.activations.geometry(comparison.references)
    labels = EncodedLabels(graph.reference_codes, graph.classes)
    rows = []
    for leave_one_out in (False, True):
        measure = centers.separation(labels, leave_one_out=leave_one_out)
        if measure.null_values is None:
            raise RuntimeError("center measures must have permutations to take their chance from")
        chance = float(measure.null_values(samples.center_shuffles).mean())
        sampling = {"sampling": "full", "num_queries": len(centers), "metric": "euclidean"}
        rows.append({"measure": measure.measure, "order": 1} | sampling | _against(measure.value, chance))
    return _with_common(comparison, rows)


def probe_rows(comparison: Comparison) -> pd.DataFrame:
    """The linear probe: trained on the training samples for the test samples, cross-validated within otherwise.

    Null where a class has a single sample to train on.
    """
    layer, codes = comparison.layer, comparison.graph.reference_codes
    row = {"measure": "linear_probe", "value": float("nan"), "sampling": "full", "num_queries": len(codes)}
    if comparison.split == "test" and "train" in layer.samples.split_names:
        correct = layer.probe("train").names(layer.features(comparison.references), codes)
        row |= {"value": float(correct.mean()), "num_references": len(layer.samples.rows("train"))}
    elif np.bincount(codes)[codes].min() > 1:
        correct = layer.probe(comparison.split).cross_validated(seed=layer.options.seed)
        row["value"] = float(correct.mean())
    return _with_common(comparison, [{"metric": "euclidean"} | row])


def related_measures_of_layer(comparison: Comparison) -> pd.DataFrame:
    """Related separability measures, intrinsic dimension and hubness."""
    layer, graph = comparison.layer, comparison.graph
    features = layer.features(comparison.references)
    rows = related_measure_rows(features, graph.reference_codes, graph.neighbors, seed=layer.options.seed)
    return rows.assign(split=comparison.split)


def gram_rows(comparison: Comparison) -> pd.DataFrame:
    """What is kept of a layer for its likeness to others (CKA), where the split has samples enough; no row else."""
    layer = comparison.layer
    chosen = aligned_samples(layer.samples.seeded_order(comparison.split, layer.options.seed))
    if not can_align(len(chosen)):
        return pd.DataFrame()
    return gram_row(layer.activations.features[comparison.references[chosen]]).assign(split=comparison.split)


def class_rows(comparison: Comparison) -> pd.DataFrame:
    """SI of each class that the split has."""
    measure = comparison.separation
    counts = np.bincount(comparison.graph.query_codes, minlength=len(measure.by_class))
    rows = pd.DataFrame(
        {
            "split": comparison.split,
            "measure": measure.measure,
            "order": 1,
            "label": list(measure.by_class),
            "num_queries": counts,
            "value": list(measure.by_class.values()),
            "chance": _class_chance(comparison),
        }
    )
    return rows[counts > 0]


def neighbor_rows(comparison: Comparison) -> pd.DataFrame:
    """The stored neighbors of each sample, the nearest first."""
    neighbors, labels = comparison.graph.neighbors, comparison.layer.samples.labels
    k = min(comparison.layer.options.num_neighbors, neighbors.indices.shape[1])
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
            "same_label": labels[sample] == labels[nearest],
        }
    )


def _is_within(comparison: Comparison) -> bool:
    return not comparison.is_cross


def _has_sizes(comparison: Comparison) -> bool:
    return _is_within(comparison) and bool(comparison.layer.options.sizes)


def _has_curve(comparison: Comparison) -> bool:
    return _has_sizes(comparison) and len(comparison.layer.options.sizes) >= MIN_SIZES


def _has_centers(comparison: Comparison) -> bool:
    return _is_within(comparison) and comparison.layer.options.centers


def _has_probe(comparison: Comparison) -> bool:
    return _is_within(comparison) and comparison.layer.options.probe and comparison.layer.is_averaged


def _has_related_measures(comparison: Comparison) -> bool:
    return _is_within(comparison) and comparison.layer.options.related_measures and comparison.layer.is_averaged


STEPS = (
    Step("measurements", family_rows),
    Step("measurements", knn_rows, _is_within),
    Step("measurements", subsample_rows, _has_sizes),
    Step("curves", curve_rows, _has_curve),
    Step("measurements", center_rows, _has_centers),
    Step("measurements", probe_rows, _has_probe),
    Step("related_measures", related_measures_of_layer, _has_related_measures),
    Step("grams", gram_rows, _has_related_measures),
    Step("classes", class_rows),
    Step("neighbors", neighbor_rows),
)


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


def _judged_rows(comparison: Comparison, measures: Sequence[Separation]) -> pd.DataFrame:
    """Measures with chance level and interval; with a p-value those that always have one, or all where asked for."""
    layer = comparison.layer
    target = "population" if comparison.has_all_queries else "data"
    rows = []
    for measure in measures:
        low, high = measure.interval(target=target)
        is_tested = layer.options.test_every_measure or measure.measure in ALWAYS_TESTED
        rows.append(
            {
                "measure": measure.measure,
                "order": measure.order,
                "value": measure.value,
                "low": low,
                "high": high,
                "target": target,
                "chance": measure.chance,
                "excess": measure.excess,
                "z": measure.z,
                "p_value": measure.p_value(shuffles=layer.samples.shuffles) if is_tested else float("nan"),
                "num_tied": measure.num_tied,
            }
        )
    return _with_common(comparison, rows)


def _with_common(comparison: Comparison, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows of the table `measurements`, each with what it does not say itself."""
    common = {
        "split": comparison.split,
        "metric": comparison.layer.options.metric,
        "ties": "first",
        "sampling": "full" if comparison.has_all_queries else "queries",
        "num_queries": comparison.graph.num_queries,
        "num_references": len(comparison.references) - (not comparison.is_cross),
        "repeat": 0,
        "num_undecided": 0,
    }
    return pd.DataFrame([common | row for row in rows])


def _against(value: float, chance: float) -> dict[str, float]:
    """A value beside its chance level."""
    return {"value": value, "chance": chance, "excess": excess_over_chance(value, chance)}


def _class_chance(comparison: Comparison) -> NDArray[np.float64]:
    """What a class would score with meaningless labels: its share of the samples that can be neighbors."""
    counts = comparison.graph.reference_counts.astype(np.float64)
    values: NDArray[np.float64] = (
        counts / counts.sum() if comparison.is_cross else np.maximum(counts - 1, 0) / (counts.sum() - 1)
    )
    return values
