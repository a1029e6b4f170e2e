"""Sentences about the loss of SI that a cut causes in single classes."""

import pandas as pd

from core.analysis.cut.advice import Advice
from core.analysis.cut.class_losses import class_differences
from core.report.words.formatting import difference_text, plain
from core.study.store.opening import Study


def class_cost_text(study: Study, advice: Advice, layer: str) -> str:
    """Say whether a cut costs single classes more than the tolerance, as Markdown.

    The text is empty where that is unknown, for the best layer itself, and for samples of a single class.

    Parameters
    ----------
    study : Study
    advice : Advice
        The advice on the study.
    layer : str
        One of its candidates.
    """
    table = class_differences(study, advice, layer) if layer != advice.best else pd.DataFrame()
    return class_losses_text(table, advice.tolerance) if len(table) > 1 else ""


def class_losses_text(table: pd.DataFrame, tolerance: float) -> str:
    """Say the same for a table of `class_differences` with at least two classes."""
    certain = table[table["high"] < -tolerance]
    if len(certain) == 1:
        return f"One class certainly loses more than the tolerance: {_named(certain.iloc[0], len(table))}."
    if len(certain) > 1:
        worst = certain.sort_values(["high", "difference"]).iloc[0]
        named = f"most certainly {_named(worst, len(table))}"
        return f"{len(certain)} classes certainly lose more than the tolerance, {named}."
    lowest = f"the lowest difference is that of {_named(table.iloc[0], len(table))}."
    if (table["low"] > -tolerance).all():
        return f"It is certain that no class loses more than the tolerance: {lowest}"
    return f"Whether a class loses more than the tolerance cannot be decided: {lowest}"


def _named(row: pd.Series, num_classes: int) -> str:
    """A class with its difference, interval and number of samples."""
    count = int(row["num_samples"])
    span = difference_text(row["difference"], row["low"], row["high"])
    samples = f"{count:,} sample{'s' * (count != 1)}"
    return f"**{plain(row['class_name'])}**, {span} ({samples}; 95%, corrected for {num_classes} classes)"
