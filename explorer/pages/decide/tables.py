"""What the page Decide says: where to cut the open study's network, and which network separates the classes best."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from core.analysis.cut.time_saved import WIDEST_RANGE, range_text, span_text, time_saved_text
from core.analysis.ranking.tables import BEST, WORSE
from core.report.words.cut import difference_to_best_text
from core.report.words.formatting import SPLIT_NAMES

MEANINGS = {"best": "highest SI", "tie": "not certainly worse", "certainly worse": "certainly worse"}


def share(value: float) -> str:
    """A share as the page shows it."""
    return "–" if pd.isna(value) else f"{value:.0%}"


def time_share(row: pd.Series) -> str:
    """What a cut saves of the time, in figures: the share and its range over the rounds, where it can be told."""
    if pd.isna(row["seconds"]):
        return "–"
    if pd.isna(row["seconds_saved"]):
        return "cannot be told"
    saved = share(row["seconds_saved"])
    return saved if pd.isna(row["timing_rounds"]) else f"{saved} ({span_text(row)})"


def time_help(row: pd.Series) -> str:
    """What stands behind the share of the time; "" where it was not measured."""
    if pd.isna(row["seconds"]):
        return ""
    text = f"{1000 * row['seconds']:.3g} ms an image are left in the fastest round; {range_text(row)}."
    if pd.notna(row["seconds_saved"]):
        return text
    return f"{text} The rounds differ by more than {share(WIDEST_RANGE)} of the time: the machine was busy."


def savings(row: pd.Series) -> str:
    """What a cut at a layer saves, of what is known, as a sentence; "" where nothing is."""
    parts = [
        f"{share(row[f'{name}_saved'])} of the {words}"
        for name, words in (("parameters", "parameters"), ("flop", "operations"))
        if pd.notna(row[f"{name}_saved"])
    ]
    parts += [text] if (text := time_saved_text(row)) else []
    if not parts:
        return ""
    return f"Cutting there saves {', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}."


def verdict(networks: pd.DataFrame, samples: str) -> str:
    """A ranking in sentences, each difference with its interval, as Markdown.

    networks : of a ranking, the best first. samples : such as "1,800 test samples", those that were compared.
    """
    best = networks[networks["meaning"] == BEST].iloc[0]
    worse = [_ranked(row) for _, row in networks[networks["meaning"] == WORSE].iterrows()]
    ties = [_ranked(row) for _, row in networks[~networks["meaning"].isin([BEST, WORSE])].iterrows()]
    value = f"{best['value']:.3f} [{best['low']:.3f}, {best['high']:.3f}]"
    if ties:
        text = f"Of these networks **{best['network']}** has the highest SI, {value} at `{best['layer']}`"
        text += f", but {samples} cannot decide whether it is better than {_listed(ties, 'or')}."
    else:
        text = f"**{best['network']}** separates these samples best: SI {value} at `{best['layer']}`, {samples}."
    return text + (f" Certainly worse: {_listed(worse, 'and')}." if worse else "")


def ranked_samples(info: Mapping[str, Any]) -> str:
    """The samples that a ranking compares networks on, such as "1,800 test samples". info : of the ranking."""
    split = str(info["compared"]["split"])
    return f"{info['samples'][split]:,} {SPLIT_NAMES.get(split, split)} samples"


def _ranked(row: pd.Series) -> str:
    """A network with its difference to the best one."""
    return f"{row['network']} ({difference_to_best_text(row)})"


def _listed(words: Sequence[str], last: str) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"
