"""Several studies in one chart: what tells them apart, and how their layers are aligned; all by hand."""

import pytest

from core.analysis.several_studies import (
    KINDS,
    align_layers,
    comparability_rank,
    merged_order,
    study_differences,
)
from core.report.words.changes import why_not_comparable


def info(name="dogs", fingerprint="a", count=100, model=None, **asked):
    data = {"name": name, "fingerprint": fingerprint, "num_samples": count}
    model = {} if model is None else {"model": {"name": model}}
    return {"used": {"data": {key: value for key, value in data.items() if value is not None}, **model}, "asked": asked}


OPEN = info(split="both", pooling="mean")


@pytest.mark.parametrize(
    ("other", "kinds", "text"),
    [
        (info(), [], ""),
        (info(split="train", pooling="both"), [], ""),  # both have training samples, and channel means
        (info(name="digits", fingerprint="b"), ["data"], "other data (digits)"),
        (info(fingerprint="b"), ["samples"], "other samples of the same data"),
        (info(fingerprint="b", count=2_000), ["size"], "another number of samples (2,000), and SI rises with it"),
        (info(pooling="flat"), ["pooling"], "another pooling (all activations)"),
        (info(metric="cosine"), ["metric"], "another distance (cosine)"),
        (info(fingerprint=None), ["unknown"], "samples not recorded"),
        ({}, ["data"], "other data"),
        (
            info(name="digits", fingerprint="b", metric="cosine"),
            ["data", "metric"],
            "other data (digits), another distance (cosine)",
        ),
    ],
)
def test_what_is_not_comparable_has_its_reasons_in_words(other, kinds, text):
    differences = study_differences(OPEN, other)
    assert [difference.kind for difference in differences] == kinds
    assert why_not_comparable(differences) == text


def test_training_samples_are_no_test_samples():
    differences = study_differences(info(split="test"), info(split="train"))
    assert why_not_comparable(differences) == "another split (training)"


def test_features_without_a_name_are_the_same_data_only_with_the_same_fingerprint():
    first = info(name=None, metric="euclidean")
    assert study_differences(first, info(name=None, metric="euclidean")) == ()
    fewer, same_size = info(name=None, fingerprint="b", count=7), info(name=None, fingerprint="b")
    assert [one.kind for one in study_differences(first, fewer)] == ["data"]
    assert why_not_comparable(study_differences(info(name=None), fewer)) == "other data (7 samples)"
    text = "other data (other samples or labels, or another order)"
    assert why_not_comparable(study_differences(info(name=None), same_size)) == text


def test_comparable_studies_come_first_then_the_same_data_then_others():
    others = {
        "other data": info(name="digits", fingerprint="b"),
        "more": info(fingerprint="b", count=2_000),
        "same": info(),
        "other pooling": info(pooling="flat"),
    }
    ranks = {name: comparability_rank(study_differences(OPEN, other)) for name, other in others.items()}
    assert sorted(ranks, key=ranks.__getitem__) == ["same", "other pooling", "more", "other data"]
    assert ranks["same"] == 0
    assert max(ranks.values()) == len(KINDS)


@pytest.mark.parametrize(
    ("first", "second", "merged"),
    [
        ("ace", "abcde", "abcde"),
        ("abc", "abc", "abc"),
        ("ab", "bc", "abc"),
        ("ab", "xy", "abxy"),
        ("abc", "ca", None),  # two orders that contradict each other
        ("ab", "axyb", "axyb"),
    ],
)
def test_two_orders_become_one_that_keeps_both(first, second, merged):
    result = merged_order(list(first), list(second))
    assert result == (None if merged is None else tuple(merged))


@pytest.mark.parametrize(
    ("studies", "by", "layers"),
    [
        ([({}, "abcd"), ({}, "abd")], "name", "abcd"),  # the names of one are among those of the other
        ([({}, "abd"), ({}, "abcd"), ({}, "bd")], "name", "abcd"),
        ([({}, "abcd"), ({}, "axyz")], "position", ""),  # one name in common, of different networks
        ([(info(model="n"), "abcd"), (info(model="n"), "axyz")], "name", "abcdxyz"),  # parts of one network
        ([({}, "abcd"), ({}, "abcd"), ({}, "uvw")], "position", ""),  # one that fits nowhere moves all
        ([({}, "abc"), ({}, "cab")], "position", ""),
        ([({}, "abc")], "name", "abc"),
    ],
)
def test_layers_are_aligned_by_name_where_all_studies_have_them_else_by_depth(studies, by, layers):
    alignment = align_layers([(one, list(names)) for one, names in studies])
    assert alignment.by == by
    assert "".join(alignment.layers) == layers


def test_layers_of_the_same_names_in_another_order_are_told_from_other_names():
    first, reordered, other = (({}, list(names)) for names in ("abc", "cab", "xyz"))
    assert align_layers([first, reordered]).reordered
    assert not align_layers([first, reordered, other]).reordered
    assert not align_layers([first, first]).reordered
