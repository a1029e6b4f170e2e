"""Tables and text about the original notebook: its curve, a replication, and the same with permuted labels."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from core.report.words.formatting import number
from core.study.store.opening import Study, StudyError, load_study
from core.study.store.study_json import look_up
from explorer.studies.loading import DEMO, NOTEBOOK

REPORTED = DEMO / "notebook_reported.csv"
COMMAND = "python -m core study stanford_dogs_224 --out explorer/demo/notebook --protocol notebook --neighbors 1"

# The curves in the order of their colors: measure and column of the replication; None for the notebook's own values.
SERIES: Mapping[str, tuple[str, str] | None] = {
    "reported": None,
    "replication": ("center_in_sample", "value"),
    "permuted labels": ("center_in_sample", "chance"),
    "leave-one-out center": ("center", "value"),
    "first-order SI": ("separation", "value"),
}


def read_reported() -> pd.DataFrame:
    """The values in the notebook, in network order: layer, train, test."""
    table = pd.read_csv(REPORTED, comment="#")
    return table.rename(columns={"si_train": "train", "si_test": "test"})[["layer", "train", "test"]]


def read_replication(folder: Path = NOTEBOOK) -> Study | None:
    """The bundled study that repeats the notebook's procedure; None if it is missing, damaged or empty."""
    try:
        study = load_study(folder)
        return study if len(study.measurements) else None  # reading a damaged table raises, too
    except StudyError:
        return None


def notebook_curves(reported: pd.DataFrame, replication: Study | None, split: str) -> pd.DataFrame:
    """The curves of one split in long form.

    Parameters
    ----------
    reported : DataFrame
        Of `read_reported`.
    replication : Study or None
        Of `read_replication`.
    split : str
        "train" or "test".

    Returns
    -------
    DataFrame
        One row per series and layer of the notebook: layer, series, value. Null for layers that the replication's
        network does not have, the squeeze-excite layers. Series without any value are left out.
    """
    layers = reported["layer"]
    frames = []
    for series, source in SERIES.items():
        values = reported.set_index("layer")[split]
        if source is not None:
            values = replicated(replication, split, *source)
        frame = pd.DataFrame({"layer": layers, "series": series, "value": values.reindex(layers).to_numpy()})
        if frame["value"].notna().any():
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def replicated(replication: Study | None, split: str, measure: str, column: str) -> pd.Series:
    """A column of the replication's measurements, indexed by layer; empty without a replication."""
    if replication is None:
        return pd.Series(dtype=float)
    rows = replication.measurements
    keep = (rows["split"] == split) & (rows["measure"] == measure) & (rows["order"] == 1)
    keep &= (rows["sampling"] == "full") & (rows["pooling"] == "flat")
    return rows[keep].astype({"layer": object}).set_index("layer")[column]


def replication_finding(replication: Study, split: str) -> str:
    """How the notebook's measure scores on permuted labels, as Markdown; "" if the study lacks the measures."""
    true = replicated(replication, split, "center_in_sample", "value")
    permuted = replicated(replication, split, "center_in_sample", "chance")
    separation = replicated(replication, split, "separation", "value")
    if true.empty or separation.empty:
        return ""
    middle = permuted[permuted.index.str.match(r"block[345]")]
    sentences = [
        f"Here the same procedure scores **{number(true.mean())}** on average over {len(true)} layers with the true "
        f"labels, and **{number(permuted.mean())}** with labels that are permuted and so mean nothing.",
        f"In blocks 3 to 5 the permuted labels score {number(middle.mean())}." if len(middle) else "",
        f"First-order SI of these activations lies between {number(separation.min())} and {number(separation.max())}.",
        _leave_one_out_sentence(
            replicated(replication, split, "center", "chance"), look_up(replication.info, "used.data.num_classes")
        ),
    ]
    return " ".join(filter(None, sentences))


def _leave_one_out_sentence(permuted: pd.Series, num_classes: object) -> str:
    """The leave-one-out measure on permuted labels, compared with guessing."""
    if permuted.empty or not isinstance(num_classes, int):
        return ""
    return (
        f"With the sample left out of its own center, permuted labels score {number(permuted.mean())} on average; "
        f"guessing one of {num_classes} classes would score {number(1 / num_classes)}."
    )
