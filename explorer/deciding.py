"""What the page Decide says: where to cut the open study's network, and which network separates the classes best."""

import pandas as pd

from core.study.advice import Advice
from core.study.ranking_tables import BEST, WORSE

MEANINGS = {"best": "best", "tie": "tie with the best", "certainly worse": "certainly worse"}


def headline(advice: Advice) -> str:
    """The advice in a line."""
    if advice.earliest == advice.best:
        return f"No earlier layer is as good as {advice.best}"
    return f"Cut at {advice.earliest}: no later layer is certainly better"


def reason(advice: Advice) -> str:
    """Why, as Markdown: the best layer, the earliest within its interval, and what a cut there saves."""
    best, earliest = advice.row(advice.best), advice.row(advice.earliest)
    text = f"SI is highest at `{advice.best}`, **{best['value']:.3f}**."
    if advice.earliest == advice.best:
        return f"{text} The interval of every earlier layer's difference to it lies below 0."
    return (
        f"{text} The first layer whose difference to it is not certain is `{advice.earliest}`, "
        f"**{earliest['value']:.3f}** ({interval(earliest)}).{_savings(earliest)}"
    )


def interval(row: pd.Series) -> str:
    """A layer's difference to the best, with its interval where there is one."""
    if row["difference"] == 0:
        return "the best"
    text = f"{row['difference']:+.3f}"
    if pd.isna(row["difference_low"]):
        return f"{text}, no interval"
    return f"{text} [{row['difference_low']:+.3f}, {row['difference_high']:+.3f}]"


def share(value: float) -> str:
    """A share as the page shows it."""
    return "–" if pd.isna(value) else f"{value:.0%}"


def _savings(row: pd.Series) -> str:
    """What a cut saves, of what is known."""
    parts = [
        f"{share(row[f'{name}_saved'])} of the {words}"
        for name, words in (("parameters", "parameters"), ("flop", "operations"), ("seconds", "time"))
        if pd.notna(row[f"{name}_saved"])
    ]
    if not parts:
        return ""
    return f" Cutting there saves {', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}."


def verdict(networks: pd.DataFrame) -> str:
    """A ranking in a sentence, as Markdown; networks : the best first."""
    best = networks[networks["meaning"] == BEST].iloc[0]
    worse = networks[networks["meaning"] == WORSE]["network"].tolist()
    ties = networks[~networks["meaning"].isin([BEST, WORSE])]["network"].tolist()
    text = f"**{best['network']}** separates these samples best: SI {best['value']:.3f} at `{best['layer']}`."
    if ties:
        text += f" Not to be told from it: {', '.join(ties)}."
    return text + (f" Certainly worse: {', '.join(worse)}." if worse else "")
