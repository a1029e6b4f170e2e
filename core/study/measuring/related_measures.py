"""Related measures of a study's layers: separability, intrinsic dimension, hubness, and similarity of layers (CKA).

Each is of one split's samples, of layers whose activations have no space or are averaged over it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.measures.related.alignment import FEWEST, CenteredGram, linear_cka
from core.measures.related.intrinsic_dimension import dimension_of_distances
from core.measures.related.neighbor_overlap import hub_skewness, random_hub_skewness
from core.measures.related.separability import RelatedMeasure, separability_measures
from core.search.neighbors import Neighbors
from core.study.store.opening import StudyError, layer_parts, read_table_file
from core.study.store.tables.schemas import PART_TABLES

MOST_FOR_SEPARABILITY = 5_000  # samples: the separability measures take time and memory by the square of it
MOST_ALIGNED = 500  # samples that CKA is computed on
SEPARABILITY = ("silhouette", "discrimination", "neural_collapse", "fuzziness")
RELATED_MEASURES = (*SEPARABILITY, "dimension", "dimension_mle", "hubness")


def related_measure_rows(
    features: NDArray[Any], labels: NDArray[np.int64], neighbors: Neighbors, *, seed: int = 0
) -> pd.DataFrame:
    """Rows of the table `related_measures` but for split, layer and pooling: every measure that is defined.

    Parameters
    ----------
    features : shape (n, d). labels : shape (n,).
    neighbors : of these samples, or of some of them, among these samples, as the study has found them.
    seed : of the permutations behind `chance`, and of the 5,000 samples that stand for more in the first four.
    """
    found = [_row_of(one) for one in _separability(features, labels, seed)]
    found += _dimension_rows(neighbors)
    counts = np.bincount(neighbors.indices[:, 0], minlength=len(features))
    hubs = {"measure": "hubness", "value": hub_skewness(counts), "chance": random_hub_skewness(len(features))}
    return pd.DataFrame([*found, hubs | {"num_samples": len(neighbors.indices)}])


def gram_row(features: NDArray[Any]) -> pd.DataFrame:
    """What is kept of a layer until the study is complete, for later ones: half of its centered Gram matrix."""
    half = CenteredGram.of(features).half
    largest = np.abs(half).max()
    return pd.DataFrame({"gram": [(half / largest if largest > 0 else half).astype(np.float32)]})


def with_alignment(tables: dict[str, pd.DataFrame], folder: Path) -> dict[str, pd.DataFrame]:
    """The tables of a layer, and with them its CKA with every layer that lies finished in a study's parts."""
    if "grams" not in tables:
        return tables
    own = {row["split"]: (row["layer"], _gram(row)) for row in tables["grams"].to_dict("records")}
    files = [file for part in layer_parts(folder) if (file := part / "grams.parquet").exists()]
    rows = []
    for file in files:
        for row in read_table_file(file, PART_TABLES["grams"]).to_pandas().to_dict("records"):
            other = _gram(row)
            if row["split"] not in own or own[row["split"]][1].half.shape != other.half.shape:
                raise StudyError(
                    f"{file.name} in {file.parent} must be of the samples of this study; got others. Delete the "
                    "study's folder, and run it again."
                )
            rows.append(_alignment_row(row["split"], *own[row["split"]], row["layer"], other))
    return tables | ({"alignment": pd.DataFrame(rows)} if rows else {})


def aligned_samples(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows, ascending, that CKA is computed on; order : all of them in the order that the seed gives."""
    return np.sort(order[:MOST_ALIGNED])


def can_align(num_samples: int) -> bool:
    """Whether there are samples enough for CKA."""
    return num_samples >= FEWEST


def _separability(features: NDArray[Any], labels: NDArray[np.int64], seed: int) -> tuple[RelatedMeasure, ...]:
    """All four; none where there is a single class."""
    if len(features) > MOST_FOR_SEPARABILITY:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(features))[:MOST_FOR_SEPARABILITY])
        features, labels = features[chosen], labels[chosen]
    return separability_measures(features, labels, seed=seed) if len(np.unique(labels)) > 1 else ()


def _row_of(measured: RelatedMeasure) -> dict[str, Any]:
    return {name: getattr(measured, name) for name in ("measure", "value", "chance", "num_samples")}


def _dimension_rows(neighbors: Neighbors) -> list[dict[str, Any]]:
    """The paper's line, and the likelihood with its interval; none where there is no second neighbor."""
    if neighbors.distances.shape[1] < 2:
        return []
    found = dimension_of_distances(neighbors.distances)
    num_samples = len(neighbors.distances) - found.num_duplicates
    return [
        {"measure": "dimension", "value": found.value, "num_samples": num_samples},
        {"measure": "dimension_mle", "value": found.likelihood, "low": found.low, "high": found.high}
        | {"num_samples": num_samples},
    ]


def _gram(row: Mapping[Hashable, Any]) -> CenteredGram:
    return CenteredGram(row["gram"].astype(np.float64))


def _alignment_row(
    split: str, layer: str, gram: CenteredGram, other_layer: str, other_gram: CenteredGram
) -> dict[str, Any]:
    """CKA of a layer with another one, among the samples of a split."""
    return {"split": split, "layer": layer, "other_layer": other_layer} | asdict(linear_cka(gram, other_gram))
