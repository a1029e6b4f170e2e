"""Which kernels TensorFlow computes with, on which the last bits of its results depend.

They depend on the number of threads, too: without oneDNN's kernels those of most layers, with them those of dense
layers with many inputs. So all processes that work on one study use the same kernels and the same number of threads.
TensorFlow turns oneDNN on by itself on some processors only; on the others its kernels are faster, too. It reads its
settings once, while it is imported. So `import core` asks for oneDNN, unless the environment says whether to, or
TensorFlow is loaded already.
"""

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
MAX_ISA = "ONEDNN_MAX_CPU_ISA"
THREADS = "TF_NUM_INTRAOP_THREADS"
_ISA = re.compile("[A-Z0-9_]*")
_INSTRUCTIONS = ("amx_bf16", "avx512_fp16", "avx512_bf16", "avx512_vnni", "avx512bw", "avx_vnni", "avx2", "avx")


@dataclass(frozen=True)
class Kernels:
    """What TensorFlow's results on a processor depend on, as `study.json` records it.

    Attributes
    ----------
    onednn
        Whether oneDNN's kernels are in effect; None where TensorFlow does not say.
    max_isa
        The instruction set that ONEDNN_MAX_CPU_ISA limits oneDNN to; None without a limit.
    threads
        Of one operation.
    instructions
        The widest instruction set of the processor, by which oneDNN chooses, such as avx512_bf16; None where the system
        does not say.
    """

    onednn: bool | None
    max_isa: str | None
    threads: int
    instructions: str | None

    def environment(self) -> dict[str, str | None]:
        """The variables of a process that shall compute in the same way; None for one that must not be set."""
        variables: dict[str, str | None] = {MAX_ISA: self.max_isa, THREADS: str(self.threads)}
        if self.onednn is not None:
            variables[ONEDNN] = "1" if self.onednn else "0"
        return variables

    def has_settings_of(self, other: "Kernels") -> bool:
        """Whether a process that is set as the other one is set as this one; the instructions are the processor's."""
        return (self.onednn, self.max_isa, self.threads) == (other.onednn, other.max_isa, other.threads)

    def __str__(self) -> str:
        name = {True: "oneDNN", False: "Eigen (oneDNN is off)", None: "unknown"}[self.onednn]
        limit = f" limited to {self.max_isa}" if self.max_isa else ""
        processor = f" on {self.instructions}" if self.instructions else ""
        return f"{name}{limit}{processor}, {self.threads} {'thread' if self.threads == 1 else 'threads'}"


def prefer_onednn() -> None:
    """Have a TensorFlow that is imported later use oneDNN, unless the environment says whether to."""
    if not tensorflow_is_loaded():
        os.environ.setdefault(ONEDNN, "1")


def tensorflow_is_loaded() -> bool:
    """Whether its settings have been read, and cannot be changed any more in this process."""
    return "tensorflow" in sys.modules


def current_kernels() -> Kernels | None:
    """The kernels in effect, or, where TensorFlow is not loaded yet, those that will be; None where there is none."""
    if not tensorflow_is_loaded() and find_spec("tensorflow") is None:
        return None
    limit = os.environ.get(MAX_ISA, "").upper()
    return Kernels(
        onednn=_onednn(),
        max_isa=None if limit in ("", "ALL", "DEFAULT") else limit,
        threads=_threads(),
        instructions=_instructions(),
    )


def use_kernels(kernels: Kernels) -> None:
    """Have a TensorFlow that is imported later compute with these, whatever the environment said."""
    for name, value in kernels.environment().items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def recorded_kernels(info: Mapping[str, Any]) -> Kernels | None:
    """The kernels that `study.json` says were used; None where it does not say."""
    used = info.get("used")
    recorded = used.get("kernels") if isinstance(used, Mapping) else None
    if not isinstance(recorded, Mapping):
        return None
    usual = {"onednn": bool | None, "max_isa": str | None, "threads": int, "instructions": str | None}
    if not all(name in recorded and isinstance(recorded[name], kind) for name, kind in usual.items()):
        return None
    if not _ISA.fullmatch(recorded["max_isa"] or ""):
        return None
    return Kernels(**{name: recorded[name] for name in usual})


def _onednn() -> bool | None:
    """What a loaded TensorFlow does; else what it will do as the environment is."""
    if tensorflow_is_loaded():
        try:
            return bool(import_module("tensorflow.python.util._pywrap_util_port").IsMklEnabled())
        except (ImportError, AttributeError):  # it has no public name, and may move
            return None
    if sys.platform == "darwin":  # its TensorFlow comes without oneDNN
        return False
    return {"1": True, "0": False}.get(os.environ.get(ONEDNN, ""))


def _threads() -> int:
    """Of one operation of TensorFlow: as set in the program, else in the environment, else as many as cores."""
    config = getattr(sys.modules.get("tensorflow"), "config", None)
    in_program = config.threading.get_intra_op_parallelism_threads() if config else 0
    in_environment = os.environ.get(THREADS, "")
    if in_program:
        return int(in_program)
    if in_environment.isdecimal() and int(in_environment):
        return int(in_environment)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _instructions() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return next((name for name in _INSTRUCTIONS if name in flags), None)
