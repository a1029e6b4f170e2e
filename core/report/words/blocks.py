"""What is said of the blocks of a network: which of them it can do without, and what has not been measured."""

import numpy as np
import pandas as pd

from core.analysis.cut.blocks import NOT_TRIED, NOT_WORSE, UNDECIDED, WORSE, Verified

NO_MEASUREMENT = (
    "Whether the network needs a block is not to be seen from SI: a flat SI may be that of a block which prepares what "
    "later ones separate. The accuracy without each residual block has not been measured."
)
ALONE = (
    "Each residual block is taken out alone, its shortcut going on in its place, and nothing is trained again. "
    "Intervals are paired on the same images and corrected for the number of blocks."
)


def blocks_text(table: pd.DataFrame, verified: Verified, tolerance: float) -> str:
    """Which blocks the network can do without, as Markdown.

    table : of `core.analysis.cut.blocks.with_verified`, with the same tolerance.
    """
    tried = table[table["verdict"] != NOT_TRIED]
    harmless, undecided, worse = (tried[tried["verdict"] == name] for name in (NOT_WORSE, UNDECIDED, WORSE))
    images = f"{verified.num_test:,} test images"
    if not verified.is_above_chance:
        return (
            f"The whole network's accuracy on {images} is **{verified.accuracy:.3f}**, not certainly above the "
            f"{verified.chance:.3f} of naming the most frequent class for each. What its blocks do for it cannot be "
            "decided."
        )
    sentences = [
        f"The whole network's accuracy on {images} is **{verified.accuracy:.3f}**.",
        f"Without one of its {len(tried)} residual blocks it is not worse by more than {tolerance:g} in "
        f"**{_cases(len(harmless))}**{_named(harmless)}.",
    ]
    if len(undecided):
        sentences.append(
            f"{images} cannot decide this for **{len(undecided)}**{_enough(undecided, verified, tolerance)}."
        )
    if len(worse):
        sentences.append(f"It is worse by more than that without **{len(worse)}**{_named(worse)}.")
    return " ".join([*sentences, together_text(verified, len(harmless))]).strip()


def _cases(count: int) -> str:
    return f"{count or 'no'} case{'s' * (count > 1)}"


def _named(blocks: pd.DataFrame) -> str:
    """Which blocks these are, and what they hold."""
    if blocks.empty:
        return ""
    names = ", ".join(f"`{name}`" for name in blocks["block"])
    return f" ({names}; {blocks['parameters_share'].sum():.0%} of the parameters)"


def _enough(undecided: pd.DataFrame, verified: Verified, tolerance: float) -> str:
    """How many images would decide about the block that needs the fewest, if its change stays as it is."""
    change, low, high = (undecided[name].to_numpy(float) for name in ("change", "change_low", "change_high"))
    reach = change + tolerance  # what half an interval must not reach
    half = np.where(reach > 0, change - low, high - change)
    possible = reach != 0
    if not possible.any():
        return ""
    images = verified.num_test * (half[possible] / reach[possible]) ** 2
    name, count = undecided["block"].to_numpy()[possible][images.argmin()], float(f"{images.min():.2g}")
    return f": `{name}`, which needs the fewest, would take about {count:,.0f} if its change stays"


def together_text(verified: Verified, num_harmless: int) -> str:
    """What taking several blocks out at once does, as Markdown; "" where there is no question of it."""
    together = verified.together
    if together is not None:
        names = ", ".join(f"`{name}`" for name in together.blocks)
        return (
            f"Without {names} at once (each not worse by more than {together.tolerance:g}), it is "
            f"**{together.accuracy:.3f}**: {change_text(together.change, together.low, together.high)}."
        )
    return "What several of them cost at once was not measured, and may be much more." if num_harmless > 1 else ""


def change_text(change: float, low: float, high: float) -> str:
    """A change with its interval, where it has one."""
    return f"{change:+.3f}" if pd.isna(low) else f"{change:+.3f} [{low:+.3f}, {high:+.3f}]"
