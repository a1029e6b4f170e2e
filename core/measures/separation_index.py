"""The measures of the family as functions of features and labels."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.neighbor_graph import LabelledGraph, cross_graph, labelled_graph
from core.measures.separation import Separation, encode_labels, mean_by_class
from core.measures.significance import Codes, Shuffles, null_values
from core.search.neighbors import nearest_neighbors
from core.search.rows import as_matrix

TIES = ("first", "any", "all", "mean")


def separation_index(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    ties: str = "first",
    rows: ArrayLike | None = None,
    metric: str = "euclidean",
) -> Separation:
    """Share of samples whose nearest other sample bears the same label (leave-one-out 1-NN accuracy).

    SI = mean over i of 1[y_i = y_N(i)], with N(i) the exact nearest other sample. Kalhor et al., arXiv 1906.05156; the
    same number as Thornton's separability index and 1 − N3 of Ho and Basu (2002).

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite, n >= 2.
    labels : integers or strings of shape (n,).
    ties : what counts where several samples lie at exactly the smallest distance: "first", the lowest row; "any" or
        "all" of them agree; "mean", the share of them that does.
    rows : ints of shape (m,), optional: only these samples are asked, each against all others.
    metric : "euclidean" or "cosine".

    Returns
    -------
    Separation
        `chance` is Σ n_c(n_c − 1)/(n(n − 1)), exact under permuted labels, and nan for `ties` "any" and "all", whose
        null has no closed form (use `p_value`, which permutes). A sample alone in its class counts as 0.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples, lengths that differ, unknown `ties`.
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}; got {ties!r}.")
    if ties == "first":
        return labelled_graph(features, labels, rows=rows, metric=metric).separation()
    return _with_ties(features, labels, ties, rows, metric)


def high_order_separation_index(
    features: ArrayLike, labels: ArrayLike, *, order: int, metric: str = "euclidean"
) -> Separation:
    """Share of samples whose `order` nearest other samples all bear the same label.

    Mean of Π_{j≤r} 1[y_i = y_Nj(i)]. Parameters, result and errors as `separation_index`; `order` r is 1..n - 1.
    Chance is Σ n_c···(n_c − r)/(n···(n − r)).
    """
    return _graph_of_order(features, labels, order, metric).high_order(order)


def soft_separation_index(
    features: ArrayLike, labels: ArrayLike, *, order: int, metric: str = "euclidean"
) -> Separation:
    """Mean share of a sample's `order` nearest other samples that bear its label.

    Parameters, result and errors as `separation_index`; `order` is 1..n - 1. Chance is that of the first order.
    """
    return _graph_of_order(features, labels, order, metric).soft(order)


def anti_separation_index(
    features: ArrayLike, labels: ArrayLike, *, order: int, metric: str = "euclidean"
) -> Separation:
    """Share of samples none of whose `order` nearest other samples bears the same label; 0 is best.

    Mean of Π_{j≤r} 1[y_i ≠ y_Nj(i)]. Parameters, result and errors as `separation_index`; `order` is 1..n - 1. Chance
    is Σ (n_c/n) C(n − n_c, r)/C(n − 1, r), and p is the lower tail.
    """
    return _graph_of_order(features, labels, order, metric).anti(order)


def balanced_separation_index(features: ArrayLike, labels: ArrayLike, *, metric: str = "euclidean") -> Separation:
    """Mean over classes of the share of the class's samples whose nearest other sample is of the class.

    Every class weighs the same; a class of one sample is left out. Parameters, result and errors as
    `separation_index`. Chance is the mean of (n_c − 1)/(n − 1) over the classes that count.
    """
    return labelled_graph(features, labels, metric=metric).balanced()


