"""The layout of a folder of images: which of its subfolders are splits, and which are classes."""

import itertools
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from core.data.errors import Fault, FaultsError
from core.data.images.decoding import image_suffixes
from core.data.images.split_names import TEST, TRAIN, VALIDATION, roles_of, split_and_rest, split_role
from core.data.sampling import name_some

SPLITS = (TRAIN, TEST)
_MAX_SPLITS = 3  # up to this many folders with unknown names may be splits; more are taken for classes
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")


@dataclass(frozen=True, eq=False)
class Folder:
    """The content of a first-level folder.

    Attributes
    ----------
    path : Path
        The folder.
    images : tuple of Path
        Images directly in the folder.
    below : mapping of str to tuple of Path
        Images at any depth in each subfolder.
    ignored : mapping of str to Counter
        For each subfolder ("" for the folder itself) the number of other files by extension.
    """

    path: Path
    images: tuple[Path, ...]
    below: Mapping[str, tuple[Path, ...]]
    ignored: Mapping[str, Counter[str]]

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def filled(self) -> list[str]:
        """The subfolders that contain images."""
        return [name for name, files in self.below.items() if files]

    @property
    def all_images(self) -> tuple[Path, ...]:
        return self.images + tuple(itertools.chain.from_iterable(self.below.values()))

    @property
    def all_ignored(self) -> Counter[str]:
        return sum(self.ignored.values(), Counter())

    @property
    def role(self) -> str | None:
        """The split that the folder's name means, or None."""
        return split_role(self.name)


@dataclass(frozen=True, eq=False)
class Layout:
    """Either split folders or class folders.

    Attributes
    ----------
    splits : mapping of str to Folder
        The folders of "train" and "test"; empty if the folder has no splits.
    classes : sequence of Folder
        The class folders of a folder without splits; otherwise empty.
    notes : tuple of str
        Decisions about the layout that the user should know.
    """

    splits: Mapping[str, Folder]
    classes: Sequence[Folder]
    notes: tuple[str, ...] = ()


def find_layout(root: Path, split: str) -> Layout:
    """Decide which folders are splits or classes.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    split : {"both", "train", "test"}
        The splits that will be used; faults of another split are ignored.

    Raises
    ------
    FaultsError
        If the layout is ambiguous or unusable.
    """
    folders = [_read_folder(path) for path in _subfolders(root)]
    filled = [folder for folder in folders if folder.all_images]
    if not filled:
        ignored = sum((folder.all_ignored for folder in folders), Counter[str]())
        raise FaultsError(str(root), [_no_images_fault(root, ignored), *stray_faults([root])])
    splits = [folder for folder in folders if folder.role]
    if not any(folder.filled for folder in splits):
        return _class_layout(root, folders, filled)
    return _split_layout(root, splits, [folder for folder in filled if not folder.role], split)


def _split_layout(root: Path, splits: Sequence[Folder], others: Sequence[Folder], split: str) -> Layout:
    """Return the layout of a folder with split folders, `splits`, that contain class folders."""
    faults = []
    if others:
        faults.append(_unnamed_second_split(splits, others) or _mixed_folders(root, splits, others))
    roles: dict[str, list[Folder]] = {}
    for folder in splits:
        if folder.role is not None:
            roles.setdefault(folder.role, []).append(folder)
    unused: list[Folder] = []
    if TEST in roles:
        unused = roles.pop(VALIDATION, [])
    else:
        roles = {TEST if role == VALIDATION else role: candidates for role, candidates in roles.items()}
    for role, candidates in roles.items():
        if len(candidates) > 1:
            faults.append(_duplicate_split(role, candidates, roles))
    chosen = {role: roles[role][0] for role in SPLITS if role in roles}
    for role, folder in chosen.items():
        if split in ("both", role):
            faults += _split_faults(folder, role, chosen)
    if faults:
        raise FaultsError(str(root), faults)
    return Layout(chosen, (), _split_notes(chosen, unused))


def _mixed_folders(root: Path, splits: Sequence[Folder], others: Sequence[Folder]) -> Fault:
    split_names = " and ".join(repr(folder.name) for folder in splits)
    return Fault(
        f"data must hold either split folders or class folders; {str(root)!r} holds {split_names} beside "
        f"{name_some([repr(folder.name) for folder in others])}.",
        "Move the splits or the classes elsewhere; if all are classes, rename the first.",
    )


