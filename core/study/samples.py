"""The samples of a study, and the options of what is measured at each layer."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.data.label_text import alike_note
from core.data.sampling import sample_order, stratified_subsample
from core.measures.significance import Shuffles
from core.study.store.study_json import printable


@dataclass(frozen=True)
class MeasureOptions:
    """What is computed at each layer.

    Attributes
    ----------
    num_neighbors : int
        Number of neighbors stored for each sample.
    metric : {"euclidean", "cosine"}
        Distance.
    sizes, repeats : tuple of int, int
        Sizes of the subsamples of each split, and how often each size is drawn.
    seed : int
        Seed of subsamples, queries, folds and projections.
    centers : bool
        Whether to compute the center measures, with their permuted controls.
    probe : bool
        Whether to train a linear probe where activations have no space or are averaged over it.
    num_queries : mapping of str to int
        By split, the number of queries where not all samples are; each is compared with all others.
    pilot : int
        Number of samples that were queries of the pilot and are none now.
    projection : {"pca", "tsne", "none"}
        How samples are drawn on a plane: by two principal components, or by a neighbor embedding.
    related_measures : bool
        Whether to compute the tables `related_measures` and `alignment`.
    test_every_measure : bool
        Whether all measures on neighbors have a p-value, not SI and cross SI alone.
    """

    num_neighbors: int = 10
    metric: str = "euclidean"
    sizes: tuple[int, ...] = ()
    repeats: int = 5
    seed: int = 0
    centers: bool = False
    probe: bool = True
    num_queries: Mapping[str, int] = field(default_factory=dict)
    pilot: int = 0
    projection: str = "pca"
    related_measures: bool = False
    test_every_measure: bool = False


@dataclass(frozen=True, eq=False)
class StudySamples:
    """The samples of a study, one entry each: `labels` index `class_names`; `splits` are "train" or "test".

    Names of files that are no UTF-8 have escapes in place of the bytes that are none, as tables hold nothing else.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: NDArray[np.str_]
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("ids", "class_names", "sources"):
            object.__setattr__(self, name, tuple(map(printable, getattr(self, name))))

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

    def queries(self, split: str, options: MeasureOptions) -> NDArray[np.int64] | None:
        """Rows within the split that are asked, ascending, where not all are; the same for every layer."""
        if split not in options.num_queries:
            return None
        asked = options.num_queries[split]
        order = self.seeded_order(split, options.seed)[options.pilot :]
        return np.sort(order[:asked]) if asked < len(order) else None

    def seeded_order(self, split: str, seed: int) -> NDArray[np.int64]:
        """Rows within a split in random order, which depends on ids and seed alone."""
        return sample_order([self.ids[row] for row in self.rows(split)], seed)

    def subsamples(self, split: str, options: MeasureOptions) -> list[tuple[int, NDArray[np.int64]]]:
        """Repeat number (from 1) and rows within the split of each subsample that the options ask for.

        Stratified; within a repeat a smaller one is part of a larger one; the same for every layer.

        Raises
        ------
        ValueError
            A size is too small for the classes of the split, or larger than it.
        """
        rows = self.rows(split)
        ids, labels = [self.ids[row] for row in rows], self.labels[rows]
        draw = partial(stratified_subsample, ids, labels, class_names=self.class_names)
        repeats = range(1, options.repeats + 1)
        return [(repeat, draw(size, seed=options.seed + repeat)) for repeat in repeats for size in options.sizes]

    @cached_property
    def shuffles(self) -> Shuffles:
        """The permutations of the labels that all layers are tested on."""
        return Shuffles()

    @cached_property
    def center_shuffles(self) -> Shuffles:
        """Fewer, for the mean of the center measures: their scatter is small, and each takes longer."""
        return Shuffles(permutations=20)

    def describe(self) -> dict[str, Any]:
        """Return the description of the samples for study.json; its fingerprint tells two sets of samples apart."""
        text = "\n".join(
            f"{id_}\t{label}\t{split}" for id_, label, split in zip(self.ids, self.labels, self.splits, strict=True)
        )
        return {
            "num_samples": len(self),
            "num_classes": len(self.class_names),
            "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        }

    def cautions(self) -> list[str]:
        """Sentences that belong beside any result on these samples."""
        texts = [self._one_class(split) or self._alone(split) for split in self.split_names]
        return [text for text in (*texts, alike_note(self.class_names)) if text]

    def _one_class(self, split: str) -> str:
        """What it means that all samples of a split are of one class; "" where they are of several."""
        labels = self.labels[self.rows(split)]
        return _ONE_CLASS.format(len(labels), split) if len(labels) > 1 and len(set(labels)) == 1 else ""

    def _alone(self, split: str) -> str:
        """What it means that classes have a single sample of a split; "" where none has."""
        counts = np.bincount(self.labels[self.rows(split)])
        single, there = int((counts == 1).sum()), int((counts > 0).sum())
        if not single:
            return ""
        if single == there:
            return _ALL_ALONE.format(split)
        return _SOME_ALONE.format(split, single, there, "has" if single == 1 else "have")

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


_ONE_CLASS = (
    "All {0:,} samples of the split {1} are of one class: SI within {1} is 1 by construction, and says nothing. Take "
    "samples of two classes or more."
)
_ALL_ALONE = (
    "Each class has a single sample of the split {0}, which has no other of its kind to lie beside: SI within {0} is 0 "
    "by construction, and says nothing. Take at least two samples of each class."
)
_SOME_ALONE = (
    "Of the split {}, {} of {} classes {} a single sample, which has no other of its kind to lie beside, and counts as "
    "not separated. Take at least two samples of each class."
)
