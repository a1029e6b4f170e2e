"""The map on the page Samples: one dot a sample, which moves from layer to layer in the browser."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.analysis.samples.selection import LayerSelection, offered_layers
from core.report.words.formatting import plain
from core.study.store.study_json import look_up
from explorer.app_pages.samples.charts import OTHER, REFERENCE, SAME, drawn_dots, plane_chart
from explorer.controls.downloads import picture_of, save_menu
from explorer.controls.sample_cards import PAGE
from explorer.controls.samples.open_sample import selected_key
from explorer.controls.sections import mark_section
from explorer.controls.widgets import widget_key
from explorer.server.page_errors import guarded
from explorer.studies.loading import OpenStudy
from explorer.studies.map_points import (
    MapPlanes,
    cached_map_bytes,
    cached_map_planes,
    crowded_share,
    extra_frame,
    map_token,
    sample_bits,
)
from explorer.studies.pictures import Pictures, picture_atlas
from explorer.studies.sample_paths import SamplePaths, cached_projection

MAP = "samples_map"
MOST_PICTURES = 24  # sent at once
PICTURE_SIDE = 64
NO_PLANE = "This study has no map: {reason}. Run the study again in a new folder to compute it."
WITHOUT = "it was made with {option}"
OLDER = "it was made by an older version"
SPATIAL = "its activations have spatial axes, of which no plane is made"
COMPONENTS = "Two principal components of the layer's {features}."
EMBEDDING = "A neighbor embedding (t-SNE) of the layer's {features}, each layer's begun from the one before it."
CROWDED = "**{share:.0%} of the samples lie on nearly one spot here**: this map does not show what tells them apart."
CROWDED_SHARE = 0.5  # from which on it is said
ANOTHER = "choose another layer"
SPREAD = "make the study with {option}, which spreads them"
NOT_YET = "The neighbor embedding is made when all layers are measured."
FEW = "There are too few samples for a neighbor embedding."
LIMITS = (
    "Use this map to find samples. Distances between groups and the size of a group mean nothing on it; SI is computed "
    "on all dimensions."
)
USE = (
    "Each layer's map has the same size and is turned to lie on the one before it. A click selects a sample; drag to "
    "move, and click first or hold Ctrl to zoom with the wheel; Shift and drag draws a lasso."
)
_HERE = Path(__file__).parent


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


_points = st.components.v2.component("sample_map_points", js=_text("map_points.js"))
_pictures = st.components.v2.component("sample_map_pictures", js=_text("map_pictures.js"))
_map = st.components.v2.component(
    "sample_map", html=_text("sample_map.html"), css=_text("sample_map.css"), js=_text("sample_map.js")
)


@dataclass(frozen=True, eq=False)
class MapSource:
    """What the map is of.

    Attributes
    ----------
    study : OpenStudy
        The open study.
    selection : LayerSelection
        The chosen layer, pooling and samples.
    sample_paths : SamplePaths
        The samples through the network.
    pictures : Pictures
        The study's pictures.
    """

    study: OpenStudy
    selection: LayerSelection
    sample_paths: SamplePaths
    pictures: Pictures

    @property
    def token(self) -> str:
        """Of `map_token`."""
        return map_token(self.study.path, self.study.stamp, self.selection)


def lasso_key(study: OpenStudy) -> str:
    """The session key of the samples within the last lasso."""
    return f"lassoed samples of {study.path}"


def lassoed_samples(study: OpenStudy) -> frozenset[int] | None:
    """The samples within the last lasso; None without one."""
    samples: frozenset[int] | None = st.session_state.get(lasso_key(study))
    return samples


def show_lasso_filter(study: OpenStudy) -> None:
    """Show how many samples the lasso chose, as a button that removes this filter."""
    samples = lassoed_samples(study)
    if samples is None:
        return

    def remove() -> None:
        st.session_state.pop(lasso_key(study), None)

    label = f"{len(samples):,} {'sample' if len(samples) == 1 else 'samples'} from the map"
    st.button(label, icon=":material/close:", on_click=guarded(remove), key=f"remove the lasso of {study.path}")


def show_map(
    source: MapSource, table: pd.DataFrame, filtered: pd.DataFrame, neighbors: pd.DataFrame, selected: int
) -> None:
    """Show the map; a click on a dot selects its sample.

    Parameters
    ----------
    source : MapSource
        What the map is of.
    table, filtered : DataFrame
        Of `samples_at` and `filter_samples`.
    neighbors : DataFrame
        Of `neighbors_of`, for the selected sample.
    selected : int
        The selected sample.
    """
    study, selection = source.study, source.selection
    mark_section("map")
    layers = source.sample_paths.arrays.layers  # without its neighbors, nothing is known of a layer's dots
    planes = cached_map_planes(study.path, study.stamp, layers)
    if not planes.layers:
        st.info(NO_PLANE.format(reason=_why_no_plane(study)), icon=":material/scatter_plot:")
        return
    layer = _nearest_layer(planes, layers, selection.layer)
    nearest = table.set_index("sample")["nearest"].reindex(planes.drawn_samples, fill_value=-1)
    data = {
        "token": source.token,
        "layer": layer,
        "selected": selected,
        "neighbors": neighbors["sample"].tolist() if layer == selection.layer else [],
        "nearest": _base64(nearest.to_numpy("<i4").tobytes()),
        "shown": None if len(filtered) == len(table) else _base64(sample_bits(planes, filtered["sample"].to_numpy())),
        "extra": _extra(planes, source.sample_paths, layer),
        "pictures": bool(source.pictures),
        "alt": _alt(planes, layer, table, selected),
    }
    with st.container(key=MAP, gap=None):
        points = cached_map_bytes(
            study.path, study.stamp, layers, selection.pooling, selection.split, selection.among, source.token
        )
        _points(data=points, key=f"map points of {study.path}", height="content")
        if source.pictures:
            _show_pictures(source)
        _mount(source, data)
    text = _caption(source, planes, layer)
    st.caption(f"{text} {USE}")
    dots = _dots(cached_projection(study.path, study.stamp, layer), table, filtered, neighbors, selected)
    chart = plane_chart(drawn_dots(dots, {selected, *neighbors["sample"]}))
    picture = picture_of(chart, study, f"The samples at {plain(layer)} on a plane", text)
    save_menu(f"{Path(study.path).name}_plane", lambda: dots, picture, info=study.info)


def _mount(source: MapSource, data: dict[str, Any]) -> None:
    """Mount the map, and take what it sends. The browser sends it, so that everything is checked."""
    study, selection = source.study, source.selection
    key = f"map of {study.path}"

    def pick() -> None:
        samples = _samples(source, [_sent(key, "picked")])
        if samples:
            st.session_state[selected_key(study)] = samples[0]

    def choose_layer() -> None:
        layer = _sent(key, "layer")
        if layer in offered_layers(study.curves, selection.pooling, selection.samples):
            st.session_state[widget_key(PAGE, "layer", study)] = layer

    def take_lasso() -> None:
        sent = _sent(key, "lasso")
        samples = _samples(source, sent if isinstance(sent, list) else [])
        if samples:
            st.session_state[lasso_key(study)] = frozenset(samples)

    _map(
        data=data,
        key=key,
        on_picked_change=guarded(pick),
        on_layer_change=guarded(choose_layer),
        on_lasso_change=guarded(take_lasso),
    )


@st.fragment
@guarded
def _show_pictures(source: MapSource) -> None:
    """Answer the map's requests for pictures, without running the rest of the page."""
    key = f"map pictures of {source.study.path}"
    sent = _sent(key, "wanted")
    wanted = _samples(source, sent if isinstance(sent, list) else [])[:MOST_PICTURES]
    data: dict[str, Any] = {"token": source.token, "image": ""}
    if wanted:
        sources = source.sample_paths.samples.set_index("sample")["source"].reindex(wanted).fillna("")
        image, missing = picture_atlas(source.pictures, sources.tolist(), PICTURE_SIDE)
        data |= {"image": image, "side": PICTURE_SIDE, "samples": wanted}
        data["missing"] = [wanted[number] for number in missing]
    _pictures(data=data, key=key, on_wanted_change=guarded(_nothing), height="content")


