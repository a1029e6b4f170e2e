"""Votes counted again after labels were swapped, and what is said of them, on neighbors that can be worked out."""

import numpy as np
import pandas as pd
import pytest

import core
from core.analysis.samples.label_votes import LabelVotes
from core.analysis.samples.planted_labels import PlantedSwaps, plant_swaps, swap_classes
from core.analysis.samples.suspects import expected_swaps, late_neighbors, samples_to_check
from core.report.words.samples_to_check import (
    LEARNED,
    NOT_TOLD,
    TOO_FEW,
    check_text,
    expectation_text,
    may_have_learned,
    swaps_text,
    trial_swaps,
)
from core.study.store.opening import Study

PAIRS = 300  # samples, each of which has its partner as the only neighbor


def partners(num_samples: int = PAIRS) -> pd.DataFrame:
    """0 and 1 are each other's nearest, 2 and 3, and so on."""
    sample = np.arange(num_samples)
    return pd.DataFrame({"layer": "late", "sample": sample, "rank": 1, "nearest": sample ^ 1})


def samples_of(codes: np.ndarray) -> pd.DataFrame:
    numbers = np.arange(len(codes))
    names = pd.Series(codes).map("class {}".format)
    return pd.DataFrame(
        {"sample": numbers, "id": numbers.astype(str), "split": "train", "label": codes, "class_name": names}
    )


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory) -> tuple[np.ndarray, Study]:
    """Six classes on a line of blobs, so that each is confused with those beside it; the study has 30 wrong labels."""
    rng = np.random.default_rng(0)
    truth = np.arange(900) % 6
    layers = {f"l{at}": rng.normal(size=(900, 4)) + 2 * np.eye(4)[0] * truth[:, None] for at in range(3)}
    folder = tmp_path_factory.mktemp("overlapping") / "study"
    labels = np.where(np.arange(900) < 30, (truth + 3) % 6, truth)
    return truth, core.study_from_features(layers, labels, out=folder)


def test_a_swapped_sample_is_listed_unless_its_partner_is_swapped_too():
    codes = np.arange(PAIRS) // 2 % 3
    swaps = plant_swaps(LabelVotes.of(partners()), codes, 3, at_least=0.9)
    # A hundredth is 3 samples at a time, at most 200 times. The partner of one is another one of the three with a
    # probability of 2/299, and then bears the same wrong class (of two) in half of the cases: only so the label finds
    # support.
    assert (swaps.num_samples, swaps.num_swapped) == (300, 600)
    assert swaps.share_listed == pytest.approx(1 - 2 / 299 / 2, abs=0.01)


def test_where_nobody_else_is_swapped_all_are_listed():
    codes = np.arange(PAIRS) // 2 % 3
    neighbors = pd.concat([partners().assign(layer=f"l{at}") for at in range(2)])
    for rows in ([0, 7], [2, 299]):
        swapped = codes.copy()
        swapped[rows] = (codes[rows] + 1) % 3
        listed = samples_to_check(neighbors, samples_of(swapped), at_least=0.9)
        # the partners are listed as well: their only neighbor bears another label
        assert set(listed["sample"]) == {*rows, *(row ^ 1 for row in rows)}


def test_votes_about_some_samples_are_those_about_all(overlapping):
    truth, study = overlapping
    votes = LabelVotes.of(late_neighbors(study, "flat", "train"))
    whole = votes.scores(truth, 6)
    chosen = np.array([5, 700, 3, 41])
    some = votes.scores(truth, 6, targets=chosen)
    rows = np.isin(whole.sample, chosen)
    for name in ("sample", "suggested", "votes", "own_votes", "score"):
        assert np.array_equal(getattr(some, name), getattr(whole, name)[rows])


def test_many_classes_are_counted_as_few_are():
    """Sums by pair are sorted where an array of all pairs would be too large."""
    codes = np.array([0, 1, 0, 0, 1, 1])
    few = LabelVotes.of(partners(6)).scores(codes, 2)
    many = LabelVotes.of(partners(6)).scores(9999 * codes, 10_000)
    assert many.sample.tolist() == few.sample.tolist() == [0, 1]
    assert many.votes.tolist() == few.votes.tolist()


@pytest.mark.parametrize(
    ("own", "others"), [(0, {1}), (1, {0, 2}), (2, {0, 1, 3}), (3, {0, 1, 2})], ids=["one", "two", "none", "last"]
)
def test_a_class_is_swapped_with_those_it_is_confused_with_or_with_any(own, others):
    confusions = np.array([0, 1, 1]), np.array([1, 0, 2]), np.array([0.5, 1.0, 3.0])
    drawn = swap_classes(np.full(4000, own), confusions, 4, np.random.default_rng(0))
    assert set(drawn) == others
    if own == 1:
        assert (drawn == 2).mean() == pytest.approx(0.75, abs=0.03)


def test_the_best_layer_says_which_classes_look_alike():
    # 0, 1 of class a; 2, 3 of b; 4, 5 of c. At the good layer only 2 has a neighbor of another class, 1: SI 5/6.
    good = partners(6).assign(nearest=[1, 0, 1, 2, 5, 4], layer="good")
    bad = partners(6).assign(nearest=[4, 0, 4, 2, 5, 1], layer="bad")  # SI 1/2
    votes = LabelVotes.of(pd.concat([bad, good]))
    first, second, count = votes.confusions(np.array([0, 0, 1, 1, 2, 2]), 3)
    # 2 has 1's vote for a; 1 has 2's vote for b; nothing of c.
    assert (first.tolist(), second.tolist(), count.tolist()) == ([0, 1], [1, 0], [1.0, 1.0])


