"""The tables of the pages Classes and Samples, from a study in hand."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from core.analysis.samples.class_pairs import pair_curve
from core.analysis.samples.class_values import class_names, class_values, ranked_classes
from core.analysis.samples.neighborhoods import confused_pairs
from core.analysis.samples.path_arrays import read_path_arrays
from core.analysis.samples.paths import nearest_by_layer, nearest_path
from core.analysis.samples.selection import LayerSelection, select_layer
from core.analysis.samples.suspects import (
    LEAST_SCORE,
    duplicate_flags,
    duplicates_first,
    hard_samples,
    late_neighbors,
    samples_to_check,
)
from core.data.sampling import name_some
from core.study.store.lookup import check_split, check_study, did_you_mean, stored_pooling
from core.study.store.marks import MARKS, Marks, marks_table, read_marks
from core.study.store.opening import Study, StudyError
from core.study.store.study_json import look_up
from core.study.store.tables.class_names import sample_classes, short_classes

MOST_MEANT = 3  # ids that are named in place of one that the study does not have
EVEN_SCORE = 0.5  # from which on another class has as many votes as the label
DUPLICATE_TEXTS = {"across": "in the other split", "within": "in its own split"}


def label_errors(
    study: Study,
    *,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
    layer: str | None = None,
    at_least: float = LEAST_SCORE,
) -> pd.DataFrame:
    """Return samples whose label may be wrong: their neighbors at the late layers have another one.

    This is the table "Samples to check" of the page Samples. A listed label need not be wrong: where classes look
    alike, most listed labels are right.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    split, among, pooling : str, optional
        The split of the samples, that of their neighbors, and "mean" or "flat"; default as in
        `core.analysis.samples.selection.select_layer`.
    layer : str, optional
        The layer at which duplicates are looked for; default the one of the highest SI, of those whose neighbors are
        stored.
    at_least : float
        The lowest score that is listed, in (0, 1]; from 0.9 on the neighbors clearly contradict the label.

    Returns
    -------
    DataFrame
        The highest score first: sample, id, split, class_name, suggested (the class that the neighbors name), score,
        votes, own_votes, layers, as described in `core.analysis.samples.suspects.samples_to_check`; and duplicate:
        whether another sample has the same activations, "in the other split", "in its own split" or "" (null where
        the study stores no neighbors of the layer).

    Raises
    ------
    StudyError
        The study has no such layer, split or pooling, or stores no neighbors of these samples.
    ValueError
        `at_least` is out of range.

    Examples
    --------
    >>> import core
    >>> study = core.load_study("explorer/demo/digits")
    >>> core.label_errors(study)["id"].tolist()[:2]
    ['digits/1573', 'digits/1658']
    """
    selection = select_layer(study, layer=layer, split=split, among=among, pooling=pooling)
    neighbors = late_neighbors(study, selection.pooling, selection.split, among=selection.among)
    _check_stored(study, len(neighbors))
    listed = samples_to_check(neighbors, named_samples(study), at_least=at_least)
    try:
        flags = duplicate_flags(duplicates_first(study, selection.layer, selection.pooling))
    except StudyError:  # the study stores no neighbors of this layer
        return listed.assign(duplicate=None)
    return with_duplicates(listed, flags)


def duplicates(
    study: Study, *, layer: str | None = None, pooling: str | None = None, within: float = 0.0
) -> pd.DataFrame:
    """Return pairs of samples with equal or nearly equal activations, those of a training and a test sample first.

    This is the table "Duplicates" of the page Samples. Only pairs of which one is among the stored neighbors of the
    other are listed.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    layer : str, optional
        Default the layer of the highest SI, of those whose neighbors are stored; `input`, where the study has it,
        compares the images themselves.
    pooling : {"mean", "flat"}, optional
        Default channel means where the study has them.
    within : float
        Largest distance of a pair, as a share of the median distance to the nearest neighbor: 0 lists equal
        activations, 0.1 nearly equal ones.

    Returns
    -------
    DataFrame
        first, second (ids), first_split, second_split, distance, same_class, across (whether the pair is of a training
        and a test sample).

    Raises
    ------
    StudyError
        The study has no such layer or pooling, or stores no neighbors of it.
    ValueError
        `within` is negative.

    Examples
    --------
    >>> import core
    >>> core.duplicates(core.load_study("explorer/demo/digits")).empty
    True
    """
    selection = select_layer(study, layer=layer, pooling=pooling)
    pairs = duplicates_first(study, selection.layer, selection.pooling, within=within)
    return with_ids(pairs, study.samples)


def confused_classes(
    study: Study,
    *,
    layer: str | None = None,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
) -> pd.DataFrame:
    """Return pairs of classes whose samples are nearest to each other, the most confused first.

    This is the table "Most confused classes" of the page Classes.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    layer, split, among, pooling : str, optional
        The layer, the split of the samples, that of their neighbors, and "mean" or "flat"; default as in
        `core.analysis.samples.selection.select_layer`.

    Returns
    -------
    DataFrame
        One row for each pair that is confused at least once: first, second, count, of_first, of_second, total, share,
        chance, as described in `core.analysis.samples.neighborhoods.confused_pairs`.

    Raises
    ------
    StudyError
        The study has no such layer, split or pooling, or stores no such neighbors.

    Examples
    --------
    >>> import core
    >>> core.confused_classes(core.load_study("explorer/demo/digits")).iloc[0][["first", "second"]].tolist()
    ['2', '3']
    """
    selection = select_layer(study, layer=layer, split=split, among=among, pooling=pooling)
    return named_pairs(study, selection)


def class_separation(
    study: Study,
    *,
    layer: str | None = None,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
) -> pd.DataFrame:
    """Return SI of each class at a layer, the lowest first.

    This is the table "The classes at this layer" of the page Classes. A study of features stores the same values.

    Parameters
    ----------
    study : Study
    layer, split, among, pooling : str, optional
        As for `confused_classes`.

    Returns
    -------
    DataFrame
        class_name, value (the share of the class's samples whose nearest neighbor is of the class), chance,
        num_queries (samples of the class). Classes without a value are left out.

    Raises
    ------
    StudyError
        The study has no such layer, split or pooling.

    Examples
    --------
    >>> import core
    >>> core.class_separation(core.load_study("explorer/demo/digits")).iloc[0]["class_name"]
    '3'
    """
    selection = select_layer(study, layer=layer, split=split, among=among, pooling=pooling)
    stored_pooling(study, selection.layer, selection.pooling)  # refuses one that the layer is not measured with
    values = class_values(study.classes, study.layers, class_names(study.samples), selection)
    return ranked_classes(values, selection.layer)


def prediction_depths(
    study: Study, *, split: str | None = None, among: str | None = None, pooling: str | None = None
) -> pd.DataFrame:
    """Return samples by the layer from which on the vote of their neighbors no longer changes, the latest first.

    This is the table "Hard samples" of the page Samples. See `core.analysis.samples.prediction_depth`, whose
    `prediction_depth` has further options (number of neighbors, some layers).

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    split, among, pooling : str, optional
        The split of the samples, that of their neighbors, and "mean" or "flat"; default as in
        `core.analysis.samples.selection.select_layer`.

    Returns
    -------
    DataFrame
        sample, id, split, class_name, depth (number of layers before that layer), layer, prediction (the vote at the
        last layer), correct, settled (False where the vote changed at the last layer).

    Raises
    ------
    StudyError
        The study has no such split or pooling, or stores no neighbors of these samples.

    Examples
    --------
    >>> import core
    >>> core.prediction_depths(core.load_study("explorer/demo/digits"))["id"].iloc[0]
    'digits/0012'
    """
    selection = select_layer(study, split=split, among=among, pooling=pooling)
    samples = named_samples(study)
    names = samples.set_index("sample")["class_name"]
    arrays = read_path_arrays(study, selection.pooling, selection.split, names, among=selection.among)
    _check_stored(study, len(arrays.layers))
    return hard_samples(arrays.depths(names), samples)


def class_pair(
    study: Study,
    first: str,
    second: str,
    *,
    split: str | None = None,
    among: str | None = None,
    pooling: str | None = None,
) -> pd.DataFrame:
    """Return how often two classes are confused at each layer, in network order.

    This is the chart "Two classes through the layers" of the page Classes.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    first, second : str
        Two classes, by their names in the table `samples` or by their short ones.
    split, among, pooling : str, optional
        The split of the samples, that of their neighbors, and "mean" or "flat"; default as in
        `core.analysis.samples.selection.select_layer`.

    Returns
    -------
    DataFrame
        layer, count, total, share, own, chance, as described in `core.analysis.samples.class_pairs.pair_curve`.

    Raises
    ------
    StudyError
        The study has no such split or pooling, or stores no neighbors of these samples.
    ValueError
        A class is unknown, or both are the same.

    Examples
    --------
    >>> import core
    >>> int(core.class_pair(core.load_study("explorer/demo/digits"), "2", "3")["count"].iloc[-1])
    11
    """
    selection = select_layer(study, split=split, among=among, pooling=pooling)
    samples = named_samples(study)
    names = samples.set_index("sample")["class_name"]
    nearest = nearest_by_layer(study, selection.pooling, selection.split, among=selection.among)
    _check_stored(study, len(nearest))
    possible = names[(samples["split"] == selection.among).to_numpy()]
    short_names = short_classes(sample_classes(study.samples))
    first, second = short_names.get(first, first), short_names.get(second, second)
    return pair_curve(nearest, names, first, second, possible=possible)


def sample_path(
    study: Study, sample: str, *, split: str | None = None, among: str | None = None, pooling: str | None = None
) -> pd.DataFrame:
    """Return the nearest neighbor of a sample at each layer, in network order.

    This is the chart "Its nearest neighbor through the layers" of the page Samples.

    Parameters
    ----------
    study : Study
        A study that stores neighbors.
    sample : str
        Id of a sample.
    split, among, pooling : str, optional
        The split of the sample, that of its neighbors, and "mean" or "flat"; default the sample's split for both, and
        means where the study has them.

    Returns
    -------
    DataFrame
        layer, nearest (its id), nearest_class, distance, same_label.

    Raises
    ------
    StudyError
        The study has no such split or pooling, or stores no neighbors of the sample.
    ValueError
        The study has no such sample, or not in this split.

    Examples
    --------
    >>> import core
    >>> core.sample_path(core.load_study("explorer/demo/digits"), "digits/1573").columns.tolist()
    ['layer', 'nearest', 'nearest_class', 'distance', 'same_label']
    """
    check_study(study)
    samples = named_samples(study)
    ids = samples["id"].astype(str)
    rows = samples[ids == sample]
    if rows.empty:
        raise ValueError(f"sample must be an id of the study; got {sample!r}.{_ids_like(sample, ids, study)}")
    row = rows.iloc[0]
    if split is not None and row["split"] != split:
        check_split(study, split)
        raise ValueError(f"split must be that of the sample, {row['split']}; got {split!r} for {sample!r}.")
    selection = select_layer(study, split=row["split"], among=among, pooling=pooling)
    chosen = [int(row["sample"])]
    nearest = nearest_by_layer(study, selection.pooling, selection.split, among=selection.among, samples=chosen)
    _check_stored(study, len(nearest))
    path = nearest_path(nearest, samples, chosen[0])
    path = path.assign(nearest=path["nearest_id"].astype(str))
    return path[["layer", "nearest", "nearest_class", "distance", "same_label"]]


def _ids_like(sample: object, ids: pd.Series, study: Study) -> str:
    """The ids that were meant, such as those with the name of a file; without any, where all ids are."""
    containing = ids[ids.str.contains(str(sample), case=False, regex=False)].tolist()
    if 0 < len(containing) <= MOST_MEANT:
        return f" Did you mean {' or '.join(map(repr, containing))}?"
    all_ids = f" Ids are {name_some(ids.tolist(), most=2)}: the column id of {study.path / 'samples.parquet'}."
    return did_you_mean(sample, ids) or all_ids


def marks(study: Study, *, mark: str | None = None) -> pd.DataFrame:
    """Return the samples that were marked in the explorer, each with its file and the class that its neighbors name.

    This is the list to work through after a look at the pictures: which files to relabel or to remove.

    Parameters
    ----------
    study : Study
        A study, whose folder holds the marks.
    mark : {"label error", "duplicate", "fine"}, optional
        Only samples with this mark; default all that are marked or have a note.

    Returns
    -------
    DataFrame
        In the order of the table `samples`: sample (null for marks of samples that the study does not have), id,
        split, class_name, mark, suggested (the class that more votes of the neighbors at the late layers name than the
        label; empty without one), note, file (where the study knows the folder of its images; else the sample's
        source), changed (when it was marked, UTC).

    Raises
    ------
    StudyError
        The file of the marks cannot be read.
    ValueError
        `mark` is no mark.

    Examples
    --------
    >>> import core
    >>> core.marks(core.load_study("explorer/demo/digits"), mark="label error").columns.tolist()[:4]
    ['sample', 'id', 'split', 'class_name']
    """
    if mark is not None and mark not in MARKS:
        raise ValueError(f"mark must be one of {', '.join(MARKS)}; got {mark!r}.")
    check_study(study)
    table = marked_samples(study, read_marks(study.path))
    return table if mark is None else table[table["mark"] == mark].reset_index(drop=True)


def marked_samples(study: Study, stored: Marks) -> pd.DataFrame:
    """Return the table of `marks` for marks in hand.

    Parameters
    ----------
    study : Study
        The study.
    stored : mapping of str to Mark
        Marks by the samples' ids.
    """
    table = marks_table(study, stored)
    suggested = _suggested_classes(study, sorted(set(table["split"].dropna())))
    files = _sample_files(study)
    numbers = table["sample"].tolist()  # null where the study does not have the sample
    table = table.assign(
        suggested=[suggested.get(number, "") for number in numbers], file=[files.get(number, "") for number in numbers]
    )
    return table[["sample", "id", "split", "class_name", "mark", "suggested", "note", "file", "changed"]]


def _suggested_classes(study: Study, splits: Sequence[str]) -> dict[int, str]:
    """The class that more votes name than the label, by sample; without those for which there is none."""
    suggested: dict[int, str] = {}
    for split in splits:
        try:
            selection = select_layer(study, split=split)
            neighbors = late_neighbors(study, selection.pooling, selection.split, among=selection.among)
        except StudyError:  # no SI of this split, and so no vote
            continue
        if len(neighbors):
            listed = samples_to_check(neighbors, named_samples(study), at_least=EVEN_SCORE)
            suggested.update(zip(listed["sample"].tolist(), listed["suggested"], strict=True))
    return suggested


def _sample_files(study: Study) -> dict[int, str]:
    """The file of each sample where the folder of the images is there, else its source."""
    folder = look_up(study.info, "asked.data") or look_up(study.info, "used.data.sources_folder")
    sources = study.samples["source"].astype(object).fillna("")
    if isinstance(folder, str) and os.path.isdir(folder):
        sources = sources.map(lambda source: str(Path(folder) / source))
    return dict(zip(study.samples["sample"].tolist(), sources, strict=True))


def named_samples(study: Study) -> pd.DataFrame:
    """Return the table `samples` with the column `class_name`, the classes' short names."""
    classes = sample_classes(study.samples)
    samples = study.samples.astype({"split": str})
    return samples.assign(class_name=classes.map(short_classes(classes)).to_numpy())


def named_pairs(study: Study, selection: LayerSelection) -> pd.DataFrame:
    """Return `confused_pairs` of a selection with the classes' short names."""
    pairs = confused_pairs(study, selection.layer, selection.pooling, selection.split, among=selection.among)
    short_names = short_classes(sample_classes(study.samples))
    return pairs.assign(first=pairs["first"].map(short_names), second=pairs["second"].map(short_names))


def with_duplicates(listed: pd.DataFrame, flags: Mapping[int, str]) -> pd.DataFrame:
    """Add the column duplicate to samples: "in the other split", "in its own split", or "".

    Parameters
    ----------
    listed : DataFrame
        With the column sample.
    flags : mapping
        As returned by `core.analysis.samples.suspects.duplicate_flags`.
    """
    return listed.assign(duplicate=listed["sample"].map(flags).map(DUPLICATE_TEXTS).fillna(""))


def with_ids(pairs: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """Return pairs of samples with their ids in place of their numbers.

    Parameters
    ----------
    pairs : DataFrame
        With the columns first and second.
    samples : DataFrame
        The table `samples` of the study.
    """
    ids = samples.set_index("sample")["id"].astype(str)
    return pairs.assign(first=pairs["first"].map(ids), second=pairs["second"].map(ids))


def _check_stored(study: Study, num_stored: int) -> None:
    if not num_stored:
        raise StudyError(
            f"The study in {study.path} stores no neighbors of these samples. Run it again with at least one stored "
            "neighbor a sample."
        )
