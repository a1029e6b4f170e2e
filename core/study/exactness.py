"""A study too large to be exact by accident: SI of all samples, or from sampled queries, is for a person to choose."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt

from core.study.costs import Cost
from core.study.durations import in_words
from core.study.plan import Plan

EXACT_HOURS = 4.0  # of exact search, on the machine or cluster at hand, beyond which it must be asked for
SAMPLED_PRECISION = 0.007  # ± at 95%, of about 20,000 queries
_FEWEST = 8  # of the samples at most one in so many is asked, or it saves little: in an exact search pairs count once
_SLOWEST = 1e9  # operations a second of any machine; a search that is quick even there needs no look at this one


@dataclass(frozen=True)
class Choice:
    """Two ways to a study whose exact search is long, and the seconds that each is expected to take, all in all.

    precision : half the width of the 95% interval of SI from sampled queries, each against all samples: unbiased.
    """

    exact_s: float
    sampled_s: float
    precision: float

    def sentence(self) -> str:
        """Both, for a person."""
        if self.sampled_s > 0.9 * self.exact_s:
            return (
                f"All samples take about {in_words(self.exact_s)} (--allow-long-search), and sampled queries hardly "
                "less: layers that come in slices are searched whole. "
                "Raise --memory, use --spool, or choose --pooling mean"
            )
        return (
            f"SI from sampled queries, each against all samples, takes about {in_words(self.sampled_s)} (unbiased, "
            f"± {100 * self.precision:.2g} points at 95%: --precision {self.precision:g}); of all samples about "
            f"{in_words(self.exact_s)} (--allow-long-search)"
        )


def choice(plan: Plan, cost: Callable[[float | None], Cost], rate: Callable[[], float]) -> Choice | None:
    """What to choose between, where the exact search of a plan takes more than `EXACT_HOURS`.

    Parameters
    ----------
    plan : its precision, where it has one, is that of the sampled way; default ± 0.007, or more where that would ask
        so many of its samples that little time is saved.
    cost : of the plan, by precision; None is exact.
    rate : operations a second of large float32 products, of all workers together; called only where it matters.
    """
    exact = cost(None)
    if exact.search_flop <= 3600 * EXACT_HOURS * _SLOWEST:
        return None
    speed = rate()
    if exact.search_flop <= 3600 * EXACT_HOURS * speed:
        return None
    precision = plan.options.precision or _usual_precision(plan)
    return Choice(exact.seconds(speed), cost(precision).seconds(speed), precision)


def refuse_unasked(plan: Plan, cost: Callable[[float | None], Cost], rate: Callable[[], float]) -> None:
    """Refuse a plan that would be exact at great cost, unless that, or a precision, was asked for.

    Raises
    ------
    ValueError
        With both choices and the time that each takes.
    """
    options = plan.options
    if options.allow_long_search or options.precision is not None:
        return
    alternatives = choice(plan, cost, rate)
    if alternatives is None:
        return
    sizes = " Sizes and a precision do not go together: leave --sizes out." if options.sizes else ""
    raise ValueError(
        f"allow_long_search or precision must be chosen where the exact search takes more than {EXACT_HOURS:.0f} h; "
        f"got neither. "
        f"{alternatives.sentence()}.{sizes}"
    )


def _usual_precision(plan: Plan) -> float:
    """As `core.measures.sample_size.required_queries` counts: m of n queries know a share to ± z √((1/m − 1/n)/4)."""
    largest = max(len(plan.samples.rows(split)) for split in plan.samples.split_names)
    saving = 1.96 * sqrt((_FEWEST - 1) / (4 * largest))
    return max(SAMPLED_PRECISION, ceil(1000 * saving) / 1000)
