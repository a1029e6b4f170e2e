"""Progress on a stream, for a person who waits."""

import time
from typing import TextIO

from core.study.plan import Progress


class ProgressLine:
    """Shows progress on a stream: one line rewritten on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO, interval_s: float = 10.0) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._interval_s = 0.1 if self._live else interval_s
        self._stage, self._started, self._done_at_start, self._shown = "", 0.0, 0, -1e9
        self._open = False

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        group = progress.stage.split(" in ")[0] if progress.unit == "layers" else progress.stage
        if group != self._stage:
            self.close()
            self._stage, self._started, self._done_at_start, self._shown = group, now, progress.done, -1e9
        if now - self._shown < self._interval_s and progress.done < progress.total:
            return
        self._shown = now
        text = (
            f"{progress.stage}: {progress.done:,} of {progress.total:,} {progress.unit}{self._time_left(progress, now)}"
        )
        self._stream.write(f"\r\x1b[K{text}" if self._live else f"{text}\n")
        self._stream.flush()
        self._open = self._live

    def close(self) -> None:
        """End the line that is being rewritten."""
        if self._open:
            self._stream.write("\n")
            self._open = False

    def _time_left(self, progress: Progress, now: float) -> str:
        done = progress.done - self._done_at_start
        if done <= 0 or progress.done >= progress.total:
            return ""
        left_s = (now - self._started) / done * (progress.total - progress.done)
        return f", {int(left_s) // 60}:{int(left_s) % 60:02d} left"