def _nothing() -> None:
    """The event itself runs the fragment."""


def _sent(key: str, event: str) -> Any:
    """What the browser sent as an event in this run; None without it."""
    state = st.session_state.get(key)
    return state.get(event) if isinstance(state, Mapping) else None


def _samples(source: MapSource, sent: Sequence[Any]) -> list[int]:
    """Those of the values sent that are numbers of samples."""
    known = source.sample_paths.sample_numbers
    return [value for value in sent if isinstance(value, int) and not isinstance(value, bool) and value in known]


def _nearest_layer(planes: MapPlanes, layers: Sequence[str], layer: str) -> str:
    """The layer, or the last one before it that has a plane, or the first that has one."""
    if layer in planes.layers:
        return layer
    place = layers.index(layer) if layer in layers else 0
    before = [name for name in planes.layers if layers.index(name) < place]
    return before[-1] if before else planes.layers[0]


def _extra(planes: MapPlanes, sample_paths: SamplePaths, layer: str) -> dict[str, Any] | None:
    """The chosen layer, where it is not among those that are sent at once."""
    frame = extra_frame(planes, sample_paths, layer)
    if frame is None:
        return None
    return {"place": frame.place, "positions": _base64(frame.positions), "agrees": _base64(frame.agrees)}


def _alt(planes: MapPlanes, layer: str, table: pd.DataFrame, selected: int) -> str:
    name = table.loc[table["sample"] == selected, "id"].iloc[0]
    return (
        f"Map of {len(planes.drawn_samples):,} samples at {layer}. Selected: {name}. Arrow keys move it, plus and "
        "minus zoom. The gallery lists the samples."
    )


