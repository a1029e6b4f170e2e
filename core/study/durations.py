"""Format durations."""


def in_words(seconds: float) -> str:
    """Seconds below a minute and a half, minutes below an hour and a half, else hours, as in "40 s" or "2.0 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