def _unnamed_second_split(splits: Sequence[Folder], others: Sequence[Folder]) -> Fault | None:
    """Return the fault of two folders with mostly the same subfolders, of which only one is named as a split.

    They may be two splits, or two classes. None if the folders are not like that.
    """
    if len(splits) != 1 or len(others) != 1:
        return None
    known, unknown = splits[0], others[0]
    common, union = set(known.filled) & set(unknown.filled), {*known.filled, *unknown.filled}
    if unknown.images or len(common) < 2 or 2 * len(common) < len(union):
        return None
    role, other_role = (TRAIN, TEST) if known.role == TRAIN else (TEST, TRAIN)
    new_names = {known.name: role, unknown.name: other_role}
    renames = [f"{name}/ to {new_name}/" for name, new_name in new_names.items() if name != new_name]
    return Fault(
        f"data must hold class folders, or split folders called train and test; got {known.name}/, a usual name of a "
        f"split, and {unknown.name}/, which is not, with the same folders, {_folder_list(sorted(common))}.",
        f"If they are splits, rename {' and '.join(renames)}; if they are the classes, give {known.name}/ a name that "
        "no split has.",
    )


def _duplicate_split(role: str, candidates: Sequence[Folder], roles: Mapping[str, Sequence[Folder]]) -> Fault:
    """Return the fault of several folders for one split; if the other split is missing, one of them may be it."""
    remedy = "Merge them"
    for missing in SPLITS:
        if missing not in roles:
            adjective = "training" if missing == TRAIN else "test"
            remedy = f"Merge them, rename the one that is the {adjective} split to {missing}/"
    return Fault(
        f"each split must have one folder; got {' and '.join(repr(folder.name) for folder in candidates)} for the "
        f"{role} split.",
        f"{remedy}, or move one elsewhere.",
    )


def _split_faults(folder: Folder, role: str, chosen: Mapping[str, Folder]) -> list[Fault]:
    """Return why the folders within a split folder cannot be its classes."""
    other_split = next((name for name in chosen if name != role), None)
    instead: tuple[str, tuple[str, str | None]] = ("", ("", None))
    if other_split is not None:
        instead = (f"take the {other_split} split alone", ("split", other_split))
    if not folder.all_images:
        return [_no_images_fault(folder.path, folder.all_ignored, *instead)]
    if not folder.filled:
        return [
            Fault(
                f"each split must hold a folder for each class; {str(folder.path)!r} holds {len(folder.images):,} "
                "images and no class folders.",
                f"Move them to {folder.name}/CLASS/.",
                *instead,
            )
        ]
    for name in _inner_split_names(folder):
        inner = _folders_of(folder.below[name], folder.path / name)
        if inner and len(folder.filled) > 1:
            return [_split_in_split(folder, name, inner)]
    if len(folder.filled) == 1 and not folder.images:
        (only,) = folder.filled
        inner = _folders_of(folder.below[only], folder.path / only)
        if len(inner) > 1:
            return [_single_outer_folder(folder.path, only, inner, f"Move them up, to {folder.name}/CLASS/.")]
    return []


def _split_in_split(folder: Folder, name: str, inner: Sequence[str]) -> Fault:
    return Fault(
        f"each split must hold class folders; {str(folder.path / name)!r} has the name of a split, and holds "
        f"{_folder_list(inner)}.",
        f"Move it beside {folder.name}/; if it is a class, rename it.",
    )


def _split_notes(chosen: Mapping[str, Folder], unused: Sequence[Folder]) -> tuple[str, ...]:
    """Return notes on folders that are used as a split of another name, or not used."""
    notes = []
    for role, folder in chosen.items():
        if folder.name.lower() != role:
            adjective = "training" if role == TRAIN else "test"
            notes.append(f"The folder {folder.name}/ is taken as the {adjective} split.")
    for folder in unused:
        notes.append(
            f"The folder {folder.name}/ is left out: {chosen[TEST].name}/ is the test split. To measure it instead, "
            f"move {chosen[TEST].name}/ elsewhere."
        )
    return tuple(notes)