def test_the_range_holds_what_look_alike_swaps_do(overlapping):
    """Swapped by what is known of the blobs, the study predicts how many it lists; it knows of no swap itself."""
    truth, study = overlapping
    neighbors, rng, held = late_neighbors(study, "flat", "train"), np.random.default_rng(1), 0
    for _ in range(10):
        labels, rows = truth.copy(), rng.choice(900, 18, replace=False)
        beside = truth[rows] + rng.choice([-1, 1], 18)
        labels[rows] = np.where((beside < 0) | (beside > 5), truth[rows] + np.where(truth[rows] == 0, 1, -1), beside)
        samples = samples_of(labels)
        low, high = expected_swaps(neighbors, samples).expected(0.02)
        listed = samples_to_check(neighbors, samples, at_least=0.9)["sample"]
        held += low <= np.isin(rows, listed).sum() <= high
    assert held >= 9


def test_the_same_seed_draws_the_same(overlapping):
    _, study = overlapping
    neighbors = late_neighbors(study, "flat", "train")
    assert expected_swaps(neighbors, study.samples) == expected_swaps(neighbors, study.samples)


@pytest.mark.parametrize(("listed", "of", "rate"), [(300, 400, 0.02), (2000, 2000, 0.02), (3, 600, 0.05), (1, 2, 0.1)])
def test_the_range_is_that_of_the_predictive_distribution(listed, of, rate):
    from scipy.stats import betabinom

    swaps = PlantedSwaps(num_samples=1200, num_swapped=of, num_listed=listed)
    predicted = betabinom(swaps.num_wrong(rate), listed + 0.5, of - listed + 0.5)
    assert swaps.expected(rate) == (predicted.ppf(0.025), predicted.ppf(0.975))


def test_no_votes_or_one_class_give_no_number():
    codes = np.arange(200) // 2 % 2
    assert plant_swaps(LabelVotes.of(partners(200)), codes, 2, at_least=0.9) is not None
    assert plant_swaps(LabelVotes.of(partners(200)), 0 * codes, 1, at_least=0.9) is None
    assert plant_swaps(LabelVotes.of(partners(200).iloc[:0]), codes, 2, at_least=0.9) is None


def test_layers_at_chance_tell_nothing():
    codes = np.arange(PAIRS) % 2  # the partner is always of the other class
    swaps = expected_swaps(partners(), samples_of(codes))
    assert swaps.num_listed == 0
    assert not swaps.tells_wrong_labels(0)


SWAPS = PlantedSwaps(num_samples=1200, num_swapped=2000, num_listed=1500)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (100, "2% of the labels (24) were swapped with classes that look alike, **14 to 22** of these 100 would"),
        (18, "**14 to 18** of these 18 would be wrong"),
        (14, "**14** of these 14 would be wrong"),
        (13, "14 to 22 samples would be listed; so wrong labels of that kind are probably rarer"),
        (0, "14 to 22 samples would be listed"),
        (450, "**14 to 22** of these 450 would be wrong"),  # 0.75 * 1200 = 900 = 2 * 450
        (451, NOT_TOLD),
    ],
)
def test_the_expectation_in_words(count, text):
    assert text in swaps_text(SWAPS, count)


def test_where_no_sample_is_listed_nothing_is_said_of_none():
    """One in twenty of 24 swapped labels would be listed, or none: 0 of 0 would be no statement."""
    few = PlantedSwaps(num_samples=1200, num_swapped=2000, num_listed=100)
    assert few.tells_wrong_labels(0)
    assert few.expected(0.02)[0] == 0
    assert swaps_text(few, 0) == ""
    assert swaps_text(PlantedSwaps(num_samples=1200, num_swapped=2000, num_listed=0), 0) == ""


@pytest.mark.parametrize(
    ("split", "info", "learned"),
    [
        ("train", {"asked": {"weights": "tuned/final.keras"}}, True),
        ("train", {"asked": {"model": "mine.H5"}}, True),
        ("train", {"training": {"epoch": 3}}, True),
        ("test", {"asked": {"weights": "tuned/final.keras"}, "training": {}}, False),
        ("train", {"asked": {"model": "efficientnet-lite0", "weights": "imagenet"}}, False),
        ("train", {}, False),
    ],
)
def test_labels_that_the_network_was_trained_on_are_known(overlapping, split, info, learned):
    assert may_have_learned(Study(overlapping[1].path, info), split) == learned


def test_without_a_number_the_reason_is_said(overlapping):
    _, study = overlapping
    neighbors = late_neighbors(study, "flat", "train")
    trained = Study(study.path, {"training": {}})
    assert trial_swaps(trained, neighbors, "train") is None
    assert trial_swaps(study, neighbors[neighbors["sample"] < 200], "train") is None  # 2% of 200 are 4
    assert expectation_text(trained, "train", None, 5) == LEARNED
    assert expectation_text(study, "train", None, 5) == TOO_FEW
    assert expectation_text(study, "train", None, 0) == ""
    assert check_text(trained, neighbors, "train").endswith(LEARNED)
    text = check_text(study, neighbors, "train")
    assert "2% of the labels (18)" in text
    assert "error" not in text
