"""Study folders as the pages see them: where they are, and their tables tidied into curves."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.curves import (
    CURVE_COLUMNS,
    in_network_order,
    measured_layers,
    one_metric,
    preferred_value,
    tidy_curves,
    with_texts,
)
from core.analysis.cut.verified_blocks import FILE as BLOCKS_FILE
from core.study.store.opening import Study, load_study
from core.study.store.schemas import TABLES

DEMO = Path(__file__).resolve().parents[1] / "demo"
FIRST_DEMO = "dogs"
NOTEBOOK = DEMO / "notebook"  # for the page Method; not in the picker, for its plain SI is the dogs' once more
RANKING = "ranking"  # the bundled ranking of networks, a folder of studies
FAMILY = ("balanced", "high_order", "soft", "anti", "center", "center_in_sample")

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
    path, state, info : as in `core.study.store.opening.Study`.
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
    """The studies that come with the app, by folder name; the dogs first, the ranking's last, none of the notebook."""
    found = sorted(path.parent for path in folder.glob("*/study.json") if path.parent.name != NOTEBOOK.name)
    ranked = sorted(path.parent for path in folder.glob(f"{RANKING}/*/study.json"))
    studies = {path.name: path for path in sorted(found, key=lambda path: path.name != FIRST_DEMO)}
    return studies | {f"{RANKING}-{path.name}": path for path in ranked}


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
    tables = (f"{name}.parquet" for name in TABLES)
    files = (path / name for name in ("study.json", "timing.json", BLOCKS_FILE, "parts", *tables))
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


def read_study(path: Path) -> OpenStudy:
    """Read what the pages need of a study.

    Raises
    ------
    core.study.store.opening.StudyError
        The folder is no study, or its tables are broken.
    """
    stamp = study_stamp(path)  # before the tables: what is written meanwhile shall be read again
    study = load_study(path)
    layers = measured_layers(study)
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


def tidy_family(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measures of `FAMILY` over all samples, with the columns `CURVE_COLUMNS`; pooling as in `tidy_curves`.

    `measure` bears the order too where a measure has several, as in "soft 3".
    """
    rows = with_texts(measurements[measurements["measure"].isin(FAMILY) & (measurements["repeat"] == 0)])
    rows = one_metric(rows[rows["sampling"] == preferred_value(rows["sampling"], "full")])
    order = rows["order"].fillna(1).astype(int)
    named = rows["measure"].where(order == 1, rows["measure"] + " " + order.astype(str))
    return in_network_order(rows.assign(samples=rows["split"], measure=named, order=order), layers)[CURVE_COLUMNS]


def read_fitted(path: Path) -> pd.DataFrame:
    """The curves fitted over sample size, with `samples` for the split; pooling as in `tidy_curves`.

    Empty where the study was made without sizes, or with fewer than a curve needs.
    """
    study = load_study(path)
    rows = study.curves
    texts = {name: rows[name].astype(object) for name in ("split", "layer", "pooling", "measure", "kind", "metric")}
    rows = rows.assign(**texts)
    usual = (rows["measure"] == "separation") & (rows["metric"] == preferred_value(rows["metric"], "euclidean"))
    return in_network_order(rows[usual].rename(columns={"split": "samples"}), measured_layers(study))


def tidy_subsamples(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements of SI over sample size, with the columns `SUBSAMPLE_COLUMNS`; pooling as in `tidy_curves`."""
    rows = with_texts(measurements)
    rows = rows[(rows["measure"] == "separation") & (rows["order"] == 1)]
    rows = one_metric(rows[rows["sampling"].isin(["subsample", "queries"]) & (rows["repeat"] > 0)])
    return in_network_order(rows.assign(samples=rows["split"]), layers)[SUBSAMPLE_COLUMNS]


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


@st.cache_resource(max_entries=2, show_spinner=False)
def cached_tables(path: str, stamp: tuple[int, ...]) -> Study:
    """The study's tables, each read on first use. Nobody may change them: all sessions share them."""
    return load_study(path)
