"""Which sample is open in the dialog, and the list of samples through which the arrow keys go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.analysis.samples.selection import LayerSelection
from explorer.server.page_errors import guarded
from explorer.state.address import update_view
from explorer.studies.gallery import sample_from_query
from explorer.studies.loading import OpenStudy
from explorer.studies.sample_paths import cached_samples

READ_AT_ONCE = 32  # samples of the list


@dataclass(frozen=True, eq=False)
class OpenSample:
    """A sample that is open, as an entry of the list from which it was opened.

    Attributes
    ----------
    samples : np.ndarray, int32, shape (n,)
        The list, as numbers in the table `samples`.
    index : int
        The open sample's index in the list.
    title : str
        What the list is.
    selection : LayerSelection
        The layer, the pooling and the samples that the page shows.
    """

    samples: NDArray[np.int32]
    index: int
    title: str
    selection: LayerSelection

    @property
    def sample(self) -> int:
        """The open sample."""
        return int(self.samples[self.index])

    @property
    def around(self) -> tuple[int, ...]:
        """The samples of the list that are read with the open one, since one more hardly takes longer."""
        start = self.index // READ_AT_ONCE * READ_AT_ONCE
        return tuple(self.samples[start : start + READ_AT_ONCE].tolist())

    def moved(self, steps: int) -> OpenSample:
        """The entry some steps further in the list, at most its first or last one."""
        return replace(self, index=min(max(self.index + steps, 0), len(self.samples) - 1))


def open_sample(
    study: OpenStudy,
    page: str,
    sample: int,
    samples: Sequence[int] | pd.Series,
    title: str,
    selection: LayerSelection,
) -> None:
    """Open a sample in the dialog, which `show_open_sample` shows.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    page : str
        The page on which it is opened.
    sample : int
        The sample's number in the table `samples`.
    samples : sequence or Series of int
        The list through which the arrow keys go. Without the sample, the list is the sample alone.
    title, selection
        Of `OpenSample`.
    """
    numbers = np.asarray(samples, dtype=np.int32)
    positions = np.flatnonzero(numbers == sample)
    if not len(positions):
        numbers, positions = np.array([sample], dtype=np.int32), np.array([0])
    keep_open_sample(study, page, OpenSample(numbers, int(positions[0]), title, selection))


def open_button(
    study: OpenStudy,
    page: str,
    sample: int,
    samples: Sequence[int] | pd.Series,
    title: str,
    selection: LayerSelection,
    *,
    name: str,
) -> None:
    """Show a button "Look closer" that opens a sample.

    Parameters
    ----------
    study, page, sample, samples, title, selection
        Of `open_sample`.
    name : str
        What tells the button from others of the same sample on the page.
    """
    st.button(
        "Look closer",
        icon=":material/zoom_in:",
        key=f"{name} {sample} of {study.path}",
        on_click=guarded(partial(open_sample, study, page, sample, samples, title, selection)),
        width="stretch",
    )


def keep_open_sample(study: OpenStudy, page: str, opened: OpenSample) -> None:
    """Keep which sample is open, and select it on the page."""
    st.session_state[_session_key(study, page)] = opened
    st.session_state[selected_key(study)] = opened.sample


def opened_sample(study: OpenStudy, page: str) -> OpenSample | None:
    """The sample that is open on a page; None for none."""
    opened: OpenSample | None = st.session_state.get(_session_key(study, page))
    return opened


def close_sample(study: OpenStudy, page: str) -> None:
    """Close the dialog, also in the address, from which `restore_sample` would open it again."""
    st.session_state.pop(_session_key(study, page), None)
    update_view(page, {"open": []})


def restore_sample(
    study: OpenStudy,
    page: str,
    query: Mapping[str, Sequence[str]],
    samples: Sequence[int] | pd.Series,
    title: str,
    selection: LayerSelection,
) -> None:
    """Open the sample that an address says to be open, unless one is open already.

    Parameters
    ----------
    study, page, samples, title, selection
        Of `open_sample`.
    query : mapping
        Query parameters of the page.
    """
    if "open" not in query or opened_sample(study, page) is not None:
        return
    sample = sample_from_query(query, cached_samples(study.path, study.stamp))
    if sample is not None:
        open_sample(study, page, sample, samples, title, selection)


def selected_key(study: OpenStudy) -> str:
    """The session key of the selected sample."""
    return f"selected sample of {study.path}"


def _session_key(study: OpenStudy, page: str) -> str:
    return f"open sample of {study.path} on {page}"
