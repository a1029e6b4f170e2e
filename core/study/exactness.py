"""A study too large to be exact by accident: SI of all samples, or from sampled queries, is for a person to choose."""

from collections.abc import Callable
from dataclasses import dataclass

from core.study.costs import Cost
from core.study.durations import in_words
from core.study.plan import StudyOptions

EXACT_HOURS = 4.0  # of exact search, on the machine or cluster at hand, beyond which it must be asked for
SAMPLED_PRECISION = 0.007  # ± at 95 %, of about 20,000 queries
_SLOWEST = 1e9  # operations a second of any machine; a search that is quick even there needs no look at this one


@dataclass(frozen=True)
class Choice:
    """Two ways to a study whose exact search is long, and the seconds that each is expected to take, all in all.

    precision : half the width of the 95 % interval of SI from sampled queries, each against all samples: unbiased.
    """

    exact_s: float
    sampled_s: float
    precision: float

    def sentence(self) -> str:
        """Both, for a person."""
        return (
            f"SI from sampled queries, each against all samples, takes about {in_words(self.sampled_s)} (unbiased, "
            f"± {100 * self.precision:.2g} points at 95 %: --precision {self.precision:g}); of all samples about "
            f"{in_words(self.exact_s)} (--exact)"
        )


def choice(options: StudyOptions, cost: Callable[[float | None], Cost], rate: Callable[[], float]) -> Choice | None:
    """What to choose between, where the exact search takes more than `EXACT_HOURS`.

    Parameters
    ----------
    options : what is asked; its precision, where it has one, is that of the sampled way.
    cost : of the study, by precision; None is exact.
    rate : operations a second of large float32 products, of all workers together; called only where it matters.
    """
    exact = cost(None)
    if exact.search_flop <= 3600 * EXACT_HOURS * _SLOWEST:
        return None
    speed = rate()
    if exact.search_flop <= 3600 * EXACT_HOURS * speed:
        return None
    precision = options.precision or SAMPLED_PRECISION
    return Choice(exact.seconds(speed), cost(precision).seconds(speed), precision)


def refuse_unasked(options: StudyOptions, cost: Callable[[float | None], Cost], rate: Callable[[], float]) -> None:
    """Refuse a study that would be exact at great cost, unless that, or a precision, was asked for.

    Raises
    ------
    ValueError
        With both choices and the time that each takes.
    """
    if options.exact or options.precision is not None:
        return
    found = choice(options, cost, rate)
    if found is None:
        return
    sizes = " Sizes and a precision do not go together: leave --sizes out." if options.sizes else ""
    raise ValueError(
        f"exact or precision must be chosen where the exact search takes more than {EXACT_HOURS:.0f} h; got neither. "
        f"{found.sentence()}.{sizes}"
    )
