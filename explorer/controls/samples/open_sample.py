"""Which sample is open in the dialog, and the list of samples through which the arrow keys go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.analysis.samples.selection import LayerSelection
from explorer.studies.loading import OpenStudy


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


def keep_open_sample(study: OpenStudy, page: str, opened: OpenSample) -> None:
    """Keep which sample is open, and select it on the page."""
    st.session_state[_session_key(study, page)] = opened
    st.session_state[selected_key(study)] = opened.sample


def opened_sample(study: OpenStudy, page: str) -> OpenSample | None:
    """The sample that is open on a page; None for none."""
    opened: OpenSample | None = st.session_state.get(_session_key(study, page))
    return opened


def close_sample(study: OpenStudy, page: str) -> None:
    """Close the dialog."""
    st.session_state.pop(_session_key(study, page), None)


def selected_key(study: OpenStudy) -> str:
    """The session key of the selected sample."""
    return f"selected sample of {study.path}"


def _session_key(study: OpenStudy, page: str) -> str:
    return f"open sample of {study.path} on {page}"
