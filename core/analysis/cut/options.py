"""The options of a cut, each declared once, as those of a study are."""

from dataclasses import dataclass

from core.analysis.comparing import MEASURES
from core.analysis.cut.advice import SI_TOLERANCE
from core.analysis.cut.exporting import HEADS
from core.network.cutting import POOLINGS
from core.study.options import declare, options_of, with_parameters

AUTO = "auto"


@with_parameters
@dataclass(frozen=True)
class CutOptions:
    """Where a network is cut, and what the cut network gives."""

    head: str | None = declare(
        None,
        help="Classifier on top of the cut: a linear probe, or the nearest training sample.",
        group="network",
        choices=HEADS,
        default_text="none",
    )
    pooling: str = declare(
        "mean",
        help="Output of the cut network: the mean of each channel, all activations in a row, or as they are (none).",
        group="network",
        choices=POOLINGS,
    )
    layer: str = declare(
        AUTO,
        help="Layer at which to cut; auto takes the earliest layer before the head that is certain to be within "
        "--tolerance of the best one's SI, paired on the same samples and corrected for the number of layers.",
        group="layers",
        metavar="NAME",
    )
    tolerance: float = declare(
        SI_TOLERANCE,
        help="Loss of SI against the best layer that is acceptable.",
        group="layers",
        metavar="SI",
        most=1,
        excludes_least=True,
        excludes_most=True,
        advice=f"{SI_TOLERANCE} is the default.",
    )
    measure: str = declare(
        MEASURES[0],
        help="SI by which layers are compared: within a split, or of test samples among training samples (cross).",
        group="layers",
        choices=MEASURES,
    )


CUT_OPTIONS = options_of(CutOptions)
