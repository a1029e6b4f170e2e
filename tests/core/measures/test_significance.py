"""Null moments against permutations, p-values, intervals, q-values."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, norm

import core
from core.measures import significance
from core.measures.neighbor_graph import cross_graph, labelled_graph
from core.measures.separation import encode_labels

RNG = np.random.default_rng(0)


def clumped(num_samples, num_classes, num_features=3):
    """Features with hubs and mutual neighbors, labels of unequal classes."""
    features = RNG.standard_t(2, size=(num_samples, num_features))
    labels = RNG.choice(
        num_classes, size=num_samples, p=np.arange(1, num_classes + 1) / np.arange(1, num_classes + 1).sum()
    )
    return features, labels


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize(("num_samples", "num_classes"), [(40, 2), (150, 5), (300, 30)])
def test_moments_match_permutations(num_samples, num_classes, order):
    graph = labelled_graph(*clumped(num_samples, num_classes), k=order)
    result = graph.soft(order)
    values = result.null_values(significance.Shuffles(10_000, 1))
    assert values.mean() == pytest.approx(result.chance, abs=5 * result.moments.sd / 100)
    assert values.std() == pytest.approx(result.moments.sd, rel=0.05)


def test_moments_of_some_rows_match_permutations():
    features, labels = clumped(120, 4)
    result = core.separation_index(features, labels, rows=np.arange(0, 120, 3))
    values = result.null_values(significance.Shuffles(10_000, 2))
    assert values.mean() == pytest.approx(result.chance, abs=5 * result.moments.sd / 100)
    assert values.std() == pytest.approx(result.moments.sd, rel=0.05)


def test_cross_moments_match_permutations():
    (train, train_labels), (test, test_labels) = clumped(90, 4), clumped(60, 4)
    result = core.cross_separation_index(train, train_labels, test, test_labels)
    values = result.null_values(significance.Shuffles(10_000, 3))
    assert values.mean() == pytest.approx(result.chance, abs=5 * result.moments.sd / 100)
    assert values.std() == pytest.approx(result.moments.sd, rel=0.05)


@pytest.mark.parametrize("measure", ["high_order", "anti"])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_chance_of_each_order_matches_permutations(measure, order):
    result = getattr(labelled_graph(*clumped(80, 3), k=4), measure)(order)
    values = result.null_values(significance.Shuffles(4_000, 4))
    assert values.mean() == pytest.approx(result.chance, abs=5 * values.std() / np.sqrt(4_000) + 1e-9)
    assert np.isnan(result.z)


def test_balanced_chance_matches_permutations():
    features, labels = clumped(150, 5)
    labels[0] = 99  # alone in its class
    result = labelled_graph(features, labels).balanced()
    values = result.null_values(significance.Shuffles(4_000, 5))
    assert values.mean() == pytest.approx(result.chance, abs=5 * values.std() / np.sqrt(4_000))


def test_two_disjoint_pairs_by_hand():
    """Two mutual pairs, two classes of two: of the three ways to pair the labels one agrees everywhere, two nowhere."""
    result = core.separation_index([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1])
    assert result.moments.mean == pytest.approx(1 / 3)
    assert result.moments.sd == pytest.approx(np.sqrt(1 / 3 - 1 / 9))
    assert result.value == 1


def test_normal_tail_is_wrong_where_few_agreements_are_expected():
    """120 classes of 10: the normal tail promises far less than permutations give, so it must not be used there."""
    labels = np.repeat(np.arange(120), 10)
    graph = labelled_graph(np.random.default_rng(6).normal(size=(1200, 20)), labels)
    null = graph.separation()
    values = null.null_values(significance.Shuffles(9_999, 7))
    observed = np.sort(values)[-10]  # reached by about 10 of 10,000 permutations
    by_permutation = significance.permutation_p(observed, values)
    by_normal = significance.normal_p(null.moments.z(observed))
    assert by_permutation == pytest.approx(1e-3, rel=0.6)
    assert by_normal < by_permutation / 3
    assert 1200 * null.chance < significance.ENOUGH_FOR_NORMAL
    assert null.p_value() == significance.permutation_p(null.value, null.null_values(significance.Shuffles(9_999, 0)))


def test_normal_approximation_where_many_agreements_are_expected():
    result = core.separation_index(*clumped(900, 2))
    assert 900 * result.chance > significance.ENOUGH_FOR_NORMAL
    assert result.p_value() == significance.normal_p(result.z)
    assert result.p_value() == pytest.approx(result.p_value(4_000), abs=0.03)


def test_p_values_are_uniform_without_signal():
    p = [
        core.separation_index(np.random.default_rng(i).normal(size=(60, 3)), np.arange(60) % 3).p_value(199, seed=i)
        for i in range(150)
    ]
    for level in (0.1, 0.25, 0.5):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 150))


def test_p_of_anti_is_the_lower_tail():
    features = np.vstack([np.zeros((20, 2)), np.ones((20, 2))]) + 0.1 * np.random.default_rng(8).normal(size=(40, 2))
    anti = core.anti_separation_index(features, np.repeat([0, 1], 20), order=2)
    assert anti.value == 0
    assert anti.p_value(999) == 1e-3


def test_p_is_never_zero_and_seeded():
    features = np.repeat(np.eye(3) * 100, 10, axis=0) + np.random.default_rng(9).normal(size=(30, 3))
    result = core.separation_index(features, np.repeat([0, 1, 2], 10))
    assert result.p_value(99) == 0.01
    noise = core.separation_index(np.random.default_rng(10).normal(size=(30, 3)), np.repeat([0, 1, 2], 10))
    assert noise.p_value(99, seed=1) == noise.p_value(99, seed=1) != noise.p_value(99, seed=2)
    with pytest.raises(ValueError, match="permutations must be at least 1"):
        noise.p_value(0)


def test_wilson_by_hand():
    """8 of 10: center (0.8 + 0.192)/1.384, half width from the published formula."""
    z = norm.ppf(0.975)
    low, high = significance.wilson(0.8, 10)
    center = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half = z / (1 + z**2 / 10) * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400)
    assert (low, high) == (pytest.approx(center - half), pytest.approx(center + half))
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)


def test_what_is_undefined_has_no_interval():
    for value, worth in ((float("nan"), 10), (float("nan"), float("inf")), (0.5, float("nan"))):
        assert np.isnan(significance.wilson(value, worth)).all()
    every_class_alone = labelled_graph(np.arange(4.0)[:, None], [0, 1, 2, 3]).balanced()
    for target in ("population", "data"):
        assert np.isnan(every_class_alone.interval(target=target)).all()


def test_data_interval_shrinks_to_the_value_when_all_are_asked():
    features, labels = clumped(200, 3)
    full = core.separation_index(features, labels)
    assert full.interval(target="data") == (full.value, full.value)
    some = core.separation_index(features, labels, rows=np.arange(50))
    low, high = some.interval(target="data")
    assert low < some.value < high
    plain = significance.wilson(some.value, 50)
    assert high - low < plain[1] - plain[0]


def test_data_interval_covers_the_value_of_all_samples():
    features, labels = clumped(400, 3)
    truth, held = core.separation_index(features, labels).value, []
    for seed in range(150):
        rows = np.random.default_rng(seed).choice(400, size=80, replace=False)
        low, high = core.separation_index(features, labels, rows=rows).interval(target="data")
        held.append(low <= truth <= high)
    assert 0.89 <= np.mean(held) <= 1


def test_population_interval_is_wider_than_that_of_independent_samples():
    features, labels = clumped(300, 3)
    result = core.separation_index(features, labels)
    low, high = result.interval()
    plain = significance.wilson(result.value, 300)
    assert low <= plain[0] < plain[1] <= high
    with pytest.raises(ValueError, match="target must be one of data, population; got 'both'"):
        result.interval(target="both")
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        result.interval(level=95)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_shared_nodes_against_every_pair(k):
    """The variance equals the sum over all pairs of queries whose nodes meet."""
    graph = labelled_graph(*clumped(60, 3), k=k)
    nodes = np.column_stack([graph.own, graph.neighbors.indices])
    residuals = 1 + 3 * np.random.default_rng(11).normal(size=60)
    total = sum_over_meeting(residuals, nodes)
    assert total > 0.25 * 60  # so that it is not cut off
    assert significance.shared_node_n(0.5, residuals, nodes) == pytest.approx(0.25 / (total / 60**2))


@pytest.mark.parametrize("scale", [1, 1_000_000_007], ids=["numbers", "numbers with gaps"])
@pytest.mark.parametrize("num_nodes", [6, 40])
@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_nodes_that_stand_twice_meet_once(width, num_nodes, scale):
    rng = np.random.default_rng(width)
    nodes, residuals = rng.integers(0, num_nodes, (50, width)), rng.normal(size=50)
    assert width == 1 or any(len(set(row)) < width for row in nodes.tolist())
    variance = significance.shared_node_variance(residuals, scale * nodes - 5 * (scale > 1))
    assert variance == pytest.approx(sum_over_meeting(residuals, nodes) / 50**2, abs=1e-12)


@pytest.mark.parametrize("width", [2, 3])
def test_nodes_of_32_bits_mean_the_same(width):
    rng = np.random.default_rng(0)
    nodes, residuals = rng.integers(0, 200_000, (200_000, width)), rng.normal(size=200_000)
    variance = significance.shared_node_variance(residuals, nodes)
    nodes.flags.writeable = residuals.flags.writeable = False
    assert significance.shared_node_variance(residuals, nodes.astype(np.int32)) == variance


def sum_over_meeting(residuals, nodes):
    rows = [set(row) for row in nodes.tolist()]
    return sum(residuals[i] * residuals[j] for i, a in enumerate(rows) for j, b in enumerate(rows) if a & b)


def test_numbers_with_gaps_mean_the_same_nodes():
    nodes = np.random.default_rng(0).integers(0, 40, (40, 3))
    pairs = significance.dependent_pairs(nodes).toarray()
    assert pairs.tolist() == significance.dependent_pairs(1_000_000_007 * nodes - 5).toarray().tolist()


def test_scores_of_one_order_share_what_they_depend_on(monkeypatch):
    """Two orders, five measures: it is found twice, and each interval is that of the measure by itself."""
    features, labels = clumped(60, 3)
    measures = [
        lambda graph: graph.separation(),
        lambda graph: graph.balanced(),
        lambda graph: graph.high_order(2),
        lambda graph: graph.soft(2),
        lambda graph: graph.anti(2),
    ]
    alone = [measure(labelled_graph(features, labels, k=2)).interval() for measure in measures]
    calls = []
    found = significance.dependent_pairs
    monkeypatch.setattr("core.measures.neighbor_graph.dependent_pairs", lambda nodes: calls.append(1) or found(nodes))
    graph = labelled_graph(features, labels, k=2)
    assert [measure(graph).interval() for measure in measures] == alone
    assert len(calls) == 2


def test_duplicated_samples_are_worth_less():
    features, labels = clumped(200, 2)
    once = core.separation_index(features, labels).interval()
    twice = core.separation_index(np.repeat(features, 2, axis=0), np.repeat(labels, 2)).interval()
    assert twice[0] > 0.9  # every sample has its copy as a neighbor: SI says so, and stays below 1 only by its interval
    assert once[1] - once[0] > 0


def test_q_values_equal_scipys():
    p = np.random.default_rng(12).random(40) ** 2
    expected = false_discovery_control(p)
    np.testing.assert_allclose(significance.q_values(p), expected)
    with_gap = significance.q_values(np.r_[p[:20], np.nan, p[20:]])
    assert np.isnan(with_gap[20])
    np.testing.assert_allclose(np.delete(with_gap, 20), expected)


def test_null_of_cross_graph_permutes_each_split_on_its_own():
    train, test = encode_labels([0, 0, 1]), encode_labels([0, 1, 1])
    neighbors = core.nearest_neighbors([[0.0], [1.0], [2.0]], queries=[[0.1], [1.9], [2.1]])
    values = cross_graph(neighbors, train, test).separation().null_values(significance.Shuffles(2_000, 0))
    assert set(np.unique(values)) <= {0, 1 / 3, 2 / 3, 1}
    assert values.mean() == pytest.approx(4 / 9, abs=0.03)


@pytest.mark.parametrize("value", [0.0, 0.003, 0.2, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("trials", [3.3, 30.0, 1000.0])
def test_the_trials_behind_an_interval_of_wilson(value, trials):
    assert significance.wilson_n(value, *significance.wilson(value, trials)) == pytest.approx(trials)
    assert significance.wilson_n(value, *significance.wilson(value, trials, 0.99), 0.99) == pytest.approx(trials)


def test_the_trials_behind_no_interval():
    assert np.isnan(significance.wilson_n(0.5, float("nan"), 0.6))
    assert np.isinf(significance.wilson_n(0.5, 0.5, 0.5))
    assert significance.wilson_n(0.5, 0.0, 1.0) == 0
