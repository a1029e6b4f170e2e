"""Related separability measures: other published numbers for how well labelled samples are separated.

They look at distances between samples (silhouette, generalized discrimination value) or at the scatter about class
means (neural collapse, separation fuzziness), where SI looks at nearest neighbors only.
"""

from __future__ import annotations  # so that help() shows the names of types as they are written here

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.measures.center import CenterGeometry
from core.measures.related.class_distances import discrimination_values, silhouettes
from core.measures.related.class_scatter import scatter_ratios
from core.measures.separation import EncodedLabels, encode_labels
from core.measures.significance import Codes, Shuffles
from core.search.rows import Rows, as_matrix

PERMUTED = 20  # permutations of the labels behind a chance level without closed form: their scatter is small


@dataclass(frozen=True)
class RelatedMeasure:
    """A related separability measure of one set of samples.

    measure : its name, as in a study's tables.
    value : the measure; nan where it is undefined, as where no class has two samples.
    chance : what it is under labels permuted at random: exactly 0 for the generalized discrimination value, for the
        others the median over the permutations asked for (a few of which may be huge where few features make some
    direction between class means very short); nan without any.
    num_samples : samples that it was computed on.
    """

    measure: str
    value: float
    chance: float
    num_samples: int


def silhouette(
    features: ArrayLike, labels: ArrayLike, *, permutations: int = PERMUTED, seed: int = 0
) -> RelatedMeasure:
    """Mean silhouette of the samples, with their labels as the clusters.

    Of each sample (b − a)/max(a, b), where a is its mean Euclidean distance to the other samples of its class and b
    that to the samples of the nearest other class; 0 for a sample that is alone in its class, or where a = b = 0. The
    same number as scikit-learn's `silhouette_score`.

    Range −1 to 1, higher is better; 0 where classes touch, and slightly below for meaningless labels, since b is the
    smallest of several means. No rotation, shift or common scale changes it. Takes O(n²·d).

    Parameters
    ----------
    features : array of shape (n, d), or (n, ...), flattened per sample; finite.
    labels : integers or strings of shape (n,), of at least two classes.
    permutations : of the labels, whose median value is `chance`; 0 for none. seed : of theirs.

    Raises
    ------
    ValueError
        NaN or infinity, fewer than two samples or classes, lengths that differ.

    References
    ----------
    Rousseeuw, "Silhouettes", J. Comput. Appl. Math. 20, 1987.
    """
    return _silhouette(_Prepared.of(features, labels, permutations, seed))


def generalized_discrimination_value(features: ArrayLike, labels: ArrayLike) -> RelatedMeasure:
    """Mean distance within classes minus mean distance between classes, of z-scored features.

    Each column becomes s = (x − mean)/(2·sd), with the sd over all n samples; a constant column becomes 0. Then
    GDV = (mean over classes of the mean distance within − mean over pairs of classes of the mean distance between)/√d,
    with Euclidean distances. A class of one sample has no distance within and is left out of the first mean.

    Lower is better: about −1 for perfectly separated classes, exactly 0 on average for meaningless labels, seldom above
    0. No shift or scale of a single column changes it, nor a permutation of columns; a rotation does. O(n²·d).

    Parameters
    ----------
    features, labels : as in `silhouette`.

    Returns
    -------
    RelatedMeasure
        Its value is nan where every class has one sample. `chance` is exact: under permuted labels every pair of
        samples is as likely within a class as between classes.

    Raises
    ------
    ValueError
        As `silhouette`.

    References
    ----------
    Schilling et al., arXiv 1811.01753; Neural Networks 139, 2021. The constants are those of their program.
    """
    encoded = _checked(features, labels)
    scores = _half_z_scores(features)
    geometry = CenterGeometry(scores, np.einsum("ij,ij->i", scores, scores), is_gram=False)  # `of` would scale them
    value = discrimination_values(geometry, encoded.codes[None], len(encoded.classes))[0]
    return RelatedMeasure("discrimination", float(value / np.sqrt(scores.shape[1])), 0.0, len(geometry))


def neural_collapse(
    features: ArrayLike, labels: ArrayLike, *, permutations: int = PERMUTED, seed: int = 0
) -> RelatedMeasure:
    """Variability of the samples about their class means, in units of the scatter of the means: NC1.

    NC1 = tr(Σ_W Σ_B⁺)/C for C classes. Σ_W is the covariance of the samples about their class means, averaged over
    all samples; Σ_B is the covariance of the C class means about their mean, every class counting the same; ⁺ is the
    pseudoinverse, which drops what is below 10⁻¹² of the total variance.

    Range 0 to infinity, lower is better; 0 where each class has collapsed to a point; nan where all class means
    coincide. No rotation, shift or common scale changes it.

    Parameters
    ----------
    features, labels, permutations, seed : as in `silhouette`.

    Raises
    ------
    ValueError
        As `silhouette`.

    References
    ----------
    Papyan, Han and Donoho, "Prevalence of neural collapse", PNAS 117(40), 2020, arXiv 2008.08186. They have as many
    samples in each class; then NC1 is the separation fuzziness divided by C.
    """
    return _collapse(_Prepared.of(features, labels, permutations, seed))


