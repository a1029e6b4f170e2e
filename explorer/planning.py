"""What a run will compute and cost, asked from the command line in another process: the server loads no network."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explorer.jobs import core_environ

# python -m core, with the memory that the server allows
_BOUNDED = """
import sys
from core.cli import main
from explorer.worker import bound_memory
bound_memory()
sys.exit(main(sys.argv[1:]))
"""


class PlanError(ValueError):
    """The command line refuses what is asked for, and says why."""


def plan(arguments: Sequence[str], folder: Path, *, timeout_s: float, environ: Mapping[str, str] | None = None) -> Any:
    """The plan of `python -m core ARGUMENTS` as `--dry-run --json` prints it.

    Parameters
    ----------
    arguments : as in `jobs.Job`, with paths relative to a folder within `folder`.

    Raises
    ------
    PlanError
        With the command's own words, or because it took too long.
    """
    command = [sys.executable, "-c", _BOUNDED, *arguments, "--dry-run", "--json"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=core_environ() | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PlanError(f"The plan took more than {timeout_s:.0f} s. Take fewer samples, or a faster disk.") from error
    if ended.returncode:
        raise PlanError(_reason(ended.stderr))
    return json.loads(ended.stdout)


def _reason(printed: str) -> str:
    """What the command printed after "error:", or its last line."""
    _, found, reason = printed.rpartition("error: ")
    lines = [line for line in printed.splitlines() if line.strip()]
    if found:
        return reason.strip()
    return lines[-1] if lines else "The plan ended without saying why, most often because memory ran out."
