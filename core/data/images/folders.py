"""The image files of a folder as samples with class and split, and the faults of single classes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.data.errors import LEAVE_SMALL_OUT, Fault
from core.data.images.decoding import require_pillow
from core.data.images.layouts import (
    Folder,
    Layout,
    extension,
    extension_counts,
    find_layout,
    is_image,
    stray_faults,
    visible_files,
)
from core.data.sampling import name_some

# Files that often accompany images. Only other files are mentioned to the user: they may be unreadable images.
_COMPANIONS = {
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".rst", ".html", ".htm", ".yaml", ".yml", ".ini", ".log",
    ".db", ".pkl", ".mat", ".npy", ".npz", ".parquet", ".py", ".ipynb", ".zip", ".tar", ".gz", ".sha256", ".md5",
}  # fmt: skip
_UNPACK = "Unpack it, and name the folder; the app takes a zip archive, too."
_MEASURE = "Features are measured by `python -m core measure FILE`, or uploaded in the app."
_INSTEAD_OF_A_FILE = dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"), _UNPACK) | dict.fromkeys(
    (".npy", ".npz", ".parquet"), _MEASURE
)


@dataclass(frozen=True, eq=False)
class FoundImages:
    """Image files as samples, ascending by id.

    Attributes
    ----------
    ids : tuple of str, length n
        Paths relative to the folder with forward slashes.
    labels : np.ndarray, int64, shape (n,)
        Index into `class_names`.
    class_names : tuple of str
        Ascending; including classes without images, which `faults` name.
    splits : np.ndarray of str, shape (n,)
        "train" or "test"; empty if the folder has no splits.
    notes : tuple of str
        Decisions about the layout, and files that were left out.
    faults : tuple of Fault
        Faults of single classes and files; the samples are the images without these faults.
    told : frozenset of (str, str)
        Class and split ("" without splits) for which `faults` already report that there are no images.
    ignored : mapping of str to int
        Number of files that are not readable images, by extension ("" for files without extension).
    other_ids : tuple of str
        Images of the split that was not requested.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    told: frozenset[tuple[str, str]] = frozenset()
    ignored: Mapping[str, int] = field(default_factory=dict)
    other_ids: tuple[str, ...] = ()


def check_is_folder(root: Path) -> None:
    """Raise a FileNotFoundError unless there is such a folder."""
    if root.is_file():
        raise FileNotFoundError(
            f"data must be a folder of images that holds train/<class>/ and test/<class>/, or <class>/; got the file "
            f"{str(root)!r}. {_INSTEAD_OF_A_FILE.get(root.suffix.lower(), 'Name the folder that the images are in.')}"
        )
    if not root.is_dir():
        raise FileNotFoundError(
            f"data must be 'digits', 'tfds:NAME' or a folder that holds train/<class>/ and test/<class>/, or "
            f"<class>/; there is no folder {str(root)!r}. Check the path."
        )


