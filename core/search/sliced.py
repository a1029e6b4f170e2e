"""Exact nearest neighbors in features that are never in memory whole: they come in column slices, and come again.

Round one sums what the expansion |a − b|² = |a|² + |b|² − 2ab needs, slice by slice: inner products about the slice's
column mean, and squared norms. Its error has the bound that `core.search.operands` proves, since products span at
most `CHUNK` columns and are summed in float64; so a few candidates a query are left. Round two sees the slices again,
in order, and sums Σ(a − b)² of the candidates as `squared_distances` does. Slices begin at multiples of
`SLICE_STEP`, and so of the columns that it sums at once: the distances are those of the search in memory, bit by bit.

A query with too many candidates (duplicates, constant features) gets them from the exact duplicates, which round two
finds by their digests, or from further rounds over all of its candidates. None stays undecided.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from core.search.neighbors import SUMMED, Neighbors, squared_distances
from core.search.operands import CHUNK, Arithmetic, tiles
from core.search.products import NumPyProducts
from core.search.rows import Rows, as_matrix, row_blocks
from core.search.shortlist import CROWDED, TILE, Candidates

SLICE_STEP = 16384  # a multiple of the columns of one product, and of those that the decision sums at once
_MAX_PAIRS = 1 << 22  # evaluated in one round beyond the shortlists, so that the list of them stays small

Array = NDArray[Any]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Question:
    """The k nearest of `references` to each of `queries`, but for the query itself: row numbers, references ascending.

    queries : int64, shape (m,). references : int64, shape (r,). k : at most the references that can be neighbors.
    """

    queries: Numbers
    references: Numbers
    k: int


def working_bytes(num_rows: int, dtype: type[np.floating[Any]] = np.float32) -> int:
    """Bytes that a `SlicedSearch` holds beside a slice: inner products, one tile of them, one centered chunk."""
    itemsize = np.dtype(dtype).itemsize
    sizes = [part.stop - part.start for part in tiles(num_rows, TILE)]
    products = 8 * (num_rows**2 + sum(size**2 for size in sizes)) // 2
    count: int = products + itemsize * num_rows * CHUNK + 2 * 8 * min(num_rows, TILE) ** 2
    return count


class SlicedSearch:
    """Answers questions about n rows of features that come in column slices.

        search = SlicedSearch(questions, num_rows=n)
        for start, block in slices():       # in any order
            search.survey(start, block)
        search.shortlist()
        while search.unfinished:
            for start, block in slices():   # from left to right
                search.look(start, block)
            search.decide()

    Parameters
    ----------
    questions : what is asked.
    num_rows : n.
    dtype : of the products; float64 where `gram` is wanted.
    """

    def __init__(
        self, questions: Sequence[Question], *, num_rows: int, dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        self._gram = _SlicedGram(num_rows, dtype)
        self._answers = [_Answer(question) for question in questions]
        self._round: _Round | None = None

    def survey(self, start: int, block: ArrayLike) -> None:
        """Round one: one slice, its columns from `start` on, shape (n, columns).

        Raises
        ------
        ValueError
            NaN or infinity, another number of rows, a start that is no multiple of `SLICE_STEP`.
        """
        self._gram.add(_checked(start, block, self._gram.num_rows), start)

    def shortlist(self) -> None:
        """End round one: choose the candidates of each query."""
        candidates = [answer.shortlist(self._gram) for answer in self._answers]
        crowded = any(len(answer.left) for answer in self._answers)
        self._round = _Round(self._answers, candidates, self._gram.num_rows, find_duplicates=crowded)

    @property
    def unfinished(self) -> bool:
        """Whether the slices must be seen again."""
        return self._round is not None

    def look(self, start: int, block: ArrayLike) -> None:
        """A further round: one slice; the slices of a round come from left to right."""
        assert self._round is not None
        self._round.add(_checked(start, block, self._gram.num_rows))

    def decide(self) -> None:
        """End a round; where queries are left, another one follows."""
        assert self._round is not None
        self._round.finish()
        left = _MAX_PAIRS
        candidates = []
        for answer in self._answers:
            candidates.append(answer.take(self._gram, left))
            left -= len(candidates[-1][0])
        some = any(len(queries) for queries, _ in candidates)
        self._round = _Round(self._answers, candidates, self._gram.num_rows) if some else None

    def neighbors(self) -> list[Neighbors]:
        """The answers, in the order of the questions; `indices` count within a question's references."""
        return [answer.neighbors() for answer in self._answers]

    def gram(self, rows: Numbers) -> NDArray[np.float64]:
        """Inner products of some rows about their own mean, shape (m, m); as precise as the products were."""
        gram = self._gram.products(rows, rows)
        gram -= gram.mean(axis=0)
        gram -= gram.mean(axis=1)[:, None]
        return gram


