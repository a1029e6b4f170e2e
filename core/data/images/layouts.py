"""How a folder of images is laid out: which of its folders are splits, and which are classes."""

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
_MOST_SPLITS = 3  # folders that may be splits by other names: more of them are classes
_SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")


@dataclass(frozen=True, eq=False)
class Folder:
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
class Layout:
    """Split folders by split, or class folders: one of the two."""

    splits: Mapping[str, Folder]
    classes: Sequence[Folder]
    notes: tuple[str, ...] = ()


def find_layout(root: Path, split: str) -> Layout:
    """Decide which folders are splits or classes.

    split : "both", "train" or "test"; what is wrong with a split that is not wanted does not matter.

    Raises
    ------
    FaultsError
        If the layout says neither what the splits nor what the classes are.
    """
    folders = [_read_folder(path) for path in _subfolders(root)]
    filled = [folder for folder in folders if folder.all_images]
    if not filled:
        raise FaultsError(str(root), [_no_images(root, folders), *stray_faults([root])])
    splits = [folder for folder in folders if folder.role]
    if not any(folder.filled for folder in splits):
        return _class_layout(root, folders, filled)
    return _split_layout(root, splits, [folder for folder in filled if not folder.role], split)


def _split_layout(root: Path, folders: Sequence[Folder], others: Sequence[Folder], split: str) -> Layout:
    """Some folders are called as splits are, and hold folders: which serves as which."""
    faults = []
    if others:
        faults.append(_half_named_splits(folders, others) or _splits_beside_classes(root, folders, others))
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
                    f"{_join_or_rename(found, roles)}, or move one elsewhere.",
                )
            )
    chosen = {role: found[0] for role, found in sorted(roles.items(), key=lambda item: SPLITS.index(item[0]))}
    wanted = {role: folder for role, folder in chosen.items() if split in ("both", role)}
    for role, folder in wanted.items():
        faults += _split_faults(folder, role, chosen)
    if faults:
        raise FaultsError(str(root), faults)
    return Layout(chosen, (), _split_notes(chosen, unused))


def _splits_beside_classes(root: Path, folders: Sequence[Folder], others: Sequence[Folder]) -> Fault:
    named = " and ".join(repr(folder.name) for folder in folders)
    return Fault(
        f"data must hold either split folders or class folders; {str(root)!r} holds {named} beside "
        f"{name_some([repr(folder.name) for folder in others])}.",
        "Move the one or the other elsewhere; if all are classes, rename the first.",
    )


def _half_named_splits(folders: Sequence[Folder], others: Sequence[Folder]) -> Fault | None:
    """One folder has a name of splits, one has not, and they hold mostly the same folders: two splits, or two classes.

    None where that is not so.
    """
    if len(folders) != 1 or len(others) != 1:
        return None
    (known,), (unknown,) = folders, others
    common, together = set(known.filled) & set(unknown.filled), {*known.filled, *unknown.filled}
    if unknown.images or len(common) < 2 or 2 * len(common) < len(together):
        return None
    role, other_role = (TRAIN, TEST) if known.role == TRAIN else (TEST, TRAIN)
    wanted = {known.name: role, unknown.name: other_role}
    renames = [f"{name}/ to {split}/" for name, split in wanted.items() if name != split]
    return Fault(
        f"data must hold class folders, or split folders called train and test; got {known.name}/, a usual name of a "
        f"split, and {unknown.name}/, which is none, with the same folders, "
        f"{name_some([f'{name}/' for name in sorted(common)])}.",
        f"If they are splits, rename {' and '.join(renames)}; if they are the classes, give {known.name}/ a name that "
        "no split has.",
    )


def _join_or_rename(folders: Sequence[Folder], roles: Mapping[str, Sequence[Folder]]) -> str:
    """What to do about several folders of one split: where the other split is lacking, one of them may be it."""
    lacking = [split for split in SPLITS if split not in roles]
    if not lacking:
        return "Join them"
    kind = "training" if lacking[0] == TRAIN else "test"
    return f"Join them, rename the one that is the {kind} split to {lacking[0]}/"


def _roles(folders: Sequence[Folder]) -> dict[str, list[str]]:
    return roles_of(folder.name for folder in folders)


def _split_faults(folder: Folder, role: str, chosen: Mapping[str, Folder]) -> list[Fault]:
    """Why the folders within a split folder cannot be its classes."""
    other = next((name for name in chosen if name != role), None)
    instead = (f"take the {other} split alone", ("split", other)) if other else ("", ("", None))
    if not folder.all_images:
        kinds = extension_counts(folder.all_ignored)
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
    for name in _inner_splits(folder):
        inner = _folders_of(folder.below[name], folder.path / name)
        if inner and len(folder.filled) > 1:
            return [_split_in_split(folder, name, inner)]
    if len(folder.filled) == 1 and not folder.images:
        (only,) = folder.filled
        inner = _folders_of(folder.below[only], folder.path / only)
        if len(inner) > 1:
            return [_wrapper(folder.path, only, inner, f"Move them up, to {folder.name}/CLASS/.")]
    return []


def _split_in_split(folder: Folder, name: str, inner: Sequence[str]) -> Fault:
    return Fault(
        f"each split must hold class folders; {str(folder.path / name)!r} is called as a split is, and holds "
        f"{name_some([f'{one}/' for one in inner])}.",
        f"Move it beside {folder.name}/; if it is a class, rename it.",
    )


def _split_notes(chosen: Mapping[str, Folder], unused: Sequence[Folder]) -> tuple[str, ...]:
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


