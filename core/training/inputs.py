"""The inputs of training: activations of images at the cut, computed batch by batch or cached in files."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.data.files import check_regular
from core.data.in_order import computed_in_order
from core.network.activations import batches_at_once
from core.network.kernels import for_threads
from core.training.augmentation import Augmentation, Draws, augment, draw

Rows = NDArray[np.int64]
Tensors = list[Any]
ReportCounts = Callable[[int, int], None]
Transform = Callable[[Any], Tensors]

# The purpose of a random draw is part of its seed, so that no two draws have the same seed.
ORDER, VARIANT, CHOICE, DROPOUT = range(4)


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Labelled images, by row.

    Attributes
    ----------
    load : callable
        Takes rows, int64 of shape (b,); returns float32 images of shape (b, height, width, 3), pixels from 0 to 255.
    labels : np.ndarray, int64, shape (n,)
        Classes, from 0.
    train, test : np.ndarray, int64
        Rows of the two splits.
    """

    load: Callable[[Rows], NDArray[np.float32]]
    labels: NDArray[np.int64]
    train: Rows
    test: Rows


class Source(Protocol):
    """A source of tensors of training images, and of test images, which are never augmented."""

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]: ...

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]: ...


class ComputedActivations:
    """Runs the frozen layers on every batch: each epoch gets new variants of the images, but takes longer.

    Parameters
    ----------
    transform : callable
        Takes images, and returns tensors.
    data : TrainingData
        The images.
    augmentation : Augmentation
        The augmentation of training images.
    seed : int
        Random seed of the variants.
    """

    def __init__(self, transform: Transform, data: TrainingData, augmentation: Augmentation, seed: int) -> None:
        self._transform = for_threads(compiled(transform))
        self._data, self._augmentation, self._seed = data, augmentation, seed

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]:
        return self._run(batches, self._draws(phase, epoch))

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]:
        return self._run(batches, None)

    def variant(self, batches: Sequence[Rows], number: int) -> Iterator[Tensors]:
        """Yield a fixed variant of each image; number 0 is the image itself."""
        return self._run(batches, self._draws(number) if number else None)

    def _draws(self, *numbers: int) -> Draws | None:
        if self._augmentation.changes_nothing:
            return None
        return draw(self._augmentation, len(self._data.labels), (self._seed, VARIANT, *numbers))

    def _run(self, batches: Sequence[Rows], draws: Draws | None) -> Iterator[Tensors]:
        loaded = loaded_ahead(self._data.load, batches)
        images = (images if draws is None else augment(images, draws, rows) for rows, images in loaded)
        return computed_in_order(self._transform, images, batches_at_once(), name="run-network")


