"""What a PyTorch data set says of its samples: image files and names of classes, also of subsets and joined sets."""

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

_FILE_ATTRIBUTES = ("samples", "imgs", "_samples", "_image_files", "_images", "_files")  # of torchvision's data sets


def image_files(data_set: Any, items: Sequence[int]) -> list[str] | None:
    """Return the file of each of some samples; None where the data set does not say.

    Data sets with files are torchvision's `ImageFolder`, `DatasetFolder` and others that keep a list of files as long
    as themselves, in `samples` or `imgs`. `Subset` and `ConcatDataset` are looked through; other data sets that wrap
    one are not, since their order is unknown.
    """
    files = [_file_of(data_set, item) for item in items]
    if not files or any(file is None for file in files):
        return None
    return [str(file) for file in files]


def recorded_targets(data_set: Any, items: Sequence[int]) -> list[Any] | None:
    """Return the label that a data set lists for each sample, beside its file or in `targets`; None without a list."""
    targets = [_target_of(data_set, item) for item in items]
    return None if any(target is None for target in targets) else targets


def names_of_classes(data_set: Any) -> tuple[str, ...] | None:
    """Return the names of the labels 0, 1, …; None where the data set has none, or changes its labels.

    A name that several classes have is made unique by the label.
    """
    inner = getattr(data_set, "datasets", None)
    if _is_kind(data_set, "ConcatDataset") and inner:
        parts = [names_of_classes(part) for part in inner]
        return parts[0] if all(other == parts[0] for other in parts) else None
    if _is_kind(data_set, "Subset"):
        return names_of_classes(data_set.dataset)
    classes = getattr(data_set, "classes", None) or _hugging_face_classes(data_set)
    if not isinstance(classes, tuple | list) or not classes or getattr(data_set, "target_transform", None) is not None:
        return None
    names = tuple(", ".join(map(str, name)) if isinstance(name, tuple | list) else str(name) for name in classes)
    counts = Counter(names)
    return tuple(f"{name} ({label})" if counts[name] > 1 else name for label, name in enumerate(names))


def whole_data_set(data_set: Any) -> Any:
    """Return the data set that a subset is part of; another one as it is."""
    while _is_kind(data_set, "Subset"):
        data_set = data_set.dataset
    return data_set


def _hugging_face_classes(data_set: Any) -> list[str] | None:
    """Return the names of the only `ClassLabel` among the features of a Hugging Face data set; None without one."""
    features = getattr(data_set, "features", None)
    if not isinstance(features, Mapping):
        return None
    named = [feature.names for feature in features.values() if isinstance(getattr(feature, "names", None), list)]
    return named[0] if len(named) == 1 else None


def _file_of(data_set: Any, item: int) -> str | None:
    entry = _entry_of(*_whole(data_set, item))
    file = entry[0] if isinstance(entry, tuple | list) and entry else entry
    if not isinstance(file, str | os.PathLike) or not os.fspath(file):
        return None
    return os.fspath(file) if os.path.isfile(file) else None


def _target_of(data_set: Any, item: int) -> Any:
    whole, number = _whole(data_set, item)
    entry = _entry_of(whole, number)
    if isinstance(entry, tuple | list) and len(entry) == 2:
        return entry[1]
    targets: Any = getattr(whole, "targets", None)
    if not hasattr(targets, "__len__") or len(targets) != len(whole):
        return None
    target = targets[number]
    return target.item() if hasattr(target, "item") and target.ndim == 0 else target


def _entry_of(data_set: Any, item: int) -> Any:
    """Return what the list of files has of a sample: a file, or a file and a label; None without such a list."""
    for name in _FILE_ATTRIBUTES:
        entries = getattr(data_set, name, None)
        if isinstance(entries, tuple | list) and len(entries) == len(data_set):
            return entries[item]
    return None


def _whole(data_set: Any, item: int) -> tuple[Any, int]:
    """Return the data set that a sample of a subset or of joined sets comes from, and its number there."""
    while True:
        if _is_kind(data_set, "Subset"):
            item = int(data_set.indices[item])
            data_set = data_set.dataset
        elif _is_kind(data_set, "ConcatDataset"):
            part = bisect_right(data_set.cumulative_sizes, item)
            item -= data_set.cumulative_sizes[part - 1] if part else 0
            data_set = data_set.datasets[part]
        else:
            return data_set, item


def _is_kind(data_set: Any, name: str) -> bool:
    """Return whether a data set is of a class of torch.utils.data."""
    return any(
        base.__name__ == name and base.__module__.startswith("torch.utils.data") for base in type(data_set).__mro__
    )
