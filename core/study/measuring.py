"""One layer's activations become its rows in the study's tables."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.baselines import knn_correct
from core.measures.graph import LabelledGraph, cross_graph
from core.measures.neighbors import nearest_neighbors
from core.measures.separation import EncodedLabels, Separation
from core.measures.significance import Shuffles

KNN = (3, 5, 10)  # neighbors that vote in the kNN baseline
ORDERS = (2, 3, 5)  # of the high-order, soft and anti measures


@dataclass(frozen=True, eq=False)
class StudySamples:
    """The samples of a study, one entry each: `labels` index `class_names`; `splits` are "train" or "test"."""

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: NDArray[np.str_]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def split_names(self) -> tuple[str, ...]:
        """The splits there are, train first."""
        return tuple(split for split in ("train", "test") if (self.splits == split).any())

    def rows(self, split: str) -> NDArray[np.int64]:
        """Sample numbers of a split."""
        return np.flatnonzero(self.splits == split)

    @property
    def classes(self) -> tuple[int, ...]:
        """The label of each code; here they are the same."""
        return tuple(range(len(self.class_names)))

    @cached_property
    def shuffles(self) -> Shuffles:
        """The permutations of the labels that all layers are tested on."""
        return Shuffles()

    def describe(self) -> dict[str, Any]:
        """What study.json says of the samples; the fingerprint tells two sets of samples apart."""
        text = "\n".join(
            f"{id_}\t{label}\t{split}" for id_, label, split in zip(self.ids, self.labels, self.splits, strict=True)
        )
        return {
            "num_samples": len(self),
            "num_classes": len(self.class_names),
            "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        }

    def frame(self) -> pd.DataFrame:
        """The table `samples`."""
        return pd.DataFrame(
            {
                "sample": np.arange(len(self)),
                "split": self.splits,
                "id": self.ids,
                "label": self.labels,
                "class_name": [self.class_names[label] for label in self.labels],
                "source": self.sources,
            }
        )


@dataclass(frozen=True)
class MeasureOptions:
    """What is computed at each layer: neighbors stored a sample, and the distance."""

    num_neighbors: int = 10
    metric: str = "euclidean"


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


def measure_layer(
    layer: Mapping[str, Any],
    activations: Mapping[str, NDArray[Any]],
    samples: StudySamples,
    options: MeasureOptions,
) -> dict[str, pd.DataFrame]:
    """All tables' rows of one layer.

    Parameters
    ----------
    layer : the layer's row in the table `layers`.
    activations : pooling ("flat", "mean") to array of shape (n, d), rows in the order of `samples`.
    samples : the n samples.
    options : what to compute.
    """
    rows: dict[str, list[pd.DataFrame]] = {"measurements": [], "classes": [], "neighbors": []}
    for pooling, features in activations.items():
        place = {"layer": layer["layer"], "pooling": pooling}
        for comparison in _comparisons(features, samples, options):
            measures = _measures(comparison.graph)
            rows["measurements"].append(_measurements(comparison, measures, samples, options).assign(**place))
            rows["classes"].append(_classes(comparison, measures[0]).assign(**place))
            rows["neighbors"].append(_neighbors(comparison, samples, options).assign(**place))
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
    return {"layers": pd.DataFrame([dict(layer)]), **tables}


def _comparisons(features: NDArray[Any], samples: StudySamples, options: MeasureOptions) -> Iterator[_Comparison]:
    """Each split within itself, then test among train."""
    wanted = max(options.num_neighbors, *ORDERS, *KNN)
    parts = {split: _take(features, samples.rows(split)) for split in samples.split_names}
    labels = {split: EncodedLabels(samples.labels[samples.rows(split)], samples.classes) for split in parts}
    for split, part in parts.items():
        found = nearest_neighbors(part, k=min(wanted, len(part) - 1), metric=options.metric)
        codes = labels[split].codes
        graph = LabelledGraph(found, codes, codes, samples.classes, np.arange(len(part)))
        yield _Comparison(split, split, samples.rows(split), samples.rows(split), graph)
    if len(parts) == 2:
        k = min(wanted, len(parts["train"]))
        found = nearest_neighbors(parts["train"], queries=parts["test"], k=k, metric=options.metric)
        graph = cross_graph(found, labels["train"], labels["test"])
        yield _Comparison("test", "train", samples.rows("test"), samples.rows("train"), graph)


def _take(features: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The rows, without a copy where they are consecutive."""
    first, last = int(rows[0]), int(rows[-1])
    return features[first : last + 1] if last - first + 1 == len(rows) else features[rows]


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
    common = {
        "split": comparison.split,
        "metric": options.metric,
        "ties": "first",
        "sampling": "full",
        "num_queries": graph.num_queries,
        "num_references": len(comparison.references) - (not comparison.cross),
        "repeat": 0,
        "num_undecided": 0,
    }
    rows = [_judged(measure, samples.shuffles) for measure in measures]
    votes = [] if comparison.cross else [k for k in KNN if k <= graph.k]
    for k in votes:
        neighbor_codes = graph.reference_codes[graph.neighbors.indices[:, :k]]
        correct = knn_correct(neighbor_codes, graph.query_codes, len(graph.classes))
        rows.append({"measure": "knn", "order": k, "value": float(correct.mean())})
    return pd.DataFrame([common | row for row in rows])


def _judged(measure: Separation, shuffles: Shuffles) -> dict[str, Any]:
    """A measure's value with its chance level and interval; significance for the first order, where it is asked for."""
    low, high = measure.interval(target="population")
    return {
        "measure": measure.measure,
        "order": measure.order,
        "value": measure.value,
        "low": low,
        "high": high,
        "target": "population",
        "chance": measure.chance,
        "excess": measure.excess,
        "z": measure.z,
        "p_value": measure.p_value(shuffles=shuffles) if measure.measure in ("separation", "cross") else float("nan"),
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
    """A dataclass that describes a layer as its row in the table `layers`."""
    return asdict(layer) | {"output_shape": list(layer.output_shape)}
