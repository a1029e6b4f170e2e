"""Layers with many tied samples, from whose SI nothing can be concluded.

A sample is tied where several others lie at exactly the smallest distance, as where activations are rounded to few
values. SI takes the first of them in the order of the samples. Then many samples have the same nearest neighbor, the
value depends on the order of the samples, and no interval says by how much.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_TIED = 0.05  # share of the samples up to which SI hardly depends on their order
LIMIT_TEXT = f"{100 * MOST_TIED:g}%"
MANY_TIES = "many ties"  # what a table says of a layer from which nothing is concluded
NO_CONCLUSION = "No conclusion: many samples have several nearest neighbors at the same distance"


def tied_share(rows: pd.DataFrame) -> NDArray[np.float64]:
    """The share of tied samples of each row; nan where it is unknown, as in studies that do not store it.

    rows : with `num_queries` and, where known, `num_tied`, such as those of the table `measurements`.
    """
    if "num_tied" not in rows:
        return np.full(len(rows), np.nan)
    values: NDArray[np.float64] = rows["num_tied"].to_numpy(float, na_value=np.nan) / rows["num_queries"].to_numpy(
        float, na_value=np.nan
    )
    return values


def has_many_ties(rows: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether so many samples are tied that nothing can be concluded from SI; False where that is unknown."""
    return tied_share(rows) > MOST_TIED


def left_out_text(layers: Sequence[str]) -> str:
    """Return a sentence that nothing is concluded from layers with many ties, as Markdown; "" for no layers."""
    if len(layers) == 0:
        return ""
    first = f"`{layers[0].replace('`', '')}`"
    which = first if len(layers) == 1 else f"{len(layers)} layers, as {first}"
    return f"Nothing is concluded from {which}: {reason_text()}"


def reason_text() -> str:
    """Why nothing is concluded from a layer that has just been named."""
    return (
        f"more than {LIMIT_TEXT} of the samples have several neighbors at exactly the same smallest distance there, so "
        "that SI depends on their order."
    )


def share_text(share: float) -> str:
    """A share of samples in per cent."""
    percent = 100 * min(share, 1.0)
    return f"{percent:.1f}%" if percent < 10 else f"{percent:.0f}%"


def tie_cautions(measurements: pd.DataFrame) -> list[str]:
    """Return cautions about layers with many tied samples: one text a study, which names the layer with most of them.

    measurements : the table.
    """
    rows = measurements[measurements["measure"].isin(["separation", "cross"])]
    tied = rows.assign(share=tied_share(rows))[has_many_ties(rows)]
    if tied.empty:
        return []
    most = tied.iloc[int(tied["share"].argmax())]
    num_others = int(tied["layer"].nunique()) - 1
    others = f" So have more than {LIMIT_TEXT} at {num_others} other layer{'s' * (num_others > 1)}."
    return [
        f"At layer {most['layer']}, {share_text(most['share'])} of the samples have several neighbors at exactly the "
        f"same smallest distance.{others * (num_others > 0)} SI then depends on the order of the samples, and nothing "
        "is concluded from it."
    ]
