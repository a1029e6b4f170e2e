"""What training reads of an image: its activations at the cut, computed batch by batch, or once and kept in files."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.training.augmentation import Augmentation, Draws, augment, draw

Rows = NDArray[np.int64]
Tensors = list[Any]
Tell = Callable[[int, int], None]
Through = Callable[[Any], Tensors]

# What a random draw is for; part of its seed, so that no two draws share one.
ORDER, VARIANT, CHOICE, DROPOUT = range(4)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Labelled images, by row.

    load : from rows, int64 of shape (b,), to float32 images of shape (b, height, width, 3), pixels from 0 to 255.
    labels : int64, shape (n,), from 0. train, test : rows of the two splits.
    """

    load: Callable[[Rows], NDArray[np.float32]]
    labels: NDArray[np.int64]
    train: Rows
    test: Rows


class Source(Protocol):
    """Where the tensors of training images come from, and those of test images, which are never changed."""

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]: ...

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]: ...


class ComputedActivations:
    """Runs frozen layers on every batch: each epoch sees new variants of the images, at the price of the network.

    through : from images to tensors.
    """

    def __init__(self, through: Through, data: TrainingData, augmentation: Augmentation, seed: int) -> None:
        self._through = compiled(through)
        self._data, self._augmentation, self._seed = data, augmentation, seed

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]:
        return self._run(batches, self._draws(phase, epoch))

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]:
        return self._run(batches, None)

    def variant(self, batches: Sequence[Rows], number: int) -> Iterator[Tensors]:
        """A fixed variant of each image; number 0 is the image itself."""
        return self._run(batches, self._draws(number) if number else None)

    def _draws(self, *what: int) -> Draws | None:
        if self._augmentation.changes_nothing:
            return None
        return draw(self._augmentation, len(self._data.labels), (self._seed, VARIANT, *what))

    def _run(self, batches: Sequence[Rows], draws: Draws | None) -> Iterator[Tensors]:
        for rows, images in loaded_ahead(self._data.load, batches):
            yield self._through(images if draws is None else augment(images, draws, rows))


