"""The image files of a folder: which are samples, of which class and split, and what is wrong with single classes."""

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

# Files that often lie among images and are none; others are worth a word.
_COMPANIONS = {
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".md", ".rst", ".html", ".htm", ".yaml", ".yml", ".ini", ".log",
    ".db", ".pkl", ".mat", ".npy", ".npz", ".parquet", ".py", ".ipynb", ".zip", ".tar", ".gz", ".sha256", ".md5",
}  # fmt: skip


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
        Ascending; those of classes without images, too, as long as `faults` name them.
    splits : np.ndarray of str, shape (n,)
        "train" or "test"; empty where the folder has no splits.
    notes : tuple of str
        What was decided about the layout, and what was left out.
    faults : tuple of Fault
        What is wrong with single classes and files; the samples are what is left without them.
    told : frozenset of (str, str)
        Class and split ("" without splits) that `faults` say to have no images.
    ignored : mapping of str to int
        Files that are no images that can be read here, by extension; "" where there is none.
    other_ids : tuple of str
        Images of the split that was not asked for.
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


def find_images(root: Path, split: str) -> FoundImages:
    """The samples of a folder, nothing decoded yet.

    Parameters
    ----------
    root : Path
        See `loading.load_images` for the layouts.
    split : {"both", "train", "test"}
        Which of the folder's splits to take.

    Raises
    ------
    FaultsError
        If the layout says neither what the splits nor what the classes are. What is wrong with single classes is
        returned as `faults`.
    ValueError
        If the split is not there.
    FileNotFoundError
        If there is no such folder.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"data must be 'digits', 'tfds:NAME' or a folder that holds train/<class>/ and test/<class>/, or "
            f"<class>/; there is no folder {str(root)!r}. Check the path."
        )
    require_pillow()
    layout = find_layout(root, split)
    if layout.splits and split != "both" and split not in layout.splits:
        raise ValueError(
            f"split must be one that the folder has; got {split!r}, but {str(root)!r} holds only "
            f"{next(iter(layout.splits.values())).name}/. Choose that one."
        )
    return _found(root, layout, split)


@dataclass(frozen=True, eq=False)
class _ClassFolder:
    """A class in a split: its images, and the extensions of what is none."""

    images: tuple[Path, ...]
    ignored: Counter[str]


_ClassFolders = Mapping[str, Mapping[str, _ClassFolder]]  # by split ("" without splits), then by class


def _found(root: Path, layout: Layout, split: str) -> FoundImages:
    """The samples of a layout, and what is wrong with single classes."""
    wanted = {name: folder for name, folder in layout.splits.items() if split in ("both", name)}
    classes = _class_folders(layout, wanted)
    empty_faults, told = _empty_faults(classes, layout)
    parents = [root, *(folder.path for folder in wanted.values())]
    ignored = _all_ignored(root, wanted, classes)
    class_names = tuple(sorted({name for folders in classes.values() for name in folders}))
    codes = {name: code for code, name in enumerate(class_names)}
    samples = []
    for split_name, folders in classes.items():
        for name, folder in folders.items():
            samples += [(path.relative_to(root).as_posix(), codes[name], split_name) for path in folder.images]
    ids, labels, splits = zip(*sorted(samples), strict=True)
    others = [folder for name, folder in layout.splits.items() if name not in wanted]
    other_images = [path for folder in others for path in folder.all_images]
    return FoundImages(
        ids=ids,
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        splits=np.array(splits if layout.splits else [], dtype=str),
        notes=layout.notes + _ignored_notes(ignored),
        faults=(*stray_faults(parents), *empty_faults),
        told=told,
        ignored=dict(sorted(ignored.items())),
        other_ids=tuple(path.relative_to(root).as_posix() for path in other_images),
    )


def _class_folders(layout: Layout, wanted: Mapping[str, Folder]) -> _ClassFolders:
    if not layout.splits:
        return {"": {folder.name: _ClassFolder(folder.all_images, folder.all_ignored) for folder in layout.classes}}
    found: dict[str, dict[str, _ClassFolder]] = {}
    for split, folder in wanted.items():
        found[split] = {name: _ClassFolder(files, folder.ignored[name]) for name, files in folder.below.items()}
    return found


def _all_ignored(root: Path, wanted: Mapping[str, Folder], classes: _ClassFolders) -> Counter[str]:
    """The extensions of files that are no images: in the class folders, the split folders, and the folder itself."""
    ignored = Counter(extension(path.name) for path in visible_files(root) if not is_image(path.name))
    for split in wanted.values():
        ignored += split.ignored[""]
    for folders in classes.values():
        for folder in folders.values():
            ignored += folder.ignored
    return ignored


def _empty_faults(classes: _ClassFolders, layout: Layout) -> tuple[list[Fault], frozenset[tuple[str, str]]]:
    """Class folders without images, classes that are in one split only, and the class and split of each."""
    told: set[tuple[str, str]] = set()
    empty, lone = [], []
    for split, folders in classes.items():
        for name, folder in sorted(folders.items()):
            if not folder.images:
                told.add((name, split))
                place = f"{layout.splits[split].name}/{name}" if split else name
                kinds = extension_counts(folder.ignored)
                empty.append(f"{place!r}{f' (only {kinds})' if kinds else ''}")
        for other in classes.keys() - {split}:
            for name in folders.keys() - classes[other].keys():
                told.add((name, other))
                if folders[name].images:
                    lone.append(f"{name!r} only in {layout.splits[split].name}/")
    faults = []
    if empty:
        problem = f"each class folder must hold images; these hold none: {name_some(empty)}."
        faults.append(Fault(problem, "Add images, or remove the folder.", *LEAVE_SMALL_OUT))
    if lone:
        problem = f"each class must be in both splits; got {name_some(sorted(lone))}."
        faults.append(Fault(problem, "Add the missing folders.", *LEAVE_SMALL_OUT))
    return faults, frozenset(told)


def _ignored_notes(ignored: Counter[str]) -> tuple[str, ...]:
    """A word about files that may have been meant as images; others are counted in `ignored` alone."""
    if all(extension in _COMPANIONS for extension in ignored):
        return ()
    total = sum(ignored.values())
    are = "file is left out, which is" if total == 1 else "files are left out, which are"
    return (f"{total:,} {are} no image that can be read here: {extension_counts(ignored)}.",)
