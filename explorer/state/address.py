"""Reads and writes the page's address, whose query parameters describe the view.

When the user changes the page, Streamlit empties the address and drops the state of the page's widgets. So each page's
last query is also kept in the session; a page starts from it when its address is empty.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.analysis.cut.advice import TOLERANCE as DEFAULT_TOLERANCE

MIN_TOLERANCE, MAX_TOLERANCE = 0.005, 0.5
STUDY = "study"
LAYER = "layer"
TOLERANCE = "tolerance"
SHARED = (STUDY, LAYER, TOLERANCE)  # query parameters that all pages have in common


def current_study() -> str | None:
    """The study in the address, else the one that was open on the previous page."""
    return _shared_value(STUDY)


def keep_study(study: str) -> None:
    """Put the study into the address and keep it for the other pages."""
    _keep_shared(STUDY, study)


def current_layer() -> str | None:
    """The layer in the address, else the one chosen on the previous page; not necessarily a layer of the study."""
    return _shared_value(LAYER)


def keep_layer(layer: str | None) -> None:
    """Put the chosen layer into the address and keep it for the other pages; None removes it."""
    _keep_shared(LAYER, layer)


def current_tolerance() -> float:
    """The accepted loss of SI against the best layer: from the address or the previous page, else the default."""
    try:
        tolerance = float(_shared_value(TOLERANCE) or "")
    except ValueError:
        return DEFAULT_TOLERANCE
    return tolerance if MIN_TOLERANCE <= tolerance <= MAX_TOLERANCE else DEFAULT_TOLERANCE


def keep_tolerance(tolerance: float) -> None:
    """Put the tolerance into the address and keep it for the other pages; the default is left out."""
    _keep_shared(TOLERANCE, None if tolerance == DEFAULT_TOLERANCE else f"{tolerance:g}")


def asked_view(page: str) -> dict[str, list[str]]:
    """The page's query parameters in the address; if there are none, those that it last had in this session."""
    in_address = {name: st.query_params.get_all(name) for name in st.query_params if name not in SHARED}
    in_session: dict[str, list[str]] = st.session_state.get(_session_key(page), {})
    return in_address or in_session


def keep_view(page: str, view: Mapping[str, Sequence[str]]) -> None:
    """Put the page's query parameters into the address, and keep them for the next time the page is opened."""
    query = {name: list(values) for name, values in view.items()}
    st.session_state[_session_key(page)] = query
    shared = {name: value for name in SHARED if (value := _shared_value(name))}
    st.query_params.from_dict({**shared, **query})


def update_view(page: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Change some of the page's query parameters, as when a part of the page runs alone; no values remove one."""
    kept: dict[str, list[str]] = st.session_state.get(_session_key(page), {})
    keep_view(page, {name: values for name, values in {**kept, **parts}.items() if values})


def _shared_value(name: str) -> str | None:
    value: str | None = st.query_params.get(name) or st.session_state.get(_session_key(name))
    return value


def _keep_shared(name: str, value: str | None) -> None:
    if value is None:
        st.session_state.pop(_session_key(name), None)
        st.query_params.pop(name, None)
    else:
        st.session_state[_session_key(name)] = value
        st.query_params[name] = value


def _session_key(name: str) -> str:
    """A session key that is no widget's key, because Streamlit drops widget state with the widget's page."""
    return f"kept {name}"
