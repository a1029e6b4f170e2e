"""Tables and texts of the page Samples: nearest neighbors at a layer, filters, and one sample through the network."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.analysis.samples.paths import rows_of_samples
from core.report.words.formatting import plain
from core.study.store.tables.class_names import short_class

PAGE_SIZES = (24, 96, 240)  # samples on a page of the gallery
FILTERS = {
    "": "All",
    "disagree": "Disagrees here",
    "agree": "Agrees here",
    "never": "Never separated",
    "always": "Always separated",
    "first": "First separated here",
    "lost": "Lost again",
}
SORTS = {
    "": "Most layers disagree",
    "late": "Decided late",
    "early": "Decided early",
    "agree": "Most layers agree",
    "near": "Nearest neighbor closest",
    "far": "Nearest neighbor farthest",
    "class": "By class",
    "id": "By name",
}
MARK_FILTERS = {
    "": "All",
    "marked": "Marked",
    "unmarked": "Not marked",
    "label error": "Label error",
    "duplicate": "Duplicate",
    "fine": "Fine",
}
_ORDERS: Mapping[str, tuple[list[str], list[bool]]] = {  # columns of `samples_at`, and whether they ascend
    "late": (["depth", "correct", "share"], [False, True, True]),
    "early": (["depth", "correct", "share"], [True, True, True]),
    "agree": (["share"], [False]),
    "near": (["distance"], [True]),
    "far": (["distance"], [False]),
    "class": (["class_name", "share"], [True, True]),
    "id": (["id"], [True]),
}
EXPLAINED = {
    "": "",
    "disagree": "The nearest neighbor at this layer is of another class.",
    "agree": "The nearest neighbor at this layer is of the sample's class.",
    "never": "At no layer is the nearest neighbor of the sample's class.",
    "always": "At every layer the nearest neighbor is of the sample's class.",
    "first": "The nearest neighbor is of the sample's class at this layer, and at none before it.",
    "lost": "At some layer the nearest neighbor is of the sample's class, but not at the last one.",
}


@dataclass(frozen=True)
class Filter:
    """Which samples are shown, and in which order.

    Attributes
    ----------
    shown : str
        A key of `FILTERS`.
    class_name : str
        Only samples of this class; "" for all.
    taken : str
        Only samples whose nearest neighbor is of this class; "" for all.
    either : bool
        Also samples with these two classes exchanged.
    sort : str
        A key of `SORTS`.
    mark : str
        A key of `MARK_FILTERS`.
    """

    shown: str = ""
    class_name: str = ""
    taken: str = ""
    either: bool = False
    sort: str = ""
    mark: str = ""


def filter_query(chosen: Filter) -> dict[str, list[str]]:
    """The query parameters of a filter."""
    query = {
        "show": chosen.shown,
        "class": chosen.class_name,
        "taken": chosen.taken,
        "either": "yes" if chosen.either else "",
        "sort": chosen.sort,
        "mark": chosen.mark,
    }
    return {name: [value] for name, value in query.items() if value}


def filter_from_query(query: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Filter:
    """The filter in an address, as far as it is valid.

    Parameters
    ----------
    query : mapping
        Query parameters of the page.
    classes : sequence of str
        Short names of the classes that samples may be of.
    """

    def first_valid(name: str, offered: Sequence[str]) -> str:
        return next((value for value in map(short_class, query.get(name, ())) if value in offered), "")

    return Filter(
        shown=first_valid("show", tuple(FILTERS)),
        class_name=first_valid("class", classes),
        taken=first_valid("taken", classes),
        either=first_valid("either", ("yes",)) == "yes",
        sort=first_valid("sort", tuple(SORTS)),
        mark=first_valid("mark", tuple(MARK_FILTERS)),
    )


def samples_at(
    nearest: pd.DataFrame, summaries: pd.DataFrame, samples: pd.DataFrame, depths: pd.DataFrame
) -> pd.DataFrame:
    """One row per query sample of a layer, those with a neighbor of another class at most layers first.

    Parameters
    ----------
    nearest : DataFrame
        Of `core.analysis.samples.path_arrays.PathArrays.at`.
    summaries : DataFrame
        Of `SamplePaths`.
    samples : DataFrame
        Of `named_samples`.
    depths : DataFrame
        Of `SamplePaths`.

    Returns
    -------
    DataFrame
        sample, id, source, class_name, nearest, nearest_id, nearest_source, nearest_class, distance, same_label; the
        columns of `summaries`; depth, prediction and correct of `depths`; and decided: the layer of the prediction
        depth, "" for a sample whose vote does not settle.
    """
    rows = nearest[["sample", "nearest", "distance", "same_label"]]
    named = samples.set_index("sample")[["id", "source", "class_name"]].astype(object)
    table = rows.join(named, on="sample").join(named.add_prefix("nearest_"), on="nearest")
    table = table.rename(columns={"nearest_class_name": "nearest_class"}).join(summaries, on="sample")
    decided = depths["layer"].where(depths["settled"].astype(bool), "")
    table = table.join(depths[["depth", "prediction", "correct"]].assign(decided=decided), on="sample")
    return table.sort_values(["share", "sample"], ignore_index=True)


def sorted_samples(table: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Rows of `samples_at` in an order of `SORTS`; for equal prediction depth, wrong predictions first."""
    if sort not in _ORDERS:
        return table
    columns, ascending = _ORDERS[sort]
    return table.sort_values(columns, ascending=ascending, kind="stable", ignore_index=True)


