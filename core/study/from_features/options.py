"""The options of a study of ready-made features, each declared once, as those of a study of a network are."""

from dataclasses import dataclass

from core.search.neighbors import METRICS
from core.study.options import declare, declare_as_in_study, options_of, with_parameters


@with_parameters
@dataclass(frozen=True)
class FeatureChoices:
    """What is computed of ready-made features."""

    metric: str = declare(METRICS[0], help="Distance by which neighbors are near.", group="measures", choices=METRICS)
    neighbors: int = declare_as_in_study("neighbors", group="measures")
    centers: bool = declare(
        False, help="Also compute the center measures, with chance from permuted labels.", group="measures"
    )
    related_measures: bool = declare_as_in_study(
        "related_measures",
        help="Compute related separability measures, intrinsic dimension and hubness of each layer, too; for a study, "
        "CKA between layers as well.",
    )


FEATURE_OPTIONS = options_of(FeatureChoices)