def separation_fuzziness(
    features: ArrayLike, labels: ArrayLike, *, permutations: int = PERMUTED, seed: int = 0
) -> RelatedMeasure:
    """The quantity D of the law of data separation: tr(SS_w SS_b⁺).

    SS_w is the covariance of the samples about their class means; SS_b that of the class means about the mean of all
    samples, each class counting by its share n_c/n of the samples. The law says that log D falls by the same amount
    from layer to layer of a well-trained network. Unlike `neural_collapse` it is not divided by the number of classes,
    and large classes weigh more.

    Range 0 to infinity, lower is better. Invariances, pseudoinverse and nan as in `neural_collapse`.

    Parameters
    ----------
    features, labels, permutations, seed : as in `silhouette`.

    Raises
    ------
    ValueError
        As `silhouette`.

    References
    ----------
    He and Su, "A law of data separation in deep learning", PNAS 120(36), 2023, arXiv 2210.17020, equation 1.
    """
    return _fuzziness(_Prepared.of(features, labels, permutations, seed))


def separability_measures(
    features: ArrayLike, labels: ArrayLike, *, permutations: int = PERMUTED, seed: int = 0
) -> tuple[RelatedMeasure, ...]:
    """Compute all four together, which costs less than one by one; parameters and errors as in `silhouette`."""
    prepared = _Prepared.of(features, labels, permutations, seed)
    discrimination = generalized_discrimination_value(features, labels)
    return (_silhouette(prepared), discrimination, _collapse(prepared), _fuzziness(prepared))


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Checked samples, and their labels followed by permutations of them, shape (1 + permutations, n)."""

    geometry: CenterGeometry
    num_classes: int
    labelings: Codes

    @classmethod
    def of(cls, features: ArrayLike, labels: ArrayLike, permutations: int, seed: int) -> _Prepared:
        if permutations < 0:
            raise ValueError(f"permutations must be at least 0; got {permutations}. {PERMUTED} is usual.")
        encoded = _checked(features, labels)
        labelings = np.vstack([encoded.codes, Shuffles(permutations, seed).of(encoded.codes)])
        return cls(CenterGeometry.of(features), len(encoded.classes), labelings)

    def judged(self, measure: str, values: NDArray[np.float64]) -> RelatedMeasure:
        """The value of the labels themselves, beside the median over their permutations; nan for samples all alone."""
        if self.num_classes == len(self.geometry):
            return RelatedMeasure(measure, float("nan"), float("nan"), len(self.geometry))
        chance = float(np.median(values[1:])) if len(values) > 1 else float("nan")
        return RelatedMeasure(measure, float(values[0]), chance, len(self.geometry))


def _silhouette(prepared: _Prepared) -> RelatedMeasure:
    values = silhouettes(prepared.geometry, prepared.labelings, prepared.num_classes)
    return prepared.judged("silhouette", values)


def _collapse(prepared: _Prepared) -> RelatedMeasure:
    ratios = scatter_ratios(prepared.geometry, prepared.labelings, equal_classes=True)
    return prepared.judged("neural_collapse", ratios / prepared.num_classes)


def _fuzziness(prepared: _Prepared) -> RelatedMeasure:
    ratios = scatter_ratios(prepared.geometry, prepared.labelings, equal_classes=False)
    return prepared.judged("fuzziness", ratios)


def _half_z_scores(features: ArrayLike) -> NDArray[np.float64]:
    """(x − mean)/(2·sd) of each column, shape (n, d); 0 where a column is constant."""
    rows = Rows.of(features)
    exponent = int(np.frexp(rows.largest)[1])
    matrix = np.ldexp(rows.exact(slice(None)), -exponent)  # no square over- or underflows
    spread = 2 * matrix.std(axis=0)
    varied = np.ptp(matrix, axis=0) > 0
    values: NDArray[np.float64] = np.divide(
        matrix - matrix.mean(axis=0), spread, out=np.zeros_like(matrix), where=varied & (spread > 0)
    )
    return values


def _checked(features: ArrayLike, labels: ArrayLike) -> EncodedLabels:
    encoded = encode_labels(labels, num_samples=len(as_matrix(features)))
    if len(encoded.classes) < 2:
        raise ValueError(
            f"labels must name at least two classes; got {len(encoded.classes)}. There is nothing to separate."
        )
    return encoded
