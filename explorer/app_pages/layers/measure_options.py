"""The measures and samplings that the page Layers offers: variants of SI, and SI of subsamples."""

import pandas as pd

from core.analysis.curves import CURVE_COLUMNS
from explorer.state.choices import DRAWS
from explorer.state.measures import FULL, SEPARATION, Measure, Sampling, stored_measures, stored_samplings
from explorer.studies.loading import FAMILY, OpenStudy

TITLES = {
    "separation": "Separation Index",
    "balanced": "Balanced SI",
    "high_order": "High-order SI",
    "soft": "Soft SI",
    "anti": "Anti SI",
    "center": "Center SI",
    "center_in_sample": "Center SI, in sample",
}
EXPLANATIONS = {
    "separation": "**Separation Index (SI)**: the share of samples whose nearest other sample, in that layer's "
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


def offered_measures(study: OpenStudy) -> tuple[Measure, ...]:
    """SI, and the variants that the study has, by name and order."""
    first, *variants = stored_measures(study.family)
    return (first, *sorted(variants, key=lambda measure: (FAMILY.index(measure.name), measure.order)))


def offered_samplings(study: OpenStudy) -> tuple[Sampling, ...]:
    """All samples, then subsamples and then query samples, each by size."""
    first, *drawn = stored_samplings(study.subsamples)
    return (first, *sorted(drawn, key=lambda sampling: (sampling.kind != "subsample", sampling.size)))


def measure_title(measure: Measure) -> str:
    """Such as "Soft SI (r = 3)"."""
    title = TITLES[measure.name]
    return f"{title} (r = {measure.order})" if measure.order > 1 else title


def short_title(measure: Measure) -> str:
    """The title of a measure in columns and labels."""
    return "SI" if measure == SEPARATION else measure_title(measure)


def explanation(measure: Measure) -> str:
    """The measure in a sentence, as Markdown."""
    return EXPLANATIONS[measure.name]


def sampling_title(sampling: Sampling) -> str:
    """Such as "480 samples" for a subsample, "480 queries" if only the queries are drawn."""
    if sampling.size is None:
        return "All samples"
    noun = "samples" if sampling.kind == "subsample" else "queries"
    return f"{sampling.size:,} {noun}"


def chosen_curves(study: OpenStudy, measure: Measure, sampling: Sampling) -> pd.DataFrame:
    """`study.curves` with the rows of SI replaced by another measure, or by SI of subsamples.

    Parameters
    ----------
    study : OpenStudy
        The open study.
    measure : Measure
        Of `offered_measures`; not used for subsamples, which have SI only.
    sampling : Sampling
        Of `offered_samplings`. For subsamples, the value is the mean of the draws; low and high are the lowest and the
        highest draw.
    """
    if sampling != FULL:
        return drawn_curves(study.subsamples, sampling)
    if measure == SEPARATION:
        return study.curves
    rows = study.family[(study.family["measure"] == measure.name) & (study.family["order"] == measure.order)]
    variant = rows.assign(measure="SI")
    return pd.concat([variant, study.curves[study.curves["measure"] != "SI"]], ignore_index=True)


def drawn_curves(subsamples: pd.DataFrame, sampling: Sampling) -> pd.DataFrame:
    """Mean and range of the draws of one kind and size, with the columns of `OpenStudy.curves`."""
    rows = subsamples[(subsamples["sampling"] == sampling.kind) & (subsamples["num_queries"] == sampling.size)]
    lines = rows.groupby(["position", "layer", "samples", "pooling"], as_index=False, sort=False).agg(
        low=("value", "min"),
        high=("value", "max"),
        value=("value", "mean"),
        chance=("chance", "mean"),
        num_queries=("num_queries", "first"),
        num_references=("num_references", "first"),
    )
    lines = lines.assign(measure="SI", order=1, metric="euclidean", sampling=sampling.kind, target=DRAWS)
    return lines.reindex(columns=CURVE_COLUMNS)