def _class_layout(root: Path, folders: Sequence[Folder], filled: Sequence[Folder]) -> Layout:
    """Return the layout of a folder with class folders, after checking that the folders can be classes."""
    named_as_splits = [folder for folder in filled if folder.role]
    if named_as_splits and len(named_as_splits) == len(filled):
        names = " and ".join(f"{folder.name}/" for folder in named_as_splits)
        fault = Fault(
            f"data must hold class folders; the folders of {str(root)!r} have names of splits, {names}, and hold "
            "images without class folders.",
            f"Move the images to {named_as_splits[0].name}/CLASS/; if these are classes, rename the folders.",
        )
        raise FaultsError(str(root), [fault])
    if len(filled) == 1 and not filled[0].images:
        path, inner = filled[0].path, filled[0].filled
        if len(inner) > 1 or roles_of(inner):
            raise FaultsError(str(root), [_single_outer_folder(root, path.name, inner, f"Give {str(path)!r} as data.")])
    split_only = [
        folder for folder in filled if folder.filled and len(_inner_split_names(folder)) == len(folder.filled)
    ]
    if split_only:
        raise FaultsError(str(root), [_splits_in_classes(split_only)])
    faults = _splits_in_class_names(filled) or _overlapping_folders(filled)
    if faults:
        raise FaultsError(str(root), faults)
    return Layout({}, folders, _class_notes(filled, named_as_splits))


def _splits_in_class_names(folders: Sequence[Folder]) -> list[Fault]:
    """Return the fault of folders such as train_cat and test_cat, whose names differ only in the split."""
    by_remainder: dict[str, dict[str, Folder]] = {}
    for folder in folders:
        parts = split_and_rest(folder.name)
        if parts is not None:
            split, remainder = parts
            by_remainder.setdefault(remainder, {}).setdefault(split, folder)
    pairs = {remainder: splits for remainder, splits in by_remainder.items() if len(splits) > 1}
    if not pairs:
        return []
    names = []
    for splits in pairs.values():
        names += [repr(folder.name) for folder in splits.values()]
    remainder, splits = next(iter(pairs.items()))
    if not any(folder.filled for folder in splits.values()):
        moves = [f"the images of {folder.name}/ to {split}/{remainder}/" for split, folder in splits.items()]
        remedy = f"Move {' and '.join(moves)}, and so on"
    elif len(pairs) == 1:
        renames = [f"{folder.name}/ to {split}/" for split, folder in splits.items()]
        remedy = f"Rename {' and '.join(renames)}"
    else:
        moves = [f"{folder.name}/ to {remainder}/{split}/" for split, folder in splits.items()]
        remedy = f"Move {' and '.join(moves)}, and give {remainder}/ as data"
    return [
        Fault(
            f"data must hold class folders, or split folders called train and test; got {name_some(names)}, whose "
            "names differ only in the split.",
            f"{remedy}; if these are classes, rename the folders.",
        )
    ]


def _overlapping_folders(folders: Sequence[Folder]) -> list[Fault]:
    """Return the fault of two or three folders with mostly the same subfolders: they may be splits of unknown names."""
    inner = [set(folder.filled) for folder in folders]
    if not 2 <= len(inner) <= _MAX_SPLITS or any(folder.images for folder in folders):
        return []
    common, union = set.intersection(*inner), set.union(*inner)
    if len(common) < 2 or common == union or 2 * len(common) < len(union):
        return []
    outer = _folder_list([folder.name for folder in folders])
    return [
        Fault(
            f"data must hold class folders, or split folders called train and test; got {outer} that hold mostly the "
            f"same folders, {_folder_list(sorted(common))}.",
            "If the outer ones are splits, rename them to train/ and test/; if each is a data set, give one of them; "
            "if they are the classes, move the images out of the inner folders.",
        )
    ]


def _splits_in_classes(folders: Sequence[Folder]) -> Fault:
    names = sorted(set(itertools.chain.from_iterable(folder.filled for folder in folders)))
    return Fault(
        f"split folders must hold class folders, not the other way round; got {_folder_list(names)} within "
        f"{name_some([repr(folder.name) for folder in folders])}.",
        f"Swap the levels, to {names[0]}/{folders[0].name}/, or, if each is a data set, give one of them.",
    )


def _inner_split_names(folder: Folder) -> list[str]:
    return [name for name in folder.filled if split_role(name)]


