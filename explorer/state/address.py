"""The page's address says what is seen: read it, write it, and keep each page's view while others are open.

A change of page empties the address and drops the page's widgets. So what each page last wrote is kept in the session,
and is what the page starts from when its address says nothing.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from core.analysis.cut.advice import TOLERANCE as DEFAULT_TOLERANCE

LEAST_TOLERANCE, MOST_TOLERANCE = 0.005, 0.5
STUDY = "study"
LAYER = "layer"
TOLERANCE = "tolerance"
CARRIED = (STUDY, LAYER, TOLERANCE)  # what all pages share


def asked_study() -> str | None:
    """The study that the address names, else the one open on the page before."""
    named: str | None = st.query_params.get(STUDY) or st.session_state.get(_kept(STUDY))
    return named


def keep_study(study: str) -> None:
    """Put the study into the address, and keep it for the other pages."""
    st.session_state[_kept(STUDY)] = study
    st.query_params[STUDY] = study


def asked_layer() -> str | None:
    """The layer that the address names, else the one chosen on the page before; it may be no layer of the study."""
    named: str | None = st.query_params.get(LAYER) or st.session_state.get(_kept(LAYER))
    return named


def keep_layer(layer: str | None) -> None:
    """Put the chosen layer into the address, and keep it for the other pages; None forgets it."""
    if layer is None:
        st.session_state.pop(_kept(LAYER), None)
        st.query_params.pop(LAYER, None)
    else:
        st.session_state[_kept(LAYER)] = layer
        st.query_params[LAYER] = layer


def asked_tolerance() -> float:
    """How much less SI than the best is acceptable: what the address or the page before says, else the default."""
    named = st.query_params.get(TOLERANCE) or st.session_state.get(_kept(TOLERANCE))
    try:
        tolerance = float(named or "")
    except ValueError:
        return DEFAULT_TOLERANCE
    return tolerance if LEAST_TOLERANCE <= tolerance <= MOST_TOLERANCE else DEFAULT_TOLERANCE


def keep_tolerance(tolerance: float) -> None:
    """Put the tolerance into the address, and keep it for the other pages; the default one is not written down."""
    if tolerance == DEFAULT_TOLERANCE:
        st.session_state.pop(_kept(TOLERANCE), None)
        st.query_params.pop(TOLERANCE, None)
    else:
        st.session_state[_kept(TOLERANCE)] = f"{tolerance:g}"
        st.query_params[TOLERANCE] = f"{tolerance:g}"


def asked_view(page: str) -> dict[str, list[str]]:
    """What the address asks of the page; where it says nothing, what the page last showed in this session."""
    asked = {name: st.query_params.get_all(name) for name in st.query_params if name not in CARRIED}
    kept: dict[str, list[str]] = st.session_state.get(_kept(page), {})
    return asked or kept


def keep_view(page: str, view: Mapping[str, Sequence[str]]) -> None:
    """Put the view into the address beside the study and layer, and keep it for when the page is opened again."""
    query = {name: list(values) for name, values in view.items()}
    st.session_state[_kept(page)] = query
    found = {name: st.query_params.get(name) or st.session_state.get(_kept(name)) for name in CARRIED}
    carried = {name: value for name, value in found.items() if value}
    st.query_params.from_dict({**carried, **query})


def _kept(what: str) -> str:
    """A session key that belongs to no widget: those are dropped with their page."""
    return f"kept {what}"
