"""The sentences about two studies: what they say, with which numbers, and what they leave open."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.analysis.comparing import LayerMatch, compare_studies, match_layers
from core.report.words.changes import count_uncertain, describe_changes
from core.study.from_features.writer import study_from_features
from core.study.store.opening import load_study

DEMO = Path(__file__).resolve().parents[3] / "explorer" / "demo"
BY_NAME = LayerMatch("name", (), (), (), 5)


def changes(differences, meanings, *, half=0.02, samples=1200, matched_by="name"):
    """A comparison of layers a, b, …, each with an interval of `half` to either side."""
    names = [chr(ord("a") + number) for number in range(len(differences))]
    table = pd.DataFrame({"layer": names, "layer_before": names, "difference": differences, "verdict": meanings})
    table = table.assign(before=0.4, after=0.4 + table["difference"], num_samples=samples, matched_by=matched_by)
    return table.assign(low=table["difference"] - half, high=table["difference"] + half)


def test_certain_changes_are_told_with_differences_intervals_and_samples():
    table = changes([0.0, -0.05, 0.08, 0.1, 0.12], ["no certain change", "fell", "rose", "rose", "rose"])
    assert describe_changes(table, BY_NAME, ("old", "new")) == (
        "SI **rose** at 3 and **fell** at 1 of 5 layers compared by name, with 1,200 samples. "
        "At 1 any change is smaller than 0.03 (the values are the same). "
        "The largest certain change is +0.120 [+0.100, +0.140] (95% interval) in `e`, from 0.40 to 0.52. "
        "From `c` to the end, every layer rose."
    )


def test_what_is_not_certain_is_small_or_undecided_and_never_equal():
    table = changes([0.005, 0.02, -0.02], ["no certain change"] * 3, samples=40)  # intervals end at 0.025, 0.04, -0.04
    assert count_uncertain(table) == (1, 2, 0)
    assert describe_changes(table, BY_NAME, ("old", "new")) == (
        "SI changed with certainty at none of 3 layers compared by name, with 40 samples. "
        "At 1 any change is smaller than 0.03; at 2 a change cannot be decided with 40 samples: "
        "the intervals reach from -0.040 to +0.040. "
        "The largest difference is +0.020 [+0.000, +0.040] (95% interval) in `b`, from 0.40 to 0.42."
    )


def test_without_intervals_nothing_is_concluded():
    table = changes([0.3], ["no interval"]).assign(low=np.nan, high=np.nan)
    text = describe_changes(table, BY_NAME, ("old", "new"))
    assert text.startswith("SI did not change with certainty: 1 layer compared by name")
    assert "At 1 there is no interval, so nothing can be concluded." in text
    assert "+0.300 (no interval)" in text


def test_where_all_layers_have_many_ties_only_that_is_said():
    table = changes([0.5, 0.3], ["many ties"] * 2)
    assert count_uncertain(table) == (0, 0, 0)
    assert describe_changes(table, BY_NAME, ("old", "new")) == (
        "Nothing is concluded from 2 layers, as `a`: more than 5% of the samples have several neighbors at exactly "
        "the same smallest distance there, so that SI depends on their order."
    )


def test_the_largest_of_many_may_be_so_by_chance():
    table = changes([0.025, 0.0], ["no certain change"] * 2)
    assert "from 0.40 to 0.43; the largest of 2 may exclude 0 by chance." in describe_changes(
        table, BY_NAME, ("a", "b")
    )


def test_a_comparison_by_position_says_so_where_it_concludes():
    table = changes([0.1, 0.2], ["no certain change", "rose"], matched_by="position")
    table = table.assign(layer_before=["x", "y"])
    match = LayerMatch("position", (("x", "a"), ("y", "b")), ("z_1", "z_2", "z_3", "z_4"), (), 1)
    text = describe_changes(table, match, ("old_net", "new"))
    assert text.startswith("SI **rose** at 1 of 2 layers, **compared by relative position, not by name**, with 1,200")
    assert "in `b` (compared with `y`), from" in text
    assert "The two studies share 1 layer name. " in text
    assert text.endswith(r"have no partner: 4 of **old\_net** (`z_1`, `z_2`, `z_3` and 1 more).")


def test_layers_without_a_namesake_are_counted():
    match = LayerMatch("name", (("a", "a"),), ("x",), ("p", "q"), 1)
    text = describe_changes(changes([0.0], ["no certain change"]), match, ("old", "new"))
    assert text.endswith("in the other study: 1 of **old** (`x`) and 2 of **new** (`p`, `q`).")


@pytest.mark.parametrize(
    ("before", "after", "start"),
    [
        ("dogs", "dogs-tuned", "SI **fell** at 1 of 60 layers compared by name, with 1,200 samples."),
        ("dogs-untrained", "dogs", "SI **rose** at 51 of 60 layers compared by name, with 1,200 samples."),
        ("dogs-head", "dogs-tuned", "SI changed with certainty at none of 61 layers compared by name, with 1,200"),
    ],
)
def test_the_bundled_studies(before, after, start):
    studies = [load_study(DEMO / name) for name in (before, after)]
    text = describe_changes(compare_studies(*studies), match_layers(*studies), (before, after))
    assert text.startswith(start)


@pytest.mark.parametrize(
    ("ids", "assumed"), [(None, True), ([f"photo-{row}" for row in range(40)], False)], ids=["no ids", "ids"]
)
def test_studies_without_ids_are_said_to_be_assumed_of_the_same_samples(tmp_path, ids, assumed):
    labels = np.arange(40) % 2
    studies = []
    for seed in (0, 1):  # other samples of the same labels: nothing in the studies tells them apart
        features = np.random.default_rng(seed).normal(size=(40, 3))
        studies.append(study_from_features({"conv": features}, labels, out=tmp_path / str(seed), ids=ids))
    table, match = (compare(*studies, split="train") for compare in (compare_studies, match_layers))
    text = describe_changes(table, match, ("old", "new"))
    assert (
        "samples. That these are the same samples, in the same order, is assumed: the studies have no ids." in text
    ) is assumed
    assert not match_layers(studies[0], studies[0], split="train").assumes_same_samples
