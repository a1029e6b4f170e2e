"""Samples at a layer: who is nearest to whom, which of them are shown, and the path of one through the network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from core.report.words.formatting import plain
from core.study.store.class_names import short_class

PAGE_SIZE = 12
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

    shown : of `FILTERS`. class_name, taken : of these only those of a class, with a neighbor of another; where
    `either`, those of the other with a neighbor of the one, too. sort : of `SORTS`.
    """

    shown: str = ""
    class_name: str = ""
    taken: str = ""
    either: bool = False
    sort: str = ""


def filter_query(chosen: Filter) -> dict[str, list[str]]:
    """What the address has to say of a filter."""
    either = "yes" if chosen.either else ""
    query = {"show": chosen.shown, "class": chosen.class_name, "taken": chosen.taken, "either": either}
    query |= {"sort": chosen.sort}
    return {name: [value] for name, value in query.items() if value}


def asked_filter(query: Mapping[str, Sequence[str]], classes: Sequence[str]) -> Filter:
    """The filter that an address asks for, as far as there is such a thing."""

    def one(name: str, offered: Sequence[str]) -> str:
        return next((value for value in map(short_class, query.get(name, ())) if value in offered), "")

    shown, class_name, taken = one("show", tuple(FILTERS)), one("class", classes), one("taken", classes)
    return Filter(shown, class_name, taken, one("either", ("yes",)) == "yes", one("sort", tuple(SORTS)))


def samples_at(
    nearest: pd.DataFrame, fates: pd.DataFrame, samples: pd.DataFrame, layer: str, depths: pd.DataFrame
) -> pd.DataFrame:
    """One row a sample that was asked at the layer, those that most layers disagree about first.

    Parameters
    ----------
    nearest : of `nearest_by_layer`. fates : of `sample_summaries`. samples : the table `samples`.
    depths : of `core.analysis.samples.prediction_depth.depths`.

    Returns
    -------
    DataFrame
        sample, id, source, class_name, nearest, nearest_id, nearest_source, nearest_class, distance, agrees, and the
        columns of `fates`; depth, prediction and correct of `depths`, and decided: its layer, "" for a sample that is
        not settled.
    """
    rows = nearest.loc[nearest["layer"] == layer, ["sample", "nearest", "distance", "agrees"]]
    known = samples.set_index("sample")[["id", "source", "class_name"]].astype(object)
    found = rows.join(known, on="sample").join(known.add_prefix("nearest_"), on="nearest")
    found = found.rename(columns={"nearest_class_name": "nearest_class"}).join(fates, on="sample")
    decided = depths["layer"].where(depths["settled"].astype(bool), "")
    found = found.join(depths[["depth", "prediction", "correct"]].assign(decided=decided), on="sample")
    return found.sort_values(["share", "sample"], ignore_index=True)


def sorted_samples(table: pd.DataFrame, sort: str) -> pd.DataFrame:
    """Rows of `samples_at` in an order of `SORTS`; of samples decided equally late, those that end wrong first."""
    if sort not in ("late", "early"):
        return table
    ascending = [sort == "early", True, True]
    return table.sort_values(["depth", "correct", "share"], ascending=ascending, kind="stable", ignore_index=True)


def depth_text(row: Mapping[Any, Any], layers: int, voters: int) -> str:
    """From where on the vote of a sample's neighbors no longer changes, and what it says, as Markdown.

    row : of `samples_at`. layers, voters : how many there are.
    """
    who = f"The vote of its {voters} nearest neighbors" if voters > 1 else "The class of its nearest neighbor"
    end = f"**{plain(row['prediction'])}**, which is {'right' if row['correct'] else 'wrong'}"
    if not row["decided"]:
        return f"{who} still changes at the last layer (prediction depth {row['depth']}, the greatest): {end}."
    if not row["depth"]:
        return f"{who} is the same at all {layers} layers (prediction depth 0): {end}."
    where = f"from `{row['decided']}` on (prediction depth {row['depth']} of {layers - 1})"
    return f"{who} no longer changes {where}: {end}."


