"""The layers, poolings and splits that a study has: a name that it does not have is an error, never an empty table."""

import difflib
import os
from collections.abc import Iterable

from core.data.sampling import name_some
from core.study.store.opening import Study, StudyError


def check_layers(study: Study, layers: Iterable[str]) -> None:
    """Refuse layers that the study does not have.

    Raises
    ------
    StudyError
        With the names that come closest, and some that there are.
    """
    there = study.layers["layer"].astype(str).tolist()
    unknown = [str(layer) for layer in layers if str(layer) not in set(there)]
    if unknown:
        hint = did_you_mean(unknown[0], there)
        raise StudyError(
            f"layer must be one that the study in {study.path} has; got {unknown[0]!r}.{hint} It has "
            f"{name_some(there)}."
        )


def check_study(study: object) -> None:
    """Refuse what is no open study, such as the path of one.

    Raises
    ------
    StudyError
        With the call that opens a study.
    """
    if not isinstance(study, Study):
        path = repr(str(study)) if isinstance(study, str | os.PathLike) else "path"
        raise StudyError(f"study must be a core.Study; got {type(study).__name__}. Open it: core.load_study({path}).")


def did_you_mean(name: object, there: Iterable[str]) -> str:
    """Return " Did you mean …?" with the names that come closest, "" where none is close.

    name : what was given, which a notebook may give as a number.

    >>> did_you_mean("begle", ["beagle", "dingo"])
    " Did you mean 'beagle'?"
    >>> did_you_mean(7, ["7", "dingo"])
    " Did you mean '7'?"
    """
    close = difflib.get_close_matches(str(name), list(there))
    return f" Did you mean {' or '.join(map(repr, close))}?" if close else ""


def check_split(study: Study, split: str, name: str = "split") -> None:
    """Refuse a split that the study has no samples of.

    name : of the argument.

    Raises
    ------
    StudyError
        With those that there are.
    """
    there = study.samples["split"].astype(str).unique().tolist()
    if there and split not in there:
        raise StudyError(
            f"{name} must be one that the study in {study.path} has; got {split!r}. It has {' and '.join(there)}."
        )


def check_pooling(study: Study, pooling: str) -> None:
    """Refuse a pooling that no layer of the study is measured with; a layer without space counts in both.

    Raises
    ------
    StudyError
        With those that there are.
    """
    there = set(study.measurements["pooling"].astype(str).unique())
    if "mean" not in there and (study.layers["output_shape"].map(len) <= 1).any():
        there |= {"mean"} if there else set()
    if there and pooling not in there:
        raise StudyError(
            f"pooling must be one that the study in {study.path} has; got {pooling!r}. It has "
            f"{' and '.join(sorted(there))}."
        )


def stored_pooling(study: Study, layer: str, pooling: str) -> str:
    """The pooling under which a layer is stored: that of a layer without space is "flat", whichever is asked for.

    Raises
    ------
    StudyError
        The study has no such layer, or does not measure it so; the message says what it has.
    """
    check_layers(study, [layer])
    rows = study.measurements
    there = set(rows.loc[rows["layer"] == layer, "pooling"].astype(str).unique())
    shape = study.layers.loc[study.layers["layer"] == layer, "output_shape"].iloc[0]
    if pooling == "mean" and "mean" not in there and len(shape) <= 1:
        pooling = "flat"
    if there and pooling not in there:
        raise StudyError(
            f"pooling must be one that the study in {study.path} has of {layer!r}; got {pooling!r}. It has "
            f"{' and '.join(sorted(there))}."
        )
    return pooling
