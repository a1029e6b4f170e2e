"""The tables of a report: a study's numbers, formatted as texts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from core.analysis.cut.blocks import NOT_TRIED
from core.report.words.formatting import SAMPLES, difference_text
from core.study.store.opening import Study

_NONE = "–"


@dataclass(frozen=True, eq=False)
class Table:
    """A table of texts, which are not escaped.

    Attributes
    ----------
    title : str
    frame : DataFrame of str
    texts : tuple of str
        The columns that do not hold numbers.
    lead : tuple of int
        The rows of a short form of the table.
    """

    title: str
    frame: pd.DataFrame
    texts: tuple[str, ...]
    lead: tuple[int, ...]


def layer_table(study: Study, curves: pd.DataFrame, layers: pd.DataFrame, marked: Mapping[str, str]) -> Table:
    """Return one row a layer: its properties, SI of each set of samples with its interval, chance, and baselines.

    Parameters
    ----------
    study : Study
    curves : DataFrame
        As returned by `core.analysis.curves.tidy_curves`, of one pooling.
    layers : DataFrame
        The layers of the study, in network order.
    marked : mapping
        From some layers to a word that is added to their names, such as "best".
    """
    measured = set(curves["layer"])
    order = [name for name in layers["layer"] if name in measured]
    properties = layers.set_index("layer").reindex(order)
    frame = pd.DataFrame({"Layer": [f"{name} ({marked[name]})" if name in marked else name for name in order]})
    frame["Output"] = [" × ".join(map(str, shape)) for shape in properties["output_shape"]]
    frame["Parameters"] = [_count(value) for value in properties["parameters"]]
    separation = curves[curves["measure"] == "SI"]
    chances = {}
    for samples in _present(separation["samples"]):
        rows = separation[separation["samples"] == samples].drop_duplicates("layer").set_index("layer").reindex(order)
        values = zip(rows["value"], rows["low"], rows["high"], strict=True)
        frame[f"SI, {SAMPLES[samples].lower()}"] = [_with_interval(*value) for value in values]
        chances[f"Chance, {SAMPLES[samples].lower()}"] = [_number(chance, 4) for chance in rows["chance"]]
    if len({tuple(column) for column in chances.values()}) == 1:  # one column where all sets of samples agree
        chances = {"Chance": next(iter(chances.values()))}
    frame = frame.assign(**chances)
    for title, baseline in _baselines(study, curves).items():
        if baseline.notna().any():
            frame[title] = [_number(value) for value in baseline.reindex(order)]
    lead = {0, len(order) - 1, *_evenly_spaced(len(order), 8), *(order.index(name) for name in marked)}
    return Table("Layers", frame, ("Layer", "Output"), tuple(sorted(lead)))


def _present(samples: pd.Series) -> list[str]:
    """The sets of samples that occur, in the order of `SAMPLES`."""
    present = set(samples)
    return [name for name in SAMPLES if name in present]


def _baselines(study: Study, curves: pd.DataFrame) -> dict[str, pd.Series]:
    """Accuracy of kNN and of the linear probe by layer, for the first set of samples that has them."""
    baselines = {}
    knn = curves[curves["measure"] == "kNN"]
    if knn_samples := _present(knn["samples"]):
        rows = knn[knn["samples"] == knn_samples[0]].drop_duplicates("layer").set_index("layer")
        baselines[f"kNN, k = {int(rows['order'].iloc[0])}"] = rows["value"]
    probes = study.measurements[study.measurements["measure"] == "linear_probe"]
    if probe_splits := _present(probes["split"]):
        rows = probes[probes["split"] == probe_splits[0]].drop_duplicates("layer")
        baselines["Linear probe"] = rows.set_index(rows["layer"].astype(str))["value"]
    return baselines


def class_table(classes: pd.DataFrame) -> Table:
    """Return one row a class, in the order of the rows, which have class_name, num_queries, value, chance."""
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
    """Return one row for each of the pairs from `core.analysis.samples.neighborhoods.confused_pairs`."""
    frame = pd.DataFrame(
        {
            "Class": pairs["first"].astype(str),
            "and class": pairs["second"].astype(str),
            "Samples nearest to the other": [_count(value) for value in pairs["count"]],
            "Samples of both": [_count(value) for value in pairs["total"]],
            "Share": [_number(value, 2) for value in pairs["share"]],
            "Chance": [_number(value, 4) for value in pairs["chance"]],
        }
    )
    return Table("Most confused classes", frame, ("Class", "and class"), tuple(range(min(6, len(frame)))))


def block_table(blocks: pd.DataFrame) -> Table:
    """Return one row for each of the blocks from `core.analysis.cut.blocks.with_verified`.

    The columns are the accuracy without it, where it was measured, then SI before and after it.
    """
    frame = pd.DataFrame({"Block": blocks["block"].astype(str)})
    if (blocks["verdict"] != NOT_TRIED).any():
        frame["Accuracy without it"] = [_number(value) for value in blocks["accuracy"]]
        changes = zip(blocks["change"], blocks["change_low"], blocks["change_high"], strict=True)
        frame["Change"] = [_NONE if pd.isna(change) else difference_text(change, *ends) for change, *ends in changes]
        frame["Verdict"] = blocks["verdict"].replace({NOT_TRIED: _NONE})
    frame["Parameters"] = [_count(value) for value in blocks["parameters"]]
    frame["SI before"] = [_number(value) for value in blocks["before"]]
    frame["SI after"] = [_number(value) for value in blocks["after"]]
    rises = zip(blocks["difference"], blocks["low"], blocks["high"], strict=True)
    frame["Difference of SI"] = [difference_text(*rise) for rise in rises]
    return Table("Blocks", frame, ("Block", "Verdict"), tuple(range(len(frame))))


def training_table(rows: pd.DataFrame, order: list[str], history: pd.DataFrame) -> Table:
    """Return one row a recorded epoch: SI of each layer, and the loss and accuracies that the training reported."""
    values = rows.pivot_table(index="epoch", columns="layer", values="value", observed=True)
    frame = pd.DataFrame({"Epoch": [str(epoch) for epoch in values.index]})
    for name in order:
        frame[f"SI, {name}"] = [_number(value) for value in values[name]]
    reported = history.drop_duplicates("epoch", keep="last").set_index("epoch").reindex(values.index)
    for column, title in {"loss": "Loss", "accuracy": "Accuracy", "val_accuracy": "Validation accuracy"}.items():
        if reported[column].notna().any():
            frame[title] = [_number(value) for value in reported[column]]
    return Table("Epochs", frame, (), tuple(_evenly_spaced(len(frame), 8)))


def _evenly_spaced(count: int, most: int) -> list[int]:
    """About `most` evenly spaced indices from 0 to `count` - 1, including both ends; none for a count of 0."""
    if count == 0:
        return []
    step = max(1, math.ceil((count - 1) / max(1, most - 1)))
    return sorted({*range(0, count, step), count - 1})


def _with_interval(value: float, low: float, high: float) -> str:
    if pd.isna(low) or pd.isna(high):
        return _number(value)
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: float, digits: int = 3) -> str:
    return _NONE if pd.isna(value) else f"{value:.{digits}f}"


def _count(value: float) -> str:
    return _NONE if pd.isna(value) else f"{int(value):,}"
