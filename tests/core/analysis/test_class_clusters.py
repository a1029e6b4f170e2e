"""Clusters of classes and their evidence, worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.class_clusters.clustering import count_confusions, find_clusters
from core.analysis.class_clusters.evidence import (
    FLAT,
    PARTS,
    RISES,
    STAYS,
    UNDECIDED,
    NearestCounts,
    Parting,
    Rise,
    agreement_chances,
    cluster_curve,
    parting,
    rise,
    size_evidence,
)
from core.analysis.class_clusters.table import find_class_clusters, read_cluster_sources
from core.analysis.samples.selection import select_layer
from core.report.words.classes.clusters import (
    clusters_text,
    data_text,
    evidence_note,
    evidence_texts,
    merging_text,
    parting_text,
    relabelling_text,
)

NAMES = pd.Series(["ant", "ant", "bee", "bee", "cow", "cow"])


def table_of(nearest: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"sample": range(len(nearest)), "nearest": nearest})


def test_confusions_count_both_directions_and_mutual_pairs_once():
    counts = count_confusions(table_of([2, 0, 0, 2, 5, 1]), NAMES)  # 0 and 2 are each other's nearest neighbor
    assert counts.classes == ("ant", "bee", "cow")
    assert counts.nearest.tolist() == [[0, 2, 1], [2, 0, 0], [1, 0, 0]]
    assert counts.links.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    assert counts.strays.tolist() == [1, 1, 1]
    # Of an ant's stray, two of the four others are bees: 1/2; and so of a bee's stray.
    assert counts.expected().tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def classes_of_ten(strays: list[tuple[int, int]], *, per_class: int = 10) -> tuple[pd.DataFrame, pd.Series]:
    """Ten classes, whose samples have a neighbor of their own class but for the given pairs of sample and neighbor."""
    labels = np.repeat(np.arange(10), per_class)
    rows = np.arange(len(labels))
    nearest = rows - rows % per_class + (rows + 1) % per_class
    for sample, neighbor in strays:
        nearest[sample] = neighbor
    return table_of(nearest.tolist()), pd.Series(labels.astype(str))


CHAIN = [(k, 10 + k) for k in range(3)] + [(10 + k, k + 1) for k in range(3)]  # 0 → 10 → 1 → 11 → 2 → 12 → 3
MUTUAL = [(k, 10 + k) for k in range(3)] + [(10 + k, k) for k in range(3)]


@pytest.mark.parametrize(
    ("strays", "clusters"),
    [
        ([], []),
        (CHAIN, [("0", "1")]),  # six of six strays, one of nine each by chance: 9^-6 is below 0.05 / 45
        (MUTUAL, []),  # the same six, but three links of six: about 0.02
        ([*CHAIN, *((20 + k, 10 + k) for k in range(6))], [("0", "1", "2")]),  # six of six that leave: (2 / 9)^6
        ([*CHAIN, *((40 + k, 50 + k) for k in range(8))], [("4", "5"), ("0", "1")]),  # the most confused first
        ([(k, 10 * (k + 1)) for k in range(9)], []),  # strays in all other classes alike
    ],
)
def test_clusters(strays, clusters):
    assert find_clusters(count_confusions(*classes_of_ten(strays))) == clusters


@pytest.mark.parametrize(("num_strays", "clusters"), [(5, []), (8, [("0", "1")])])
def test_a_gain_below_the_tolerance_joins_nothing(num_strays, clusters):
    """Of 200 samples, 5 gain 0.025 − 0.003 = 0.022 of SI, 8 gain 0.04 − 0.004 = 0.036; both are significant."""
    strays = [(k, 100 + k) for k in range(num_strays)]
    assert find_clusters(count_confusions(*classes_of_ten(strays, per_class=100))) == clusters


def test_two_classes_alone_make_no_cluster():
    assert find_clusters(count_confusions(table_of([2, 3, 1, 0]), NAMES[:4])) == []


def layers_of(*layers: list[int]) -> dict[str, pd.DataFrame]:
    return {f"layer{at}": table_of(nearest) for at, nearest in enumerate(layers)}


def part(layers: dict[str, pd.DataFrame], names: pd.Series, classes: tuple[str, ...]) -> Parting:
    names = names.astype("category")
    return parting(layers, NearestCounts.of(layers, names), names, classes, names.value_counts())


def test_where_classes_part():
    confused, apart = [2, 0, 3, 1, 5, 4], [1, 0, 3, 2, 5, 4]
    parted = part(layers_of(confused, apart), NAMES, ("ant", "bee"))
    assert (parted.verdict, parted.layer, parted.count, parted.total) == (PARTS, "layer1", 0, 4)
    assert parted.low == 0 < parted.high
    open_end = part(layers_of(apart, confused), NAMES, ("ant", "bee"))
    # Two of four strayed, each with a chance of 2 in 4 to fall on the other class of the pair.
    assert (open_end.count, open_end.expected) == (2, 0.25)
    assert open_end.verdict == UNDECIDED
    assert "cannot be decided with 4 samples" in parting_text(open_end)
    nearest, names = classes_of_ten([(k, 10 + k) for k in range(9)])
    together = part({"last": nearest}, names, ("0", "1"))
    assert (together.verdict, together.count, together.total) == (STAYS, 9, 20)
    assert together.expected == pytest.approx(9 / 20 * 10 / 90)
    assert "They do not part" in parting_text(together)


def test_counts_of_classes_are_those_of_a_count_one_by_one():
    rng = np.random.default_rng(0)
    names = pd.Series(rng.choice(["ant", "bee", "cow", "dog"], 60)).astype("category")
    layers = {name: table_of(rng.integers(0, 60, 60).tolist()) for name in ("first", "second")}
    layers["third"] = layers["first"][names[:60].eq("cow").to_numpy()]  # no sample of the cluster
    classes, possible = ("ant", "dog"), names.value_counts()
    curve = cluster_curve(NearestCounts.of(layers, names), list(layers), classes, possible)
    assert curve["layer"].tolist() == ["first", "second"]
    for row in curve.itertuples():
        pairs = [(names[sample], names[nearest]) for sample, nearest in layers[row.layer].to_numpy()]
        of_cluster = [(own, other) for own, other in pairs if own in classes]
        strays = [own for own, other in of_cluster if own != other]
        shares = [(possible["dog"] if own == "ant" else possible["ant"]) / (60 - possible[own]) for own in strays]
        assert row.total == len(of_cluster)
        assert row.count == sum(own != other and other in classes for own, other in of_cluster)
        assert row.expected == pytest.approx(sum(shares) / len(of_cluster))


def test_si_of_fewer_samples_follows_from_stored_neighbors():
    """Of two stored neighbors, 1 − √0.05 of the samples leave the first one, else the second one is the nearest."""
    first = 1 - 0.05**0.5
    stored = {"sample": [0, 0, 1, 1, 2, 2, 3, 3], "rank": [1, 2] * 4, "nearest": [1, 2, 0, 2, 4, 3, 1, 2]}
    neighbors = pd.DataFrame(stored)
    result = rise(neighbors, NAMES)  # agreements: (1, 0), (1, 0), (0, 1), (0, 1)
    assert result.fraction == pytest.approx(first)
    assert result.fewer == pytest.approx((2 * first + 2 * (1 - first)) / 4)
    assert result.value == 0.5
    assert result.verdict == UNDECIDED
    assert rise(neighbors[neighbors["rank"] == 1], NAMES).verdict == UNDECIDED
    same = neighbors.assign(nearest=neighbors["sample"] // 2 * 2 + 1 - neighbors["sample"] % 2)
    assert rise(same, NAMES).fewer == 1.0


def test_chance_before_and_after_merging():
    counts = NAMES.value_counts()
    assert agreement_chances(counts, counts, ("ant", "bee"), among_themselves=True) == (1 / 5, 3 / 5)
    train = pd.Series({"ant": 2, "bee": 1, "cow": 1})
    assert agreement_chances(counts, train, ("ant", "bee"), among_themselves=False) == ((2 * 2 + 2 * 1) / 4 / 4, 3 / 4)


def test_the_cluster_of_the_bundled_digits():
    study = core.load_study("explorer/demo/digits")
    row = core.class_clusters(study).iloc[0]
    assert (row["classes"], row["num_samples"], row["confused"]) == ("2, 3", 72, 6)
    assert row["merged_value"] - row["value"] == pytest.approx(6 / 72)  # merging raises SI by the confused share
    merged, chance = row["merged_value"], row["merged_chance"]
    assert row["merged_excess"] == pytest.approx((merged - chance) / (1 - chance))
    cluster = find_class_clusters(study, select_layer(study))[0]
    assert len(cluster.examples) == 4
    assert study.samples.set_index("sample")["label"][list(cluster.examples)].tolist() == [2, 3, 2, 3]
    assert "**2 classes run into each other**, in 1 group" in clusters_text([cluster], "top")
    assert "**helps**; the excess over chance rises from 0.82 to 0.90" in merging_text(cluster)
    assert "no other class would be left" in merging_text(replace(cluster, merged_chance=1.0))
    assert "cannot be decided with 72 samples" in merging_text(replace(cluster, low=0.0))
    assert "bear different labels" in relabelling_text(replace(cluster, duplicates=2))
    assert "none of the 72 samples" in relabelling_text(replace(cluster, suspects=0))


def digits_cluster():
    study = core.load_study("explorer/demo/digits")
    return find_class_clusters(study, select_layer(study))[0]


def test_what_holds_for_all_clusters_is_said_once():
    cluster = digits_cluster()
    for sentence in evidence_note([cluster]).split(". "):
        assert all(sentence not in text for text in evidence_texts(cluster))
    assert "Merging always raises SI" in evidence_note([cluster])
    assert evidence_note([]) == ""


def test_whether_data_would_help_in_words():
    assert "cannot be decided** with one stored neighbor" in data_text(Rise(UNDECIDED), 30)
    undecided = data_text(Rise(UNDECIDED, 0.5, 0.6, 0.7, -0.02, 0.18), 30)
    assert undecided == (
        "More data: **cannot be decided with 30 samples**; SI is 0.60 with 50% of the samples, 0.70 with all "
        "(+0.100 [-0.020, +0.180])."
    )
    assert "helps so far" in data_text(Rise(RISES, 0.5, 0.6, 0.7, 0.02, 0.18), 30)
    assert "hardly helps" in data_text(Rise(FLAT, 0.5, 0.7, 0.7, -0.01, 0.01), 30)
    assert clusters_text([], "top").startswith("At `top`, no classes are certain to run into each other")


def test_si_of_all_classes_with_about_half_of_the_samples():
    common = {"measure": "separation", "order": 1, "layer": "top", "pooling": "mean", "split": "test"}
    common |= {"metric": "euclidean", "ties": "first"}
    drawn = [("subsample", 40, 0.4), ("subsample", 40, 0.6), ("subsample", 80, 0.7), ("queries", 40, 0.9)]
    rows = [{**common, "sampling": "full", "num_queries": 90, "value": 0.75}]
    rows += [{**common, "sampling": kind, "num_queries": size, "value": value} for kind, size, value in drawn]
    sizes = size_evidence(pd.DataFrame(rows), "top", "mean", "test")
    assert (sizes.size, sizes.num_samples, sizes.fewer, sizes.value) == (40, 90, pytest.approx(0.5), 0.75)
    cluster = digits_cluster()
    one_neighbor = replace(cluster, rise=Rise(UNDECIDED), sizes=sizes)
    assert "SI of all classes is 0.50 with 40 samples and 0.75 with 90." in evidence_note([one_neighbor, one_neighbor])
    assert "SI of all classes" not in evidence_note([cluster])
    assert size_evidence(pd.DataFrame(rows[:1]), "top", "mean", "test") is None


def test_what_all_layers_have_in_common_is_read_once_and_changes_nothing():
    study, reads = core.load_study("explorer/demo/digits"), []

    def sources():
        reads.append(1)
        return shared

    layers = (None, "block1a_dwconv", "predictions")  # one cluster at each of the first two, none at the last
    selections = [select_layer(study, layer=layer) for layer in layers]
    shared = read_cluster_sources(study, selections[0].pooling, selections[0].split, selections[0].among)
    for selection in selections:
        found = find_class_clusters(study, selection, sources=sources)
        assert repr(found) == repr(find_class_clusters(study, selection))
    assert len(reads) == 2
