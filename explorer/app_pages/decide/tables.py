"""Texts of the page Decide: what a cut saves, and which network separates the classes best."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from core.analysis.cut.time_saved import WIDEST_RANGE, range_text, span_text, time_saved_text
from core.analysis.ranking.tables import BEST, WORSE
from core.report.words.cut import difference_to_best_text
from core.report.words.formatting import SPLIT_NAMES

MEANINGS = {"best": "highest SI", "tie": "not certainly worse", "certainly worse": "certainly worse"}


def share(value: float) -> str:
    """A share in percent, 0% and 100% only where it is exactly that; a dash if it is unknown."""
    if pd.isna(value):
        return "–"
    rounded = f"{value:.0%}"
    if rounded == "0%" and value > 0:
        return "<1%"
    return ">99%" if rounded == "100%" and value < 1 else rounded


def time_share(row: pd.Series) -> str:
    """The share of the time that a cut saves, with its range over the rounds.

    Parameters
    ----------
    row : Series
        A row of `core.analysis.cut.advice.Advice`.
    """
    if pd.isna(row["seconds"]):
        return "–"
    if pd.isna(row["seconds_saved"]):
        return "unknown"
    saved = share(row["seconds_saved"])
    return saved if pd.isna(row["timing_rounds"]) else f"{saved} ({span_text(row)})"


def time_help(row: pd.Series) -> str:
    """The measurement behind the share of the time; "" if the time was not measured."""
    if pd.isna(row["seconds"]):
        return ""
    text = f"The cut network takes {1000 * row['seconds']:.3g} ms per image in the fastest round; {range_text(row)}."
    if pd.notna(row["seconds_saved"]):
        return text
    return f"{text} The rounds differ by more than {share(WIDEST_RANGE)} of the time: the machine was busy."


def savings(row: pd.Series) -> str:
    """What a cut at a layer saves, as a sentence; "" if nothing is known."""
    parts = []
    if pd.notna(row["parameters_saved"]):
        parts.append(f"{share(row['parameters_saved'])} of the parameters")
    if pd.notna(row["flop_saved"]):
        parts.append(f"{share(row['flop_saved'])} of the operations")
    if text := time_saved_text(row):
        parts.append(text)
    return f"Cutting there saves {_listed(parts, 'and')}." if parts else ""


def verdict(networks: pd.DataFrame, samples: str) -> str:
    """A ranking in sentences, each difference with its interval, as Markdown.

    Parameters
    ----------
    networks : DataFrame
        The table `networks` of a ranking.
    samples : str
        Of `ranked_samples`.
    """
    best = networks[networks["verdict"] == BEST].iloc[0]
    worse = [_ranked(row) for _, row in networks[networks["verdict"] == WORSE].iterrows()]
    ties = [_ranked(row) for _, row in networks[~networks["verdict"].isin([BEST, WORSE])].iterrows()]
    value = f"{best['value']:.3f} [{best['low']:.3f}, {best['high']:.3f}]"
    if ties:
        text = f"Of these networks **{best['network']}** has the highest SI, {value} at `{best['layer']}`"
        text += f", but {samples} cannot decide whether it is better than {_listed(ties, 'or')}."
    else:
        text = f"**{best['network']}** separates these samples best: SI {value} at `{best['layer']}`, {samples}."
    if worse:
        text += f" Certainly worse: {_listed(worse, 'and')}."
    return text


def ranked_samples(info: Mapping[str, Any]) -> str:
    """The samples on which a ranking compares networks, such as "1,800 test samples".

    Parameters
    ----------
    info : mapping
        `Ranking.info`.
    """
    split = str(info["compared"]["split"])
    return f"{info['samples'][split]:,} {SPLIT_NAMES.get(split, split)} samples"


def _ranked(row: pd.Series) -> str:
    """A network with its difference to the best network."""
    return f"{row['network']} ({difference_to_best_text(row)})"


def _listed(words: Sequence[str], conjunction: str) -> str:
    """Such as "a, b and c"."""
    if len(words) == 1:
        return words[0]
    return f"{', '.join(words[:-1])} {conjunction} {words[-1]}"
