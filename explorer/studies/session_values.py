"""What a person says of a study whose folder cannot be written: kept in the session of the browser's tab."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import streamlit as st

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class SessionValues(Generic[_Value]):
    """One value for each study, in the session, until the tab is reloaded.

    Attributes
    ----------
    key : str
        Key of the values in the session; no widget's key, so that the browser's *Back* does not remove them.
    """

    key: str

    def read(self, path: str, default: _Value) -> _Value:
        """The value of the study in the folder `path`; the default where the session has none."""
        value: _Value = self._values().get(path, default)
        return value

    def write(self, path: str, value: _Value) -> None:
        """Keep the value of the study in the folder `path`."""
        st.session_state[self.key] = {**self._values(), path: value}

    def _values(self) -> dict[str, _Value]:
        values: dict[str, _Value] = st.session_state.get(self.key, {})
        return values
