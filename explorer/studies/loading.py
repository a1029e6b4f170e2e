"""Finds study folders and reads them as the pages use them: curves in long form, one row per layer and line."""

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
from core.study.store.tables.schemas import TABLES
from explorer.server.public_mode import is_public

DEMO = Path(__file__).resolve().parents[1] / "demo"
FIRST_DEMO = "dogs"
FIRST_PUBLIC_DEMO = "digits"  # its pictures come with scikit-learn; those of the dogs may not be given away
NOTEBOOK = DEMO / "notebook"  # for the page Method only: its SI is that of the dogs, so the picker leaves it out
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
    """The tables of a study that every page needs.

    Attributes
    ----------
    path : str
        The study's folder.
    stamp : tuple of int
        Of `study_stamp`, taken before the tables were read; a part of the key of every cache.
    state : str
        As in `core.study.store.opening.Study`.
    info : mapping
        Content of study.json.
    layers : DataFrame
        One row per measured layer, in network order.
    curves : DataFrame
        One row per layer, measure ("SI" or "kNN"), samples ("train", "test" or "cross") and pooling; columns
        `core.analysis.curves.CURVE_COLUMNS`.
    family : DataFrame
        The variants of SI, with the columns of `curves`; with the name of each in `measure`.
    subsamples : DataFrame
        SI over sample size, one row per layer, samples, pooling, sampling ("subsample" or "queries"), size and repeat;
        columns `SUBSAMPLE_COLUMNS`. Empty if the study was made without sizes.
    """

    path: str
    stamp: tuple[int, ...]
    state: str
    info: Mapping[str, Any]
    layers: pd.DataFrame
    curves: pd.DataFrame
    family: pd.DataFrame
    subsamples: pd.DataFrame


def has_values(study: OpenStudy) -> bool:
    """Whether a layer has an SI; none has where all activations of a network are unusable."""
    return bool(study.curves.loc[study.curves["measure"] == "SI", "value"].notna().any())


def bundled_studies(folder: Path = DEMO) -> dict[str, Path]:
    """The studies that come with the app, by name, without the notebook's: in public the digits come first, which have
    pictures there, else the dogs; the ranking's come last.
    """
    folders = [path.parent for path in folder.glob("*/study.json") if path.parent.name != NOTEBOOK.name]
    first = FIRST_PUBLIC_DEMO if is_public() else FIRST_DEMO
    folders.sort(key=lambda path: (path.name != first, path))
    ranked = sorted(path.parent for path in folder.glob(f"{RANKING}/*/study.json"))
    return {path.name: path for path in folders} | {f"{RANKING}-{path.name}": path for path in ranked}


def started_studies(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """The studies that the command line (`-- --study PATH`, any number of times) or else SI_EXPLORER_STUDY names."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--study", action="append", default=[])
    try:
        studies = parser.parse_known_args(list(arguments))[0].study
    except argparse.ArgumentError:
        studies = []
    named = [study for study in studies if study] or [environ.get("SI_EXPLORER_STUDY", "")]
    return tuple(dict.fromkeys(study for study in named if study))


def first_study(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """The first of `started_studies`; None without any."""
    return next(iter(started_studies(arguments, environ)), None)


def study_stamp(path: Path) -> tuple[int, ...]:
    """Modification times of the study's files, as a cache key: it changes when a file does."""
    names = ["study.json", "timing.json", BLOCKS_FILE, "parts", *(f"{table}.parquet" for table in TABLES)]
    times = []
    for name in names:
        file = path / name
        times.append(file.stat().st_mtime_ns if file.exists() else 0)
    return tuple(times)


def read_study(path: Path) -> OpenStudy:
    """Read the tables of a study that every page needs.

    Raises
    ------
    core.study.store.opening.StudyError
        If the folder is no study, or its tables are damaged.
    """
    stamp = study_stamp(path)  # before the tables, so that a file that changes meanwhile is read again
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
    """The variants of SI over all samples, with the columns `CURVE_COLUMNS`; pooling as in `tidy_curves`."""
    rows = with_texts(measurements[measurements["measure"].isin(FAMILY) & (measurements["repeat"] == 0)])
    rows = one_metric(rows[rows["sampling"] == preferred_value(rows["sampling"], "full")])
    order = rows["order"].fillna(1).astype(int)
    return in_network_order(rows.assign(samples=rows["split"], order=order), layers)[CURVE_COLUMNS]


def read_fitted(path: Path) -> pd.DataFrame:
    """The curves fitted over sample size, with the column `samples` for the split; pooling as in `tidy_curves`.

    Empty if the study was made without sizes, or with too few to fit a curve.
    """
    study = load_study(path)
    rows = study.curves
    rows = rows.astype(dict.fromkeys(("split", "layer", "pooling", "measure", "kind", "metric"), object))
    of_separation = (rows["measure"] == "separation") & (rows["metric"] == preferred_value(rows["metric"], "euclidean"))
    return in_network_order(rows[of_separation].rename(columns={"split": "samples"}), measured_layers(study))


def tidy_subsamples(layers: pd.DataFrame, measurements: pd.DataFrame) -> pd.DataFrame:
    """The values of SI over sample size, with the columns `SUBSAMPLE_COLUMNS`; pooling as in `tidy_curves`."""
    rows = with_texts(measurements[measurements["value"].notna()])
    rows = rows[(rows["measure"] == "separation") & (rows["order"] == 1)]
    rows = one_metric(rows[rows["sampling"].isin(["subsample", "queries"]) & (rows["repeat"] > 0)])
    return in_network_order(rows.assign(samples=rows["split"]), layers)[SUBSAMPLE_COLUMNS]


@st.cache_resource(max_entries=2, show_spinner=False)
def cached_tables(path: str, stamp: tuple[int, ...]) -> Study:
    """The study's tables, each read on first use. All sessions share them, so they must not be modified."""
    return load_study(path)
