"""The tables of a report: texts ready to be shown, from a study's numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from core.analysis.cut.blocks import NOT_TRIED
from core.report.words.blocks import change_text
from core.study.store.opening import Study

SAMPLES = {"test": "Test", "train": "Train", "cross": "Test to train"}
_NONE = "–"


@dataclass(frozen=True, eq=False)
class Table:
    """A table of texts, not escaped. texts : columns that are no numbers. lead : rows that a short form shows."""

    title: str
    frame: pd.DataFrame
    texts: tuple[str, ...]
    lead: tuple[int, ...]


def layer_table(study: Study, curves: pd.DataFrame, layers: pd.DataFrame, marked: Mapping[str, str]) -> Table:
    """One row a layer: what it is, SI of each set of samples with its interval, chance, and the baselines.

    marked : what a layer is called besides, such as "best".
    """
    order = [name for name in layers["layer"] if name in set(curves["layer"])]
    known = layers.set_index("layer").reindex(order)
    frame = pd.DataFrame({"Layer": [f"{name} ({marked[name]})" if name in marked else name for name in order]})
    frame["Output"] = [" × ".join(map(str, shape)) for shape in known["output_shape"]]
    frame["Parameters"] = [_count(value) for value in known["parameters"]]
    separation = curves[curves["measure"] == "SI"]
    for samples in [name for name in SAMPLES if name in set(separation["samples"])]:
        rows = separation[separation["samples"] == samples].drop_duplicates("layer").set_index("layer").reindex(order)
        frame[f"SI, {SAMPLES[samples].lower()}"] = [
            _with_interval(*row) for row in zip(rows["value"], rows["low"], rows["high"], strict=True)
        ]
    frame = frame.assign(**_chance_columns(separation, order))
    for title, values in _baselines(study, curves).items():
        if values.notna().any():
            frame[title] = [_number(value) for value in values.reindex(order)]
    shown = sorted({0, len(order) - 1, *_evenly(len(order), 8), *(order.index(name) for name in marked)})
    return Table("Layers", frame, ("Layer", "Output"), tuple(shown))


def _chance_columns(separation: pd.DataFrame, order: list[str]) -> dict[str, list[str]]:
    """Chance by layer: one column where it is the same for all sets of samples, else one a set."""
    columns = {}
    for samples in [name for name in SAMPLES if name in set(separation["samples"])]:
        rows = separation[separation["samples"] == samples].drop_duplicates("layer").set_index("layer").reindex(order)
        columns[f"Chance, {SAMPLES[samples].lower()}"] = [_number(value, 4) for value in rows["chance"]]
    values = list(columns.values())
    return {"Chance": values[0]} if values and all(one == values[0] for one in values) else columns


def _baselines(study: Study, curves: pd.DataFrame) -> dict[str, pd.Series]:
    """kNN and linear probe by layer, of the first set of samples that has them."""
    found = {}
    votes = curves[curves["measure"] == "kNN"]
    for samples in [name for name in SAMPLES if name in set(votes["samples"])][:1]:
        rows = votes[votes["samples"] == samples].drop_duplicates("layer").set_index("layer")
        found[f"kNN, k = {int(rows['order'].iloc[0])}"] = rows["value"]
    probes = study.measurements[study.measurements["measure"] == "linear_probe"]
    for split in [name for name in SAMPLES if name in set(probes["split"])][:1]:
        rows = probes[probes["split"] == split].drop_duplicates("layer")
        found["Linear probe"] = rows.set_index(rows["layer"].astype(str))["value"]
    return found


def class_table(classes: pd.DataFrame) -> Table:
    """One row a class, as given; columns class_name, num_queries, value, chance."""
    frame = pd.DataFrame(
        {
            "Class": classes["class_name"].astype(str),
            "Samples": [_count(value) for value in classes["num_queries"]],
            "SI": [_number(value) for value in classes["value"]],
            "Chance": [_number(value, 4) for value in classes["chance"]],
        }
    )
    return Table("Classes, the hardest first", frame, ("Class",), tuple(range(min(10, len(frame)))))


def confusion_table(pairs: pd.DataFrame) -> Table:
    """One row a pair of classes, as `core.analysis.samples.neighborhoods.confused_pairs` gives them."""
    frame = pd.DataFrame(
        {
            "Class": pairs["first"].astype(str),
            "and class": pairs["second"].astype(str),
            "Samples beside the other": [_count(value) for value in pairs["count"]],
            "of both": [_count(value) for value in pairs["total"]],
            "Share": [_number(value, 2) for value in pairs["share"]],
            "Chance": [_number(value, 4) for value in pairs["chance"]],
        }
    )
    return Table("Most confused classes", frame, ("Class", "and class"), tuple(range(min(6, len(frame)))))


def block_table(blocks: pd.DataFrame) -> Table:
    """One row a block, as `core.analysis.cut.blocks.with_verified` gives them: accuracy without it where measured, then
    SI."""
    frame = pd.DataFrame({"Block": blocks["block"].astype(str)})
    if (blocks["verdict"] != NOT_TRIED).any():
        frame["Accuracy without it"] = [_number(value) for value in blocks["accuracy"]]
        changes = zip(blocks["change"], blocks["change_low"], blocks["change_high"], strict=True)
        frame["Change"] = [
            _NONE if pd.isna(change) else change_text(change, low, high) for change, low, high in changes
        ]
        frame["Verdict"] = blocks["verdict"].replace({NOT_TRIED: _NONE})
    frame["Parameters"] = [_count(value) for value in blocks["parameters"]]
    frame["SI before"] = [_number(value) for value in blocks["before"]]
    frame["SI after"] = [_number(value) for value in blocks["after"]]
    rises = zip(blocks["difference"], blocks["low"], blocks["high"], strict=True)
    frame["Difference of SI"] = [change_text(rise, low, high) for rise, low, high in rises]
    return Table("Blocks", frame, ("Block", "Verdict"), tuple(range(len(frame))))


def training_table(rows: pd.DataFrame, order: list[str], history: pd.DataFrame) -> Table:
    """One row a recorded epoch: SI of each layer, and what the training reported."""
    values = rows.pivot_table(index="epoch", columns="layer", values="value", observed=True)
    frame = pd.DataFrame({"Epoch": [str(epoch) for epoch in values.index]})
    for name in order:
        frame[f"SI, {name}"] = [_number(value) for value in values[name]]
    known = history.drop_duplicates("epoch", keep="last").set_index("epoch").reindex(values.index)
    for column, title in {"loss": "Loss", "accuracy": "Accuracy", "val_accuracy": "Validation accuracy"}.items():
        if known[column].notna().any():
            frame[title] = [_number(value) for value in known[column]]
    return Table("Epochs", frame, (), tuple(_evenly(len(frame), 8)))


def _evenly(count: int, most: int) -> list[int]:
    """At most so many places from 0 to `count` - 1, both ends among them."""
    step = max(1, -(-(count - 1) // max(1, most - 1)))
    return sorted({*range(0, count, step), *([count - 1] if count else [])})


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(low) or pd.isna(high):
        return _number(value)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float, digits: int = 3) -> str:
    return _NONE if pd.isna(value) else f"{value:.{digits}f}"


def _count(value: float) -> str:
    return _NONE if pd.isna(value) else f"{int(value):,}"