def keep_shown(table: pd.DataFrame, chosen: Filter, layer: str) -> pd.DataFrame:
    """The samples of `samples_at` that the filter lets through, in its order."""
    conditions = {
        "": pd.Series(True, index=table.index),
        "disagree": ~table["agrees"].astype(bool),
        "agree": table["agrees"].astype(bool),
        "never": table["fate"] == "never",
        "always": table["fate"] == "always",
        "first": table["first"] == layer,
        "lost": table["fate"] == "lost",
    }
    keep = conditions[chosen.shown]
    one_way = _taken(table, chosen.class_name, chosen.taken)
    other_way = _taken(table, chosen.taken, chosen.class_name) if chosen.either else one_way
    return sorted_samples(table[keep & (one_way | other_way)].reset_index(drop=True), chosen.sort)


def _taken(table: pd.DataFrame, class_name: str, taken: str) -> pd.Series:
    """Whether a sample is of the one class, and its neighbor of the other; no name means any class."""
    own, other = table["class_name"] == class_name, table["nearest_class"] == taken
    return (own | (not class_name)) & (other | (not taken))


def samples_finding(table: pd.DataFrame, layer: str, of: str) -> str:
    """How many samples agree here, never, always, and were lost again; of : such as "test samples"."""
    agree, count = int(table["agrees"].sum()), len(table)
    fates = table["fate"].value_counts()
    return (
        f"At `{layer}`, **{agree:,} of {count:,}** {of} have a nearest neighbor of their own class. "
        f"Through all layers: **{fates.get('always', 0):,}** always do, **{fates.get('never', 0):,}** never do, and "
        f"**{fates.get('lost', 0):,}** did at some layer but no longer at the last."
    )


def asked_sample(query: Mapping[str, Sequence[str]], table: pd.DataFrame) -> int | None:
    """The sample that an address names by its id, or by its number in the study."""
    for name in query.get("sample", ()):
        rows = table[(table["id"] == name) | (table["sample"].astype(str) == name)]
        if len(rows):
            return int(rows["sample"].iloc[0])
    return None


def neighbors_of(stored: pd.DataFrame, samples: pd.DataFrame, sample: int) -> pd.DataFrame:
    """A sample's stored neighbors at one layer, the nearest first.

    Parameters
    ----------
    stored : of `stored_neighbors`. samples : the table `samples`.

    Returns
    -------
    DataFrame
        sample, rank, distance, agrees, id, source, split, class_name; all of the neighbor.
    """
    rows = stored.loc[stored["sample"] == sample, ["nearest", "rank", "distance", "agrees"]]
    known = samples.set_index("sample")[["id", "source", "split", "class_name"]].astype(object)
    found = rows.join(known, on="nearest").rename(columns={"nearest": "sample"})
    return found.sort_values("rank", ignore_index=True)


def path_of(nearest: pd.DataFrame, samples: pd.DataFrame, sample: int) -> pd.DataFrame:
    """A sample's nearest neighbor at every layer: layer, nearest, nearest_id, nearest_class, distance, agrees."""
    rows = nearest[nearest["sample"] == sample]
    known = samples.set_index("sample")[["id", "class_name"]].astype(object)
    known.columns = pd.Index(["nearest_id", "nearest_class"])
    columns = ["layer", "nearest", "nearest_id", "nearest_class", "distance", "agrees"]
    return rows.join(known, on="nearest")[columns].reset_index(drop=True)


def path_finding(path: pd.DataFrame, class_name: str) -> str:
    """A sentence about one sample's way through the network."""
    agrees = path["agrees"].to_numpy(bool)
    count = len(path)
    if agrees.all():
        return f"At all {count} layers its nearest neighbor is of its class, {class_name}."
    others = path.loc[~agrees, "nearest_class"].value_counts()
    text = f"At {int(agrees.sum())} of {count} layers its nearest neighbor is of its class, {class_name}"
    text += f"; most often else it is {others.index[0]} ({others.iloc[0]} layers)."
    if not agrees.any():
        return text
    first = path["layer"].iloc[int(agrees.argmax())]
    end = "and it is at the last layer" if agrees[-1] else "but it is not at the last layer"
    return f"{text} First at `{first}`, {end}."


def short_id(name: str) -> str:
    """A file's name without its folders; any other id as it is."""
    return name.rpartition("/")[2] if "." in name.rpartition("/")[2] else name


def agreement_text(agrees: bool, other: str) -> str:
    """Icon and words, as Markdown; never the color alone."""
    if agrees:
        return ":green[:material/check_circle:] same class"
    return f":red[:material/cancel:] other class: {other}"
