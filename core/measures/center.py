"""Center separation: how often the nearest class center is the sample's own."""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from core.measures.separation import EncodedLabels, Separation, encode_labels, mean_by_class
from core.measures.significance import Codes, Shuffles
from core.search.rows import Rows, as_matrix

CHUNK = 4096  # columns of features in memory as float64 at once while inner products are summed
_ROUNDING = 1e-12  # squared distances that differ by less, relative to what they are computed from, are equal


def center_separation_index(features: ArrayLike, labels: ArrayLike, *, leave_one_out: bool = True) -> Separation:
    """Share of samples whose nearest class center is the center of their own class.

    A center is the mean of its class's samples; equal distances go to the class that sorts first. Leave-one-out takes
    the sample out of its own center, which multiplies its squared distance to that center by (n_c/(n_c − 1))².

    Both are biased where features are many: in sample upwards, since a center that contains the sample is near it
    whatever the labels, and random labels score close to 1; leave-one-out downwards, since the own center rests on one
    sample less than its rivals and so lies farther out, and random labels may score 0. Judge either by `p_value`, or
    beside its value under permuted labels, not by 1/num_classes.

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite, n >= 2. Distances are Euclidean.
    labels : integers or strings of shape (n,).
    leave_one_out : False asks for the biased in-sample variant, named `center_in_sample`.

    Returns
    -------
    Separation
        A class of one sample has no leave-one-out value: nan in `by_sample` and `by_class`, left out of `value`; its
        center still competes for the other samples. There is no closed null: `chance`, `excess` and `z` are nan, and
        `p_value` permutes the labels. `interval` is Wilson's with the number of samples that have a value; it ignores
        that samples share centers, so it speaks of fresh samples before these centers.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples, lengths that differ.
    """
    encoded = encode_labels(labels, num_samples=len(as_matrix(features)))
    return CenterGeometry.of(features).separation(encoded, leave_one_out=leave_one_out)


@dataclass(frozen=True, eq=False)
class CenterGeometry:
    """The inner products of n samples: all that distances to class centers depend on, whatever the labels.

    Make it once with `of`, then ask for as many label vectors as wanted: each costs O(n²) at most, not O(n·d) of a wide
    layer.

    inner : float64. The centered features, shape (n, d), where d <= n; else their Gram matrix, shape (n, n).
    squared_lengths : float64, shape (n,), of the centered features.
    is_gram : which of the two `inner` is.
    """

    inner: NDArray[np.float64]
    squared_lengths: NDArray[np.float64]
    is_gram: bool

    @classmethod
    def of(cls, features: ArrayLike, *, chunk: int = CHUNK) -> CenterGeometry:
        """Check the features, (n, d) or flattened to that, and take their inner products about the column mean.

        chunk : columns of features that are summed at once.
        """
        rows = Rows.of(features)
        if len(rows) < 2:
            raise ValueError(
                f"features must have at least two samples; got {len(rows)}. A class needs others beside it."
            )
        if rows.num_features > len(rows):
            gram = _gram(rows, chunk)
            return cls(gram, gram.diagonal().copy(), is_gram=True)
        centered = _centered(rows, slice(None))
        return cls(centered, np.einsum("ij,ij->i", centered, centered), is_gram=False)

    def __len__(self) -> int:
        return len(self.inner)

    def separation(self, labels: ArrayLike | EncodedLabels, *, leave_one_out: bool = True) -> Separation:
        """The center separation of these samples under some labels; see `center_separation_index`."""
        encoded = labels if isinstance(labels, EncodedLabels) else encode_labels(labels)
        if len(encoded.codes) != len(self):
            raise ValueError(f"labels must have one entry a sample, {len(self)}; got {len(encoded.codes)}.")
        present = encoded.counts > 0
        codes, counts = np.cumsum(present)[encoded.codes] - 1, encoded.counts[present]
        by_sample = self._scores(codes, counts, leave_one_out)
        num_defined = np.count_nonzero(~np.isnan(by_sample))
        return Separation(
            measure="center" if leave_one_out else "center_in_sample",
            order=1,
            value=_mean_of_defined(by_sample),
            by_class=mean_by_class(by_sample, encoded.codes, encoded.classes),
            by_sample=by_sample,
            nearest=None,
            chance=float("nan"),
            num_all=len(self),
            null_values=partial(self._null_values, codes, counts, leave_one_out) if num_defined else None,
            effective_n=lambda: float(num_defined) if num_defined else float("nan"),
        )

    def _scores(self, codes: Codes, counts: NDArray[np.int64], leave_one_out: bool) -> NDArray[np.float64]:
        """1 where the own center is nearest, shape (n,); nan where the sample is alone in its class and left out."""
        own = (codes, np.arange(len(codes)))
        products = self._center_products(codes, counts)
        center_squared = np.bincount(codes, weights=products[own]) / counts
        distance = products
        distance *= -2
        distance += center_squared[:, None]
        distance += self.squared_lengths
        distance[own] *= _stretch(counts, leave_one_out)[codes]
        scores = _nearest_is(own, distance, _ROUNDING * (self.squared_lengths + center_squared[codes]))
        return np.where(leave_one_out & (counts[codes] == 1), np.nan, scores)

    def _center_products(self, codes: Codes, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Inner product of each center with each sample, shape (num_classes, n)."""
        members = np.argsort(codes, kind="stable")
        starts = np.concatenate([[0], np.cumsum(counts)])
        averages = sparse.csr_array((np.repeat(1 / counts, counts), members, starts), shape=(len(counts), len(codes)))
        centers = averages @ self.inner
        return np.asarray(centers if self.is_gram else centers @ self.inner.T)

    def _null_values(
        self, codes: NDArray[np.int64], counts: NDArray[np.int64], leave_one_out: bool, shuffles: Shuffles
    ) -> NDArray[np.float64]:
        """The measure under permuted labels; the sizes of the classes do not change."""
        scores = (self._scores(permuted, counts, leave_one_out) for permuted in shuffles.of(codes))
        return np.array([_mean_of_defined(one) for one in scores])


def _stretch(counts: NDArray[np.int64], leave_one_out: bool) -> NDArray[np.float64]:
    """What the squared distance to the own center is multiplied by, shape (num_classes,)."""
    if not leave_one_out:
        return np.ones(len(counts))
    return (counts / np.maximum(counts - 1, 1)) ** 2


def _nearest_is(
    own: tuple[Codes, Codes], distance: NDArray[np.float64], margin: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether the own center is nearest: no other is nearer, and none of a lower code is as near up to rounding."""
    to_own = distance[own]
    as_near = distance <= to_own + margin
    values: NDArray[np.bool_] = (as_near.argmax(axis=0) == own[0]) & (distance.min(axis=0) >= to_own - margin)
    return values


def _mean_of_defined(scores: NDArray[np.float64]) -> float:
    defined = scores[~np.isnan(scores)]
    return float(defined.mean()) if len(defined) else float("nan")


def _centered(rows: Rows, columns: slice) -> NDArray[np.float64]:
    """Columns of the features about their mean, scaled to at most about 1 so that no square over- or underflows."""
    exponent = max(int(np.frexp(rows.largest)[1]), -1000)
    return rows.centered(slice(None), columns, rows.mean, float(2.0**-exponent), np.dtype(np.float64))


def _gram(rows: Rows, chunk: int) -> NDArray[np.float64]:
    """Inner products of all samples about the column mean, shape (n, n)."""
    gram = np.zeros((len(rows), len(rows)))
    for start in range(0, rows.num_features, chunk):
        part = _centered(rows, slice(start, start + chunk))
        gram += part @ part.T
    return gram
