"""Loaders, whatever order they yield samples in: which sample of the data set each row of a batch is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_DRAWS = 4  # a sampler that draws more often than so many times the data set is taken to be endless
_LOADER_OPTIONS = (
    "num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "generator", "prefetch_factor",
    "pin_memory_device", "in_order",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SplitLoader:
    """The batches of one split.

    Attributes
    ----------
    split : str
        "train" or "test".
    loader : iterable
        Yields batches; where `items` is known, pairs of the items' numbers and a batch.
    data_set : object
        The data set of the loader; None where it has none that can be indexed.
    items : int64, shape (n,), or None
        The numbers of the samples in the data set, in the order in which the loader yields them, each once; None where
        they are not known.
    num_repeated : int
        How many samples the sampler has drawn that were drawn before; they are left out.
    num_dropped : int
        How many samples of the last batch are left out, because the loader drops an incomplete batch.
    """

    split: str
    loader: Any
    data_set: Any
    items: NDArray[np.int64] | None
    num_repeated: int = 0
    num_dropped: int = 0

    @property
    def is_fixed_order(self) -> bool:
        """Whether the loader is a list of batches, whose order is that in which they are read."""
        return isinstance(self.loader, tuple | list)

    def batches(self) -> Iterator[tuple[NDArray[np.int64] | None, Any]]:
        """Yield the rows of each batch, which are places among the sorted `items`, and the batch; rows may be None."""
        if self.items is None:
            for batch in self.loader:
                yield None, batch
            return
        order = np.sort(self.items)
        for items, batch in self.loader:
            yield np.searchsorted(order, np.asarray(items, dtype=np.int64)), batch

    def notes(self) -> list[str]:
        """Say what the loader leaves out."""
        notes = []
        if self.num_repeated:
            notes.append(
                f"The sampler of the {self.split} loader draws samples repeatedly: {self.num_repeated:,} further draws "
                "are left out, so that each sample is measured once, and samples that were not drawn are missing."
            )
        if self.num_dropped:
            notes.append(
                f"The {self.split} loader drops its last incomplete batch (drop_last=True): {self.num_dropped:,} "
                "samples are missing. Make a loader with drop_last=False."
            )
        return notes


def open_loader(split: str, loader: Any) -> SplitLoader:
    """Prepare to read a loader.

    A `torch.utils.data.DataLoader` of a data set with indices is read through a loader of its own, with the same
    batches, workers and collation, which tells the number of each sample in the data set. So a loader that shuffles
    cannot mix up samples. Other loaders are read as they are.

    Raises
    ------
    ValueError
        If the loader cannot be iterated, or its sampler does not end.
    """
    from torch.utils.data import DataLoader

    if isinstance(loader, DataLoader):
        return _open_data_loader(split, loader)
    if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
        raise ValueError(
            f"loader must yield batches, or be a mapping of 'train' and 'test' to loaders; got {type(loader).__name__}."
        )
    if hasattr(loader, "ndim"):
        raise ValueError("loader must yield batches of inputs and labels; got a tensor. Pass [(images, labels)].")
    if hasattr(loader, "__getitem__") and not isinstance(loader, tuple | list):
        raise ValueError(
            f"loader must yield batches; {type(loader).__name__} looks like a data set, of single samples. Pass "
            "torch.utils.data.DataLoader(data_set, batch_size=64)."
        )
    return SplitLoader(split, loader, None, None)


def _open_data_loader(split: str, loader: Any) -> SplitLoader:
    from torch.utils.data import DataLoader, IterableDataset

    has_own_iteration = type(loader).__iter__ is not DataLoader.__iter__
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None or has_own_iteration:
        data_set = None if isinstance(loader.dataset, IterableDataset) else loader.dataset
        return SplitLoader(split, loader, data_set, None)
    has_size = hasattr(loader.dataset, "__len__")
    batches = _drawn(loader.batch_sampler, len(loader.dataset) if has_size else None)
    drawn = [item for batch in batches for item in batch]
    if not all(isinstance(item, int | np.integer) or (hasattr(item, "item") and item.ndim == 0) for item in drawn):
        return SplitLoader(split, loader, loader.dataset, None)  # of a data set with other keys than numbers
    size = len(loader.dataset) if has_size else 0
    batches = [[int(item) % size if has_size else int(item) for item in batch] for batch in batches]  # -1 is the last
    distinct, num_repeated = _without_repeats(batches)
    items = np.array(list(chain.from_iterable(distinct)), dtype=np.int64)
    num_dropped = 0
    if getattr(loader, "drop_last", False) or getattr(loader.batch_sampler, "drop_last", False):
        num_dropped = max(0, len(getattr(loader.batch_sampler, "sampler", ())) - len(drawn))
    indexed = DataLoader(
        _IndexedDataSet(loader.dataset),
        batch_sampler=distinct,
        collate_fn=_IndexedCollate(loader.collate_fn),
        **{name: getattr(loader, name) for name in _LOADER_OPTIONS if _is_usable(loader, name)},
    )
    return SplitLoader(split, indexed, loader.dataset, items, num_repeated, num_dropped)


def _is_usable(loader: Any, name: str) -> bool:
    """Return whether an option can be passed on: the loader has it, and it is not the default that stands for none."""
    return getattr(loader, name, None) not in (None, "")


def _drawn(batch_sampler: Any, num_items: int | None) -> list[list[Any]]:
    """Return all batches of a sampler. num_items : size of the data set, where it has one."""
    batches: list[list[Any]] = []
    num_drawn = 0
    for batch in batch_sampler:
        batches.append(list(batch))
        num_drawn += len(batches[-1])
        if num_items is not None and num_drawn > _MOST_DRAWS * num_items + 1000:
            raise ValueError(
                f"loader must end; its sampler has drawn {num_drawn:,} samples of a data set of {num_items:,}, and "
                "goes on. Pass a loader that yields each sample once."
            )
    return batches


def _without_repeats(batches: Sequence[Sequence[int]]) -> tuple[list[list[int]], int]:
    """Return the batches with each item once, and the number of those that are left out."""
    seen: set[int] = set()
    distinct = []
    num_repeated = 0
    for batch in batches:
        new = [item for item in dict.fromkeys(batch) if item not in seen]
        num_repeated += len(batch) - len(new)
        seen.update(new)
        if new:
            distinct.append(new)
    return distinct, num_repeated


class _Fetched:
    """Samples of a data set with their numbers."""

    def __init__(self, items: Sequence[int], samples: Any) -> None:
        self.items, self.samples = list(items), samples


class _IndexedDataSet:
    """A data set that returns the number of each sample with it.

    It has the attributes of the data set, which a `worker_init_fn` may read and set.
    """

    def __init__(self, data_set: Any) -> None:
        object.__setattr__(self, "_data_set", data_set)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_data_set":  # as asked for while it is copied to a worker
            raise AttributeError(name)
        return getattr(self._data_set, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._data_set, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {"_data_set": self._data_set}

    def __setstate__(self, state: dict[str, Any]) -> None:
        object.__setattr__(self, "_data_set", state["_data_set"])

    def __len__(self) -> int:
        return len(self._data_set)

    def __getitem__(self, item: int) -> _Fetched:
        return _Fetched([item], [self._data_set[item]])

    def __getitems__(self, items: Sequence[int]) -> _Fetched:
        """Return several samples at once, as the data set does it where it can."""
        fetch_all = getattr(self._data_set, "__getitems__", None)
        samples = [self._data_set[item] for item in items] if fetch_all is None else fetch_all(items)
        return _Fetched(items, samples)


class _IndexedCollate:
    """Makes a batch as the loader does, and keeps the numbers of its samples."""

    def __init__(self, collate: Any) -> None:
        self._collate = collate

    def __call__(self, fetched: Any) -> tuple[list[int], Any]:
        if isinstance(fetched, list):  # older versions of PyTorch fetch one sample at a time
            fetched = _Fetched([one.items[0] for one in fetched], [one.samples[0] for one in fetched])
        return fetched.items, self._collate(fetched.samples)
