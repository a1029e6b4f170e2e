"""The measures and samplings that the page Layers offers: variants of SI, and SI of subsamples."""

import pandas as pd

from core.analysis.curves import CURVE_COLUMNS
from explorer.state.choices import DRAWS
from explorer.studies.loading import FAMILY, OpenStudy

SEPARATION, FULL = "separation", "full"
TITLES = {
    SEPARATION: "Separation Index",
    "balanced": "Balanced SI",
    "high_order": "High-order SI",
    "soft": "Soft SI",
    "anti": "Anti SI",
    "center": "Center SI",
    "center_in_sample": "Center SI, in sample",
}
EXPLANATIONS = {
    SEPARATION: "**Separation Index (SI)**: the share of samples whose nearest other sample, in that layer's "
    "activations, has the same label.",
    "balanced": "**Balanced SI**: SI as the mean over classes instead of samples.",
    "high_order": "**High-order SI**: the share of samples all of whose r nearest neighbors have their label.",
    "soft": "**Soft SI**: the mean share of a sample's r nearest neighbors that have its label.",
    "anti": "**Anti SI**: the share of samples none of whose r nearest neighbors has their label. Lower is better.",
    "center": "**Center SI**: the share of samples whose nearest class center, computed without the sample, is that of "
    "their own class.",
    "center_in_sample": "**Center SI, in sample**: Center SI with centers that contain the sample. It is high even "
    "for permuted labels; the page *Method* explains why.",
}


def offered_measures(study: OpenStudy) -> tuple[str, ...]:
    """SI, and the variants that the study has, by kind and order."""
    variants = study.family[["measure", "order"]].drop_duplicates()
    kinds = variants["measure"].map(lambda name: FAMILY.index(name.split()[0]))
    ranked = variants.assign(kind=kinds).sort_values(["kind", "order"])
    return (SEPARATION, *ranked["measure"])


def offered_samplings(study: OpenStudy) -> tuple[str, ...]:
    """All samples, then subsamples and then query samples, each by size."""
    subsamples = study.subsamples[["sampling", "num_queries"]].drop_duplicates()
    samplings = [FULL]
    for kind in ("subsample", "queries"):
        sizes = sorted(subsamples.loc[subsamples["sampling"] == kind, "num_queries"])
        samplings += [f"{kind} {size}" for size in sizes]
    return tuple(samplings)


def measure_title(measure: str) -> str:
    """Such as "Soft SI (r = 3)"."""
    kind, _, order = measure.partition(" ")
    return f"{TITLES[kind]} (r = {order})" if order else TITLES[kind]


def short_title(measure: str) -> str:
    """The title of a measure in columns and labels."""
    return "SI" if measure == SEPARATION else measure_title(measure)


def explanation(measure: str) -> str:
    """The measure in a sentence, as Markdown."""
    return EXPLANATIONS[measure.partition(" ")[0]]


def sampling_title(sampling: str) -> str:
    """Such as "480 samples" for a subsample, "480 queries" if only the queries are drawn."""
    kind, _, size = sampling.partition(" ")
    if kind == FULL:
        return "All samples"
    noun = "samples" if kind == "subsample" else "queries"
    return f"{int(size):,} {noun}"


def chosen_curves(study: OpenStudy, measure: str, sampling: str) -> pd.DataFrame:
    """`study.curves` with the rows of SI replaced by another measure, or by SI of subsamples.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    measure : str
        Of `offered_measures`; not used for subsamples, which have SI only.
    sampling : str
        Of `offered_samplings`. For subsamples, the value is the mean of the draws; low and high are the lowest and the
        highest draw.
    """
    if sampling != FULL:
        return drawn_curves(study.subsamples, sampling)
    if measure == SEPARATION:
        return study.curves
    variant = study.family[study.family["measure"] == measure].assign(measure="SI")
    return pd.concat([variant, study.curves[study.curves["measure"] != "SI"]], ignore_index=True)


def drawn_curves(subsamples: pd.DataFrame, sampling: str) -> pd.DataFrame:
    """Mean and range of the draws of one kind and size, with the columns of `OpenStudy.curves`."""
    kind, _, size = sampling.partition(" ")
    rows = subsamples[(subsamples["sampling"] == kind) & (subsamples["num_queries"] == int(size))]
    lines = rows.groupby(["position", "layer", "samples", "pooling"], as_index=False, sort=False).agg(
        low=("value", "min"),
        high=("value", "max"),
        value=("value", "mean"),
        chance=("chance", "mean"),
        num_queries=("num_queries", "first"),
        num_references=("num_references", "first"),
    )
    lines = lines.assign(measure="SI", order=1, metric="euclidean", sampling=kind, target=DRAWS)
    return lines.reindex(columns=CURVE_COLUMNS)
