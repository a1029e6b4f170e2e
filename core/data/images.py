"""Labelled images: a folder of them, a set of TensorFlow Datasets, or scikit-learn's digits.

`load_images` finds the samples, chooses among them by ids and seed, and reads every chosen file once, so that a broken
one is named before a long computation starts. Pixels are decoded again, batch by batch, when they are asked for.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from core.data.decoding import decode, failure_reason, gray_image, in_threads, require_pillow, resize
from core.data.errors import DataError
from core.data.folders import SPLITS, FoundImages, find_images
from core.data.sampling import MIN_PER_CLASS, name_some, stratified_split, take_per_class
from core.data.tfds import PREFIX, find_tfds_images

if TYPE_CHECKING:
    from PIL.Image import Image

_CHUNK = 256  # images between two reports of progress


@dataclass(frozen=True)
class Skipped:
    """An image that was left out because it could not be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with ids, labels and splits; the pixels stay on disk until `load` or `raw` asks for them.

    Attributes
    ----------
    name : str
        The folder's name, the TensorFlow data set's name and version, or "digits".
    ids : tuple of str, length n
        Unique; the path relative to `root` with forward slashes, the split and file name in a TensorFlow data set, or
        "digits/0000". Ascending from `load_images`.
    labels : np.ndarray, int64, shape (n,)
        Index into `class_names`.
    class_names : tuple of str
        Ascending; of a TensorFlow data set in its own order.
    splits : np.ndarray of str, shape (n,)
        "train" or "test".
    root : Path or None
        The folder; None for other data.
    digests : tuple of str, length n
        SHA-256 of each encoded image's bytes (digits: of the values).
    sizes : np.ndarray, int64, shape (n, 2)
        Height and width in pixels, upright.
    skipped : tuple of Skipped
        What `skip_broken` left out, by id.
    values : np.ndarray, float32, shape (n, h, w, c), or None
        Pixels of images that are not encoded.
    encoded : callable, or None
        From an id to its encoded image's bytes; None where there are values.
    notes : tuple of str
        What belongs beside any result, as that a validation split serves as the test split.
    """

    name: str
    ids: tuple[str, ...] = field(repr=False)
    labels: np.ndarray = field(repr=False)
    class_names: tuple[str, ...]
    splits: np.ndarray = field(repr=False)
    root: Path | None
    digests: tuple[str, ...] = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    skipped: tuple[Skipped, ...] = ()
    values: np.ndarray | None = field(default=None, repr=False)
    encoded: Callable[[str], bytes] | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where each sample comes from: the path relative to `root`, or the id."""
        return self.ids

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over ids, labels and content of the samples, in their order."""
        lines = (f"{i}\0{y}\0{d}\n" for i, y, d in zip(self.ids, self.labels, self.digests, strict=True))
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def pixel_shape(self) -> tuple[int, int, int]:
        """Shape (h, w, c) that all images have in `raw`.

        Raises
        ------
        ValueError
            If the sizes differ; the message names two files.
        """
        other = np.flatnonzero((self.sizes != self.sizes[0]).any(axis=1))
        if other.size:
            (h0, w0), (h1, w1) = self.sizes[0], self.sizes[other[0]]
            raise ValueError(
                f"images must all have one size to be used as raw pixels; got {h0}x{w0} for {self.ids[0]!r} and "
                f"{h1}x{w1} for {self.ids[other[0]]!r} (height x width). Resize the files, or choose a network."
            )
        height, width = self.sizes[0].tolist()
        return height, width, 3 if self.values is None else self.values.shape[-1]

    def select(self, rows: ArrayLike) -> "LabelledImages":
        """The samples of some rows, each at most once, in the order of `rows`; the class names stay all of them."""
        chosen = self._rows(rows)
        if len(np.unique(chosen)) != len(chosen):
            raise ValueError("rows must not repeat, since ids are unique; got duplicates. Ask for each row once.")
        return replace(
            self,
            ids=tuple(self.ids[row] for row in chosen),
            labels=self.labels[chosen],
            splits=self.splits[chosen],
            digests=tuple(self.digests[row] for row in chosen),
            sizes=self.sizes[chosen],
            values=None if self.values is None else self.values[chosen],
        )

    def load(self, rows: ArrayLike, size: tuple[int, int]) -> np.ndarray:
        """Pixels of some rows as RGB at one size, as a network takes them.

        Files are turned upright as their EXIF orientation says; transparency is laid on white; gray, palette and CMYK
        become RGB; 16-bit gray keeps its upper byte; of an animation or a multi-page file the first frame counts.
        Images of another size are resized by Pillow's antialiased bilinear filter without keeping the aspect ratio.
        Digits are scaled from 0..16 to 0..255, with three equal channels.

        Parameters
        ----------
        rows : int, shape (m,)
            Rows, which may repeat.
        size : (int, int)
            Height and width in pixels.

        Returns
        -------
        np.ndarray, float32, shape (m, height, width, 3)
            Values from 0 to 255.

        Raises
        ------
        OSError
            If a file can no longer be read; the message names it.
        """
        height, width = size
        if height < 1 or width < 1:
            raise ValueError(f"size must be a height and a width of at least 1 pixel; got {size}. Try (224, 224).")
        require_pillow()
        return self._stack(rows, size, (height, width, 3))

    def raw(self, rows: ArrayLike) -> np.ndarray:
        """Pixels of some rows as they are, float32: digits (m, 8, 8, 1) from 0 to 16, files (m, h, w, 3) from 0 to 255.

        Files are converted to upright RGB as in `load`, but not resized.

        Raises
        ------
        ValueError
            If the files' sizes differ (`pixel_shape` tells without reading anything).
        OSError
            If a file can no longer be read; the message names it.
        """
        shape = self.pixel_shape
        if self.values is not None:
            return self.values[self._rows(rows)]
        return self._stack(rows, None, shape)

    def _rows(self, rows: ArrayLike) -> np.ndarray:
        chosen = np.asarray(rows)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu" or ((chosen < 0) | (chosen >= len(self))).any():
            raise ValueError(
                f"rows must be integers from 0 to {len(self) - 1} in one dimension; got shape {chosen.shape}, dtype "
                f"{chosen.dtype}. Use np.flatnonzero(mask) for a mask."
            )
        return chosen

    def _stack(self, rows: ArrayLike, size: tuple[int, int] | None, shape: tuple[int, int, int]) -> np.ndarray:
        chosen = self._rows(rows).tolist()
        pixels = np.empty((len(chosen), *shape), dtype=np.float32)
        for place, image in enumerate(in_threads(partial(self._pixels, size=size), chosen)):
            pixels[place] = image
        return pixels

    def _pixels(self, row: int, size: tuple[int, int] | None) -> np.ndarray:
        """One image, resized where a size is given, of shape (h, w, 3), or (h, w, 1) if gray."""
        image = gray_image(self.values[row, :, :, 0]) if self.values is not None else self._decoded(row)
        array = np.asarray(image if size is None else resize(image, size))
        return np.atleast_3d(array)

    def _decoded(self, row: int) -> "Image":
        if self.encoded is None:
            raise ValueError("images must have values or say where they are encoded; got neither. Use load_images.")
        try:
            return decode(self.encoded(self.ids[row]))
        except Exception as error:
            raise OSError(
                f"{self.ids[row]!r} must stay as it was when it was checked; got: {failure_reason(error)}. "
                "Restore the file."
            ) from error


def load_images(
    data: str | Path,
    *,
    seed: int = 0,
    per_class: int | None = None,
    split: str = "both",
    skip_broken: bool = False,
    test_fraction: float = 0.2,
    progress: Callable[[int, int], None] | None = None,
) -> LabelledImages:
    """Find, choose and check labelled images.

    Parameters
    ----------
    data : str or Path
        "digits" (scikit-learn's 1,797 digits; the folder of that name is "./digits"), "tfds:NAME" (a set of TensorFlow
        Datasets, see `tfds.find_tfds_images`), or a folder: train/<class>/...
        and test/<class>/... (one of the two is enough), or <class>/..., which is split here. Images may lie deeper
        inside a class folder. Hidden files and those without an image's extension are ignored. A link to a file, a
        class folder or a split folder is followed; a link to a folder deeper inside is not, so that no loop can arise.
    seed : int
        Decides the split of <class>/... and digits, and which samples `per_class` takes; see `sampling.sample_order`.
    per_class : int, optional
        Take this many samples of each class and split, at least 2. Default: all.
    split : {"both", "train", "test"}
        Which splits to take.
    skip_broken : bool
        Leave unreadable images out and list them in `.skipped`, instead of an error. With `per_class`, the next sample
        in the seeded order takes the place of a broken one.
    test_fraction : float
        Share of the test split where it is made here.
    progress : callable, optional
        Called with (images checked, images to check).

    Returns
    -------
    LabelledImages
        Samples in ascending order of their ids.

    Raises
    ------
    DataError
        If an image is unreadable (also one larger than Pillow's limit against decompression bombs), a class folder is
        empty, a class has one sample in a split or is missing from one, there are fewer than two classes, or the layout
        is mixed. The message names the culprits.
    ValueError
        If `per_class` is below 2 or larger than a class, or the split or TensorFlow data set is unknown.
    FileNotFoundError
        If there is no such folder.
    OSError
        If a TensorFlow data set has to be downloaded and cannot be.
    ModuleNotFoundError
        If images have to be decoded and Pillow is not installed, or tensorflow-datasets is needed and is not.
    """
    if split not in ("both", *SPLITS):
        raise ValueError(f"split must be 'train', 'test' or 'both'; got {split!r}. Choose one of the three.")
    if per_class is not None and per_class < MIN_PER_CLASS:
        raise ValueError(
            f"per_class must be at least {MIN_PER_CLASS}, for a class of one sample has no neighbor of its own; got "
            f"{per_class}. Leave it out to take all samples."
        )
    images = _digits() if data == "digits" else _encoded(data, split)
    if not images.splits.size:
        splits = stratified_split(
            images.ids, images.labels, test_fraction=test_fraction, seed=seed, class_names=images.class_names
        )
        images = replace(images, splits=splits)
    if split != "both":
        images = images.select(np.flatnonzero(images.splits == split))
    splits_taken = [name for name in SPLITS if (images.splits == name).any()]
    choose = partial(_choose, splits=splits_taken, seed=seed, per_class=per_class)
    return choose(images) if images.encoded is None else _checked(images, images.encoded, choose, skip_broken, progress)


def _choose(images: LabelledImages, *, splits: Sequence[str], seed: int, per_class: int | None) -> LabelledImages:
    """All samples, or some of each class and split; the place where class sizes are checked."""
    names = [f"{name} ({split})" for split in splits for name in images.class_names]
    groups = images.labels + len(images.class_names) * (images.splits != splits[0])
    counts = np.bincount(groups, minlength=len(names))
    small = [f"{count} of {name!r}" for count, name in zip(counts, names, strict=True) if count < MIN_PER_CLASS]
    if small:
        raise DataError(
            f"each class must have at least {MIN_PER_CLASS} readable images in each split; got {name_some(small)}. "
            "Add images, or move such classes out of the folder."
        )
    if per_class is None:
        return images
    return images.select(take_per_class(images.ids, groups, per_class, seed=seed, class_names=names))


def _digits() -> LabelledImages:
    """scikit-learn's digits, not split yet."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    values = digits.images.astype(np.float32)[..., None]
    return LabelledImages(
        name="digits",
        ids=tuple(f"digits/{row:04d}" for row in range(len(values))),
        labels=digits.target.astype(np.int64),
        class_names=tuple(str(name) for name in digits.target_names),
        splits=np.array([], dtype=str),
        root=None,
        digests=tuple(hashlib.sha256(value.tobytes()).hexdigest() for value in values),
        sizes=np.full((len(values), 2), 8),
        values=values,
    )


def _encoded(data: str | Path, split: str) -> LabelledImages:
    """The samples of a folder or a TensorFlow data set, nothing decoded yet; `splits` is empty where it has none."""
    if isinstance(data, str) and data.startswith(PREFIX):
        tfds = find_tfds_images(data, split)
        return _undecoded(PREFIX + tfds.name, tfds.found, None, tfds.read, tfds.notes)
    root = Path(data)
    return _undecoded(root.resolve().name, find_images(root, split), root, partial(_read_file, root), ())


def _undecoded(
    name: str, found: FoundImages, root: Path | None, encoded: Callable[[str], bytes], notes: tuple[str, ...]
) -> LabelledImages:
    return LabelledImages(
        name=name,
        ids=found.ids,
        labels=found.labels,
        class_names=found.class_names,
        splits=found.splits,
        root=root,
        digests=("",) * len(found.ids),
        sizes=np.zeros((len(found.ids), 2), dtype=np.int64),
        encoded=encoded,
        notes=notes,
    )


def _read_file(root: Path, sample: str) -> bytes:
    return (root / sample).read_bytes()


def _checked(
    images: LabelledImages,
    encoded: Callable[[str], bytes],
    choose: Callable[[LabelledImages], LabelledImages],
    skip_broken: bool,
    progress: Callable[[int, int], None] | None,
) -> LabelledImages:
    """The chosen samples, each image decoded once, with digests and sizes; the next ones stand in for broken ones."""
    facts: dict[str, _Facts | Skipped] = {}
    skipped: tuple[Skipped, ...] = ()
    chosen = choose(images)
    while unknown := [sample for sample in chosen.ids if sample not in facts]:
        facts |= _facts(encoded, unknown, len(facts), progress)
        skipped = tuple(fact for _, fact in sorted(facts.items()) if isinstance(fact, Skipped))
        if skipped and not skip_broken:
            named = [f"{broken.id!r} ({broken.reason})" for broken in skipped]
            raise DataError(
                f"images must all be readable; {len(skipped)} of {len(facts)} cannot be read: {name_some(named)}. "
                "Replace or remove the files, or leave them out with --skip-broken (skip_broken=True)."
            )
        readable = [row for row, sample in enumerate(images.ids) if not isinstance(facts.get(sample), Skipped)]
        chosen = choose(images.select(readable))
    known = [facts[sample] for sample in chosen.ids]
    good = [fact for fact in known if isinstance(fact, _Facts)]
    return replace(
        chosen,
        digests=tuple(fact.digest for fact in good),
        sizes=np.array([fact.size for fact in good], dtype=np.int64),
        skipped=skipped,
    )


@dataclass(frozen=True)
class _Facts:
    """What the check of one image yields: SHA-256 of its bytes, and (height, width)."""

    digest: str
    size: tuple[int, int]


def _facts(
    encoded: Callable[[str], bytes],
    ids: Sequence[str],
    done: int,
    progress: Callable[[int, int], None] | None,
) -> dict[str, "_Facts | Skipped"]:
    """Facts or the reason of failure for each id; `done` samples are known already."""
    facts: dict[str, _Facts | Skipped] = {}
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        facts |= zip(chunk, in_threads(partial(_check, encoded), chunk), strict=True)
        if progress is not None:
            progress(done + len(facts), done + len(ids))
    return facts


def _check(encoded: Callable[[str], bytes], sample: str) -> "_Facts | Skipped":
    try:
        data = encoded(sample)
        width, height = decode(data).size
    except Exception as error:  # decoders raise anything on broken files: OSError, SyntaxError, struct.error, ...
        return Skipped(sample, failure_reason(error))
    return _Facts(hashlib.sha256(data).hexdigest(), (height, width))