def cross_separation_index(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    metric: str = "euclidean",
) -> Separation:
    """Share of test samples whose nearest training sample bears the same label (1-NN test accuracy).

    Parameters
    ----------
    train_features, test_features : arrays of shape (n, d) and (m, d), or flattened per sample to that.
    train_labels, test_labels : integers or strings of shape (n,) and (m,).
    metric : "euclidean" or "cosine".

    Returns
    -------
    Separation
        `nearest` are training rows; `chance` is Σ p_train,c · p_test,c; `by_class` speaks of the test labels.

    Raises
    ------
    ValueError
        As `separation_index`; also where the two sides differ in width.
    """
    train = encode_labels(
        train_labels, num_samples=len(as_matrix(train_features, "train_features")), name="train_labels"
    )
    test = encode_labels(test_labels, num_samples=len(as_matrix(test_features, "test_features")), name="test_labels")
    neighbors = nearest_neighbors(train_features, queries=test_features, metric=metric)
    return cross_graph(neighbors, train, test).separation()


def _graph_of_order(features: ArrayLike, labels: ArrayLike, order: int, metric: str) -> LabelledGraph:
    num_samples = len(as_matrix(features))
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or not 1 <= order < num_samples:
        raise ValueError(f"order must be a whole number from 1 to n - 1 = {num_samples - 1}; got {order!r}.")
    return labelled_graph(features, labels, k=int(order), metric=metric)


def _with_ties(features: ArrayLike, labels: ArrayLike, ties: str, rows: ArrayLike | None, metric: str) -> Separation:
    """SI where every reference at the smallest distance has a say."""
    graph = labelled_graph(features, labels, k=1, rows=rows, metric=metric)
    first = graph.separation()
    starts, references = _tied_references(features, graph, metric)
    lengths = np.diff(np.append(starts, len(references)))

    def score(query_codes: Codes, reference_codes: Codes) -> NDArray[np.float64]:
        agrees = reference_codes[..., references] == np.repeat(query_codes, lengths, axis=-1)
        share = np.add.reduceat(agrees, starts, axis=-1, dtype=np.float64) / lengths
        if ties == "mean":
            return share
        return (share == 1 if ties == "all" else share > 0).astype(np.float64)

    def null(shuffles: Shuffles) -> NDArray[np.float64]:
        permuted = shuffles.of(graph.reference_codes)
        own = permuted[:, graph.own]
        return null_values(lambda q, r: score(q, r).mean(axis=1), own, permuted, entries_each=len(references))

    by_sample = score(graph.query_codes, graph.reference_codes)
    return replace(
        first,
        value=float(by_sample.mean()),
        by_class={**mean_by_class(by_sample, graph.query_codes, graph.classes), **_undefined(first)},
        by_sample=by_sample,
        chance=first.chance if ties == "mean" else float("nan"),
        num_tied=int((lengths > 1).sum()),
        moments=None,
        null_values=null,
    )


def _undefined(separation: Separation) -> dict[int | str, float]:
    return {label: value for label, value in separation.by_class.items() if np.isnan(value)}


def _tied_references(
    features: ArrayLike, graph: LabelledGraph, metric: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All references at exactly the smallest distance of each query, by doubling k where the last one still ties.

    Returns where each query's references start, shape (m,), and the references of all queries in order.
    """
    assert graph.own is not None
    tied: list[NDArray[np.int64]] = list(graph.neighbors.indices)
    open_queries, k, most = np.arange(graph.num_queries), 2, len(graph.reference_codes) - 1
    while len(open_queries) and k <= most:
        found = nearest_neighbors(features, rows=graph.own[open_queries], k=k, metric=metric)
        equal = found.squared == found.squared[:, :1]
        for query, neighbors, same in zip(open_queries, found.indices, equal, strict=True):
            tied[query] = neighbors[same]
        open_queries = open_queries[equal[:, -1]]
        k = min(2 * k, most) if k < most else most + 1
    lengths = np.array([len(part) for part in tied])
    return np.concatenate([[0], np.cumsum(lengths)[:-1]]), np.concatenate(tied)
