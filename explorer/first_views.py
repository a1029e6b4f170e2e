"""What the pages show of a study before anything is chosen: the parts that take long, in the order of their use."""

from collections.abc import Callable, Iterator
from functools import partial

import streamlit as st

from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.samples.selection import LayerSelection
from explorer.app_pages.classes.clusters_view import cached_clusters
from explorer.app_pages.decide.computed import cached_advice, cached_blocks, cached_class_costs
from explorer.controls.study_picker import cached_study
from explorer.studies.class_tables import cached_layers_with_neighbors, layer_selection
from explorer.studies.loading import has_values
from explorer.studies.map_points import cached_map_bytes, cached_map_planes, map_token
from explorer.studies.sample_paths import cached_neighbors, cached_sample_paths


def first_views(path: str, stamp: tuple[int, ...]) -> Iterator[Callable[[], None]]:
    """Give functions that compute these parts, each of which fills the cache of a page.

    Parameters
    ----------
    path : str
        The folder of a study that is complete and has an SI; of another one nothing is given.
    stamp : tuple of int
        Of `explorer.studies.loading.study_stamp`.

    Raises
    ------
    ValueError, OSError
        The study cannot be opened. Each function raises `StudyError` where the study lacks what it needs.
    """
    study = cached_study(path, stamp)
    if study.state != "complete" or not has_values(study):
        return
    selection = layer_selection({}, None, study.curves, cached_layers_with_neighbors(path, stamp))
    for name in _VIEWS:
        yield partial(_computed, name, path, stamp, selection)


@st.cache_resource(max_entries=64, show_spinner=False)
def _computed(name: str, path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    """Compute one of the parts. Within a cached function the others show no spinner, which would need a page."""
    _VIEWS[name](path, stamp, selection)


def _samples(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    cached_sample_paths(path, stamp, selection.pooling, selection.split, selection.among)
    cached_neighbors(path, stamp, selection)


def _map_of_samples(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    layers = cached_sample_paths(path, stamp, selection.pooling, selection.split, selection.among).arrays.layers
    if cached_map_planes(path, stamp, layers).layers:
        token = map_token(path, stamp, selection)
        cached_map_bytes(path, stamp, layers, selection.pooling, selection.split, selection.among, token)


def _cut(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    chosen = (path, stamp, selection.samples, selection.pooling, SI_TOLERANCE)
    cached_class_costs(*chosen, cached_advice(*chosen).target)


def _blocks(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    cached_blocks(path, stamp, selection.samples, selection.pooling)


def _class_groups(path: str, stamp: tuple[int, ...], selection: LayerSelection) -> None:
    cached_clusters(path, stamp, selection)


_VIEWS = {"samples": _samples, "map": _map_of_samples, "cut": _cut, "blocks": _blocks, "classes": _class_groups}
