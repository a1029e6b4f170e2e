"""Reads and writes the page's address, whose query parameters describe the view.

When the user changes the page, Streamlit empties the address and drops the state of the page's widgets. So each page's
last query is also kept in the session; a page starts from it when its address is empty.

The browser's *Back* undoes the last change: the address is then another one than the page wrote last, and the controls
follow it (`follow_browser`). `explorer/server/browser_history.js` sees to it that a change is one step of the browser.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from core.analysis.cut.advice import SI_TOLERANCE

MIN_TOLERANCE, MAX_TOLERANCE = 0.005, 0.5
STUDY = "study"
LAYER = "layer"
TOLERANCE = "tolerance"
SHARED = (STUDY, LAYER, TOLERANCE)  # query parameters that all pages have in common
PICKER = "study"  # session key of the picker of studies
UNDER_WAY = 3.0  # seconds after a change of the address in which the browser may still send the one before
_SHOWN, _WRITTEN, _DEFAULT = "page shown", "address written", "study without address"
_ALL_WRITTEN = "all addresses written"
_FOLLOWS = "controls follow the address"  # whether the browser went back, and the page has not been drawn since


@dataclass
class Written:
    """The address that was written last.

    Attributes
    ----------
    query : dict
        All query parameters.
    seconds : float
        When it was sent to the browser, by the clock `time.monotonic`; minus infinity if it came from there.
    """

    query: dict[str, list[str]]
    seconds: float


def current_study() -> str | None:
    """The study in the address, else the one that was open on the previous page."""
    return _shared_value(STUDY)


def keep_study(study: str, default: str | None = None) -> None:
    """Put the study into the address and keep it for the other pages.

    Parameters
    ----------
    study : str
        Name of the study.
    default : str, optional
        The study that an address without one opens. It is left out of an address that says nothing else, so that a
        first visit does not change the address: the browser's *Back* would have to be pressed twice.
    """
    if default is not None:
        st.session_state[_DEFAULT] = default
    _keep_shared(STUDY, study)


def current_layer() -> str | None:
    """The layer in the address, else the one chosen on the previous page; not necessarily a layer of the study."""
    return _shared_value(LAYER)


def keep_layer(layer: str | None) -> None:
    """Put the chosen layer into the address and keep it for the other pages; None removes it."""
    _keep_shared(LAYER, layer)


def current_tolerance() -> float:
    """The accepted loss of SI against the best layer: from the address or the previous page, else the default."""
    text = _shared_value(TOLERANCE) or ""
    return float(text) if is_tolerance(text) else SI_TOLERANCE


def keep_tolerance(tolerance: float) -> None:
    """Put the tolerance into the address and keep it for the other pages; the default is left out."""
    _keep_shared(TOLERANCE, None if tolerance == SI_TOLERANCE else f"{tolerance:g}")


def new_address() -> dict[str, list[str]]:
    """The address, if it was not written by a page of this session but came from the browser, such as a link."""
    query, written = _in_address(), st.session_state.get(_WRITTEN)
    return {} if isinstance(written, Written) and query == written.query else query


def shown_page() -> str | None:
    """The `url_path` of the page that is drawn; None for a page by itself."""
    page: str | None = st.session_state.get(_SHOWN)
    return page


def is_tolerance(text: str) -> bool:
    """Whether a text is an accepted loss of SI that can be chosen."""
    try:
        return MIN_TOLERANCE <= float(text) <= MAX_TOLERANCE
    except ValueError:
        return False


def current_view(page: str) -> dict[str, list[str]]:
    """The page's query parameters in the address; if there are none, those that it last had in this session.

    After *Back* on the same page none in the address means none.
    """
    in_address = {name: st.query_params.get_all(name) for name in st.query_params if name not in SHARED}
    in_session: dict[str, list[str]] = st.session_state.get(_session_key(page), {})
    return in_address if st.session_state.get(_FOLLOWS) else in_address or in_session


def keep_view(page: str, view: Mapping[str, Sequence[str]]) -> None:
    """Put the page's query parameters into the address, and keep them for the next time the page is opened.

    A parameter without values is left out.
    """
    query = {name: list(values) for name, values in view.items() if values}
    st.session_state[_session_key(page)] = query
    _write(query)
    st.session_state.pop(_FOLLOWS, None)


def follow_browser(url_path: str) -> None:
    """Let the picker of studies, on a new page, and all controls, after *Back* on the same page, follow the address.

    To be called before a page is drawn.

    Parameters
    ----------
    url_path : str
        Of the page.
    """
    previous_page, written = st.session_state.get(_SHOWN), st.session_state.get(_WRITTEN)
    st.session_state[_SHOWN] = url_path
    query = _in_address()
    if previous_page != url_path:
        _pick_current_study()
        return
    if not isinstance(written, Written) or query == written.query:
        return
    if time.monotonic() - written.seconds < UNDER_WAY or query not in st.session_state.get(_ALL_WRITTEN, []):
        return
    for name in SHARED:
        st.session_state.pop(_session_key(name), None)
    for key in [key for key in st.session_state if isinstance(key, str) and " of " in key]:  # of `widget_key`
        del st.session_state[key]
    _pick_current_study()
    st.session_state[_FOLLOWS] = True


def _pick_current_study() -> None:
    """Let the picker show the current study: the widget of another page would show the first one."""
    if study := current_study() or st.session_state.get(_DEFAULT):
        st.session_state[PICKER] = study


def update_view(page: str, parts: Mapping[str, Sequence[str]]) -> None:
    """Change some of the page's query parameters, as when a part of the page runs alone; no values remove one."""
    present: dict[str, list[str]] = st.session_state.get(_session_key(page), {})
    keep_view(page, {**present, **parts})


def _shared_value(name: str) -> str | None:
    value: str | None = st.query_params.get(name) or st.session_state.get(_session_key(name))
    return value


def _keep_shared(name: str, value: str | None) -> None:
    if value is None:
        st.session_state.pop(_session_key(name), None)
        st.query_params.pop(name, None)
    else:
        st.session_state[_session_key(name)] = value
    _write({name: values for name, values in _in_address().items() if name not in SHARED}, {name: value})


def _write(query: Mapping[str, list[str]], changed: Mapping[str, str | None] | None = None) -> None:
    """Write the shared values and these parameters of a page into the address, if it has others, and remember it.

    changed : shared values that are new; of the others, those in the address count before those of the session.
    """
    before = _in_address()
    shared = {name: _shared_value(name) for name in SHARED} | dict(changed or {})
    whole = {name: [value] for name, value in shared.items() if value} | dict(query)
    if not before and whole == {STUDY: [st.session_state.get(_DEFAULT)]}:
        whole = {}
    if whole != before:
        st.query_params.from_dict(whole)
    last, all_written = st.session_state.get(_WRITTEN), st.session_state.get(_ALL_WRITTEN, [])
    if whole not in all_written:
        st.session_state[_ALL_WRITTEN] = [*all_written, whole][-100:]
    if whole != before:
        st.session_state[_WRITTEN] = Written(whole, time.monotonic())
    elif not isinstance(last, Written) or last.query != whole:
        st.session_state[_WRITTEN] = Written(whole, -math.inf)  # the browser has it already


def _in_address() -> dict[str, list[str]]:
    return {name: st.query_params.get_all(name) for name in st.query_params}


def _session_key(name: str) -> str:
    """A session key that is no widget's key, because Streamlit drops widget state with the widget's page."""
    return f"kept {name}"
