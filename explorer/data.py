"""Study folders as the pages see them: where they are, and their tables tidied into curves."""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core.study.results import Study, load_study

DEMO = Path(__file__).parent / "demo"
FIRST_DEMO = "dogs"
NOTEBOOK = DEMO / "notebook"  # for the page Method; not in the picker, for its plain SI is the dogs' once more
FAMILY = ("balanced", "high_order", "soft", "anti", "center", "center_in_sample")
KNN = 5  # neighbors that vote, where a study has several

CURVE_COLUMNS = [
    "layer",
    "position",
    "measure",
    "order",
    "samples",
    "pooling",
    "value",
    "low",
    "high",
    "chance",
    "excess",
    "num_queries",
    "num_references",
    "metric",
    "sampling",
    "target",
    "z",
    "p_value",
    "q_value",
]
SUBSAMPLE_COLUMNS = [
    "layer",
    "position",
    "samples",
    "pooling",
    "sampling",
    "num_queries",
    "num_references",
    "repeat",
    "value",
    "low",
    "high",
    "chance",
]


@dataclass(frozen=True, eq=False)
class OpenStudy:
    """A study in memory.

    Attributes
    ----------
    path, state, info : as in `core.study.results.Study`.
    stamp : of its files when they were read, for the caches of what is made of them.
    layers : one row a layer that has been measured, in network order.
    curves : one row a layer, measure ("SI" or "kNN"), samples ("train", "test" or "cross") and pooling.
    family : the other measures of separation, rows like those of `curves`; measure is such as "balanced" or "soft 3".
    subsamples : SI over sample size, one row a layer, samples, pooling, sampling ("subsample" or "queries"), size and
        repeat; empty where the study was made without sizes.
    """

    path: str
    stamp: tuple[int, ...]
    state: str
    info: Mapping[str, Any]
    layers: pd.DataFrame
    curves: pd.DataFrame
    family: pd.DataFrame
    subsamples: pd.DataFrame


def bundled_studies(folder: Path = DEMO) -> dict[str, Path]:
    """The studies that come with the app, by folder name; the dogs first, without the notebook's."""
    found = sorted(path.parent for path in folder.glob("*/study.json") if path.parent.name != NOTEBOOK.name)
    return {path.name: path for path in sorted(found, key=lambda path: path.name != FIRST_DEMO)}