def depth_text(row: Mapping[Any, Any], num_layers: int, num_voters: int) -> str:
    """The prediction depth of a sample in words, as Markdown.

    Parameters
    ----------
    row : mapping
        Of `samples_at`.
    num_layers : int
        Number of layers.
    num_voters : int
        Number of stored neighbors.
    """
    who = f"The vote of its {num_voters} nearest neighbors" if num_voters > 1 else "The class of its nearest neighbor"
    end = f"**{plain(row['prediction'])}**, which is {'right' if row['correct'] else 'wrong'}"
    if not row["decided"]:
        last = "the last layer with stored neighbors"
        return f"{who} still changes at {last} (prediction depth {row['depth']}, the greatest): {end}."
    if not row["depth"]:
        return f"{who} is the same at all {num_layers} layers (prediction depth 0): {end}."
    where = f"from `{row['decided']}` on (prediction depth {row['depth']} of {num_layers - 1})"
    return f"{who} no longer changes {where}: {end}."


def filter_samples(
    table: pd.DataFrame, chosen: Filter, layer: str, lassoed: Collection[int] | None = None
) -> pd.DataFrame:
    """The rows of `samples_at` that pass the filter, in its order.

    Parameters
    ----------
    table : DataFrame
        Of `samples_at`.
    chosen : Filter
        The filter.
    layer : str
        The layer of `table`.
    lassoed : collection of int, optional
        Only these samples, which were chosen on the map.
    """
    conditions = {
        "": pd.Series(True, index=table.index),
        "disagree": ~table["same_label"].astype(bool),
        "agree": table["same_label"].astype(bool),
        "never": table["fate"] == "never",
        "always": table["fate"] == "always",
        "first": table["first"] == layer,
        "lost": table["fate"] == "lost",
    }
    keep = conditions[chosen.shown]
    classes = _has_classes(table, chosen.class_name, chosen.taken)
    if chosen.either:
        classes |= _has_classes(table, chosen.taken, chosen.class_name)
    if lassoed is not None:
        classes &= table["sample"].isin(lassoed)
    return sorted_samples(table[keep & classes].reset_index(drop=True), chosen.sort)


def filter_marks(table: pd.DataFrame, mark: str) -> pd.DataFrame:
    """The rows with a mark, by a key of `MARK_FILTERS`; the table has the column mark, "" for samples without one."""
    if not mark:
        return table
    conditions = {"marked": table["mark"] != "", "unmarked": table["mark"] == ""}
    return table[conditions.get(mark, table["mark"] == mark)].reset_index(drop=True)


def _has_classes(table: pd.DataFrame, class_name: str, nearest_class: str) -> pd.Series:
    """Whether each sample and its nearest neighbor are of these classes; "" means any class."""
    matches = pd.Series(True, index=table.index)
    if class_name:
        matches &= table["class_name"] == class_name
    if nearest_class:
        matches &= table["nearest_class"] == nearest_class
    return matches


