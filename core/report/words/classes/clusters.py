"""Sentences about clusters of classes: which they are, where they part, and what the evidence says would help."""

from collections.abc import Sequence

from core.analysis.class_clusters.clustering import LEAST_GAIN
from core.analysis.class_clusters.evidence import FLAT, PARTS, RISES, STAYS, Parting, Rise, SizeEvidence
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


def parting_text(parting: Parting) -> str:
    """Where the classes part, as Markdown."""
    share = f"{parting.count} of {parting.total} {_span(parting.low, parting.high)}"
    if parting.verdict == PARTS:
        return (
            f"**They part at {one_layer(parting.layer)}**: from there on, none of their {parting.total} samples has "
            f"its nearest neighbor in another class of the group (of fresh samples, at most {parting.high:.0%} would)."
        )
    if parting.verdict == STAYS:
        return (
            f"**They do not part**: at the last layer, {one_layer(parting.layer)}, it is still {share}; "
            f"{parting.expected:.1%} are expected of classes that do not run into each other."
        )
    return (
        f"Whether they part **cannot be decided with {parting.total} samples**: at the last layer, "
        f"{one_layer(parting.layer)}, it is {share}; {parting.expected:.1%} are expected of classes that do not run "
        "into each other."
    )


def data_text(rise: Rise, num_samples: int, sizes: SizeEvidence | None = None) -> str:
    """Whether more samples would help, as Markdown."""
    if rise.fraction != rise.fraction:  # nan
        of_all = ""
        if sizes is not None:
            of_all = (
                f"SI of all classes is {number(sizes.fewer)} with {sizes.size:,} samples and {number(sizes.value)} "
                f"with {sizes.num_samples:,}. "
            )
        return (
            f"More data: of these classes **cannot be decided with {num_samples} samples** and one stored neighbor "
            f"each. {of_all}A study with at least three (`--neighbors 3`) tells what SI of these classes would be with "
            "fewer samples."
        )
    change = difference_text(rise.value - rise.fewer, rise.low, rise.high)
    numbers = (
        f"with {rise.fraction:.0%} of the samples, their SI would be {number(rise.fewer)}, with all it is "
        f"{number(rise.value)} ({change})"
    )
    if rise.verdict == RISES:
        return f"More data: **helps so far**. {numbers[0].upper()}{numbers[1:]}, so it still rises."
    if rise.verdict == FLAT:
        return f"More data: **hardly helps**. {numbers[0].upper()}{numbers[1:]}."
    return f"More data: **cannot be decided with {num_samples} samples**; {numbers}."


def merging_text(cluster: ClassCluster) -> str:
    """What merging the classes would do, as Markdown. Merging always raises SI, and chance; so the excess counts."""
    text = (
        f"Merging: SI of their samples would rise from {number(cluster.value)} to {number(cluster.merged_value)}, as "
        f"merging always raises it, and chance from {number(cluster.chance)} to {number(cluster.merged_chance)}. "
    )
    if cluster.merged_excess != cluster.merged_excess:  # nan: no other class is left
        return f"{text}No other class would be left to tell them from."
    gain = cluster.merged_excess - cluster.excess
    low, high = (_excess_gain(cluster, share) for share in (cluster.low, cluster.high))
    numbers = f"{number(cluster.excess)} to {number(cluster.merged_excess)} ({difference_text(gain, low, high)})"
    if low > 0:
        return f"{text}**It helps**: the excess over chance rises from {numbers}."
    return (
        f"{text}Whether that is more than chance gives **cannot be decided with {cluster.num_samples} samples**: the "
        f"excess goes from {numbers}."
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
        f"Relabelling: at the late layers, the neighbors of **{cluster.suspects} of {cluster.num_samples}** samples "
        f"({cluster.suspects / cluster.num_samples:.0%}) name another class of the group, those of "
        f"{cluster.clear_suspects} clearly. Where classes look alike, most of these labels are right; look at them "
        f"first.{copies}"
    )


def evidence_texts(cluster: ClassCluster) -> list[str]:
    """All sentences about one cluster: where it parts, data, merging, relabelling."""
    return [
        parting_text(cluster.parting),
        data_text(cluster.rise, cluster.num_samples, cluster.sizes),
        merging_text(cluster),
        relabelling_text(cluster),
    ]


def _excess_gain(cluster: ClassCluster, share: float) -> float:
    """The gain in excess if `share` of the samples had their neighbor in another class of the cluster."""
    return (cluster.value + share - cluster.merged_chance) / (1 - cluster.merged_chance) - cluster.excess


def _span(low: float, high: float) -> str:
    return f"[{low:.0%}, {high:.0%}]"