def _class_notes(filled: Sequence[Folder], named_as_splits: Sequence[Folder]) -> tuple[str, ...]:
    """Return notes on folders that are taken for classes but could be something else."""
    notes = [
        f"The folder {folder.name}/ is taken as a class: it holds images itself, as the folders beside it do."
        for folder in named_as_splits
    ]
    inner = filled[0].filled
    have_same_folders = all(folder.filled == inner and not folder.images for folder in filled)
    if len(filled) > 1 and len(inner) > 1 and have_same_folders:
        note = (
            f"Each of the {len(filled)} class folders holds the same folders, {_folder_list(inner)}. The outer ones "
            "are taken as the classes; if the inner ones are, give one of the outer folders as data"
        )
        if len(filled) <= _MAX_SPLITS:
            note += ", or, if the outer ones are splits, rename them to train/ and test/"
        notes.append(f"{note}.")
    return tuple(notes)


def _folder_list(names: Sequence[str]) -> str:
    return name_some([f"{name}/" for name in names])


def _single_outer_folder(parent: Path, only: str, inner: Sequence[str], remedy: str) -> Fault:
    return Fault(
        f"data must hold a folder for each class; {str(parent)!r} holds the single folder {only!r} around "
        f"{len(inner):,} others, {name_some([repr(name) for name in inner])}.",
        remedy,
    )


def stray_faults(parents: Sequence[Path]) -> list[Fault]:
    """Return a fault for each of the folders that directly contains images, outside class folders."""
    faults = []
    for parent in parents:
        stray = [repr(path.name) for path in visible_files(parent) if is_image(path.name)]
        if stray:
            faults.append(
                Fault(
                    f"each image must lie in a class folder; {str(parent)!r} directly holds {name_some(stray)}.",
                    "Move each into a folder named after its class.",
                )
            )
    return faults


def _no_images_fault(
    folder: Path, ignored: Counter[str], instead: str = "", option: tuple[str, str | None] = ("", None)
) -> Fault:
    problem = f"data must hold images; {str(folder)!r} has none in its class folders"
    if ignored:
        problem += f", only {extension_counts(ignored)}"
    remedy = f"The extensions read here are {', '.join(sorted(image_suffixes()))}; check the path."
    return Fault(f"{problem}.", remedy, instead, option)


# Reading folders


def _read_folder(path: Path) -> Folder:
    """Read a first-level folder. Links to it and to class folders of a split are followed, deeper ones are not."""
    images: list[Path] = []
    below: dict[str, tuple[Path, ...]] = {}
    ignored: dict[str, Counter[str]] = {"": Counter()}
    for file in visible_files(path):
        if is_image(file.name):
            images.append(file)
        else:
            ignored[""][extension(file.name)] += 1
    ignored[""].update(extension(link.name) for link in _broken_links(path))
    is_split = split_role(path.name) is not None
    for folder in _subfolders(path):
        if folder.is_symlink() and not is_split:
            continue
        below[folder.name], ignored[folder.name] = _files_below(folder)
    return Folder(path, tuple(images), below, ignored)


def _files_below(folder: Path) -> tuple[tuple[Path, ...], Counter[str]]:
    """Return the image files at any depth below a folder, and the extensions of the other files."""

    def stop(error: OSError) -> None:
        raise error  # by default os.walk silently skips a folder that it may not read

    images, ignored = [], Counter[str]()
    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if _is_visible(name)]
        for name in names:
            if is_image(name):
                images.append(Path(parent, name))
            elif _is_visible(name):
                ignored[extension(name)] += 1
    return tuple(images), ignored


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def visible_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_visible(path.name))


def _broken_links(folder: Path) -> list[Path]:
    """List dangling links with the name of an image."""
    return [path for path in folder.iterdir() if path.is_symlink() and not path.exists() and is_image(path.name)]


def _folders_of(files: Sequence[Path], parent: Path) -> list[str]:
    """Return the folders directly below `parent` that contain the files; none if a file is in `parent` itself."""
    paths = [file.relative_to(parent).parts for file in files]
    if any(len(parts) < 2 for parts in paths):
        return []
    return sorted({parts[0] for parts in paths})


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name not in _SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    return _is_visible(name) and extension(name) in image_suffixes()


def extension(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def extension_counts(counts: Counter[str]) -> str:
    """List numbers of files by extension, such as "9 .heic, 3 .txt", the most frequent first; "" without files."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return name_some([f"{count:,} {extension or 'without extension'}" for extension, count in ordered])
