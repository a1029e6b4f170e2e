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
from core.measures.neighbors import Neighbors, nearest_neighbors
from core.measures.separation import EncodedLabels, Separation, separation_from_neighbors

KNN = 5  # neighbors that vote in the kNN baseline


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

    def encoded(self, split: str) -> EncodedLabels:
        """The labels of a split, coded by the classes that occur in it."""
        classes, codes = np.unique(self.labels[self.rows(split)], return_inverse=True)
        return EncodedLabels(codes, tuple(classes.tolist()))

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
class _Graph:
    """The nearest neighbors of one split's samples, within the split or (`cross`) among the training samples."""

    split: str
    reference_split: str
    queries: NDArray[np.int64]
    references: NDArray[np.int64]
    neighbors: Neighbors

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
        for graph in _neighbor_graphs(features, samples, options):
            separation = _separation(graph, samples)
            rows["measurements"].append(_measurements(graph, separation, samples, options).assign(**place))
            rows["classes"].append(_classes(graph, separation, samples).assign(**place))
            rows["neighbors"].append(_neighbors(graph, samples, options).assign(**place))
    tables = {name: pd.concat(frames, ignore_index=True) for name, frames in rows.items()}
    return {"layers": pd.DataFrame([dict(layer)]), **tables}


def _neighbor_graphs(features: NDArray[Any], samples: StudySamples, options: MeasureOptions) -> Iterator[_Graph]:
    """Each split within itself, then test among train."""
    wanted = max(options.num_neighbors, KNN)
    parts = {split: _take(features, samples.rows(split)) for split in samples.split_names}
    for split, part in parts.items():
        found = nearest_neighbors(part, k=min(wanted, len(part) - 1), metric=options.metric)
        yield _Graph(split, split, samples.rows(split), samples.rows(split), found)
    if len(parts) == 2:
        k = min(wanted, len(parts["train"]))
        found = nearest_neighbors(parts["train"], queries=parts["test"], k=k, metric=options.metric)
        yield _Graph("test", "train", samples.rows("test"), samples.rows("train"), found)


def _take(features: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[Any]:
    """The rows, without a copy where they are consecutive."""
    first, last = int(rows[0]), int(rows[-1])
    return features[first : last + 1] if last - first + 1 == len(rows) else features[rows]


def _separation(graph: _Graph, samples: StudySamples) -> Separation:
    references = samples.encoded(graph.reference_split) if graph.cross else None
    return separation_from_neighbors(graph.neighbors.indices[:, 0], samples.encoded(graph.split), references)


def _measurements(
    graph: _Graph, separation: Separation, samples: StudySamples, options: MeasureOptions
) -> pd.DataFrame:
    """Rows of the table `measurements`: SI (within a split, or cross), and the kNN baseline."""
    common = {
        "split": graph.split,
        "metric": options.metric,
        "ties": "first",
        "sampling": "full",
        "num_queries": len(graph.queries),
        "num_references": len(graph.references) - (not graph.cross),
        "repeat": 0,
        "num_undecided": 0,
    }
    value, chance, excess = separation.value, separation.chance, separation.excess
    rows = [
        {
            "measure": "cross" if graph.cross else "separation",
            "order": 1,
            "value": value,
            "chance": chance,
            "excess": excess,
        }
    ]
    if not graph.cross and graph.neighbors.indices.shape[1] >= KNN:
        codes = samples.labels[graph.references[graph.neighbors.indices[:, :KNN]]]
        correct = knn_correct(codes, samples.labels[graph.queries], len(samples.class_names))
        rows.append({"measure": "knn", "order": KNN, "value": float(correct.mean())})
    return pd.DataFrame([common | row for row in rows])


def _classes(graph: _Graph, separation: Separation, samples: StudySamples) -> pd.DataFrame:
    """Rows of the table `classes`."""
    labels = samples.encoded(graph.split)
    return pd.DataFrame(
        {
            "split": graph.split,
            "measure": "cross" if graph.cross else "separation",
            "order": 1,
            "label": list(separation.by_class),
            "num_queries": labels.counts,
            "value": list(separation.by_class.values()),
            "chance": _class_chance(graph, labels, samples),
        }
    )


def _class_chance(graph: _Graph, labels: EncodedLabels, samples: StudySamples) -> NDArray[np.float64]:
    """What a class would score with meaningless labels: the share of its kind among the other samples."""
    if not graph.cross:
        return (labels.counts - 1) / (labels.counts.sum() - 1)
    train = samples.labels[graph.references]
    return np.array([(train == label).mean() for label in labels.classes])


def _neighbors(graph: _Graph, samples: StudySamples, options: MeasureOptions) -> pd.DataFrame:
    """Rows of the table `neighbors`, the nearest first."""
    k = min(options.num_neighbors, graph.neighbors.indices.shape[1])
    nearest = graph.references[graph.neighbors.indices[:, :k]].ravel()
    sample = np.repeat(graph.queries, k)
    return pd.DataFrame(
        {
            "split": graph.split,
            "sample": sample,
            "rank": np.tile(np.arange(1, k + 1), len(graph.queries)),
            "nearest": nearest,
            "nearest_split": graph.reference_split,
            "distance": graph.neighbors.distances[:, :k].ravel(),
            "agrees": samples.labels[sample] == samples.labels[nearest],
        }
    )


def layer_row(layer: Any) -> dict[str, Any]:
    """A dataclass that describes a layer as its row in the table `layers`."""
    return asdict(layer) | {"output_shape": list(layer.output_shape)}
