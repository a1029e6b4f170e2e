"""Which measure is drawn, and over which samples: the family of separation, and subsamples of every size."""

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
EXPLAINED = {
    SEPARATION: "**Separation Index (SI)**: the share of samples whose nearest other sample, in that layer's "
    "activations, has the same label.",
    "balanced": "**Balanced SI**: the same, as the mean over classes instead of samples.",
    "high_order": "**High-order SI**: the share of samples whose r nearest all have their label.",
    "soft": "**Soft SI**: the mean share of a sample's r nearest that have its label.",
    "anti": "**Anti SI**: the share of samples none of whose r nearest has their label. Small is good.",
    "center": "**Center SI**: the share of samples nearest to their own class's center, themselves left out of it.",
    "center_in_sample": "**Center SI, in sample**: a center holds the sample it judges, so it is high for meaningless "
    "labels too. The page *Method* explains why.",
}


def offered_measures(study: OpenStudy) -> tuple[str, ...]:
    """SI, and what else the study has of the family, by kind and ascending order."""
    found = study.family[["measure", "order"]].drop_duplicates()
    ranked = sorted(
        zip(found["measure"], found["order"], strict=True), key=lambda one: (FAMILY.index(one[0].split()[0]), one[1])
    )
    return (SEPARATION, *(name for name, _ in ranked))


def offered_samplings(study: OpenStudy) -> tuple[str, ...]:
    """All samples, then subsamples and sampled queries by size."""
    found = study.subsamples[["sampling", "num_queries"]].drop_duplicates()
    kinds = ["subsample", "queries"]
    ranked = sorted(
        zip(found["sampling"], found["num_queries"], strict=True), key=lambda one: (kinds.index(one[0]), one[1])
    )
    return (FULL, *(f"{kind} {size}" for kind, size in ranked))


def measure_title(measure: str) -> str:
    """Such as "Soft SI (r = 3)"."""
    kind, _, order = measure.partition(" ")
    return f"{TITLES[kind]} (r = {order})" if order else TITLES[kind]


def short_title(measure: str) -> str:
    """As a column or a label bears it."""
    return "SI" if measure == SEPARATION else measure_title(measure)


def explained(measure: str) -> str:
    """The measure in a sentence, as Markdown."""
    return EXPLAINED[measure.partition(" ")[0]]


def sampling_title(sampling: str) -> str:
    """Such as "480 samples" for a subsample, "480 queries" where only the queries are drawn."""
    kind, _, size = sampling.partition(" ")
    return "All samples" if kind == FULL else f"{int(size):,} {'samples' if kind == 'subsample' else 'queries'}"


def chosen_curves(study: OpenStudy, measure: str, sampling: str) -> pd.DataFrame:
    """`study.curves` with the rows of SI replaced by those of another measure, or of subsamples.

    Subsamples are of SI only; the value is their mean, low and high are the lowest and the highest draw.
    """
    if sampling != FULL:
        return drawn_curves(study.subsamples, sampling)
    if measure == SEPARATION:
        return study.curves
    others = study.family[study.family["measure"] == measure].assign(measure="SI")
    return pd.concat([others, study.curves[study.curves["measure"] != "SI"]], ignore_index=True)


def drawn_curves(subsamples: pd.DataFrame, sampling: str) -> pd.DataFrame:
    """The draws of one kind and size, one row a layer, samples and pooling, with the columns of `OpenStudy.curves`."""
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
