"""SI of each class, by layer."""

import pandas as pd

from core.analysis.samples.selection import LayerSelection
from core.study.store.tables.class_names import sample_classes, short_classes


def class_names(samples: pd.DataFrame) -> pd.Series:
    """Return the short name of each class, indexed by label.

    Parameters
    ----------
    samples : DataFrame
        The table `samples` of a study.
    """
    named = samples.assign(name=sample_classes(samples).to_numpy())
    names = named.drop_duplicates("label").set_index("label")["name"]
    return names.map(short_classes(names))


def class_values(
    classes: pd.DataFrame, layers: pd.DataFrame, names: pd.Series, selection: LayerSelection
) -> pd.DataFrame:
    """Return SI by class and layer.

    Parameters
    ----------
    classes, layers : DataFrame
        Tables of the study.
    names : Series
        Class name by label, as returned by `class_names`.
    selection : LayerSelection
        Pooling and samples; its layer is not used.

    Returns
    -------
    DataFrame
        layer, position, class_name, value, chance, num_queries; in network order.
    """
    measure = "cross" if selection.samples == "cross" else "separation"
    rows = classes[(classes["split"] == selection.split) & (classes["measure"] == measure) & (classes["order"] == 1)]
    rows = rows.assign(layer=rows["layer"].astype(str), class_name=rows["label"].map(names).astype(str))
    known = layers.set_index("layer")
    rows = rows[rows["layer"].isin(known.index)]
    # A layer without spatial extent has no channel means: its rows are stored as "flat" only.
    has_vector_output = known["output_shape"].map(len) <= 1
    pooling = rows["layer"].map(has_vector_output).map({True: "flat", False: selection.pooling})
    rows = rows[rows["pooling"].astype(str) == pooling].assign(position=rows["layer"].map(known["position"]))
    columns = ["layer", "position", "class_name", "value", "chance", "num_queries"]
    return rows.sort_values(["position", "class_name"], ignore_index=True)[columns]


def ranked_classes(values: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the classes at one layer, the lowest SI first: class_name, value, chance, num_queries.

    Parameters
    ----------
    values : DataFrame
        As returned by `class_values`.
    layer : str
        Name of the layer.
    """
    rows = values[values["layer"] == layer].dropna(subset=["value"])
    columns = ["class_name", "value", "chance", "num_queries"]
    return rows.sort_values(["value", "class_name"], ignore_index=True)[columns]
