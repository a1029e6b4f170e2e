"""The original notebook's curve, what its procedure gives here, and what it gives on meaningless labels."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from core.report.words.formatting import number
from core.study.store.opening import Study, StudyError, load_study
from core.study.store.study_json import look_up
from explorer.studies.loading import DEMO, NOTEBOOK

REPORTED = DEMO / "notebook_reported.csv"
COMMAND = "python -m core study stanford_dogs_224 --out explorer/demo/notebook --protocol notebook --neighbors 1"

# What each curve is called, in the order of colors: measure and column of the replication, None for the notebook's own.
SERIES: Mapping[str, tuple[str, str] | None] = {
    "reported": None,
    "replication": ("center_in_sample", "value"),
    "permuted labels": ("center_in_sample", "chance"),
    "leave-one-out center": ("center", "value"),
    "first-order SI": ("separation", "value"),
}


def read_reported() -> pd.DataFrame:
    """The notebook's layers in network order: layer, and its values under `train` and `test`."""
    table = pd.read_csv(REPORTED, comment="#")
    return table.rename(columns={"si_train": "train", "si_test": "test"})[["layer", "train", "test"]]


def read_replication(folder: Path = NOTEBOOK) -> Study | None:
    """The study of the same procedure; None where it is missing, broken or has no layer yet."""
    try:
        study = load_study(folder)
        return study if len(study.measurements) else None
    except StudyError:
        return None


def notebook_curves(reported: pd.DataFrame, replication: Study | None, split: str) -> pd.DataFrame:
    """One row a layer of the notebook and series that has values: layer, series, value; null where a layer is missing.

    The replication's network has no squeeze-excite layers, so they are gaps in its curves.
    """
    layers = reported["layer"]
    frames = []
    for series, source in SERIES.items():
        own = reported.set_index("layer")[split]
        values = replicated(replication, split, *source) if source else own
        frame = pd.DataFrame({"layer": layers, "series": series, "value": values.reindex(layers).to_numpy()})
        if frame["value"].notna().any():
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def replicated(replication: Study | None, split: str, measure: str, column: str) -> pd.Series:
    """A column of the replication's measurements by layer."""
    if replication is None:
        return pd.Series(dtype=float)
    rows = replication.measurements
    keep = (rows["split"] == split) & (rows["measure"] == measure) & (rows["order"] == 1)
    keep &= (rows["sampling"] == "full") & (rows["pooling"] == "flat")
    return rows[keep].astype({"layer": object}).set_index("layer")[column]


def replication_finding(replication: Study, split: str) -> str:
    """What the permuted control says, in numbers, as Markdown; nothing where the study lacks the measures."""
    true, permuted = (replicated(replication, split, "center_in_sample", column) for column in ("value", "chance"))
    separation = replicated(replication, split, "separation", "value")
    if true.empty or separation.empty:
        return ""
    middle = permuted[permuted.index.str.match(r"block[345]")]
    sentences = [
        f"Here the same procedure scores **{number(true.mean())}** on average over {len(true)} layers with the true "
        f"labels, and **{number(permuted.mean())}** with labels that are permuted and so mean nothing.",
        f"In blocks 3 to 5 the meaningless labels score {number(middle.mean())}." if len(middle) else "",
        f"First-order SI of these activations lies between {number(separation.min())} and {number(separation.max())}.",
        _left_out_sentence(
            replicated(replication, split, "center", "chance"), look_up(replication.info, "used.data.num_classes")
        ),
    ]
    return " ".join(filter(None, sentences))


def _left_out_sentence(permuted: pd.Series, num_classes: object) -> str:
    """How far the leave-one-out measure falls on permuted labels, beside guessing."""
    if permuted.empty or not isinstance(num_classes, int):
        return ""
    return (
        f"With the sample left out of its own center, permuted labels score {number(permuted.mean())} on average; "
        f"guessing one of {num_classes} classes would score {number(1 / num_classes)}."
    )
