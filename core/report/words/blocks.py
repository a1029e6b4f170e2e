"""Sentences about the blocks of a network: which of them it does not need, and what has not been measured."""

import numpy as np
import pandas as pd

from core.analysis.cut.blocks import NOT_TRIED, NOT_WORSE, UNDECIDED, WORSE, Verified
from core.report.words.formatting import difference_text

NO_MEASUREMENT = (
    "SI does not show whether the network needs a block: where SI stays the same, the block may prepare what later "
    "ones separate. The accuracy without each residual block has not been measured."
)
ALONE = (
    "Each residual block is removed alone and replaced by its shortcut, without training the network again. "
    "Intervals are paired on the same images and corrected for the number of blocks."
)


def blocks_text(table: pd.DataFrame, verified: Verified, tolerance: float) -> str:
    """Say which blocks the network does not need, as Markdown.

    Parameters
    ----------
    table : DataFrame
        As returned by `core.analysis.cut.blocks.with_verified`, with the same tolerance.
    verified : Verified
    tolerance : float
        Acceptable loss of accuracy.
    """
    tried = table[table["verdict"] != NOT_TRIED]
    harmless, undecided, worse = (tried[tried["verdict"] == name] for name in (NOT_WORSE, UNDECIDED, WORSE))
    images = f"{verified.num_test:,} test images"
    if not verified.is_above_chance:
        return (
            f"The whole network's accuracy on {images} is **{verified.accuracy:.3f}**, not certainly above "
            f"{verified.chance:.3f}, the accuracy of always predicting the most frequent class. What its blocks "
            "contribute cannot be decided."
        )
    sentences = [
        f"The whole network's accuracy on {images} is **{verified.accuracy:.3f}**.",
        f"**{len(harmless) or 'None'}** of its {len(tried)} residual blocks can be left out, one at a time, with the "
        f"accuracy certainly not worse by more than {tolerance:g}{_named(harmless)}.",
    ]
    if len(undecided):
        sentences.append(
            f"{images} cannot decide this for **{len(undecided)}**{_images_needed(undecided, verified, tolerance)}."
        )
    if len(worse):
        sentences.append(f"It is worse by more than that without **{len(worse)}**{_named(worse)}.")
    return " ".join([*sentences, together_text(verified, len(harmless))]).strip()


def _named(blocks: pd.DataFrame) -> str:
    """The names of blocks and their share of the parameters, in parentheses."""
    if blocks.empty:
        return ""
    names = ", ".join(f"`{name}`" for name in blocks["block"])
    return f" ({names}; {blocks['parameters_share'].sum():.0%} of the parameters)"


def _images_needed(undecided: pd.DataFrame, verified: Verified, tolerance: float) -> str:
    """How many images would decide about the block that needs the fewest, if its change stays as it is."""
    change, low, high = (undecided[name].to_numpy(float) for name in ("change", "change_low", "change_high"))
    margin = change + tolerance  # an interval decides if half of it is shorter than this distance
    half = np.where(margin > 0, change - low, high - change)
    can_decide = margin != 0
    if not can_decide.any():
        return ""
    # The length of an interval is proportional to 1 / sqrt(number of images).
    images = verified.num_test * (half[can_decide] / margin[can_decide]) ** 2
    block = undecided["block"].to_numpy()[can_decide][images.argmin()]
    rounded = float(f"{images.min():.2g}")
    return f": `{block}`, which needs the fewest, would need about {rounded:,.0f} if its change stays the same"


def together_text(verified: Verified, num_harmless: int) -> str:
    """Say what the joint removal of several blocks costs, as Markdown; "" for fewer than two blocks."""
    together = verified.together
    if together is not None:
        names = ", ".join(f"`{name}`" for name in together.blocks)
        return (
            f"Without {names} at once (each not worse by more than {together.tolerance:g}), it is "
            f"**{together.accuracy:.3f}**: {difference_text(together.change, together.low, together.high)}."
        )
    return "What several of them cost at once was not measured, and may be much more." if num_harmless > 1 else ""