def samples_finding(table: pd.DataFrame, layer: str, kind: str, layers: str = "all layers") -> str:
    """How many samples have a nearest neighbor of their class here, and always, never or only earlier.

    Parameters
    ----------
    table : DataFrame
        Of `samples_at`.
    layer : str
        The layer of `table`.
    kind : str
        What the samples are, such as "test samples".
    layers : str
        The layers whose neighbors are known, in words.
    """
    num_agreeing = int(table["same_label"].sum())
    counts = table["fate"].value_counts()
    return (
        f"At `{layer}`, **{num_agreeing:,} of {len(table):,}** {kind} have a nearest neighbor of their own class. "
        f"Through {layers}: **{counts.get('always', 0):,}** always do, **{counts.get('never', 0):,}** never do, and "
        f"**{counts.get('lost', 0):,}** did at some layer but no longer at the last."
    )


def sample_from_query(query: Mapping[str, Sequence[str]], table: pd.DataFrame) -> int | None:
    """The sample that an address names by its id or by its number in the study; None without one."""
    for name in query.get("sample", ()):
        rows = table[(table["id"] == name) | (table["sample"].astype(str) == name)]
        if len(rows):
            return int(rows["sample"].iloc[0])
    return None


def neighbors_of(stored: pd.DataFrame, samples: pd.DataFrame, sample: int) -> pd.DataFrame:
    """A sample's stored neighbors at one layer, the nearest first.

    Parameters
    ----------
    stored : DataFrame
        Of `stored_neighbors`.
    samples : DataFrame
        Of `named_samples`.
    sample : int
        The query sample.

    Returns
    -------
    DataFrame
        sample, rank, distance, same_label, id, source, split and class_name of each neighbor.
    """
    rows = stored.loc[stored["sample"] == sample, ["nearest", "rank", "distance", "same_label"]]
    named = rows_of_samples(samples, rows["nearest"])[["id", "source", "split", "class_name"]]
    table = rows.join(named, on="nearest").rename(columns={"nearest": "sample"})
    return table.sort_values("rank", ignore_index=True)


def frequent_neighbors(path: pd.DataFrame, without: set[int], count: int) -> pd.DataFrame:
    """The samples that are a sample's nearest neighbor at most layers.

    Parameters
    ----------
    path : DataFrame
        Of `nearest_path`.
    without : set of int
        Samples that are left out.
    count : int
        Rows at most.

    Returns
    -------
    DataFrame
        sample, id, source, class_name, distance (at the last of these layers), same_label, layers (at how many).
    """
    rows = path[~path["nearest"].isin(without)]
    layers = rows["nearest"].value_counts()
    rows = rows.drop_duplicates("nearest", keep="last").assign(layers=lambda table: table["nearest"].map(layers))
    rows = rows.sort_values("layers", ascending=False, kind="stable", ignore_index=True).head(max(count, 0))
    rows = rows.rename(columns={"nearest": "sample"}).rename(columns=lambda name: name.removeprefix("nearest_"))
    return rows.rename(columns={"class": "class_name"})


def path_finding(path: pd.DataFrame, class_name: str) -> str:
    """A sentence about a sample's nearest neighbors through the network.

    Parameters
    ----------
    path : DataFrame
        Of `nearest_path`.
    class_name : str
        The sample's class.
    """
    agrees = path["same_label"].to_numpy(bool)
    count = len(path)
    if agrees.all():
        return f"At all {count} layers its nearest neighbor is of its class, {class_name}."
    other_classes = path.loc[~agrees, "nearest_class"].value_counts()
    text = f"At {int(agrees.sum())} of {count} layers its nearest neighbor is of its class, {class_name}"
    text += f"; otherwise most often of {other_classes.index[0]} ({other_classes.iloc[0]} layers)."
    if not agrees.any():
        return text
    first = path["layer"].iloc[int(agrees.argmax())]
    last = path["layer"].iloc[-1]
    if first != last:
        text_of_last = "and it is" if agrees[-1] else "but it is not"
        return f"{text} First at `{first}`, {text_of_last} at `{last}`, the last layer with stored neighbors."
    return f"{text} First at `{last}`, the last layer with stored neighbors."


def short_id(name: str) -> str:
    """The name of a file without its folders; any other id unchanged."""
    last_part = name.rpartition("/")[2]
    return last_part if "." in last_part else name


def agreement_text(agrees: bool, other: str = "") -> str:
    """Whether a neighbor has the same class, as Markdown: icon and words, because color alone is not accessible.

    other : the neighbor's class, where it does not stand beside the text already.
    """
    if agrees:
        return ":green[:material/check_circle:] same class"
    return f":red[:material/cancel:] other class{other and f': {other}'}"
