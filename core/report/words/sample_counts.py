"""A note on curves of unequal numbers of samples."""

import pandas as pd

from core.report.words.formatting import SAMPLES

_UNEQUAL = 1.1  # times as many samples, from which on it is said


def unequal_counts_text(samples: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Return a note where SI of the curves is of unequal numbers of samples; "" where these are about the same.

    Parameters
    ----------
    samples : DataFrame
        The table `samples` of a study.
    curves : DataFrame
        The curves that are shown, as returned by `core.analysis.curves.tidy_curves`, of all samples.
    """
    num_samples = samples["split"].astype(str).value_counts()
    shown = set(curves.loc[curves["measure"] == "SI", "samples"])
    counts = {name: int(num_samples.get(_searched_split(name), 0)) for name in SAMPLES if name in shown}
    if not counts or max(counts.values()) <= _UNEQUAL * min(counts.values()):
        return ""
    numbers = ", ".join(f"{count:,} for {SAMPLES[name]}" for name, count in counts.items())
    return (
        f"SI rises with the number of samples among which neighbors are searched ({numbers}), so the levels of these "
        "curves cannot be compared."
    )


def _searched_split(name: str) -> str:
    """The split among whose samples the neighbors of a curve are searched."""
    return "train" if name == "cross" else name
