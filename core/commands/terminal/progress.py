"""Progress reports on a stream, as text or JSON, and termination on request."""

import json
import signal
import time
from dataclasses import asdict
from types import FrameType
from typing import Any, TextIO

from core.commands.terminal.arguments import JSON_HELP
from core.study.plan import Progress

# What a command that is interrupted says: by default, with --overwrite, and where it can go on.
NOTHING_WRITTEN = "Nothing was written."
EARLIER_STAYS = "What the folder held before stays."
LAYERS_STAY = "The layers done so far are kept; the same command goes on from there."


def add_output(group: Any, what: str) -> None:
    """Add the options about output of a command that writes a folder and can go on with it.

    Parameters
    ----------
    group : the command's group of options about output.
    what : what the folder holds, such as "study".
    """
    group.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help=f"Folder to write the {what} to; a {what} that was interrupted there goes on.",
    )
    add_overwrite(group, what)
    group.add_argument("--json", action="store_true", help=JSON_HELP)
    add_progress(group)


def add_overwrite(group: Any, what: str) -> None:
    """Add the switch that replaces an earlier output. what : what the folder holds, such as "study"."""
    group.add_argument(
        "--overwrite",
        action="store_true",
        help=f"Replace the {what} in the folder, whatever it is of, when the new one is complete.",
    )


def add_progress(output: Any) -> None:
    """Add the option of how progress is told to a command's group of options about output."""
    output.add_argument(
        "--progress",
        choices=("text", "json"),
        default="text",
        help="Form of the progress on stderr: text for people, or json, one object a line. Default: %(default)s.",
    )


def progress_on(stream: TextIO, how: str) -> "ProgressLine":
    """Return the progress reporter that the option names."""
    return JsonProgress(stream) if how == "json" else ProgressLine(stream)


def interrupt_when_terminated() -> None:
    """Treat SIGTERM as Ctrl-C, which leaves a valid study."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class StatusLine:
    """A stream on which one line is rewritten on a terminal, and a line written now and then elsewhere."""

    def __init__(self, stream: TextIO, interval_s: float = 10.0) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._interval_s = 0.1 if self._live else interval_s
        self._stage, self._started, self._done_at_start, self._shown = "", 0.0, 0, -1e9
        self._open = False

    def close(self) -> None:
        """End the line that is being rewritten."""
        if self._open:
            self._stream.write("\n")
            self._stream.flush()
            self._open = False

    def _begin(self, stage: str, done: int, now: float) -> None:
        """A new stage, of which so much is done; its first line is due at once."""
        self.close()
        self._stage, self._started, self._done_at_start, self._shown = stage, now, done, -1e9

    def _show(self, text: str, now: float) -> None:
        self._shown = now
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._open = self._live


class ProgressLine(StatusLine):
    """Shows the progress of a study, with the time that a stage will still take."""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        group = progress.stage.split(" in ")[0] if progress.unit == "layers" else progress.stage
        if group != self._stage:
            self._begin(group, progress.done, now)
        if now - self._shown < self._interval_s and progress.done < progress.total:
            return
        self._show(self._text(progress, self._left_s(progress, now)), now)

    def _text(self, progress: Progress, left_s: float | None) -> str:
        remaining = "" if left_s is None else f", {int(left_s) // 60}:{int(left_s) % 60:02d} left"
        return f"{progress.stage}: {progress.done:,} of {progress.total:,} {progress.unit}{remaining}"

    def _left_s(self, progress: Progress, now: float) -> float | None:
        done = progress.done - self._done_at_start
        if done <= 0 or progress.done >= progress.total:
            return None
        return (now - self._started) / done * (progress.total - progress.done)


class JsonProgress(ProgressLine):
    """One line of JSON a report: stage, done, total, unit, and left_s, the seconds that the stage will still take."""

    def __init__(self, stream: TextIO, interval_s: float = 0.5) -> None:
        super().__init__(stream, interval_s)
        self._live, self._interval_s = False, interval_s

    def _text(self, progress: Progress, left_s: float | None) -> str:
        return json.dumps(asdict(progress) | {"left_s": left_s})