def _caption(source: MapSource, planes: MapPlanes, layer: str) -> str:
    parts = [*_method(source.study, layer), LIMITS]
    share = crowded_share(planes, layer)
    if share > CROWDED_SHARE:
        parts.insert(0, f"{CROWDED.format(share=share)} {_crowded_remedies(source.study, planes)}".strip())
    if layer != source.selection.layer:
        parts.append(f"`{source.selection.layer}` has no map; this is `{layer}`.")
    if len(planes.drawn_samples) < planes.num_samples:
        parts.append(f"{len(planes.drawn_samples):,} of {planes.num_samples:,} samples are drawn.")
    if len(planes.drawn_layers) < len(planes.layers):
        parts.append(f"{len(planes.drawn_layers)} of {len(planes.layers)} layers are sent, and the chosen one.")
    return " ".join(filter(None, parts))


def _crowded_remedies(study: OpenStudy, planes: MapPlanes) -> str:
    """What shows the samples apart, as a sentence; "" where neither another layer nor another map can be had."""
    remedies = [ANOTHER] if len(planes.layers) > 1 else []
    if look_up(study.info, "used.model.name") and look_up(study.info, "asked.projection") != "tsne":
        remedies.append(SPREAD.format(option=_projection_option(study, "tsne")))  # no command has it for features
    text = ", or ".join(remedies)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _projection_option(study: OpenStudy, projection: str) -> str:
    """How a projection is chosen where the study was made: by the command, or in Python."""
    if look_up(study.info, "asked.model"):
        return f"`--projection {projection}`"
    return f'`projection="{projection}"`'


def _why_no_plane(study: OpenStudy) -> str:
    """Why a study has no map."""
    asked = look_up(study.info, "asked.projection")
    if asked == "none":
        return WITHOUT.format(option=_projection_option(study, "none"))
    return OLDER if asked is None else SPATIAL


def _method(study: OpenStudy, layer: str) -> list[str]:
    """How the map of a layer is made, in sentences."""
    shape = study.layers.set_index("layer")["output_shape"][layer]
    features = "channel means" if len(shape) > 1 else "activations"
    components, embedding = COMPONENTS.format(features=features), EMBEDDING.format(features=features)
    if look_up(study.info, "asked.projection") != "tsne":
        return [components]
    if study.state != "complete":
        return [components, NOT_YET]
    return [embedding] if look_up(study.info, "used.map.method") == "t-SNE" else [components, FEW]


def _dots(
    projection: pd.DataFrame, table: pd.DataFrame, filtered: pd.DataFrame, neighbors: pd.DataFrame, selected: int
) -> pd.DataFrame:
    """One row per query sample and neighbor of the selected one, with the columns that `plane_chart` needs."""
    queries = table[["sample", "id", "class_name", "nearest_class"]]
    queries = queries.assign(agreement=table["same_label"].map({True: SAME, False: OTHER}))
    dots = projection.merge(queries, on="sample")
    references = neighbors[~neighbors["sample"].isin(dots["sample"])]  # of the other split
    if len(references):
        reference_dots = projection.merge(references[["sample", "id", "class_name"]], on="sample")
        reference_dots = reference_dots.assign(nearest_class="–", agreement=REFERENCE)
        dots = pd.concat([dots, reference_dots], ignore_index=True)
    marks = {**dict.fromkeys(neighbors["sample"], "neighbor"), selected: "selected"}
    return dots.assign(shown=dots["sample"].isin(filtered["sample"]), marked=dots["sample"].map(marks).fillna(""))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
