"""Seeded order, subsamples and splits: nested, stratified, and functions of ids and seed alone."""

import hashlib

import numpy as np
import pytest

from core.data.sampling import name_some, sample_order, stratified_split, stratified_subsample, take_per_class


def make_samples(*counts: int) -> tuple[list[str], np.ndarray]:
    """Ids "0/00", ... and labels of classes with so many samples."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return [f"{label}/{row:02d}" for row, label in enumerate(labels)], labels


def test_the_order_is_that_of_the_documented_hash():
    ids = [f"cat/{row}.jpg" for row in range(20)]
    expected = sorted(range(20), key=lambda row: hashlib.sha256(f"7\0{ids[row]}".encode()).hexdigest())
    assert sample_order(ids, 7).tolist() == expected


def test_another_seed_gives_another_order():
    ids, _ = make_samples(50)
    assert sample_order(ids, 0).tolist() != sample_order(ids, 1).tolist()


def test_the_order_of_two_samples_does_not_depend_on_the_others():
    ids, _ = make_samples(30)
    full = [ids[row] for row in sample_order(ids, 3)]
    some = ids[5:20][::-1]
    assert [some[row] for row in sample_order(some, 3)] == [name for name in full if name in some]


def test_names_that_are_no_utf8_have_an_order():
    assert sorted(sample_order(["a\udcff", "b"], 0).tolist()) == [0, 1]


def test_a_duplicate_id_is_refused():
    with pytest.raises(ValueError, match=r"ids must be unique; got 1 duplicate"):
        sample_order(["a", "b", "a"], 0)


def test_take_per_class_is_nested_sorted_and_even():
    ids, labels = make_samples(12, 30, 17)
    five, ten = (take_per_class(ids, labels, size, seed=1) for size in (5, 10))
    assert set(five) < set(ten)
    assert ten.tolist() == sorted(ten)
    assert np.bincount(labels[ten]).tolist() == [10, 10, 10]


def test_take_per_class_takes_the_first_of_the_order():
    ids, labels = make_samples(6, 8)
    order = sample_order(ids, 5).tolist()
    expected = sorted([row for row in order if labels[row] == 0][:3] + [row for row in order if labels[row] == 1][:3])
    assert take_per_class(ids, labels, 3, seed=5).tolist() == expected


@pytest.mark.parametrize("per_class", [0, -1])
def test_take_per_class_refuses_too_few(per_class: int):
    ids, labels = make_samples(3, 3)
    with pytest.raises(ValueError, match=f"per_class must be at least 1; got {per_class}"):
        take_per_class(ids, labels, per_class, seed=0)


def test_take_per_class_names_the_small_classes():
    ids, labels = make_samples(3, 9, 4)
    with pytest.raises(ValueError, match=r"got 5, but there are only 3 of 'cat', 4 of 'owl'\."):
        take_per_class(ids, labels, 5, seed=0, class_names=["cat", "dog", "owl"])
    with pytest.raises(ValueError, match=r"only 3 of 0, 4 of 2\."):
        take_per_class(ids, labels, 5, seed=0)
    with pytest.raises(ValueError, match=r"only 3 of 'c', 4 of 'o'\."):
        take_per_class(ids, np.array(["c", "d", "o"])[labels], 5, seed=0)


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(10, 0.2, 2), (50, 0.2, 10), (5, 0.2, 2), (4, 0.2, 2), (4, 0.9, 2), (20, 0.5, 10), (10, 0.99, 8), (23, 0.2, 5)],
)
def test_split_takes_the_rounded_share_but_leaves_two_each_way(count: int, fraction: float, expected: int):
    ids, labels = make_samples(count, 40)
    splits = stratified_split(ids, labels, test_fraction=fraction, seed=2)
    assert set(splits) == {"train", "test"}
    assert np.sum(splits[labels == 0] == "test") == expected


def test_split_does_not_depend_on_the_order_of_the_samples():
    ids, labels = make_samples(10, 15)
    splits = dict(zip(ids, stratified_split(ids, labels, seed=4), strict=True))
    shuffled = np.random.default_rng(0).permutation(len(ids))
    again = stratified_split([ids[row] for row in shuffled], labels[shuffled], seed=4)
    assert again.tolist() == [splits[ids[row]] for row in shuffled]


def test_split_names_the_classes_that_are_too_small():
    ids, labels = make_samples(3, 9)
    with pytest.raises(ValueError, match=r"at least 4 samples to be split, 2 for each split; got 3 of 'cat'\. Add"):
        stratified_split(ids, labels, seed=0, class_names=["cat", "dog"])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_a_fraction_out_of_range(fraction: float):
    ids, labels = make_samples(9, 9)
    with pytest.raises(ValueError, match="test_fraction must lie between 0 and 1"):
        stratified_split(ids, labels, test_fraction=fraction, seed=0)


@pytest.mark.parametrize(
    ("counts", "size", "expected"),
    [
        ((10, 20, 30), 12, [2, 4, 6]),
        ((10, 20, 30), 6, [2, 2, 2]),
        ((10, 20, 30), 60, [10, 20, 30]),
        ((2, 2, 96), 10, [2, 2, 6]),  # at least two
        ((2, 50, 50), 52, [2, 25, 25]),
        ((5, 15), 9, [2, 7]),
    ],
)
def test_subsample_is_proportional(counts: tuple[int, ...], size: int, expected: list[int]):
    ids, labels = make_samples(*counts)
    rows = stratified_subsample(ids, labels, size, seed=0)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert np.bincount(labels[rows]).tolist() == expected


def test_subsamples_of_one_seed_are_nested():
    ids, labels = make_samples(3, 6, 7, 7, 40)
    previous: set[int] = set()
    for size in range(10, len(ids) + 1):
        rows = set(stratified_subsample(ids, labels, size, seed=6).tolist())
        assert len(rows) == size
        assert previous < rows
        previous = rows


def test_subsample_shares_a_remainder_by_seed_not_by_name():
    ids, labels = make_samples(*[10] * 8)
    favored = {
        tuple(np.bincount(labels[stratified_subsample(ids, labels, 20, seed=seed)]).tolist()) for seed in range(5)
    }
    assert len(favored) > 1
    assert all(sorted(counts) == [2] * 4 + [3] * 4 for counts in favored)


@pytest.mark.parametrize("size", [5, 61, 0])
def test_subsample_names_the_sizes_that_it_allows(size: int):
    ids, labels = make_samples(10, 20, 30)
    with pytest.raises(ValueError, match=rf"between 6 \(2 for each of 3 classes\) and 60 \(all samples\); got {size}"):
        stratified_subsample(ids, labels, size, seed=0)


def test_subsample_refuses_a_class_of_one():
    ids, labels = make_samples(1, 20)
    with pytest.raises(ValueError, match=r"at least 2 samples; got 1 of 'cat'\."):
        stratified_subsample(ids, labels, 10, seed=0, class_names=["cat", "dog"])


@pytest.mark.parametrize("labels", [[0, 1], [[0], [1], [1]]])
def test_labels_must_match_the_ids(labels: list):
    with pytest.raises(ValueError, match=r"labels must have shape \(n,\)"):
        take_per_class(["a", "b", "c"], labels, 1, seed=0)


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="n >= 1"):
        stratified_split([], [], seed=0)


def test_at_most_five_are_named():
    assert name_some(["a", "b"]) == "a, b"
    assert name_some(list("abcdefg")) == "a, b, c, d, e and 2 more"
