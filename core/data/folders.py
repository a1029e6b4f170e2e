"""The layout of an image folder: which files are samples, of which class and split."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.decoding import require_pillow
from core.data.errors import DataError
from core.data.sampling import name_some

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SPLITS = ("train", "test")


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
        Ascending.
    splits : np.ndarray of str, shape (n,)
        "train" or "test"; empty where the folder has no splits.
    """

    ids: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    splits: np.ndarray


def find_images(root: Path, split: str) -> FoundImages:
    """The samples of a folder, nothing read yet.

    Parameters
    ----------
    root : Path
        train/<class>/... and test/<class>/..., one of the two, or <class>/...; see `images.load_images`.
    split : {"both", "train", "test"}
        Which of the folder's splits to take.

    Raises
    ------
    DataError
        If an image lies outside the class folders, a class folder is empty or missing from a split, there are fewer
        than two classes, or the layout is mixed. The message names the culprits.
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
    by_split = _split_folders(root)
    if by_split and split != "both" and split not in by_split:
        raise ValueError(
            f"split must be one that the folder has; got {split!r}, but {str(root)!r} holds only "
            f"{next(iter(by_split))}/. Choose that one."
        )
    wanted = {name: folder for name, folder in by_split.items() if split in ("both", name)} or {"": root}
    classes = {name: _list_classes(folder) for name, folder in wanted.items()}
    class_names = _common_class_names(classes)
    samples = sorted(
        (path.relative_to(root).as_posix(), label, name)
        for name, files in classes.items()
        for label, class_name in enumerate(class_names)
        for path in files[class_name]
    )
    ids, labels, splits = zip(*samples, strict=True)
    return FoundImages(
        ids=ids,
        labels=np.array(labels, dtype=np.int64),
        class_names=class_names,
        splits=np.array(splits if by_split else [], dtype=str),
    )


def _split_folders(root: Path) -> dict[str, Path]:
    """The folders train/ and test/ that there are, by their name in lower case."""
    folders = {folder.name: folder for folder in _subfolders(root)}
    found = {name.lower(): folder for name, folder in folders.items() if name.lower() in SPLITS}
    if not found:
        return {}
    _refuse_stray(root)
    others = [repr(name) for name, folder in folders.items() if folder not in found.values() and _image_files(folder)]
    if others:
        raise DataError(
            f"data must hold either train/ and test/ or class folders; {str(root)!r} holds "
            f"{' and '.join(repr(folder.name) for folder in found.values())} beside {name_some(others)}. "
            "Move the one or the other elsewhere."
        )
    return found


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    """Image files by class folder."""
    _refuse_stray(folder)
    classes = {sub.name: _image_files(sub) for sub in _subfolders(folder)}
    if not any(classes.values()):
        raise DataError(
            f"data must hold images; {str(folder)!r} has none in its class folders. The extensions looked for are "
            f"{', '.join(SUFFIXES)}; check the path."
        )
    empty = [repr(name) for name, files in classes.items() if not files]
    if empty:
        raise DataError(
            f"each class folder must hold images; in {str(folder)!r} these hold none: {name_some(empty)}. "
            "Add images, or remove the folder."
        )
    return classes


def _refuse_stray(folder: Path) -> None:
    stray = [repr(path.name) for path in sorted(folder.iterdir()) if path.is_file() and _is_image(path.name)]
    if stray:
        raise DataError(
            f"each image must lie in a class folder; {str(folder)!r} directly holds {name_some(stray)}. "
            "Move each into a folder named after its class."
        )


def _common_class_names(classes: dict[str, dict[str, list[Path]]]) -> tuple[str, ...]:
    """The class names, ascending, which all splits must share."""
    first, *others = classes
    for other in others:
        if lone := sorted(classes[first].keys() ^ classes[other].keys()):
            named = [f"{name!r} only in {first if name in classes[first] else other}/" for name in lone]
            raise DataError(
                f"each class must be in both splits; got {name_some(named)}. Add the missing folders, or take one "
                f"split only (--split {first})."
            )
    names = tuple(sorted(classes[first]))
    if len(names) < 2:
        raise DataError(f"data must hold at least two classes; got only {names[0]!r}. Add a folder for another class.")
    return names


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    """Image files at any depth below a folder."""

    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

    files = []
    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(parent, name) for name in names if _is_image(name)]
    return files


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")