def find_images(root: Path, split: str) -> FoundImages:
    """Find the samples of a folder; no image is decoded.

    Parameters
    ----------
    root : Path
        See `loading.load_images` for the layouts.
    split : {"both", "train", "test"}
        The splits to find.

    Raises
    ------
    FaultsError
        If the layout is ambiguous or unusable. Faults of single classes are returned as `faults` instead.
    ValueError
        If the folder does not have the split.
    FileNotFoundError
        If the folder does not exist.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    check_is_folder(root)
    require_pillow()
    layout = find_layout(root, split)
    if layout.splits and split != "both" and split not in layout.splits:
        raise ValueError(
            f"split must be one that the folder has; got {split!r}, but {str(root)!r} holds only "
            f"{next(iter(layout.splits.values())).name}/. Choose that split."
        )
    return _to_samples(root, layout, split)


@dataclass(frozen=True, eq=False)
class _ClassFolder:
    """The images of a class in a split, and the number of other files by extension."""

    images: tuple[Path, ...]
    ignored: Counter[str]


_ClassFolders = Mapping[str, Mapping[str, _ClassFolder]]  # by split ("" without splits), then by class


def _to_samples(root: Path, layout: Layout, split: str) -> FoundImages:
    """Return the samples of a layout, and the faults of single classes."""
    chosen = {name: folder for name, folder in layout.splits.items() if split in ("both", name)}
    classes = _class_folders(layout, chosen)
    empty_faults, without_images = _empty_faults(classes, layout)
    parents = [root, *(split_folder.path for split_folder in chosen.values())]
    ignored = _all_ignored(root, chosen, classes)
    class_names = tuple(sorted(set().union(*classes.values())))
    codes = {name: code for code, name in enumerate(class_names)}
    samples = []
    for split_name, folders in classes.items():
        for name, folder in folders.items():
            samples += [(path.relative_to(root).as_posix(), codes[name], split_name) for path in folder.images]
    ids, labels, splits = zip(*sorted(samples), strict=True)
    other_images: list[Path] = []
    for name, split_folder in layout.splits.items():
        if name not in chosen:
            other_images += split_folder.all_images
    return FoundImages(
        ids=ids,
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        splits=np.array(splits if layout.splits else [], dtype=str),
        notes=layout.notes + _ignored_notes(ignored),
        faults=(*stray_faults(parents), *empty_faults),
        told=without_images,
        ignored=dict(sorted(ignored.items())),
        other_ids=tuple(path.relative_to(root).as_posix() for path in other_images),
    )


def _class_folders(layout: Layout, chosen: Mapping[str, Folder]) -> _ClassFolders:
    if not layout.splits:
        return {"": {folder.name: _ClassFolder(folder.all_images, folder.all_ignored) for folder in layout.classes}}
    classes: dict[str, dict[str, _ClassFolder]] = {}
    for split, folder in chosen.items():
        classes[split] = {name: _ClassFolder(files, folder.ignored[name]) for name, files in folder.below.items()}
    return classes


def _all_ignored(root: Path, chosen: Mapping[str, Folder], classes: _ClassFolders) -> Counter[str]:
    """Count the files that are not images by extension: in class folders, split folders and the folder itself."""
    ignored = Counter(extension(path.name) for path in visible_files(root) if not is_image(path.name))
    for split in chosen.values():
        ignored += split.ignored[""]
    for folders in classes.values():
        for folder in folders.values():
            ignored += folder.ignored
    return ignored


def _empty_faults(classes: _ClassFolders, layout: Layout) -> tuple[list[Fault], frozenset[tuple[str, str]]]:
    """Return faults for class folders without images and for classes in one split only, and (class, split) of each."""
    without_images: set[tuple[str, str]] = set()
    empty, in_one_split = [], []
    for split, folders in classes.items():
        for name, folder in sorted(folders.items()):
            if not folder.images:
                without_images.add((name, split))
                path = f"{layout.splits[split].name}/{name}" if split else name
                empty.append(f"{path!r} (only {extension_counts(folder.ignored)})" if folder.ignored else repr(path))
        for other_split in classes.keys() - {split}:
            for name in folders.keys() - classes[other_split].keys():
                without_images.add((name, other_split))
                if folders[name].images:
                    in_one_split.append(f"{name!r} only in {layout.splits[split].name}/")
    faults = []
    if empty:
        problem = f"each class folder must hold images; these hold none: {name_some(empty)}."
        faults.append(Fault(problem, "Add images, or remove the folder.", *LEAVE_SMALL_OUT))
    if in_one_split:
        problem = f"each class must be in both splits; got {name_some(sorted(in_one_split))}."
        faults.append(Fault(problem, "Add the missing folders.", *LEAVE_SMALL_OUT))
    return faults, frozenset(without_images)


def _ignored_notes(ignored: Counter[str]) -> tuple[str, ...]:
    """Return a note on files that may be images in an unknown format; usual other files do not need one."""
    if all(extension in _COMPANIONS for extension in ignored):
        return ()
    total = sum(ignored.values())
    files = (
        "1 file is not a readable image and is" if total == 1 else f"{total:,} files are not readable images and are"
    )
    return (f"{files} left out: {extension_counts(ignored)}.",)