class CachedActivations:
    """Tensors of `num_variants` augmented copies of each training image, in files; each epoch draws one copy of each.

    With `num_variants` 0 the only copy is the original image. Otherwise the original is not among the copies, so that
    training gets augmented images only, as it does without a cache. Test images are never augmented.

    Parameters
    ----------
    folder : Path
        Each copy of a split has a folder here, with one file per tensor; the folders are created atomically.
    data : TrainingData
        The images.
    num_variants : int
        Number of augmented copies.
    seed : int
        Random seed of the choice of copies.
    """

    def __init__(self, folder: Path, data: TrainingData, *, num_variants: int, seed: int) -> None:
        self._folder, self._data, self._seed = folder, data, seed
        self._numbers = range(1, num_variants + 1) if num_variants else range(1)
        self._positions = np.zeros(len(data.labels), np.int64)  # of a row in the files of its split
        for rows in (data.train, data.test):
            self._positions[rows] = np.arange(len(rows))
        self._files: dict[str, list[NDArray[np.float32]]] = {}

    def fill(
        self,
        source: "ComputedActivations | CachedActivations",
        transform: Transform,
        batch_size: int,
        report: ReportCounts,
    ) -> None:
        """Compute the missing copies.

        Parameters
        ----------
        source : ComputedActivations or CachedActivations
            Where the tensors come from.
        transform : callable
            Takes the tensors of the source, and returns those to store.
        batch_size : int
            Images per batch.
        report : callable
            Called with the number of images done and the total number.

        Raises
        ------
        OSError
            If the disk is too small for the missing copies, or existing ones are damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        done, total = 0, len(self._data.test) + len(self._numbers) * len(self._data.train)
        for name in ("test", *self._copies()):
            rows = self._data.test if name == "test" else self._data.train
            batches = in_batches(rows, batch_size)
            if not (self._folder / name).is_dir():
                inputs = source.test_batches(batches) if name == "test" else source.variant(batches, _number(name))
                outputs = map(transform, inputs)
                self._write(name, batches, outputs, partial(_report_from, report, done, total))
            done += len(rows)
            self._files[name] = self._open_copy(name, len(rows))

    def _open_copy(self, name: str, num_rows: int) -> list[NDArray[np.float32]]:
        """Return the tensors of a copy, memory-mapped."""
        folder = self._folder / name
        try:
            files = sorted(folder.iterdir())
            for file in files:
                check_regular(file)
            tensors = [np.load(file, mmap_mode="r") for file in files]
            lengths = {len(tensor) for tensor in tensors}
            if lengths != {num_rows} or len(tensors) != len(self._files.get("test", tensors)):
                raise ValueError(f"it has {len(tensors)} tensors of {sorted(lengths)} images, not of {num_rows}")
        except Exception as error:  # damaged headers raise many kinds of errors
            reason = " ".join(str(error).split()).rstrip(".")
            raise OSError(
                f"{folder} cannot be read: {reason}. Delete {self._folder}, and run the same command again to compute "
                "it again."
            ) from error
        return tensors

    def train_batches(self, batches: Sequence[Rows], phase: int, epoch: int) -> Iterator[Tensors]:
        rng = np.random.default_rng((self._seed, CHOICE, phase, epoch))
        choice = rng.choice(self._numbers, len(self._data.labels))
        return (tensors for _, tensors in loaded_ahead(partial(self._load_choice, choice=choice), batches))

    def test_batches(self, batches: Sequence[Rows]) -> Iterator[Tensors]:
        return self._read("test", batches)

    def variant(self, batches: Sequence[Rows], number: int) -> Iterator[Tensors]:
        """Yield a fixed variant of each image; number 0 is the image itself."""
        return self._read(f"train-{number}", batches)

    def _copies(self) -> list[str]:
        return [f"train-{number}" for number in self._numbers]

    def _read(self, name: str, batches: Sequence[Rows]) -> Iterator[Tensors]:
        for rows in batches:
            yield [file[self._positions[rows]] for file in self._files[name]]

    def _load_choice(self, rows: Rows, choice: NDArray[np.int64]) -> Tensors:
        """Load the chosen copy of each row."""
        copies = [self._files[f"train-{number}"] for number in choice[rows]]
        positions = self._positions[rows]
        tensors = []
        for number in range(len(copies[0])):
            samples = [files[number][position] for files, position in zip(copies, positions, strict=True)]
            tensors.append(np.stack(samples))
        return tensors

    def _write(
        self, name: str, batches: Sequence[Rows], outputs: Iterator[Tensors], report: Callable[[int], None]
    ) -> None:
        scratch = self._folder / f".{name}.tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        files: list[Any] = []
        num_rows, done = sum(map(len, batches)), 0
        for rows, tensors in zip(batches, outputs, strict=True):
            files = files or self._allocate(scratch, num_rows, tensors)
            for file, tensor in zip(files, tensors, strict=True):
                file[done : done + len(rows)] = tensor
            done += len(rows)
            report(done)
        for file in files:
            file.flush()
        scratch.rename(self._folder / name)

    def _allocate(self, scratch: Path, num_rows: int, tensors: Tensors) -> list[Any]:
        """Create a file for each tensor, after checking that the disk can hold this copy and all missing ones."""
        shapes = [tuple(tensor.shape[1:]) for tensor in tensors]
        num_missing = sum(not (self._folder / name).is_dir() for name in self._copies())
        num_bytes = 4 * sum(map(prod, shapes)) * max(num_rows, num_missing * len(self._data.train))
        free_bytes = shutil.disk_usage(scratch).free
        if num_bytes > free_bytes:
            raise OSError(
                f"{self._folder} needs {num_bytes:,} bytes for frozen activations; the disk has {free_bytes:,} left. "
                "Choose another disk, fewer variants, a tail that begins later, or --no-cache."
            )
        files = []
        for number, shape in enumerate(shapes):
            path = scratch / f"{number}.npy"
            files.append(np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(num_rows, *shape)))
        return files


def _number(name: str) -> int:
    return int(name.removeprefix("train-"))


def _report_from(report: ReportCounts, start: int, total: int, done: int) -> None:
    report(start + done, total)


def in_batches(rows: Rows, batch_size: int) -> list[Rows]:
    """Divide rows into batches in their order; the last batch may be smaller."""
    return [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]


def loaded_ahead(load: Callable[[Rows], Any], batches: Iterable[Rows]) -> Iterator[tuple[Rows, Any]]:
    """Yield each batch of rows with its loaded data; the next batch is loaded in another thread meanwhile."""
    all_rows = list(batches)
    return zip(all_rows, computed_in_order(load, all_rows, 1, name="load-images"), strict=True)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function to TensorFlow graphs, one per batch size, so that rounding depends on nothing else."""
    import tensorflow as tf

    result: Callable[..., Any] = tf.function(function, autograph=False)
    return result
