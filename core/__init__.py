"""Separation of classes, layer by layer: exact neighbors, the Separation Index, and studies of whole networks.

The names below load on first use, so that `import core` is quick and needs neither TensorFlow nor Streamlit. It asks a
TensorFlow that is imported later for oneDNN's kernels, unless the environment sets TF_ENABLE_ONEDNN_OPTS.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from core.network.kernels import prefer_onednn

if TYPE_CHECKING:
    from core.analysis.class_clusters.table import class_clusters
    from core.analysis.samples.tables import (
        class_pair,
        class_separation,
        confused_classes,
        duplicates,
        label_errors,
        marks,
        prediction_depths,
        sample_path,
    )
    from core.cluster.engine import DaskEngine
    from core.measures.center import center_separation_index
    from core.measures.related.alignment import linear_cka
    from core.measures.related.intrinsic_dimension import intrinsic_dimension
    from core.measures.related.neighbor_overlap import neighbor_overlap
    from core.measures.related.separability import (
        generalized_discrimination_value,
        neural_collapse,
        separation_fuzziness,
        silhouette,
    )
    from core.measures.separation import Separation
    from core.measures.separation_index import (
        anti_separation_index,
        balanced_separation_index,
        cross_separation_index,
        high_order_separation_index,
        separation_index,
        soft_separation_index,
    )
    from core.measures.smoothness import smoothness_index
    from core.search.neighbors import Neighbors, nearest_neighbors
    from core.study.from_features.writer import FeatureStudyWriter, study_from_features
    from core.study.from_torch.study import study_from_torch
    from core.study.plan import Plan, StudyOptions, plan_study
    from core.study.run import run_study
    from core.study.store.opening import Study, StudyError, load_study
    from core.training.fine_tuning import FineTuned, FineTuneOptions, fine_tune
    from core.training.options import TrainingOptions
    from core.training.recording.callback import SeparationCallback

__version__ = "0.1.0"

prefer_onednn()

_HOMES = {
    "DaskEngine": "core.cluster.engine",
    "Neighbors": "core.search.neighbors",
    "nearest_neighbors": "core.search.neighbors",
    "Separation": "core.measures.separation",
    "anti_separation_index": "core.measures.separation_index",
    "balanced_separation_index": "core.measures.separation_index",
    "center_separation_index": "core.measures.center",
    "cross_separation_index": "core.measures.separation_index",
    "high_order_separation_index": "core.measures.separation_index",
    "separation_index": "core.measures.separation_index",
    "soft_separation_index": "core.measures.separation_index",
    "smoothness_index": "core.measures.smoothness",
    "SeparationCallback": "core.training.recording.callback",
    "generalized_discrimination_value": "core.measures.related.separability",
    "neural_collapse": "core.measures.related.separability",
    "separation_fuzziness": "core.measures.related.separability",
    "silhouette": "core.measures.related.separability",
    "intrinsic_dimension": "core.measures.related.intrinsic_dimension",
    "linear_cka": "core.measures.related.alignment",
    "neighbor_overlap": "core.measures.related.neighbor_overlap",
    "FeatureStudyWriter": "core.study.from_features.writer",
    "study_from_features": "core.study.from_features.writer",
    "study_from_torch": "core.study.from_torch.study",
    "FineTuneOptions": "core.training.fine_tuning",
    "FineTuned": "core.training.fine_tuning",
    "fine_tune": "core.training.fine_tuning",
    "TrainingOptions": "core.training.options",
    "Plan": "core.study.plan",
    "StudyOptions": "core.study.plan",
    "plan_study": "core.study.plan",
    "Study": "core.study.store.opening",
    "StudyError": "core.study.store.opening",
    "load_study": "core.study.store.opening",
    "run_study": "core.study.run",
    "class_clusters": "core.analysis.class_clusters.table",
    "class_separation": "core.analysis.samples.tables",
    "confused_classes": "core.analysis.samples.tables",
    "duplicates": "core.analysis.samples.tables",
    "label_errors": "core.analysis.samples.tables",
    "marks": "core.analysis.samples.tables",
    "prediction_depths": "core.analysis.samples.tables",
    "class_pair": "core.analysis.samples.tables",
    "sample_path": "core.analysis.samples.tables",
}

_EXTRAS = {"keras": "network", "tensorflow": "network", "dask": "cluster", "distributed": "cluster"}  # by package

__all__ = [
    "DaskEngine",
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
    "TrainingOptions",
    "anti_separation_index",
    "balanced_separation_index",
    "center_separation_index",
    "class_clusters",
    "class_pair",
    "class_separation",
    "confused_classes",
    "cross_separation_index",
    "duplicates",
    "fine_tune",
    "generalized_discrimination_value",
    "high_order_separation_index",
    "intrinsic_dimension",
    "label_errors",
    "linear_cka",
    "load_study",
    "marks",
    "nearest_neighbors",
    "neighbor_overlap",
    "neural_collapse",
    "plan_study",
    "prediction_depths",
    "run_study",
    "sample_path",
    "separation_fuzziness",
    "separation_index",
    "silhouette",
    "smoothness_index",
    "soft_separation_index",
    "study_from_features",
    "study_from_torch",
]


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False


if not _is_installed("keras"):  # help(core) and `from core import *` load every name
    __all__.remove("SeparationCallback")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'core' has no attribute {name!r}; it has {', '.join(__all__)}.")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise ModuleNotFoundError(
            f"core.{name} needs the package {error.name}, which is not installed. In the project's folder, run: "
            f"pip install -e '.[{extra}]'",
            name=error.name,
        ) from error


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
