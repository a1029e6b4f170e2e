"""Separation of classes, layer by layer: exact neighbors, the Separation Index, and studies of whole networks.

The names below load on first use, so that `import core` is quick and needs neither TensorFlow nor Streamlit. It asks a
TensorFlow that is imported later for oneDNN's kernels, unless the environment sets TF_ENABLE_ONEDNN_OPTS.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from core.kernels import prefer_onednn

if TYPE_CHECKING:
    from core.measures.alignment import linear_cka
    from core.measures.center import center_separation_index
    from core.measures.dimension import intrinsic_dimension
    from core.measures.family import (
        anti_separation_index,
        balanced_separation_index,
        cross_separation_index,
        high_order_separation_index,
        separation_index,
        soft_separation_index,
    )
    from core.measures.neighbors import Neighbors, nearest_neighbors
    from core.measures.overlap import neighbor_overlap
    from core.measures.separation import Separation
    from core.measures.siblings import (
        generalized_discrimination_value,
        neural_collapse,
        separation_fuzziness,
        silhouette,
    )
    from core.measures.smoothness import smoothness_index
    from core.study.callback import SeparationCallback
    from core.study.features import FeatureStudyWriter, study_from_features
    from core.study.fine_tuning import FineTuned, FineTuneOptions, fine_tune
    from core.study.plan import Plan, StudyOptions, plan_study
    from core.study.results import Study, StudyError, load_study
    from core.study.run import run_study

__version__ = "0.1.0"

prefer_onednn()

_HOMES = {
    "Neighbors": "core.measures.neighbors",
    "nearest_neighbors": "core.measures.neighbors",
    "Separation": "core.measures.separation",
    "anti_separation_index": "core.measures.family",
    "balanced_separation_index": "core.measures.family",
    "center_separation_index": "core.measures.center",
    "cross_separation_index": "core.measures.family",
    "high_order_separation_index": "core.measures.family",
    "separation_index": "core.measures.family",
    "soft_separation_index": "core.measures.family",
    "smoothness_index": "core.measures.smoothness",
    "SeparationCallback": "core.study.callback",
    "generalized_discrimination_value": "core.measures.siblings",
    "neural_collapse": "core.measures.siblings",
    "separation_fuzziness": "core.measures.siblings",
    "silhouette": "core.measures.siblings",
    "intrinsic_dimension": "core.measures.dimension",
    "linear_cka": "core.measures.alignment",
    "neighbor_overlap": "core.measures.overlap",
    "FeatureStudyWriter": "core.study.features",
    "study_from_features": "core.study.features",
    "FineTuneOptions": "core.study.fine_tuning",
    "FineTuned": "core.study.fine_tuning",
    "fine_tune": "core.study.fine_tuning",
    "Plan": "core.study.plan",
    "StudyOptions": "core.study.plan",
    "plan_study": "core.study.plan",
    "Study": "core.study.results",
    "StudyError": "core.study.results",
    "load_study": "core.study.results",
    "run_study": "core.study.run",
}

__all__ = [
    "FeatureStudyWriter",
    "FineTuneOptions",
    "FineTuned",
    "Neighbors",
    "Plan",
    "Separation",
    "SeparationCallback",
    "Study",
    "StudyError",
    "StudyOptions",
    "anti_separation_index",
    "balanced_separation_index",
    "center_separation_index",
    "cross_separation_index",
    "fine_tune",
    "generalized_discrimination_value",
    "high_order_separation_index",
    "intrinsic_dimension",
    "linear_cka",
    "load_study",
    "nearest_neighbors",
    "neighbor_overlap",
    "neural_collapse",
    "plan_study",
    "run_study",
    "separation_fuzziness",
    "separation_index",
    "silhouette",
    "smoothness_index",
    "soft_separation_index",
    "study_from_features",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
