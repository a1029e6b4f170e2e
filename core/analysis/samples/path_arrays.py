"""The nearest neighbor of every sample at every layer as arrays, read a few layers at a time.

A large study has millions of rows of neighbors. As arrays by layer and sample they take a few bytes each, and what is
said of all samples through all layers is computed from them in a moment.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.analysis.samples.paths import neighbors_by_layer
from core.analysis.samples.prediction_depth import depths, majority
from core.study.store.opening import Study


@dataclass(frozen=True, eq=False)
class PathArrays:
    """The nearest neighbor of each sample at each layer, and the class for which its neighbors vote.

    Attributes
    ----------
    layers : tuple of str
        The layers of which neighbors are stored, in network order.
    samples : np.ndarray, int32, shape (samples,)
        The samples of the split, ascending.
    nearest : np.ndarray, int32, shape (layers, samples)
        The nearest neighbor; -1 where the sample is no query.
    distance : np.ndarray, float32, shape (layers, samples)
        The distance to it; nan where there is none.
    same_label : np.ndarray, bool, shape (layers, samples)
        Whether it has the sample's label.
    votes : np.ndarray, int16 or int32, shape (layers, samples)
        The most frequent class among the stored neighbors, the nearest of equally frequent ones, as a code in
        `classes`; -1 where the sample is no query.
    classes : np.ndarray of str
        Class names, ascending.
    num_voters : int
        Number of stored neighbors per sample.
    """

    layers: tuple[str, ...]
    samples: NDArray[np.int32]
    nearest: NDArray[np.int32]
    distance: NDArray[np.float32]
    same_label: NDArray[np.bool_]
    votes: NDArray[np.integer[Any]]
    classes: NDArray[np.object_]
    num_voters: int

    def at(self, layer: str) -> pd.DataFrame:
        """Return sample, nearest, distance and same_label of the queries of one layer; empty if none is stored."""
        if layer not in self.layers:
            return self._rows(np.array([], dtype=np.int64), np.array([], dtype=np.int64))
        number = self.layers.index(layer)
        queries = np.flatnonzero(self.nearest[number] >= 0)
        return self._rows(np.full(len(queries), number), queries)

    def of(self, sample: int) -> pd.DataFrame:
        """Return one sample through the layers: layer, and the columns of `at`."""
        places = np.flatnonzero(self.samples == sample)
        at_layers = np.flatnonzero((self.nearest[:, places] >= 0).any(axis=1))
        rows = self._rows(at_layers, np.full(len(at_layers), places[0] if len(places) else 0))
        rows.insert(0, "layer", np.array(self.layers, dtype=object)[at_layers])
        return rows

    def of_samples(self, samples: Collection[int]) -> pd.DataFrame:
        """Return some samples through the layers, as `core.analysis.samples.paths.nearest_by_layer` reads them."""
        places = np.flatnonzero(np.isin(self.samples, list(samples)))
        layers, found = np.nonzero(self.nearest[:, places] >= 0)
        rows = self._rows(layers, places[found])
        names = pd.Categorical.from_codes(layers, dtype=pd.CategoricalDtype(list(self.layers)))
        return pd.concat([pd.Series(names, name="layer"), rows], axis=1)

    def agreement(self) -> pd.DataFrame:
        """Return whether each sample's nearest neighbor has its label, with a column for each layer.

        Samples that are not queries at every layer are left out.
        """
        everywhere = self.is_query_everywhere
        index = pd.Index(self.samples[everywhere], name="sample")
        return pd.DataFrame(self.same_label[:, everywhere].T, index=index, columns=list(self.layers))

    def depths(self, names: pd.Series) -> pd.DataFrame:
        """Return the prediction depth of each sample that is a query at every layer.

        Parameters
        ----------
        names : Series of str
            Class name by sample, as given to `read_path_arrays`.

        Returns
        -------
        DataFrame
            As returned by `core.analysis.samples.prediction_depth.depths`.
        """
        everywhere = self.is_query_everywhere
        index = pd.Index(self.samples[everywhere], name="sample")
        codes = pd.Series(np.searchsorted(self.classes.astype(str), names.to_numpy(str)), names.index)
        voted = pd.DataFrame(self.votes[:, everywhere].T, index=index, columns=list(self.layers))
        table = depths(voted, codes)
        return table.assign(prediction=self.classes[table["prediction"].to_numpy(int)])

    @property
    def is_query_everywhere(self) -> NDArray[np.bool_]:
        """Whether each sample is a query at every layer; no sample is where no neighbors are stored."""
        return np.asarray((self.nearest >= 0).all(axis=0) & (len(self.layers) > 0))

    def _rows(self, layers: NDArray[np.int64], places: NDArray[np.int64]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "sample": self.samples[places],
                "nearest": self.nearest[layers, places],
                "distance": self.distance[layers, places],
                "same_label": self.same_label[layers, places],
            }
        )


def read_path_arrays(
    study: Study,
    pooling: str,
    split: str,
    names: pd.Series,
    *,
    among: str | None = None,
    samples: Sequence[int] | None = None,
) -> PathArrays:
    """Read the neighbors of the samples of a split at every layer.

    Parameters
    ----------
    study, pooling, split, among, samples
        As for `core.analysis.samples.paths.neighbors_by_layer`.
    names : Series of str
        Class name by sample, of all samples of the study.
    """
    of_split = study.samples.loc[study.samples["split"] == split, "sample"].to_numpy(np.int32)
    queries = np.sort(of_split if samples is None else of_split[np.isin(of_split, samples)])
    classes = pd.Categorical(names)
    small = np.int16 if len(classes.categories) <= np.iinfo(np.int16).max else np.int32
    codes = np.zeros(int(names.index.max()) + 1 if len(names) else 0, dtype=small)
    codes[names.index] = classes.codes
    layers = study.layers["layer"].tolist()
    shape = (len(layers), len(queries))
    nearest = np.full(shape, -1, dtype=np.int32)
    distance = np.full(shape, np.nan, dtype=np.float32)
    same_label, votes = np.zeros(shape, dtype=bool), np.full(shape, -1, dtype=small)
    num_voters = 0
    for rows in _parts(study, pooling, split, among, samples):
        most = int(rows["rank"].max())
        num_voters = max(num_voters, most)
        first = rows.iloc[::most]  # ranks run from 1 to the same number for all
        position = pd.Index(layers).get_indexer(first["layer"].cat.categories)[first["layer"].cat.codes]
        place = np.searchsorted(queries, first["sample"].to_numpy())
        nearest[position, place], distance[position, place] = first["nearest"], first["distance"]
        same_label[position, place] = first["same_label"]
        votes[position, place] = majority(codes[rows["nearest"].to_numpy()].reshape(-1, most))
    stored = np.flatnonzero((nearest >= 0).any(axis=1))
    if len(stored) < len(layers):
        nearest, distance, same_label, votes = nearest[stored], distance[stored], same_label[stored], votes[stored]
    return PathArrays(
        layers=tuple(layers[number] for number in stored),
        samples=queries,
        nearest=nearest,
        distance=distance,
        same_label=same_label,
        votes=votes,
        classes=classes.categories.to_numpy(object),
        num_voters=num_voters,
    )


def _parts(
    study: Study, pooling: str, split: str, among: str | None, samples: Sequence[int] | None
) -> Iterator[pd.DataFrame]:
    """Tables of `neighbors_by_layer` that together have all layers, none of them empty."""
    groups = study.layer_groups("neighbors") if samples is None else [study.layers["layer"].tolist()]
    for layers in groups:
        rows = neighbors_by_layer(study, pooling, split, among=among, layers=layers, samples=samples)
        if len(rows):
            yield rows
