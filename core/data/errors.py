"""Errors in data (files, labels, layouts), as opposed to errors in a call."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ARCHIVE_ERRORS = (  # what zipfile raises for archives that are damaged, encrypted or compressed in an unknown way
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    OSError,  # from bz2, and for negative offsets in a file
    ValueError,  # for negative offsets in memory, and for names that are not UTF-8
)
# From the name and value of an option in Python to its name in a user interface; None if the interface lacks it.
OptionName = Callable[[str, Any], str | None]
LEAVE_SMALL_OUT = ("leave such classes out", ("skip_small_classes", True))  # `Fault.instead` and `Fault.option`


class DataError(ValueError):
    """Files that cannot be used: unreadable, incomplete, or in a wrong layout."""


@dataclass(frozen=True)
class Fault:
    """One fault of a data set.

    Attributes
    ----------
    problem : str
        The requirement and how it is violated, as a sentence ("each ... must ...; got ...").
    remedy : str
        How to correct the files, as a sentence.
    instead : str
        What an option does to avoid the fault, such as "leave such classes out"; "" if no option helps.
    option : (str, value)
        The name of that option in Python and the value to pass.
    """

    problem: str
    remedy: str
    instead: str = ""
    option: tuple[str, Any] = ("", None)

    def text(self, name_option: OptionName) -> str:
        """Return problem and remedies; `name_option` says how an option is called in the user interface."""
        message = f"{self.problem} {self.remedy}"
        option = name_option(*self.option) if self.instead else None
        return f"{message} Or {self.instead}: {option}." if option else message


class FaultsError(DataError):
    """All faults of a data set in one error.

    Attributes
    ----------
    data : str
        The data set, as named by the caller.
    faults : tuple of Fault
        At least one.
    """

    def __init__(self, data: str, faults: Sequence[Fault]) -> None:
        self.data = data
        self.faults = tuple(faults)
        super().__init__(self.text(python_argument))

    def text(self, name_option: OptionName) -> str:
        """Return all faults with their remedies, for one user interface: Python, command line or app.

        Parameters
        ----------
        name_option : callable
            Takes the name and value of an option in Python, and returns how the option is called in that interface, or
            None if the interface does not have it.
        """
        if len(self.faults) == 1:
            return self.faults[0].text(name_option)
        lines = [f"{number}. {fault.text(name_option)}" for number, fault in enumerate(self.faults, start=1)]
        return "\n".join(
            [f"{len(self.faults)} things are wrong with {self.data!r}:", *lines, *self._summary(name_option)]
        )

    def _summary(self, name_option: OptionName) -> list[str]:
        """Return a line with the options that avoid all faults together, or no line if some fault has no option."""
        options = [name_option(*fault.option) if fault.instead else None for fault in self.faults]
        if None in options:
            return []
        distinct = list(dict.fromkeys(str(option) for option in options))
        separator = " " if distinct[0].startswith("--") else ", "
        return [f"Or take what can be used as it is: {separator.join(distinct)}"]


def python_argument(name: str, value: Any) -> str:
    """Write an option as an argument of a Python call."""
    return f"{name}={value!r}"