def _class_layout(root: Path, folders: Sequence[Folder], filled: Sequence[Folder]) -> Layout:
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
        raise FaultsError(str(root), [_splits_in_classes(inside)])
    hidden = _hidden_splits(filled) or _overlapping_folders(filled)
    if hidden:
        raise FaultsError(str(root), hidden)
    return Layout({}, folders, _class_notes(filled, named))


def _hidden_splits(folders: Sequence[Folder]) -> list[Fault]:
    """Folders such as X_train and X_test, or train_cat and test_cat, whose names differ in nothing but the split."""
    by_rest: dict[str, dict[str, Folder]] = {}
    for folder in folders:
        parts = split_and_rest(folder.name)
        if parts is not None:
            by_rest.setdefault(parts[1], {}).setdefault(parts[0], folder)
    pairs = {rest: splits for rest, splits in by_rest.items() if len(splits) > 1}
    if not pairs:
        return []
    named = [repr(folder.name) for splits in pairs.values() for folder in splits.values()]
    rest, splits = next(iter(pairs.items()))
    if not any(folder.filled for folder in splits.values()):
        moves = [f"the images of {folder.name}/ to {split}/{rest}/" for split, folder in splits.items()]
        remedy = f"Move {' and '.join(moves)}, and so on"
    elif len(pairs) == 1:
        remedy = f"Rename {' and '.join(f'{folder.name}/ to {split}/' for split, folder in splits.items())}"
    else:
        moves = [f"{folder.name}/ to {rest}/{split}/" for split, folder in splits.items()]
        remedy = f"Move {' and '.join(moves)}, and give {rest}/ as data"
    return [
        Fault(
            f"data must hold class folders, or split folders called train and test; got {name_some(named)}, whose "
            "names differ in the split alone.",
            f"{remedy}; if these are classes, rename the folders.",
        )
    ]


def _overlapping_folders(folders: Sequence[Folder]) -> list[Fault]:
    """Two or three folders that hold mostly, but not quite, the same folders: splits by names that are not known."""
    inner = [set(folder.filled) for folder in folders]
    if not 2 <= len(inner) <= _MOST_SPLITS or any(folder.images for folder in folders):
        return []
    common, together = set.intersection(*inner), set.union(*inner)
    if len(common) < 2 or common == together or 2 * len(common) < len(together):
        return []
    outer = name_some([f"{folder.name}/" for folder in folders])
    return [
        Fault(
            f"data must hold class folders, or split folders called train and test; got {outer} that hold mostly the "
            f"same folders, {name_some([f'{name}/' for name in sorted(common)])}.",
            "If the outer ones are splits, rename them to train/ and test/; if each is a data set, give one of them; "
            "if they are the classes, move the images out of the inner folders.",
        )
    ]


def _splits_in_classes(folders: Sequence[Folder]) -> Fault:
    names = sorted({name for folder in folders for name in folder.filled})
    return Fault(
        f"split folders must hold class folders, not the other way round; got "
        f"{name_some([f'{name}/' for name in names])} within {name_some([repr(folder.name) for folder in folders])}.",
        f"Turn the folders round, to {names[0]}/{folders[0].name}/, or, if each is a data set, give one of them.",
    )


def _inner_splits(folder: Folder) -> list[str]:
    return [name for name in folder.filled if split_role(name)]


def _class_notes(filled: Sequence[Folder], named: Sequence[Folder]) -> tuple[str, ...]:
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
            "classes; if the inner ones are, give one of the outer folders as data"
            f"{', or, if the outer ones are splits, rename them to train/ and test/' * (len(filled) <= _MOST_SPLITS)}."
        )
    return tuple(notes)


def _wrapper(parent: Path, only: str, inner: Sequence[str], remedy: str) -> Fault:
    return Fault(
        f"data must hold a folder for each class; {str(parent)!r} holds the single folder {only!r} around "
        f"{len(inner):,} others, {name_some([repr(name) for name in inner])}.",
        remedy,
    )


def stray_faults(parents: Sequence[Path]) -> list[Fault]:
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


def _no_images(root: Path, folders: Sequence[Folder]) -> Fault:
    kinds = extension_counts(sum((folder.all_ignored for folder in folders), Counter()))
    return Fault(
        f"data must hold images; {str(root)!r} has none in its class folders{f', only {kinds}' if kinds else ''}.",
        f"The extensions read here are {_suffix_list()}; check the path.",
    )


# Reading folders


def _read_folder(path: Path) -> Folder:
    """A folder of the first level; a link to it, or to a class folder of a split, is followed, deeper ones are not."""
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
    """Image files at any depth below a folder, and the extensions of the other files."""

    def stop(error: OSError) -> None:
        raise error  # os.walk would pass over a folder that it may not read

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
    """Links to nothing that are called as images are."""
    return [path for path in folder.iterdir() if path.is_symlink() and not path.exists() and is_image(path.name)]


def _folders_of(files: Sequence[Path], parent: Path) -> list[str]:
    """The folders directly below `parent` that some files lie in; none where one lies in `parent` itself."""
    parts = [file.relative_to(parent).parts for file in files]
    return [] if any(len(part) < 2 for part in parts) else sorted({part[0] for part in parts})


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name not in _SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    return _is_visible(name) and extension(name) in image_suffixes()


def extension(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def extension_counts(counts: Counter[str]) -> str:
    """Such as "9 .heic, 3 .txt", the most frequent first; "" of nothing."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return name_some([f"{count:,} {extension or 'without extension'}" for extension, count in ordered])


def _suffix_list() -> str:
    return ", ".join(sorted(image_suffixes()))