def _checked(start: int, block: ArrayLike, num_rows: int) -> Array:
    matrix = as_matrix(block, "block")
    if start % SLICE_STEP or len(matrix) != num_rows:
        raise ValueError(
            f"block must have {num_rows} rows and start at a multiple of {SLICE_STEP} columns; got {len(matrix)} rows "
            f"and start {start}."
        )
    return matrix


class _SlicedGram:
    """Inner products of all rows about a common center, in tiles on and below the diagonal, and the bound on them."""

    def __init__(self, num_rows: int, dtype: type[np.floating[Any]]) -> None:
        self.num_rows, self._dtype, self._blocks = num_rows, dtype, tiles(num_rows, TILE)
        sizes = [block.stop - block.start for block in self._blocks]
        self._tiles = {(i, j): np.zeros((sizes[i], sizes[j])) for i in range(len(sizes)) for j in range(i + 1)}
        self._squared = np.zeros(num_rows)
        self._relative, self._absolute, self._num_features = 0.0, 0.0, 0

    def add(self, block: Array, start: int) -> None:
        """Center a slice on its mean, scale it where squares could leave float32's range, add its products."""
        rows = Rows.of(block, name=f"features, columns from {start},")
        arithmetic = Arithmetic.choose(NumPyProducts(np.dtype(self._dtype)), rows, rows.largest)
        unscaled = arithmetic.scale**-2  # a power of two: exact
        for first in range(0, rows.num_features, CHUNK):
            columns = slice(first, first + CHUNK)
            part = rows.centered(slice(None), columns, arithmetic.center, arithmetic.scale, arithmetic.products.dtype)
            self._squared += np.einsum("ij,ij->i", part, part, dtype=np.float64) * unscaled
            for (i, j), tile in self._tiles.items():
                left = part[self._blocks[i]]
                product = left @ (left if i == j else part[self._blocks[j]]).T  # i == j: half the work
                tile += product if unscaled == 1 else product.astype(np.float64) * unscaled
        self._relative = max(self._relative, arithmetic.relative)
        self._absolute += arithmetic.absolute * unscaled
        self._num_features += rows.num_features

    def products(self, rows: Numbers, columns: Numbers) -> NDArray[np.float64]:
        """Inner products of some rows with some, shape (rows, columns)."""
        found = np.empty((len(rows), len(columns)))
        for i, rows_in in enumerate(self._places(rows)):
            for j, columns_in in enumerate(self._places(columns)):
                own, other = rows[rows_in] - self._blocks[i].start, columns[columns_in] - self._blocks[j].start
                tile = self._tiles[i, j][np.ix_(own, other)] if i >= j else self._tiles[j, i][np.ix_(other, own)].T
                found[np.ix_(rows_in, columns_in)] = tile
        return found

    def distances(self, rows: Numbers, columns: Numbers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Squared distances, shape (rows, columns), and how far they may be off; infinite from a row to itself."""
        # The slices' own bounds hold the sums within them; the last term, the float64 sums over all of them.
        slack = (self._relative + 4 * (self._num_features + 4) * 2.0**-53) * self._squared + self._absolute
        squared = self.products(rows, columns)
        squared *= -2
        squared += self._squared[rows, None]
        squared += self._squared[columns]
        squared[rows[:, None] == columns] = np.inf
        return squared, slack[rows, None] + slack[columns]

    def _places(self, rows: Numbers) -> list[Numbers]:
        """Which of the rows lie in each block."""
        return [np.flatnonzero((rows >= block.start) & (rows < block.stop)) for block in self._blocks]


class _Answer:
    """A question, what is known of its neighbors, and which queries are left."""

    def __init__(self, question: Question) -> None:
        self.question = question
        num_queries = len(question.queries)
        self.index = np.empty((num_queries, question.k), dtype=np.int64)
        self.squared = np.full((num_queries, question.k), np.nan)
        self.left = np.empty(0, dtype=np.int64)
        self._num_rechecked = 0

    def shortlist(self, gram: _SlicedGram) -> Candidates:
        """The candidates of all queries but those that have too many, which are left."""
        (query, reference), counts = self._near(gram, np.arange(len(self.index)), CROWDED + self.question.k)
        self.left = np.flatnonzero(counts > CROWDED + self.question.k)
        self._num_rechecked = int((counts > self.question.k).sum())
        return query, reference

    def take(self, gram: _SlicedGram, max_pairs: int) -> Candidates:
        """All candidates of as many of the queries that are left as have at most so many, but at least of one."""
        if max_pairs <= 0 or not len(self.left):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        some = max(1, max_pairs // len(self.question.references))
        taken, self.left = self.left[:some], self.left[some:]
        return self._near(gram, taken, len(self.question.references))[0]

    def _near(self, gram: _SlicedGram, some: Numbers, most: int) -> tuple[Candidates, Numbers]:
        """Places of queries and references that may be neighbors, of queries with at most `most`; and how many each."""
        question, k = self.question, self.question.k
        found, counts = [], []
        for part in row_blocks(len(some), 3 * 8 * len(question.references)):
            squared, slack = gram.distances(question.queries[some[part]], question.references)
            reached = np.partition(squared + slack, k - 1, axis=1)[:, k - 1]  # the k-th smallest is at most this
            near = (squared - slack <= reached[:, None]) & np.isfinite(squared)
            counts.append(near.sum(axis=1))
            near[counts[-1] > most] = False
            query, reference = np.nonzero(near)
            found.append((some[part][query], reference))
        query, reference = (np.concatenate(places) for places in zip(*found, strict=True))
        return (query, reference), np.concatenate(counts)

    def keep(self, candidates: Candidates, distance: NDArray[np.float64]) -> None:
        """Keep the k nearest candidates of each query, equal ones by row."""
        query, reference = candidates
        order = np.lexsort((reference, distance, query))
        query, reference, distance = query[order], reference[order], distance[order]
        start = np.flatnonzero(np.r_[True, query[1:] != query[:-1]]) if len(query) else np.empty(0, dtype=np.int64)
        rank = start[:, None] + np.arange(self.question.k)
        self.index[query[start]], self.squared[query[start]] = reference[rank], distance[rank]

    def settle_duplicates(self, digests: Sequence[bytes]) -> None:
        """Queries that are left and have at least k exact duplicates get them, at distance 0."""
        groups: dict[bytes, list[int]] = {}
        for place, row in enumerate(self.question.references):
            groups.setdefault(digests[row], []).append(place)
        still = []
        for query in self.left:
            row, k = self.question.queries[query], self.question.k
            alike = groups.get(digests[row], [])[: k + 1]
            same = [place for place in alike if self.question.references[place] != row][:k]
            if len(same) == k:
                self.index[query], self.squared[query] = same, 0.0
            else:
                still.append(query)
        self.left = np.array(still, dtype=np.int64)

    def neighbors(self) -> Neighbors:
        return Neighbors(self.index, np.sqrt(self.squared), self._num_rechecked, self.squared)


class _Round:
    """One further sight of all slices: Σ(a − b)² of candidates, each pair once, and digests where asked for."""

    def __init__(
        self, answers: Sequence[_Answer], candidates: Sequence[Candidates], num_rows: int, find_duplicates: bool = False
    ) -> None:
        self._answers, self._candidates = answers, candidates
        keys = []
        for answer, (query, reference) in zip(answers, candidates, strict=True):
            one, other = answer.question.queries[query], answer.question.references[reference]
            keys.append(np.minimum(one, other) * num_rows + np.maximum(one, other))
        distinct, self._place = np.unique(np.concatenate(keys), return_inverse=True)
        self._low, self._high = np.divmod(distinct, num_rows)
        self._squared = np.zeros(len(distinct))
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(num_rows)] if find_duplicates else []

    def add(self, block: Array) -> None:
        for start in range(0, block.shape[1], SUMMED):
            rows = Rows(block[:, start : start + SUMMED], np.zeros(0), 0.0, None)
            self._squared += squared_distances(rows, self._low, rows, self._high)
        for row, digest in enumerate(self._digests):
            digest.update((block[row] + 0).tobytes())  # −0 equals 0

    def finish(self) -> None:
        place = 0
        for answer, candidates in zip(self._answers, self._candidates, strict=True):
            own = self._place[place : place + len(candidates[0])]
            place += len(own)
            answer.keep(candidates, self._squared[own])
            if self._digests:
                answer.settle_duplicates([digest.digest() for digest in self._digests])
