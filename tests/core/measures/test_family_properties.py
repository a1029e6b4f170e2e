"""Properties of the separation measures that hold whatever the data."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import core

usual = settings(max_examples=30, deadline=None, derandomize=True)


@st.composite
def labelled(draw, *, ties):
    """Samples and labels; with ties small whole numbers, of which many are equal, else normal numbers."""
    num_samples = draw(st.integers(4, 24))
    shape = (num_samples, draw(st.integers(1, 4)))
    labels = draw(arrays(np.int64, num_samples, elements=st.integers(0, 3)))
    if ties:
        return draw(arrays(np.float64, shape, elements=st.integers(-2, 2))), labels
    return np.random.default_rng(draw(st.integers(0, 10_000))).normal(size=shape), labels


def family(features, labels, order):
    """Every leave-one-out measure of the family, the orders at `order`."""
    return {
        **{
            f"ties {ties}": core.separation_index(features, labels, ties=ties)
            for ties in ("first", "any", "all", "mean")
        },
        "balanced": core.balanced_separation_index(features, labels),
        "high": core.high_order_separation_index(features, labels, order=order),
        "soft": core.soft_separation_index(features, labels, order=order),
        "anti": core.anti_separation_index(features, labels, order=order),
        "cross": core.cross_separation_index(features[::2], labels[::2], features[1::2], labels[1::2]),
    }


def assert_same(found, expected):
    """Value by value, and where the measure looks at every sample also sample by sample."""
    for name in expected:
        np.testing.assert_allclose(found[name].value, expected[name].value, err_msg=name)
        np.testing.assert_allclose(found[name].by_sample, expected[name].by_sample, err_msg=name)


@usual
@given(labelled(ties=True), st.integers(1, 3))
def test_bounds(data, order):
    for name, found in family(*data, order).items():
        assert ((found.by_sample >= 0) & (found.by_sample <= 1)).all(), name
        if name != "balanced" or not np.isnan(found.value):  # every sample alone in its class
            assert 0 <= found.value <= 1, name
            low, high = found.interval()
            assert 0 <= low <= found.value <= high <= 1, name
        assert 0 <= found.chance <= 1 or np.isnan(found.chance), name


@usual
@given(labelled(ties=True))
def test_orders_are_monotone(data):
    """high(r) falls with r and so does anti(r); high <= soft <= 1; at order 1 all are the Separation Index."""
    orders = range(1, len(data[0]))
    high = np.array([core.high_order_separation_index(*data, order=order).by_sample for order in orders])
    soft = np.array([core.soft_separation_index(*data, order=order).by_sample for order in orders])
    anti = np.array([core.anti_separation_index(*data, order=order).by_sample for order in orders])
    assert (np.diff(high, axis=0) <= 0).all()
    assert (np.diff(anti, axis=0) <= 0).all()
    assert (high <= soft).all()
    assert (soft <= 1 - anti).all()
    agreeing = np.rint(soft * np.array(orders)[:, None])
    assert np.isin(np.diff(agreeing, axis=0), (0, 1)).all()  # each further neighbor agrees or not
    first = core.separation_index(*data).by_sample
    for at_order_one in (high[0], soft[0], 1 - anti[0]):
        np.testing.assert_array_equal(at_order_one, first)


@usual
@given(labelled(ties=True))
def test_tie_rules_are_ordered(data):
    """all <= mean <= any, and first lies between them."""
    by_rule = {ties: core.separation_index(*data, ties=ties).by_sample for ties in ("first", "any", "all", "mean")}
    assert (by_rule["all"] <= by_rule["mean"]).all()
    assert (by_rule["mean"] <= by_rule["any"]).all()
    assert (by_rule["all"] <= by_rule["first"]).all()
    assert (by_rule["first"] <= by_rule["any"]).all()


@usual
@given(labelled(ties=False), st.integers(1, 3), st.floats(-1000, 1000))
def test_translation_changes_nothing(data, order, offset):
    features, labels = data
    assert_same(family(features + offset, labels, order), family(features, labels, order))


@usual
@given(labelled(ties=False), st.integers(1, 3), st.integers(0, 100))
def test_rotation_changes_nothing(data, order, seed):
    features, labels = data
    width = features.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]
    assert_same(family(features @ rotation, labels, order), family(features, labels, order))


@usual
@given(labelled(ties=False), st.integers(1, 3), st.randoms(use_true_random=False))
def test_row_order_changes_nothing(data, order, random):
    features, labels = data
    moved = list(range(len(labels)))
    random.shuffle(moved)
    found, expected = family(features[moved], labels[moved], order), family(features, labels, order)
    for name in expected.keys() - {"cross"}:  # its two sets would be others
        np.testing.assert_allclose(found[name].value, expected[name].value, err_msg=name)
        np.testing.assert_allclose(found[name].by_sample, expected[name].by_sample[moved], err_msg=name)


@usual
@given(labelled(ties=True))
def test_names_of_the_classes_do_not_matter(data):
    features, labels = data
    named = np.array(["delta", "alpha", "echo", "bravo"])[labels]
    found, expected = family(features, named, 2), family(features, labels, 2)
    assert_same(found, expected)
    for name in expected:
        np.testing.assert_allclose(found[name].chance, expected[name].chance, err_msg=name)
