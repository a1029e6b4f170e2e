"""The class of each sample, and class names as the pages show them: ImageNet's folder names without their number."""

import re
from collections import Counter
from collections.abc import Iterable

import pandas as pd

_WNID = re.compile(r"^n\d{8}[-_]+(?=.)")


def short_class(name: str) -> str:
    """`n02113978-Mexican_hairless` is "Mexican hairless"; any other name stays as it is."""
    short = _WNID.sub("", name)
    return short.replace("_", " ") if short != name else name


def short_classes(names: Iterable[str]) -> dict[str, str]:
    """Each name's short form; its full one where two classes would have the same."""
    full = names.unique().tolist() if isinstance(names, pd.Series) else list(dict.fromkeys(names))
    short = [short_class(name) for name in full]
    counts = Counter(short)
    return {name: brief if counts[brief] == 1 else name for name, brief in zip(full, short, strict=True)}


def sample_classes(samples: pd.DataFrame) -> pd.Series:
    """The class of each sample by its number: its name, or its label where it has none.

    samples : the table `samples` of a study.
    """
    names = samples["class_name"].astype(object)
    classes = names.where(names.notna(), samples["label"].astype(str)).astype(str)
    return classes.set_axis(samples["sample"].to_numpy())
