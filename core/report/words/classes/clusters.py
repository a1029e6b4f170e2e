"""Sentences about clusters of classes: which they are, where they part, and what the evidence says would help."""

import math
from collections.abc import Sequence

from core.analysis.class_clusters.clustering import LEAST_GAIN
from core.analysis.class_clusters.evidence import FLAT, PARTS, RISES, STAYS, Parting, Rise
from core.analysis.class_clusters.table import ClassCluster
from core.report.words.formatting import difference_text, number, one_layer, plain


def clusters_text(clusters: Sequence[ClassCluster], layer: str) -> str:
    """How many classes run into each other at a layer, and which ones most, as Markdown."""
    if not clusters:
        return (
            f"At {one_layer(layer)}, no classes are certain to run into each other: no two have more confused samples "
            f"than chance explains, by more than {LEAST_GAIN} of SI. With more samples a class, smaller groups could "
            "be told."
        )
    num_classes = sum(len(cluster.classes) for cluster in clusters)
    groups = "1 group" if len(clusters) == 1 else f"{len(clusters)} groups"
    first = clusters[0]
    return (
        f"At {one_layer(layer)}, **{num_classes} classes run into each other**, in {groups}. Most: "
        f"{names_text(first)}, where {first.confused} of {first.num_samples} samples have their nearest neighbor in "
        "another class of the group."
    )


def names_text(cluster: ClassCluster) -> str:
    """The names of a cluster's classes, such as "**collie** and **Border collie**"."""
    names = [f"**{plain(name)}**" for name in cluster.classes]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def confusion_text(cluster: ClassCluster) -> str:
    """How often the classes are confused with each other, with the interval, as Markdown."""
    return (
        f"{cluster.confused} of {cluster.num_samples} samples have their nearest neighbor in another class of the "
        f"group: {cluster.confused / cluster.num_samples:.0%} {_span(cluster.low, cluster.high)}."
    )


def evidence_note(clusters: Sequence[ClassCluster]) -> str:
    """What holds for the evidence of all clusters, said once, as Markdown; empty without clusters."""
    if not clusters:
        return ""
    note = (
        "In brackets: 95% intervals. Expected: of classes that do not run into each other. More data helps where SI of "
        "the classes is lower with fewer samples. Merging always raises SI, and chance; so the excess over chance "
        "counts. Relabelling: where classes look alike, most of the labels that neighbors contradict are right; look "
        "at them first."
    )
    if not all(math.isnan(cluster.rise.fraction) for cluster in clusters):
        return note
    return (
        f"{note} Whether more data helps cannot be told from one stored neighbor a sample.{_sizes_text(clusters[0])} A "
        "study with at least three (`--neighbors 3`) tells what SI of the classes would be with fewer samples."
    )


def parting_text(parting: Parting) -> str:
    """Where the classes part, as Markdown."""
    if parting.verdict == PARTS:
        return (
            f"**They part at {one_layer(parting.layer)}**: from there on, none of their {parting.total} samples has "
            f"its nearest neighbor in another class of the group (of fresh samples, at most {parting.high:.0%} would)."
        )
    numbers = (
        f"at {one_layer(parting.layer)}, the last layer with stored neighbors, {parting.count} of {parting.total} are "
        f"confused {_span(parting.low, parting.high)}, {parting.expected:.1%} expected."
    )
    if parting.verdict == STAYS:
        return f"**They do not part**: {numbers}"
    return f"Whether they part **cannot be decided with {parting.total} samples**: {numbers}"


def data_text(rise: Rise, num_samples: int) -> str:
    """Whether more samples would help, as Markdown."""
    if math.isnan(rise.fraction):
        return "More data: **cannot be decided** with one stored neighbor a sample."
    change = difference_text(rise.value - rise.fewer, rise.low, rise.high)
    numbers = f"SI is {number(rise.fewer)} with {rise.fraction:.0%} of the samples, {number(rise.value)} with all"
    verdicts = {RISES: "helps so far", FLAT: "hardly helps"}
    verdict = verdicts.get(rise.verdict, f"cannot be decided with {num_samples} samples")
    return f"More data: **{verdict}**; {numbers} ({change})."


def merging_text(cluster: ClassCluster) -> str:
    """What merging the classes would do, as Markdown. Merging always raises SI, and chance; so the excess counts."""
    if math.isnan(cluster.merged_excess):
        return "Merging: no other class would be left to tell them from."
    gain = cluster.merged_excess - cluster.excess
    low, high = (_excess_gain(cluster, share) for share in (cluster.low, cluster.high))
    numbers = f"{number(cluster.excess)} to {number(cluster.merged_excess)} ({difference_text(gain, low, high)})"
    if low > 0:
        return f"Merging: **helps**; the excess over chance rises from {numbers}."
    return (
        f"Merging: **cannot be decided with {cluster.num_samples} samples**; the excess over chance goes from "
        f"{numbers}."
    )


def relabelling_text(cluster: ClassCluster) -> str:
    """How many labels between the classes look wrong, as Markdown."""
    copies = ""
    if cluster.duplicates:
        pairs = "1 pair" if cluster.duplicates == 1 else f"{cluster.duplicates} pairs"
        copies = f" {pairs} of samples with equal activations bear different labels: at least one of them is wrong."
    if not cluster.suspects:
        return (
            f"Relabelling: none of the {cluster.num_samples} samples has late neighbors that mostly name another class "
            f"of the group.{copies}"
        )
    return (
        f"Relabelling: the late neighbors of **{cluster.suspects} of {cluster.num_samples}** samples "
        f"({cluster.suspects / cluster.num_samples:.0%}) mostly name another class of the group, those of "
        f"{cluster.clear_suspects or 'none'} clearly.{copies}"
    )


def evidence_texts(cluster: ClassCluster) -> list[str]:
    """All sentences about one cluster: where it parts, data, merging, relabelling."""
    return [
        parting_text(cluster.parting),
        data_text(cluster.rise, cluster.num_samples),
        merging_text(cluster),
        relabelling_text(cluster),
    ]


def _sizes_text(cluster: ClassCluster) -> str:
    """SI of all classes over sample size, after a space; empty where the study does not have it."""
    sizes = cluster.sizes
    if sizes is None:
        return ""
    return (
        f" SI of all classes is {number(sizes.fewer)} with {sizes.size:,} samples and {number(sizes.value)} with "
        f"{sizes.num_samples:,}."
    )


def _excess_gain(cluster: ClassCluster, share: float) -> float:
    """The gain in excess if `share` of the samples had their neighbor in another class of the cluster."""
    return (cluster.value + share - cluster.merged_chance) / (1 - cluster.merged_chance) - cluster.excess


def _span(low: float, high: float) -> str:
    return f"[{low:.0%}, {high:.0%}]"
