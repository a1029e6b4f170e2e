"""A neighbor embedding (t-SNE) of each layer for the map of the samples, each layer's begun from the one before it.

A layer leaves its principal components in the part of the study that holds its rows (`components_row`); when all layers
are measured, `embed_layers` embeds them in network order. So a map does not depend on who measured a layer, or when.
Distances between groups and sizes of groups mean nothing on such a map; SI is computed on all dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from core.search.blas_threads import one_blas_thread
from core.study.measuring.planes import align_plane, normalize_plane
from core.study.measuring.projection import principal_scores
from core.study.samples import StudySamples
from core.study.store.opening import StudyError, layer_parts, read_table_file
from core.study.store.tables.schemas import PART_TABLES

NUM_COMPONENTS = 30  # that neighbors are searched in
FEWEST = 5  # samples; fewer stay where their principal components are
PERPLEXITY = 30.0
ITERATIONS = 500
EXAGGERATION = 4.0  # during the first 250 iterations: lets parts of a class find each other
START_SIZE = 1e-4  # standard deviation at the start, as scikit-learn has it
JITTER = 1e-2  # of it, so that equal samples can part, and a line can become a plane
# Time of an iteration, for each sample: SECONDS_OF_SAMPLE · log2(samples). One thread of a server processor, measured
# with `python -m tests.benchmarks.sample_map`.
SECONDS_OF_SAMPLE = 4.0e-7


def components_row(features: NDArray[Any]) -> pd.DataFrame:
    """What is kept of a layer until all are measured: its principal components, the largest of size 1.

    features : shape (n, d), rows in the order of the samples.
    """
    with one_blas_thread():  # the number of threads changes the last digits, and an embedding makes much of them
        scores = principal_scores(np.asarray(features, dtype=np.float64), NUM_COMPONENTS)
    size = np.abs(scores).max(initial=0.0)
    scores = (scores / size if size > 0 else scores).astype(np.float32)
    return pd.DataFrame({"num_components": [scores.shape[1]], "scores": [scores.ravel()]})


def components_bytes(num_samples: int, width: int) -> int:
    """Bytes of `components_row` on disk, before compression. width : features of a sample."""
    return 4 * num_samples * min(NUM_COMPONENTS, width, num_samples)


def embedding_seconds(num_samples: int) -> float:
    """Expected time of the embedding of one layer. An estimate."""
    if num_samples < FEWEST:
        return 0.0
    return ITERATIONS * SECONDS_OF_SAMPLE * num_samples * float(np.log2(num_samples))


def describe_map(num_samples: int, seed: int) -> dict[str, Any]:
    """What study.json says of how the map was made."""
    if num_samples < FEWEST:
        return {"method": "principal components", "reason": f"fewer than {FEWEST} samples"}
    return {
        "method": "t-SNE",
        "components": NUM_COMPONENTS,
        "perplexity": min(PERPLEXITY, (num_samples - 1) / 3),
        "iterations": ITERATIONS,
        "exaggeration": EXAGGERATION,
        "seed": seed,
    }


def embed(
    scores: NDArray[np.float32], start: NDArray[np.floating] | None = None, *, seed: int = 0
) -> NDArray[np.float32]:
    """Embed samples on a plane so that neighbors stay neighbors (t-SNE, van der Maaten 2014).

    Parameters
    ----------
    scores : array of shape (n, d)
        Principal components, the largest first.
    start : array of shape (n, 2), optional
        Positions to start from and to lie near; default the first two components.
    seed : int
        Of the slight noise in the start.

    Returns
    -------
    array of float32, shape (n, 2)
        Centered, of root mean square distance 1 from the center, rotated or mirrored so that the samples lie nearest
        to the start. Fewer than 5 samples, or samples that are all equal, are where their components are.
    """
    from sklearn.manifold import TSNE  # here, because it takes a second to load

    plane = np.zeros((len(scores), 2))
    plane[:, : min(scores.shape[1], 2)] = scores[:, :2]
    begin = normalize_plane(plane if start is None else np.asarray(start))
    if len(scores) < FEWEST or not np.ptp(scores, axis=0).any():
        return align_plane(normalize_plane(plane), begin).astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal(begin.shape)
    spread = begin.std(axis=0).max() or 1.0
    initial = START_SIZE * (begin / spread + JITTER * noise)
    model = TSNE(
        init=initial.astype(np.float32),
        perplexity=min(PERPLEXITY, (len(scores) - 1) / 3),
        early_exaggeration=EXAGGERATION,
        max_iter=ITERATIONS,
        random_state=seed,
        n_jobs=1,
    )
    # In one thread, because sums depend on the order in which threads end.
    with threadpool_limits(1):
        points = model.fit_transform(np.ascontiguousarray(scores, dtype=np.float32))
    return align_plane(normalize_plane(points), begin).astype(np.float32)


@dataclass(frozen=True)
class EmbeddedLayer:
    """The embedding of one layer.

    Attributes
    ----------
    part : Path
        The layer's part of the study.
    rows : DataFrame
        Rows of the table `projection`.
    """

    part: Path
    rows: pd.DataFrame


def embed_layers(
    folder: Path, samples: StudySamples, seed: int, progress: Callable[[int, int], None]
) -> Iterator[EmbeddedLayer]:
    """Embed the measured layers of a study in network order, but for those that an earlier run has embedded.

    Parameters
    ----------
    folder : Path
        The study's folder, in which all layers are measured and not merged yet.
    samples : StudySamples
        The samples of the study.
    seed : int
        See `embed`.
    progress : callable
        Told the number of layers that are embedded, and of all.

    Raises
    ------
    StudyError
        What an earlier run left there is of other samples.
    """
    parts = [part for part in layer_parts(folder) if (part / "components.parquet").exists()]
    scores: NDArray[np.float32] | None = None
    plane: NDArray[np.float32] | None = None
    for number, part in enumerate(parts):
        progress(number, len(parts))
        layer, new_scores = _read_components(part, len(samples))
        embedded = part / "embedding.parquet"
        if embedded.exists():
            plane = _read_plane(embedded, len(samples))
        else:
            if plane is None or scores is None or not np.array_equal(scores, new_scores):
                plane = embed(new_scores, plane, seed=seed)
            yield EmbeddedLayer(part, _projection_rows(layer, plane, samples))
        scores = new_scores
    progress(len(parts), len(parts))


def _projection_rows(layer: str, plane: NDArray[np.float32], samples: StudySamples) -> pd.DataFrame:
    rows = {"split": samples.splits, "layer": layer, "sample": np.arange(len(samples))}
    return pd.DataFrame(rows | {"x": plane[:, 0], "y": plane[:, 1]})


def _read_components(part: Path, num_samples: int) -> tuple[str, NDArray[np.float32]]:
    """A layer's name, and its components in shape (n, d)."""
    rows = read_table_file(part / "components.parquet", PART_TABLES["components"]).to_pylist()
    if len(rows) == 1 and len(rows[0]["scores"]) == num_samples * rows[0]["num_components"]:
        return rows[0]["layer"], np.float32(rows[0]["scores"]).reshape(num_samples, -1)
    raise _other_samples(part / "components.parquet")


def _read_plane(file: Path, num_samples: int) -> NDArray[np.float32]:
    rows = read_table_file(file, PART_TABLES["embedding"]).to_pandas().sort_values("sample")
    if len(rows) != num_samples:
        raise _other_samples(file)
    return np.asarray(rows[["x", "y"]], dtype=np.float32)


def _other_samples(file: Path) -> StudyError:
    return StudyError(
        f"{file.name} in {file.parent} must be of the samples of this study; got others. Delete the study's folder, "
        "and run it again."
    )
