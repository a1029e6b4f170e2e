"""The samples on a plane at every layer, as the map on the page Samples gets them: small numbers, sent once."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.analysis.samples.path_arrays import PathArrays
from core.analysis.samples.selection import LayerSelection
from core.study.measuring.planes import align_plane, known_points, normalize_plane
from explorer.studies.loading import cached_tables
from explorer.studies.sample_paths import SamplePaths, cached_sample_paths

BUDGET_BYTES = 6_000_000  # of all positions together, which a browser loads within a second or two
FEWEST_LAYERS = 40  # that are sent before samples are left out
LARGEST = 65_534  # of a coordinate; the next number says that a sample has no place at a layer
MISSING = LARGEST + 1
BYTES_OF_POINT = 4.125  # two coordinates, and a bit for the agreement of the nearest neighbor
QUANTILE, EDGE = 0.98, 1.25  # most coordinates of a plane are within 1; what lies beyond the edge is drawn at it
SPOT = 0.02  # of the map's width: samples nearer to each other than this lie on nearly one spot
MAX_COLORS = 10


@dataclass(frozen=True, eq=False)
class MapPlanes:
    """The positions of the drawn samples at the drawn layers.

    Attributes
    ----------
    layers : tuple of str
        All layers that have a plane, in network order.
    drawn_layers : array of int
        Positions in `layers` of those that are sent at once.
    drawn_samples : array of int
        Numbers of the samples that are sent, ascending.
    num_samples : int
        Number of samples of the study.
    coordinates : array of uint16, shape (layers, samples, 2)
        Of all layers and the drawn samples.
    """

    layers: tuple[str, ...]
    drawn_layers: NDArray[np.int64]
    drawn_samples: NDArray[np.int64]
    num_samples: int
    coordinates: NDArray[np.uint16]


def map_planes(projection: Iterable[pd.DataFrame], layers: Sequence[str], samples: NDArray[np.int64]) -> MapPlanes:
    """Lay the planes of all layers over each other, and choose what of them is sent.

    Parameters
    ----------
    projection : iterable of DataFrame
        layer, sample, x and y of the table `projection`, some layers at a time, in network order.
    layers : sequence of str
        The layers that have a plane, in network order.
    samples : array of int
        Numbers of the study's samples, ascending.
    """
    drawn_layers, drawn_samples = choose_drawn(len(layers), len(samples))
    coordinates = np.full((len(layers), len(drawn_samples), 2), MISSING, dtype=np.uint16)
    previous: NDArray[np.float64] | None = None
    for rows in projection:
        codes = _layer_codes(rows["layer"], layers)
        present = np.unique(codes[codes >= 0])
        planes = np.full((len(present), len(samples), 2), np.nan, dtype=np.float32)
        places = np.searchsorted(samples, rows["sample"].to_numpy()[codes >= 0])
        planes[np.searchsorted(present, codes[codes >= 0]), places] = rows[["x", "y"]].to_numpy()[codes >= 0]
        for number, plane in zip(present, planes, strict=True):
            previous = aligned_plane(plane[drawn_samples], previous)
            coordinates[number] = quantized(unit_square(previous))
    return MapPlanes(
        layers=tuple(layers),
        drawn_layers=drawn_layers,
        drawn_samples=samples[drawn_samples],
        num_samples=len(samples),
        coordinates=coordinates,
    )


def choose_drawn(num_layers: int, num_samples: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the layers and samples whose positions fit `BUDGET_BYTES`, evenly spaced, the first and last among them.

    Layers are left out first, down to `FEWEST_LAYERS`, because between them dots move on straight lines; then samples.
    """
    num_points = int(BUDGET_BYTES / BYTES_OF_POINT)
    fewest_layers = min(num_layers, FEWEST_LAYERS)
    most_samples = max(min(num_samples, num_points // max(fewest_layers, 1)), 1)
    most_layers = max(min(num_layers, num_points // most_samples), 1)
    return _evenly(num_layers, most_layers), _evenly(num_samples, most_samples)


def aligned_plane(plane: NDArray[np.float32], previous: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Center a plane, give it unit size, and rotate it onto the one before it.

    plane : shape (samples, 2); samples without a place at the layer are not finite.
    """
    points = normalize_plane(plane)
    return points if previous is None else align_plane(points, previous)


def unit_square(plane: NDArray[np.float64]) -> NDArray[np.float32]:
    """Let most of a plane's samples lie within a square of side 2."""
    known = known_points(plane)
    distances = np.maximum(np.abs(plane[:, 0]), np.abs(plane[:, 1]))[known]
    farthest = float(np.quantile(distances, QUANTILE)) if known.any() else 0.0
    return np.asarray(plane / (farthest or 1.0), dtype=np.float32)


def quantized(points: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Coordinates between -`EDGE` and `EDGE` as integers from 0 to `LARGEST`; `MISSING` where there is none."""
    known = known_points(points)
    shares = (np.nan_to_num(points) / EDGE).clip(-1, 1) / 2 + 0.5
    numbers = (shares * LARGEST).round().astype(np.uint16)
    numbers[~known] = MISSING
    return numbers


def crowded_share(planes: MapPlanes, layer: str) -> float:
    """Share of the drawn samples that lie on nearly one spot of a layer's map, around their median.

    Two principal components of a layer whose samples lie in many directions, such as softmax outputs of many classes,
    show few of them.
    """
    points = planes.coordinates[planes.layers.index(layer)]
    points = points[(points != MISSING).all(axis=1)].astype(np.float64)
    if not len(points):
        return 0.0
    distances = np.abs(points - np.median(points, axis=0)).max(axis=1)
    return float((distances <= SPOT * LARGEST).mean())


def map_bytes(planes: MapPlanes, sample_paths: SamplePaths, token: str) -> bytes:
    """All that the map draws by itself: a header as JSON, and arrays of numbers behind it.

    Four bytes give the length of the header, which names the arrays with their types and lengths. Each begins at a
    multiple of four bytes.
    """
    drawn = planes.drawn_samples
    samples = sample_paths.samples.set_index("sample").loc[drawn]
    classes, class_codes = np.unique(samples["class_name"].to_numpy(str), return_inverse=True)
    frames = [planes.layers[number] for number in planes.drawn_layers]
    agrees, is_query = _agreement(sample_paths.arrays, frames, drawn)
    depths = sample_paths.depths["depth"].reindex(drawn)
    arrays: dict[str, NDArray[Any]] = {
        "positions": planes.coordinates[planes.drawn_layers],
        "agrees": np.packbits(agrees, axis=1, bitorder="little"),
        "samples": drawn.astype(np.uint32),
        "classes": class_codes.astype(np.uint16),
        "depths": depths.fillna(MISSING).to_numpy().astype(np.uint16),
        "is_query": is_query.astype(np.uint8),
        "is_test": (samples["split"] == "test").to_numpy().astype(np.uint8),
    }
    header = {
        "token": token,
        "layers": frames,
        "class_names": classes.tolist(),
        "colored": _colored(classes, class_codes, agrees[-1], is_query),
        "ids": samples["id"].tolist(),
        "num_layers": len(sample_paths.arrays.layers),
    }
    return packed(header, arrays)


@dataclass(frozen=True)
class Frame:
    """One more layer for the map: its place among those that were sent, positions, and bits of agreement."""

    place: int
    positions: bytes
    agrees: bytes


def extra_frame(planes: MapPlanes, sample_paths: SamplePaths, layer: str) -> Frame | None:
    """A layer that has a plane but is not among those that are sent at once; None for others."""
    if layer not in planes.layers:
        return None
    number = planes.layers.index(layer)
    if number in planes.drawn_layers:
        return None
    agrees, _ = _agreement(sample_paths.arrays, [layer], planes.drawn_samples)
    return Frame(
        place=int(np.searchsorted(planes.drawn_layers, number)),
        positions=planes.coordinates[number].astype("<u2").tobytes(),
        agrees=np.packbits(agrees[0], bitorder="little").tobytes(),
    )


def sample_bits(planes: MapPlanes, samples: NDArray[np.int64]) -> bytes:
    """Which of the drawn samples are among some, as bits."""
    return np.packbits(np.isin(planes.drawn_samples, samples), bitorder="little").tobytes()


def packed(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A header and arrays in one message; see `map_bytes`."""
    described = {name: [array.dtype.name, array.size] for name, array in arrays.items()}
    text = json.dumps({**header, "arrays": described}, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    parts = [len(text).to_bytes(4, "little"), text]
    for array in arrays.values():
        content = array.astype(array.dtype.newbyteorder("<")).tobytes()
        parts += [content, b"\0" * (-len(content) % 4)]
    return b"".join(parts)


def _agreement(
    arrays: PathArrays, layers: Sequence[str], samples: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether the nearest neighbor of each sample agrees, by layer and sample; and which samples are queries."""
    is_known = np.isin(samples, arrays.samples)
    places = np.searchsorted(arrays.samples, samples[is_known])
    is_query = np.zeros(len(samples), dtype=bool)
    is_query[is_known] = (arrays.nearest[:, places] >= 0).any(axis=0)
    agrees = np.zeros((len(layers), len(samples)), dtype=bool)
    for row, layer in enumerate(layers):
        if layer in arrays.layers:
            agrees[row, is_known] = arrays.same_label[arrays.layers.index(layer), places]
    return agrees, is_query


def _layer_codes(column: pd.Series, layers: Sequence[str]) -> NDArray[np.intp]:
    """Positions in `layers` of a column's values; -1 where they are not there."""
    codes, names = pd.factorize(column)
    positions = pd.Index(list(layers), dtype=object).get_indexer(pd.Index(names).astype(object))
    return np.asarray(positions[codes])


def _colored(
    classes: NDArray[np.str_], codes: NDArray[np.int64], agrees: NDArray[np.bool_], is_query: NDArray[np.bool_]
) -> list[int]:
    """The classes that have a color: all, or the ten that are best separated at the last layer."""
    if len(classes) <= MAX_COLORS:
        return list(range(len(classes)))
    queries = np.bincount(codes[is_query], minlength=len(classes))
    agreeing = np.bincount(codes[is_query & agrees], minlength=len(classes))
    shares = agreeing / np.maximum(queries, 1)
    colored: list[int] = np.sort(np.argsort(-shares, kind="stable")[:MAX_COLORS]).tolist()
    return colored


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of `count` numbers from 0, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def map_token(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> str:
    """Return what tells the points of one study and one choice of queries from those of another."""
    chosen = (path, stamp, selection.pooling, selection.samples)
    return hashlib.sha256(repr(chosen).encode()).hexdigest()[:16]


@st.cache_resource(max_entries=4, show_spinner="Laying out the map")
def cached_map_planes(path: str, stamp: tuple[int, ...], layers: tuple[str, ...]) -> MapPlanes:
    """The planes of a study, laid over each other once."""
    study = cached_tables(path, stamp)
    with_plane = set(study.distinct("projection", "layer"))
    present = [layer for layer in layers if layer in with_plane]
    columns = ["layer", "sample", "x", "y"]
    parts = (
        study.table("projection", columns, filters=[("layer", "in", group)])
        for group in study.layer_groups("projection")
        if with_plane.intersection(group)
    )
    return map_planes(parts, present, np.sort(study.samples["sample"].to_numpy(np.int64)))


@st.cache_resource(max_entries=4, show_spinner=False)
def cached_map_bytes(
    path: str, stamp: tuple[int, ...], layers: tuple[str, ...], pooling: str, split: str, among: str, token: str
) -> bytes:
    """What the map draws by itself, for the queries of one split. token : tells it from others."""
    planes = cached_map_planes(path, stamp, layers)
    return map_bytes(planes, cached_sample_paths(path, stamp, pooling, split, among), token)
