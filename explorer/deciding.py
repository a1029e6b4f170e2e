"""What the page Decide says: where to cut the open study's network, and which network separates the classes best."""

import pandas as pd

from core.study.ranking_tables import BEST, WORSE

MEANINGS = {"best": "best", "tie": "tie with the best", "certainly worse": "certainly worse"}


def share(value: float) -> str:
    """A share as the page shows it."""
    return "–" if pd.isna(value) else f"{value:.0%}"


def savings(row: pd.Series) -> str:
    """What a cut at a layer saves, of what is known, as a sentence; "" where nothing is."""
    parts = [
        f"{share(row[f'{name}_saved'])} of the {words}"
        for name, words in (("parameters", "parameters"), ("flop", "operations"), ("seconds", "time"))
        if pd.notna(row[f"{name}_saved"])
    ]
    if not parts:
        return ""
    return f"Cutting there saves {', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}."


def blocks_text(blocks: pd.DataFrame) -> str:
    """How many blocks may be redundant, and what they hold, as Markdown; blocks : of `redundant_blocks`."""
    found = blocks[blocks["redundant"]]
    held = found["parameters_share"].sum()
    names = ", ".join(f"`{name}`" for name in found["block"])
    if found.empty:
        return f"SI certainly rises across each of the {len(blocks)} blocks."
    return (
        f"Across **{len(found)} of {len(blocks)}** blocks SI does not certainly rise; they hold **{held:.0%}** of the "
        f"parameters: {names}."
    )


def verdict(networks: pd.DataFrame) -> str:
    """A ranking in a sentence, as Markdown; networks : the best first."""
    best = networks[networks["meaning"] == BEST].iloc[0]
    worse = networks[networks["meaning"] == WORSE]["network"].tolist()
    ties = networks[~networks["meaning"].isin([BEST, WORSE])]["network"].tolist()
    text = f"**{best['network']}** separates these samples best: SI {best['value']:.3f} at `{best['layer']}`."
    if ties:
        text += f" Not to be told from it: {', '.join(ties)}."
    return text + (f" Certainly worse: {', '.join(worse)}." if worse else "")
