"""Classes that a vote of neighbors can hardly name, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from core.analysis.samples.small_classes import small_classes, votes_for_majority
from core.measures.baselines import knn_correct
from core.report.words.small_classes import baseline_text, order_text, small_classes_text

SAMPLES = pd.DataFrame(
    {
        "sample": range(15),
        "split": ["train"] * 9 + ["test"] * 6,
        "label": 0,
        "class_name": [*"aaaaabbcd", *"aaaabb"],
    }
)


@pytest.mark.parametrize(("num_votes", "needed"), [(1, 1), (2, 2), (3, 2), (5, 3), (10, 6)])
def test_a_majority_is_more_than_half(num_votes, needed):
    assert votes_for_majority(num_votes) == needed


@pytest.mark.parametrize(
    ("split", "among", "num_votes", "expected"),
    [
        ("train", None, 1, {"c": 1, "d": 1}),  # no other sample
        ("train", None, 3, {"b": 2, "c": 1, "d": 1}),  # b: one other, a: four
        ("train", None, 10, {"a": 5, "b": 2, "c": 1, "d": 1}),
        ("test", None, 3, {"b": 2}),  # one other
        ("test", "train", 3, {}),  # two training samples
        ("test", "train", 5, {"b": 2}),
    ],
)
def test_classes_with_fewer_other_samples_than_a_majority(split, among, num_votes, expected):
    assert small_classes(SAMPLES, split, num_votes, among=among).to_dict() == expected


def test_the_text_counts_classes_and_samples():
    assert small_classes_text(SAMPLES, "train", 3) == (
        "3 of 4 classes, with 4 of 9 training samples, have fewer than 2 other samples: too few for a majority of 3 "
        "votes. However well they are separated, a vote of neighbors names them only where the other votes are spread "
        "over several classes, or equal."
    )
    assert small_classes_text(SAMPLES, "test", 5, among="train").startswith(
        "1 of 2 classes, with 2 of 6 test samples, has fewer than 3 training samples: too few for a majority of 5 votes"
    )
    assert small_classes_text(SAMPLES, "test", 3, among="train") == ""
    assert small_classes_text(SAMPLES, "train", 0) == ""


def test_the_baseline_is_named_with_its_own_votes():
    curves = pd.DataFrame({"measure": ["SI", "kNN", "kNN"], "samples": ["train", "train", "test"], "order": [1, 3, 3]})
    text = baseline_text(SAMPLES, curves)
    assert text.startswith(
        "kNN baseline: 3 of 4 classes, with 4 of 9 training samples, have fewer than 2 other samples"
    )
    assert "kNN baseline: 1 of 2 classes, with 2 of 6 test samples, has fewer than 2 other samples" in text
    assert baseline_text(SAMPLES, curves[:1]) == ""


def test_what_is_said_of_plurality_holds():
    """Two of class 2 beside their sample: outvoted by three of one class, not by one each of three classes."""
    votes = np.array([[2, 2, 0, 0, 0], [2, 2, 0, 1, 3]])
    assert knn_correct(votes, np.array([2, 2]), 4).tolist() == [False, True]


def test_classes_too_small_for_a_high_order():
    assert order_text(SAMPLES, "train", 4) == (  # a has four others
        "3 of 4 classes, with 4 of 9 training samples, have fewer than 4 other samples: high_order of order 4 is 0 for "
        "them by construction, and soft below 1. Choose a lower order."
    )
    assert order_text(SAMPLES, "test", 2).startswith("1 of 2 classes, with 2 of 6 test samples, has fewer than 2 other")
    assert order_text(SAMPLES, "test", 1) == order_text(SAMPLES[:5], "train", 4) == ""
