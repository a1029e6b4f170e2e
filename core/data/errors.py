"""What is wrong with data, told apart from what is wrong with a call."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ARCHIVE_ERRORS = (  # what zipfile raises on archives that are damaged, encrypted, or packed in a way unknown here
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    OSError,  # of bz2, and of places before the start of the file
    ValueError,  # of such places in memory, and of names that are no UTF-8
)
OptionName = Callable[[str, Any], str | None]
LEAVE_SMALL_OUT = ("leave such classes out", ("skip_small_classes", True))  # of a Fault: instead, option


class DataError(ValueError):
    """Files that cannot be used as they are: unreadable, incomplete, or not laid out as they must be."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a data set.

    Attributes
    ----------
    problem : str
        What must be, and what is: a sentence.
    remedy : str
        What to do about the files: a sentence.
    instead : str
        What an option does about it, such as "leave such classes out"; "" where no option helps.
    option : (str, value)
        That option, by its name in Python, and the value to give.
    """

    problem: str
    remedy: str
    instead: str = ""
    option: tuple[str, Any] = ("", None)

    def text(self, name_option: OptionName) -> str:
        """Problem and remedies; options are named as `name_option` does, which gives None for one that is not there."""
        option = name_option(*self.option) if self.instead else None
        return f"{self.problem} {self.remedy}" + (f" Or {self.instead}: {option}." if option else "")


class FaultsError(DataError):
    """Everything that is wrong with a data set, told together.

    Attributes
    ----------
    data : str
        The data set, as the caller named it.
    faults : tuple of Fault
        At least one.
    """

    def __init__(self, data: str, faults: Sequence[Fault]) -> None:
        self.data = data
        self.faults = tuple(faults)
        super().__init__(self.text(python_argument))

    def text(self, name_option: OptionName) -> str:
        """All faults with their remedies, in the words of one door: Python, command line or app.

        Parameters
        ----------
        name_option : from the name and value of an option in Python to what it is called there; None where there is no
            such option.
        """
        if len(self.faults) == 1:
            return self.faults[0].text(name_option)
        lines = [f"{number}. {fault.text(name_option)}" for number, fault in enumerate(self.faults, start=1)]
        return "\n".join(
            [f"{len(self.faults)} things are wrong with {self.data!r}:", *lines, *self._summary(name_option)]
        )

    def _summary(self, name_option: OptionName) -> list[str]:
        """Which options do about all faults together, where they can."""
        options = [name_option(*fault.option) if fault.instead else None for fault in self.faults]
        if None in options:
            return []
        distinct = dict.fromkeys(str(option) for option in options)
        return [f"Or take what can be used as it is: {' '.join(distinct)}"]


def python_argument(name: str, value: Any) -> str:
    """An option as an argument of a Python call."""
    return f"{name}={value!r}"
