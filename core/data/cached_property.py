"""`functools.cached_property` for what several threads compute at once, each for an object of its own."""

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

_Value = TypeVar("_Value")


class cached_property(functools.cached_property[_Value]):
    """A value computed once for each object, without making other threads wait.

    Before Python 3.12, the one in `functools` lets only one thread compute a property at a time, whatever the object.
    From 3.12 on this is the same class: threads that ask one object for the first time at once may each compute it.
    """

    def __init__(self, func: Callable[[Any], _Value]) -> None:
        super().__init__(func)
        self.lock = nullcontext()