def first_study(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The study to open first, where the command line (`-- --study PATH`) or SI_EXPLORER_STUDY names one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--study")
    try:
        asked = parser.parse_known_args(list(arguments))[0].study
    except argparse.ArgumentError:
        asked = None
    return asked or environ.get("SI_EXPLORER_STUDY") or None


def study_stamp(path: Path) -> tuple[int, ...]:
    """Changes when the study's files do, for a cache."""
    files = (path / name for name in ("study.json", "measurements.parquet", "parts"))
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def read_study(path: Path) -> OpenStudy:
    """Read what the pages need of a study.

    Raises
    ------
    core.study.results.StudyError
        The folder is no study, or its tables are broken.
    """
    stamp = study_stamp(path)  # before the tables: what is written meanwhile shall be read again
    study = load_study(path)
    layers = _measured_layers(study)
    return OpenStudy(
        path=str(path),
        stamp=stamp,
        state=study.state,
        info=dict(study.info),
        layers=layers,
        curves=tidy_curves(layers, study.measurements),
        family=tidy_family(layers, study.measurements),
        subsamples=tidy_subsamples(layers, study.measurements),
    )


def tidy_curves(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements that make curves through the network, with the columns `CURVE_COLUMNS`.

    A layer without spatial extent is measured once, as `flat`; it stands in the curve of channel means too, because the
    mean of one number a channel is that number.
    """
    rows = _main_rows(measurements)
    rows = rows.assign(
        samples=rows["split"].where(rows["measure"] != "cross", "cross"),
        measure=rows["measure"].map({"separation": "SI", "cross": "SI", "knn": "kNN"}),
        order=rows["order"].astype(int),  # measures without an order make the column one of floats
    )
    return _placed(rows, layers)[CURVE_COLUMNS]


def tidy_family(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measures of `FAMILY` over all samples, with the columns `CURVE_COLUMNS`; pooling as in `tidy_curves`.

    `measure` bears the order too where a measure has several, as in "soft 3".
    """
    rows = _with_texts(measurements[measurements["measure"].isin(FAMILY) & (measurements["repeat"] == 0)])
    rows = _one_metric(rows[rows["sampling"] == _one_of(rows["sampling"], "full")])
    order = rows["order"].fillna(1).astype(int)
    named = rows["measure"].where(order == 1, rows["measure"] + " " + order.astype(str))
    return _placed(rows.assign(samples=rows["split"], measure=named, order=order), layers)[CURVE_COLUMNS]


def read_fitted(path: Path) -> pd.DataFrame:
    """The curves fitted over sample size, with `samples` for the split; pooling as in `tidy_curves`.

    Empty where the study was made without sizes, or with fewer than a curve needs.
    """
    study = load_study(path)
    rows = study.curves
    texts = {name: rows[name].astype(object) for name in ("split", "layer", "pooling", "measure", "kind", "metric")}
    rows = rows.assign(**texts)
    usual = (rows["measure"] == "separation") & (rows["metric"] == _one_of(rows["metric"], "euclidean"))
    return _placed(rows[usual].rename(columns={"split": "samples"}), _measured_layers(study))


def tidy_subsamples(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements of SI over sample size, with the columns `SUBSAMPLE_COLUMNS`; pooling as in `tidy_curves`."""
    rows = _with_texts(measurements)
    rows = rows[(rows["measure"] == "separation") & (rows["order"] == 1)]
    rows = _one_metric(rows[rows["sampling"].isin(["subsample", "queries"]) & (rows["repeat"] > 0)])
    return _placed(rows.assign(samples=rows["split"]), layers)[SUBSAMPLE_COLUMNS]


def has_space(layers: pd.DataFrame) -> pd.Series:
    """Whether a layer has several numbers a channel, so that pooling makes a difference."""
    return layers["output_shape"].map(len) > 1


def offered_poolings(rows: pd.DataFrame) -> tuple[str, ...]:
    """Channel means first; all activations only where some of their SI is not that of the means: see `tidy_curves`.

    rows : SI, with layer, samples, pooling and value; of curves or of subsamples.
    """
    rows = rows.drop_duplicates(["layer", "samples", "pooling"]).fillna({"value": -1.0})
    values = {
        name: set(part[["layer", "samples", "value"]].itertuples(index=False, name=None))
        for name, part in rows.groupby("pooling")
    }
    names = tuple(name for name in ("mean", "flat") if name in values)
    return names[:1] if len(names) == 2 and values["flat"] <= values["mean"] else names


def _measured_layers(study: Study) -> pd.DataFrame:
    layers = study.layers
    texts = {name: layers[name].astype(object).fillna("").astype(str) for name in ("layer", "kind", "block")}
    return layers.assign(**texts)


def _main_rows(measurements: pd.DataFrame) -> pd.DataFrame:
    """Rows of SI, test-to-train SI and one kNN, over all samples or sampled queries."""
    rows = _with_texts(measurements)
    rows = rows[rows["sampling"].isin(["full", "queries"]) & (rows["repeat"] == 0)]
    knn_order = _one_of(rows.loc[rows["measure"] == "knn", "order"], KNN)
    separation = rows["measure"].isin(["separation", "cross"]) & (rows["order"] == 1)
    rows = _one_metric(rows[separation | ((rows["measure"] == "knn") & (rows["order"] == knn_order))])
    return rows[rows["sampling"] == _one_of(rows["sampling"], "full")]


def _with_texts(measurements: pd.DataFrame) -> pd.DataFrame:
    """Text columns as text, not as categories."""
    texts = ("split", "layer", "pooling", "metric", "measure", "sampling", "target")
    return measurements.assign(**{name: measurements[name].astype(object) for name in texts})


def _one_metric(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of one distance and one rule for ties, the usual ones where the study has them."""
    for name, first in {"metric": "euclidean", "ties": "first"}.items():
        rows = rows[rows[name] == _one_of(rows[name], first)]
    return rows


def _placed(rows: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Rows in network order; those of layers without space in both poolings, where the study has means."""
    rows = rows.assign(position=rows["layer"].map(layers.set_index("layer")["position"])).dropna(subset=["position"])
    if (rows["pooling"] == "mean").any():
        means = rows.loc[rows["pooling"] == "mean", "layer"]
        once = rows["layer"].isin(layers.loc[~has_space(layers), "layer"]) & ~rows["layer"].isin(means)
        rows = pd.concat([rows, rows[once].assign(pooling="mean")])
    return rows.sort_values("position", kind="stable", ignore_index=True)


def _one_of(values: Iterable[Any], first: Any) -> Any:
    """`first` where it occurs, else the greatest; None where there is nothing."""
    found = set(values)
    return first if first in found else max(found, default=None)