class CachedActivations:
    """Tensors of `num_variants` changed copies of each training image, in files; an epoch picks one copy of each.

    Without variants there is one copy, the image itself. It is left out otherwise, so that the training sees what it
    would see without a cache: changed images only. Test images are never changed.

    folder : each copy of a split has a folder here, with a file a tensor; it is whole or not there.
    """

    def __init__(self, folder: Path, data: TrainingData, *, num_variants: int, seed: int) -> None:
        self._folder, self._data, self._seed = folder, data, seed
        self._numbers = range(1, num_variants + 1) if num_variants else range(1)
        self._places = np.zeros(len(data.labels), np.int64)  # a row's place in the files of its split
        for rows in (data.train, data.test):
            self._places[rows] = np.arange(len(rows))
        self._files: dict[str, list[NDArray[np.float32]]] = {}

    def fill(
        self, source: "ComputedActivations | CachedActivations", through: Through, batch_size: int, tell: Tell
    ) -> None:
        """Compute what is missing from what another source gives; `tell` gets the images done and their number.

        Raises
        ------
        OSError
            The disk is too small for what is missing, or what is there is damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        done, total = 0, len(self._data.test) + len(self._numbers) * len(self._data.train)
        for name in ("test", *self._copies()):
            rows = self._data.test if name == "test" else self._data.train
            batches = in_batches(rows, batch_size)
            if not (self._folder / name).is_dir():
                given = source.test_batches(batches) if name == "test" else source.variant(batches, _number(name))
                self._write(
                    name, batches, (through(tensors) for tensors in given), partial(_tell_from, tell, done, total)
                )
            done += len(rows)
            self._files[name] = self._opened(name, len(rows))

    def _opened(self, name: str, num_rows: int) -> list[NDArray[np.float32]]:
        """The tensors of a copy, mapped into memory."""
        folder = self._folder / name
        try:
            found = [np.load(file, mmap_mode="r") for file in sorted(folder.iterdir())]
            lengths = {len(tensor) for tensor in found}
            if lengths != {num_rows} or len(found) != len(self._files.get("test", found)):
                raise ValueError(f"it has {len(found)} tensors of {sorted(lengths)} images, not of {num_rows}")
        except Exception as error:  # damaged headers end in errors of many kinds
            reason = " ".join(str(error).split()).rstrip(".")
            raise OSError(
                f"{folder} cannot be read: {reason}. Delete {self._folder}, and run the same command again, which "
                "computes it anew."
            ) from error
        return found

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]:
        rng = np.random.default_rng((self._seed, CHOICE, phase, epoch))
        choice = rng.choice(self._numbers, len(self._data.labels))
        return (tensors for _, tensors in loaded_ahead(partial(self._picked, choice=choice), batches))

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]:
        return self._read("test", batches)

    def variant(self, batches: Sequence[Rows], number: int) -> Iterator[Tensors]:
        """A fixed variant of each image; number 0 is the image itself."""
        return self._read(f"train-{number}", batches)

    def _copies(self) -> list[str]:
        return [f"train-{number}" for number in self._numbers]

    def _read(self, name: str, batches: Sequence[Rows]) -> Iterator[Tensors]:
        return ([file[self._places[rows]] for file in self._files[name]] for rows in batches)

    def _picked(self, rows: Rows, choice: NDArray[np.int64]) -> Tensors:
        picked = [self._files[f"train-{number}"] for number in choice[rows]]
        places = self._places[rows]
        return [
            np.stack([files[tensor][place] for files, place in zip(picked, places, strict=True)])
            for tensor in range(len(picked[0]))
        ]

    def _write(self, name: str, batches: Sequence[Rows], given: Iterator[Tensors], tell: Callable[[int], None]) -> None:
        scratch = self._folder / f".{name}.tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        files: list[Any] = []
        num_rows, done = sum(map(len, batches)), 0
        for rows, tensors in zip(batches, given, strict=True):
            files = files or self._allocate(scratch, num_rows, tensors)
            for file, tensor in zip(files, tensors, strict=True):
                file[done : done + len(rows)] = tensor
            done += len(rows)
            tell(done)
        for file in files:
            file.flush()
        scratch.rename(self._folder / name)

    def _allocate(self, scratch: Path, num_rows: int, tensors: Tensors) -> list[Any]:
        """A file for each tensor, if there is room for this copy and for those that are still to come."""
        shapes = [tuple(tensor.shape[1:]) for tensor in tensors]
        missing = sum(not (self._folder / name).is_dir() for name in self._copies())
        needed = 4 * sum(map(prod, shapes)) * max(num_rows, missing * len(self._data.train))
        free = shutil.disk_usage(scratch).free
        if needed > free:
            raise OSError(
                f"{self._folder} needs {needed:,} bytes for frozen activations; the disk has {free:,} left. "
                "Choose another disk, fewer variants, a tail that begins later, or --no-cache."
            )
        return [
            np.lib.format.open_memmap(scratch / f"{place}.npy", mode="w+", dtype=np.float32, shape=(num_rows, *shape))
            for place, shape in enumerate(shapes)
        ]


def _number(name: str) -> int:
    return int(name.removeprefix("train-"))


def _tell_from(tell: Tell, start: int, total: int, done: int) -> None:
    tell(start + done, total)


def in_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """Rows in their order, so many at a time; the last batch may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def loaded_ahead(load: Callable[[Rows], Any], batches: Iterable[Rows]) -> Iterator[tuple[Rows, Any]]:
    """Each batch of rows and what `load` makes of it, one batch ahead in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        waiting: list[tuple[Rows, Any]] = []
        for rows in batches:
            waiting.append((rows, pool.submit(load, rows)))
            if len(waiting) > 1:
                ready, future = waiting.pop(0)
                yield ready, future.result()
        for ready, future in waiting:
            yield ready, future.result()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as a TensorFlow graph, one for each size of a batch, so that rounding depends on nothing else."""
    import tensorflow as tf

    result: Callable[..., Any] = tf.function(function, autograph=False)
    return result
