"""The kernels that TensorFlow computes with (oneDNN or its own), which determine the last bits of its results.

The last bits also depend on the number of threads: with TensorFlow's own kernels in most layers, with oneDNN in dense
layers with many inputs. So all processes that work on one study use the same kernels and the same number of threads.

TensorFlow enables oneDNN by default on some processors only, although its kernels are faster on the others as well. It
reads its settings once, while it is imported. Therefore `import core` enables oneDNN, unless the environment already
sets it or TensorFlow is loaded already.

All runs of a compiled function share the kernel of each of its operations. The oneDNN kernel of a convolution into
which the sum that follows is fused keeps pointers to its input and output in itself (TensorFlow 2.21), so that two runs
at once write into each other's memory: wrong activations, or a crash. `for_threads` gives each run kernels of its own.
"""

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
MAX_ISA = "ONEDNN_MAX_CPU_ISA"
THREADS = "TF_NUM_INTRAOP_THREADS"
_ISA = re.compile("[A-Z0-9_]*")
# Widest first; oneDNN chooses its kernels by the widest one.
_INSTRUCTIONS = ("amx_bf16", "avx512_fp16", "avx512_bf16", "avx512_vnni", "avx512bw", "avx_vnni", "avx2", "avx")


@dataclass(frozen=True)
class Kernels:
    """The settings that TensorFlow's results on a processor depend on, as recorded in `study.json`.

    Attributes
    ----------
    onednn : bool or None
        Whether oneDNN's kernels are used; None if this is unknown.
    max_isa : str or None
        The instruction set that ONEDNN_MAX_CPU_ISA limits oneDNN to; None without a limit.
    threads : int
        Threads per operation.
    instructions : str or None
        The widest instruction set of the processor, such as avx512_bf16; None if the system does not report it.
    """

    onednn: bool | None
    max_isa: str | None
    threads: int
    instructions: str | None

    def environment(self) -> dict[str, str | None]:
        """Return the environment variables for a process that shall compute in the same way; None means unset."""
        variables: dict[str, str | None] = {MAX_ISA: self.max_isa, THREADS: str(self.threads)}
        if self.onednn is not None:
            variables[ONEDNN] = "1" if self.onednn else "0"
        return variables

    def has_settings_of(self, other: "Kernels") -> bool:
        """Return whether all settings are equal; `instructions` is a property of the processor, not a setting."""
        return (self.onednn, self.max_isa, self.threads) == (other.onednn, other.max_isa, other.threads)

    def __str__(self) -> str:
        name = {True: "oneDNN", False: "Eigen (oneDNN is off)", None: "unknown"}[self.onednn]
        limit = f" limited to {self.max_isa}" if self.max_isa else ""
        processor = f" on {self.instructions}" if self.instructions else ""
        return f"{name}{limit}{processor}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"


def prefer_onednn() -> None:
    """Enable oneDNN in a TensorFlow that is imported later, unless the environment already sets it."""
    if not tensorflow_is_loaded():
        os.environ.setdefault(ONEDNN, "1")


def tensorflow_is_loaded() -> bool:
    """Return whether TensorFlow has been imported, after which its settings can no longer be changed."""
    return "tensorflow" in sys.modules


def current_kernels() -> Kernels | None:
    """Return the kernels in use, or those that TensorFlow will use once imported; None if it is not installed."""
    if not tensorflow_is_loaded() and find_spec("tensorflow") is None:
        return None
    limit = os.environ.get(MAX_ISA, "").upper()
    return Kernels(
        onednn=_onednn(),
        max_isa=None if limit in ("", "ALL", "DEFAULT") else limit,
        threads=threads_per_operation(),
        instructions=_instructions(),
    )


def use_kernels(kernels: Kernels) -> None:
    """Set the environment so that a TensorFlow that is imported later uses these kernels."""
    for name, value in kernels.environment().items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def recorded_kernels(info: Mapping[str, Any]) -> Kernels | None:
    """Return the kernels recorded in the content of `study.json`; None if there is no valid record."""
    used = info.get("used")
    recorded = used.get("kernels") if isinstance(used, Mapping) else None
    if not isinstance(recorded, Mapping):
        return None
    types = {"onednn": bool | None, "max_isa": str | None, "threads": int, "instructions": str | None}
    if not all(name in recorded and isinstance(recorded[name], kind) for name, kind in types.items()):
        return None
    if not _ISA.fullmatch(recorded["max_isa"] or ""):  # a damaged file must not set arbitrary environment variables
        return None
    return Kernels(**{name: recorded[name] for name in types})


def threads_per_operation() -> int:
    """Return the threads per operation: as set in the program, else in the environment, else the number of cores."""
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    in_program = config.threading.get_intra_op_parallelism_threads() if config else 0
    in_environment = os.environ.get(THREADS, "")
    if in_program:
        return int(in_program)
    if in_environment.isdecimal() and int(in_environment):
        return int(in_environment)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _onednn() -> bool | None:
    """Return whether a loaded TensorFlow uses oneDNN, or whether it will with the current environment."""
    if tensorflow_is_loaded():
        try:
            return bool(import_module("tensorflow.python.util._pywrap_util_port").IsMklEnabled())
        except (ImportError, AttributeError):  # this is not a public interface, and may change
            return None
    if sys.platform == "darwin":  # TensorFlow for macOS is built without oneDNN
        return False
    return {"1": True, "0": False}.get(os.environ.get(ONEDNN, ""))


def _instructions() -> str | None:
    """Return the widest instruction set of the processor, on Linux; None on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return next((name for name in _INSTRUCTIONS if name in flags), None)


def for_threads(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a set of kernels for each of the runs that are under way at once.

    Parameters
    ----------
    function : callable
        A `tf.function`. It is traced once; each further set of kernels is optimized again.
    """
    import tensorflow as tf

    idle: deque[Callable[..., Any]] = deque([function])

    def run(*arguments: Any) -> Any:
        try:
            one = idle.pop()
        except IndexError:  # all of them are running
            one = tf.function(lambda *inner: function(*inner), autograph=False)
        try:
            return one(*arguments)
        finally:
            idle.append(one)

    return run
