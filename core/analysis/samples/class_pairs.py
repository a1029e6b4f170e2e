"""Two classes through the network: how often they are confused, from where on they are parted, and who causes it."""

import pandas as pd

from core.data.sampling import name_some


def pair_curve(
    nearest: pd.DataFrame, names: pd.Series, first: str, second: str, *, possible: pd.Series | None = None
) -> pd.DataFrame:
    """How often two classes are confused at each layer.

    Parameters
    ----------
    nearest : of `core.analysis.samples.paths.nearest_by_layer`. names : class name by sample. first, second : two
        classes.
    possible : class name by sample, of all samples that may be neighbors; default all that are asked.

    Returns
    -------
    DataFrame
        layer, count (samples of either class whose nearest neighbor is of the other one), total (samples of both that
        were asked), share (count of total), own (the share whose nearest is of their own class; both shares are small
        where the network knows neither class), chance (what share would be with meaningless labels); in network order.

    Raises
    ------
    ValueError
        A class is unknown, or both are the same.
    """
    _check_pair(names, first, second)
    own, other = nearest["sample"].map(names), nearest["nearest"].map(names)
    ours = nearest.assign(confused=_confused(own, other, first, second), own=own == other)[own.isin([first, second])]
    layers = ours.groupby("layer", sort=False, observed=True)
    table = layers.agg(count=("confused", "sum"), total=("confused", "size"), own=("own", "mean")).reset_index()
    table["layer"] = table["layer"].astype(object)
    table.insert(3, "share", table["count"] / table["total"])
    asked = names.reindex(nearest["sample"].unique())
    return table.assign(chance=_chance(asked, asked if possible is None else possible, first, second))


def parted_from(curve: pd.DataFrame) -> str | None:
    """The layer from which on two classes are parted for good; None where they never are.

    From there to the last layer, no sample of either has its nearest neighbor in the other class.

    curve : of `pair_curve`, at least one layer.
    """
    confused = curve["count"].to_numpy() > 0
    if confused[-1]:
        return None
    return str(curve["layer"].iloc[len(confused) - int(confused[::-1].argmax()) if confused.any() else 0])


def pair_causes(nearest: pd.DataFrame, names: pd.Series, first: str, second: str, layer: str) -> pd.DataFrame:
    """The samples that make two classes run into each other at one layer.

    Parameters
    ----------
    nearest, names, first, second : as for `pair_curve`. layer : where to look.

    Returns
    -------
    DataFrame
        One row a sample of either class whose nearest neighbor is of the other: sample, nearest, distance, class_name,
        nearest_class, layers (at how many layers its nearest is of that class), share (of all layers). The most lasting
        first.

    Raises
    ------
    ValueError
        A class or the layer is unknown, or both classes are the same.
    """
    _check_pair(names, first, second)
    layers = nearest["layer"].astype(str).unique().tolist()
    if layer not in layers:
        raise ValueError(f"layer must be one of those in nearest; got {layer!r}. It has {name_some(layers)}.")
    own, other = nearest["sample"].map(names), nearest["nearest"].map(names)
    rows = nearest.assign(class_name=own, nearest_class=other)[_confused(own, other, first, second)]
    lasting = rows["sample"].value_counts()
    here = rows[rows["layer"] == layer]
    here = here.assign(
        layers=here["sample"].map(lasting), share=here["sample"].map(lasting) / nearest["layer"].nunique()
    )
    columns = ["sample", "nearest", "distance", "class_name", "nearest_class", "layers", "share"]
    return here.sort_values(["layers", "sample"], ascending=[False, True], ignore_index=True)[columns]


def _check_pair(names: pd.Series, first: str, second: str) -> None:
    known = set(names)
    for name, value in {"first": first, "second": second}.items():
        if value not in known:
            raise ValueError(f"{name} must be a class of the study; got {value!r}. See the table samples.")
    if first == second:
        raise ValueError(f"first and second must be two classes; got {first!r} twice.")


def _confused(own: pd.Series, other: pd.Series, first: str, second: str) -> pd.Series:
    return ((own == first) & (other == second)) | ((own == second) & (other == first))


def _chance(asked: pd.Series, possible: pd.Series, first: str, second: str) -> float:
    """The share with permuted labels: the part that the other class has of all possible neighbors, the sample left out.

    asked, possible : class name by sample, of the samples that are asked and of those that may be their neighbors.
    """
    others = len(possible) - int(asked.index.isin(possible.index).any())
    counts, named = asked.value_counts(), possible.value_counts()
    first_asked, second_asked = counts.get(first, 0), counts.get(second, 0)
    expected = first_asked * named.get(second, 0) + second_asked * named.get(first, 0)
    return float(expected / max(others, 1) / max(first_asked + second_asked, 1))
