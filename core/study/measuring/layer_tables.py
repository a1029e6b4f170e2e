"""One layer's activations become its rows in the study's tables."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.search.blas_threads import one_blas_thread
from core.study.measuring.comparison import MeasuredLayer, comparisons
from core.study.measuring.embedding import components_row
from core.study.measuring.projection import projection_rows
from core.study.measuring.searches import HeldLayer, SlicedLayer, StoredLayer
from core.study.measuring.steps import STEPS
from core.study.measuring.unusable import UnusableLayer, layer_note, survey
from core.study.samples import MeasureOptions, StudySamples
from core.study.store.tables.schemas import TABLES

Tables = dict[str, pd.DataFrame]

SMALL_BYTES = 1 << 27  # of a layer's activations: up to so many are measured with one thread for matrix algebra
ONE_POOLING = ("projection", "grams", "components")  # tables without the column `pooling`


def measure_layer(
    layer: Mapping[str, Any],
    activations: Mapping[str, NDArray[Any] | StoredLayer | SlicedLayer | UnusableLayer],
    samples: StudySamples,
    options: MeasureOptions,
) -> Tables:
    """All tables' rows of one layer.

    Activations that are the same for all samples, or not finite, give rows without values, and a note in the table
    `layers`; see `core.study.measuring.unusable`. Several small layers may be measured at once, in threads.

    Parameters
    ----------
    layer : the layer's row in the table `layers`.
    activations : pooling ("flat", "mean") to array of shape (n, d), rows in the order of `samples`, or to what was
        found by searching that array in slices, or where it is stored.
    samples : the n samples.
    options : what to compute.
    """
    notes: dict[str, str] = {}
    by_pooling: list[Tables] = []
    is_small = activation_bytes(layer, tuple(activations), len(samples)) <= SMALL_BYTES
    with one_blas_thread() if is_small else nullcontext():
        for pooling, given in activations.items():
            notes[pooling] = _note(given)
            if notes[pooling]:
                by_pooling.append(_without_values(layer, pooling, samples, options))
            else:
                by_pooling.append(_measured(layer, pooling, given, samples, options))
    return {"layers": pd.DataFrame([dict(layer) | {"note": layer_note(notes)}]), **_merged(by_pooling)}


def activation_bytes(layer: Mapping[str, Any], poolings: Sequence[str], num_samples: int) -> int:
    """Bytes of a layer's activations in float32, in all poolings together. layer : its row in the table `layers`."""
    widths = [layer["channels"] if pooling == "mean" else layer["num_features"] for pooling in poolings]
    count: int = 4 * num_samples * sum(widths)
    return count


def _merged(by_pooling: Sequence[Tables]) -> Tables:
    """The rows of all poolings, table by table."""
    merged: Tables = {}
    for name in dict.fromkeys(name for tables in by_pooling for name in tables):
        frames = [tables[name] for tables in by_pooling if name in tables]
        filled = [frame for frame in frames if len(frame)]
        merged[name] = pd.concat(filled or frames[:1], ignore_index=True)
    return merged


def _note(given: NDArray[Any] | StoredLayer | SlicedLayer | UnusableLayer) -> str:
    """Why activations cannot be measured; empty where they can. What was searched has been looked at before."""
    if isinstance(given, UnusableLayer):
        return given.note
    return survey(given).note if isinstance(given, np.ndarray) else ""


def _without_values(layer: Mapping[str, Any], pooling: str, samples: StudySamples, options: MeasureOptions) -> Tables:
    """The rows that a layer always has, with null in place of what follows from its activations."""
    stand_in = np.arange(1, len(samples) + 1, dtype=np.float32)[:, None]
    less = replace(options, related_measures=False, projection="none")
    tables = _measured(layer, pooling, stand_in, samples, less)
    rows = tables["measurements"]
    unknown = rows["measure"].str.startswith("center")  # their chance is that of the activations, too
    empty = {"value": np.nan, "low": np.nan, "high": np.nan, "excess": np.nan, "z": np.nan, "p_value": np.nan}
    empty["num_tied"] = np.nan
    found = {"measurements": rows.assign(**empty, chance=rows["chance"].mask(unknown))}
    return found | {name: tables[name].iloc[:0] for name in ("classes", "neighbors")}


def _measured(
    layer: Mapping[str, Any], pooling: str, given: Any, samples: StudySamples, options: MeasureOptions
) -> Tables:
    """The rows of one pooling of a layer."""
    measured = MeasuredLayer(
        HeldLayer(given, samples, options) if isinstance(given, np.ndarray) else given,
        is_averaged=pooling == "mean" or len(layer["output_shape"]) == 1,
        samples=samples,
        options=options,
    )
    rows: dict[str, list[pd.DataFrame]] = {}
    for comparison in comparisons(measured):
        for step in STEPS:
            if step.applies(comparison):
                rows.setdefault(step.table, []).append(step.rows(comparison))
    if measured.is_averaged and options.projection != "none":
        features = measured.activations.features
        rows["projection"] = [projection_rows(features, samples)]
        if options.projection == "tsne":
            rows["components"] = [components_row(features)]
    columns = {"layer": layer["layer"], "pooling": pooling}
    tables = {}
    for name, frames in rows.items():
        filled = [frame for frame in frames if len(frame)]
        if filled:
            own = {"layer": layer["layer"]} if name in ONE_POOLING else columns
            tables[name] = pd.concat(filled, ignore_index=True).assign(**own)
    return tables


def layer_row(layer: Any) -> dict[str, Any]:
    """A dataclass that describes a layer as its row in the table `layers`, which has fewer columns."""
    row = asdict(layer) | {"output_shape": list(layer.output_shape), "mean_of": layer.mean_of}
    return {name: value for name, value in row.items() if name in TABLES["layers"].columns}
