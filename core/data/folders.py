"""The layout of an image folder: which files are samples, of which class and split, and what is wrong with it."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from core.data.decoding import image_suffixes, require_pillow
from core.data.errors import LEAVE_SMALL_OUT, Fault, FaultsError
from core.data.sampling import name_some
from core.data.split_names import TEST, TRAIN, VALIDATION, roles_of, split_role

SPLITS = (TRAIN, TEST)
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
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


@dataclass(frozen=True, eq=False)
class _Folder:
    """A folder of the first level, read: images directly in it, and those at any depth below, by its subfolders."""

    path: Path
    images: tuple[Path, ...]
    below: Mapping[str, tuple[Path, ...]]
    ignored: Mapping[str, Counter[str]]  # extensions of other files, by subfolder; "" for the folder itself

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def filled(self) -> list[str]:
        """The subfolders that hold images."""
        return [name for name, files in self.below.items() if files]

    @property
    def all_images(self) -> tuple[Path, ...]:
        return self.images + tuple(file for files in self.below.values() for file in files)

    @property
    def all_ignored(self) -> Counter[str]:
        return sum(self.ignored.values(), Counter())

    @property
    def role(self) -> str | None:
        return split_role(self.name)


@dataclass(frozen=True, eq=False)
class _Layout:
    """Split folders by split, or class folders: one of the two."""

    splits: Mapping[str, _Folder]
    classes: Sequence[_Folder]
    notes: tuple[str, ...] = ()


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
    layout = _layout(root, [_read_folder(path) for path in _subfolders(root)], split)
    if layout.splits and split != "both" and split not in layout.splits:
        raise ValueError(
            f"split must be one that the folder has; got {split!r}, but {str(root)!r} holds only "
            f"{next(iter(layout.splits.values())).name}/. Choose that one."
        )
    return _found(root, layout, split)


# Which folders are splits, and which are classes


def _layout(root: Path, folders: Sequence[_Folder], split: str) -> _Layout:
    filled = [folder for folder in folders if folder.all_images]
    if not filled:
        raise FaultsError(str(root), [_no_images(root, folders), *_stray_faults([root])])
    splits = [folder for folder in folders if folder.role]
    if not any(folder.filled for folder in splits):
        return _class_layout(root, folders, filled)
    return _split_layout(root, splits, [folder for folder in filled if not folder.role], split)


def _split_layout(root: Path, folders: Sequence[_Folder], others: Sequence[_Folder], split: str) -> _Layout:
    """Some folders are called as splits are, and hold folders: which serves as which."""
    faults = []
    if others:
        named = " and ".join(repr(folder.name) for folder in folders)
        faults.append(
            Fault(
                f"data must hold either split folders or class folders; {str(root)!r} holds {named} beside "
                f"{name_some([repr(folder.name) for folder in others])}.",
                "Move the one or the other elsewhere.",
            )
        )
    roles = {role: [folder for folder in folders if folder.name in names] for role, names in _roles(folders).items()}
    if TEST in roles:
        unused = roles.pop(VALIDATION, [])
    else:
        unused = []
        roles = {TEST if role == VALIDATION else role: found for role, found in roles.items()}
    for role, found in roles.items():
        if len(found) > 1:
            faults.append(
                Fault(
                    f"each split must have one folder; got {' and '.join(repr(folder.name) for folder in found)} for "
                    f"the {role} split.",
                    "Join them, or move one elsewhere.",
                )
            )
    chosen = {role: found[0] for role, found in sorted(roles.items(), key=lambda item: SPLITS.index(item[0]))}
    wanted = {role: folder for role, folder in chosen.items() if split in ("both", role)}
    for role, folder in wanted.items():
        faults += _split_faults(folder, role, chosen)
    if faults:
        raise FaultsError(str(root), faults)
    return _Layout(chosen, (), _split_notes(chosen, unused))


def _roles(folders: Sequence[_Folder]) -> dict[str, list[str]]:
    return roles_of(folder.name for folder in folders)


def _split_faults(folder: _Folder, role: str, chosen: Mapping[str, _Folder]) -> list[Fault]:
    """Why the folders within a split folder cannot be its classes."""
    other = next((name for name in chosen if name != role), None)
    instead = (f"take the {other} split alone", ("split", other)) if other else ("", ("", None))
    if not folder.all_images:
        kinds = _kinds(folder.all_ignored)
        return [
            Fault(
                f"data must hold images; {str(folder.path)!r} has none in its class folders"
                f"{f', only {kinds}' if kinds else ''}.",
                f"The extensions read here are {_suffix_list()}; check the path.",
                *instead,
            )
        ]
    if not folder.filled:
        return [
            Fault(
                f"each split must hold a folder for each class; {str(folder.path)!r} holds {len(folder.images):,} "
                "images and no class folders.",
                f"Move them to {folder.name}/CLASS/.",
                *instead,
            )
        ]
    if len(folder.filled) == 1 and not folder.images:
        (only,) = folder.filled
        inner = _folders_of(folder.below[only], folder.path / only)
        if len(inner) > 1:
            return [_wrapper(folder.path, only, inner, f"Move them up, to {folder.name}/CLASS/.")]
    return []


def _split_notes(chosen: Mapping[str, _Folder], unused: Sequence[_Folder]) -> tuple[str, ...]:
    """What was decided where it does not go without saying."""
    notes = []
    for role, folder in chosen.items():
        if folder.name.lower() != role:
            notes.append(f"The folder {folder.name}/ is taken as the {'training' if role == TRAIN else 'test'} split.")
    for folder in unused:
        notes.append(
            f"The folder {folder.name}/ is left out: {chosen[TEST].name}/ is the test split. To measure it instead, "
            f"move {chosen[TEST].name}/ elsewhere."
        )
    return tuple(notes)


def _class_layout(root: Path, folders: Sequence[_Folder], filled: Sequence[_Folder]) -> _Layout:
    """The folders are classes, if nothing speaks against it."""
    named = [folder for folder in filled if folder.role]
    if named and len(named) == len(filled):
        names = " and ".join(f"{folder.name}/" for folder in named)
        raise FaultsError(
            str(root),
            [
                Fault(
                    f"data must hold class folders; the folders of {str(root)!r} are called as splits are, {names}, "
                    "and hold images without class folders.",
                    f"Move the images to {named[0].name}/CLASS/; if these are classes, rename the folders.",
                )
            ],
        )
    if len(filled) == 1 and not filled[0].images:
        path, inner = filled[0].path, filled[0].filled
        if len(inner) > 1 or roles_of(inner):
            raise FaultsError(str(root), [_wrapper(root, path.name, inner, f"Give {str(path)!r} as data.")])
    inside = [folder for folder in filled if folder.filled and len(_inner_splits(folder)) == len(folder.filled)]
    if inside:
        inner_names = sorted({name for folder in inside for name in folder.filled})
        raise FaultsError(
            str(root),
            [
                Fault(
                    f"splits must hold classes, not classes splits; got {name_some([f'{name}/' for name in inner_names])} "
                    f"within {name_some([repr(folder.name) for folder in inside])}.",
                    f"Turn the folders round, to {inner_names[0]}/{inside[0].name}/, or, if each is a data set, give one.",
                )
            ],
        )
    return _Layout({}, folders, _class_notes(filled, named))


def _inner_splits(folder: _Folder) -> list[str]:
    return [name for name in folder.filled if split_role(name)]


def _class_notes(filled: Sequence[_Folder], named: Sequence[_Folder]) -> tuple[str, ...]:
    """What was taken for a class, where it could be something else."""
    notes = [
        f"The folder {folder.name}/ is taken as a class: it holds images itself, as the folders beside it do."
        for folder in named
    ]
    inner = {tuple(folder.filled) for folder in filled}
    if len(filled) > 1 and len(inner) == 1 and len(*inner) > 1 and not any(folder.images for folder in filled):
        names = name_some([f"{name}/" for name in next(iter(inner))])
        notes.append(
            f"Each of the {len(filled)} class folders holds the same folders, {names}. The outer ones are taken as the "
            "classes; if the inner ones are, give one of the outer folders as data."
        )
    return tuple(notes)


def _wrapper(parent: Path, only: str, inner: Sequence[str], remedy: str) -> Fault:
    return Fault(
        f"data must hold a folder for each class; {str(parent)!r} holds the single folder {only!r} around "
        f"{len(inner):,} others, {name_some([repr(name) for name in inner])}.",
        remedy,
    )


# Which files are samples


@dataclass(frozen=True, eq=False)
class _ClassFolder:
    """A class in a split: its images, and the extensions of what is none."""

    images: tuple[Path, ...]
    ignored: Counter[str]


_ClassFolders = Mapping[str, Mapping[str, _ClassFolder]]  # by split ("" without splits), then by class


def _found(root: Path, layout: _Layout, split: str) -> FoundImages:
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
        faults=(*_stray_faults(parents), *empty_faults),
        told=told,
        ignored=dict(sorted(ignored.items())),
        other_ids=tuple(path.relative_to(root).as_posix() for path in other_images),
    )


def _class_folders(layout: _Layout, wanted: Mapping[str, _Folder]) -> _ClassFolders:
    if not layout.splits:
        return {"": {folder.name: _ClassFolder(folder.all_images, folder.all_ignored) for folder in layout.classes}}
    found: dict[str, dict[str, _ClassFolder]] = {}
    for split, folder in wanted.items():
        found[split] = {name: _ClassFolder(files, folder.ignored[name]) for name, files in folder.below.items()}
    return found


def _all_ignored(root: Path, wanted: Mapping[str, _Folder], classes: _ClassFolders) -> Counter[str]:
    """The extensions of files that are no images: in the class folders, the split folders, and the folder itself."""
    ignored = Counter(_extension(path.name) for path in _files(root) if not _is_image(path.name))
    for split in wanted.values():
        ignored += split.ignored[""]
    for folders in classes.values():
        for folder in folders.values():
            ignored += folder.ignored
    return ignored


def _empty_faults(classes: _ClassFolders, layout: _Layout) -> tuple[list[Fault], frozenset[tuple[str, str]]]:
    """Class folders without images, classes that are in one split only, and the class and split of each."""
    told: set[tuple[str, str]] = set()
    empty, lone = [], []
    for split, folders in classes.items():
        for name, folder in sorted(folders.items()):
            if not folder.images:
                told.add((name, split))
                place = f"{layout.splits[split].name}/{name}" if split else name
                kinds = _kinds(folder.ignored)
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


def _stray_faults(parents: Sequence[Path]) -> list[Fault]:
    faults = []
    for parent in parents:
        stray = [repr(path.name) for path in _files(parent) if _is_image(path.name)]
        if stray:
            faults.append(
                Fault(
                    f"each image must lie in a class folder; {str(parent)!r} directly holds {name_some(stray)}.",
                    "Move each into a folder named after its class.",
                )
            )
    return faults


def _no_images(root: Path, folders: Sequence[_Folder]) -> Fault:
    kinds = _kinds(sum((folder.all_ignored for folder in folders), Counter()))
    return Fault(
        f"data must hold images; {str(root)!r} has none in its class folders{f', only {kinds}' if kinds else ''}.",
        f"The extensions read here are {_suffix_list()}; check the path.",
    )


def _ignored_notes(ignored: Counter[str]) -> tuple[str, ...]:
    """A word about files that may have been meant as images; others are counted in `ignored` alone."""
    if all(extension in _COMPANIONS for extension in ignored):
        return ()
    total = sum(ignored.values())
    are = "file is left out, which is" if total == 1 else "files are left out, which are"
    return (f"{total:,} {are} no image that can be read here: {_kinds(ignored)}.",)


# Reading folders


def _read_folder(path: Path) -> _Folder:
    """A folder of the first level; a link to it, or to a class folder of a split, is followed, deeper ones are not."""
    images: list[Path] = []
    below: dict[str, tuple[Path, ...]] = {}
    ignored: dict[str, Counter[str]] = {"": Counter()}
    for file in _files(path):
        if _is_image(file.name):
            images.append(file)
        else:
            ignored[""][_extension(file.name)] += 1
    is_split = split_role(path.name) is not None
    for folder in _subfolders(path):
        if folder.is_symlink() and not is_split:
            continue
        below[folder.name], ignored[folder.name] = _files_below(folder)
    return _Folder(path, tuple(images), below, ignored)


def _files_below(folder: Path) -> tuple[tuple[Path, ...], Counter[str]]:
    """Image files at any depth below a folder, and the extensions of the other files."""

    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

    images, ignored = [], Counter[str]()
    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if _is_visible(name)]
        for name in names:
            if _is_image(name):
                images.append(Path(parent, name))
            elif _is_visible(name):
                ignored[_extension(name)] += 1
    return tuple(images), ignored


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_visible(path.name))


def _folders_of(files: Sequence[Path], parent: Path) -> list[str]:
    """The folders directly below `parent` that some files lie in; none where one lies in `parent` itself."""
    parts = [file.relative_to(parent).parts for file in files]
    return [] if any(len(part) < 2 for part in parts) else sorted({part[0] for part in parts})


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name not in _SYSTEM_FOLDERS


def _is_image(name: str) -> bool:
    return _is_visible(name) and _extension(name) in image_suffixes()


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _kinds(counts: Counter[str]) -> str:
    """Such as "9 .heic, 3 .txt", the most frequent first; "" of nothing."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return name_some([f"{count:,} {extension or 'without extension'}" for extension, count in ordered])


def _suffix_list() -> str:
    return ", ".join(sorted(image_suffixes()))
